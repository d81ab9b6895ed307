# `make demo` and `make test` do all of their own set-up; `make help` lists the rest.
# Written for GNU make 3.81 (macOS) and newer.

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
# Versions that are known to work together. `make test CONSTRAINTS=` takes the newest instead.
CONSTRAINTS ?= constraints.txt
PINS   := $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
# Processes that run tests side by side.
JOBS   ?= 2
# Flags that are passed on, as in: make demo ARGS="--days 30 --speed max --exit-when-done"
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format bench bench-calibration docs coverage clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Watch a delay classifier over a year of flights (ARGS="--days 30" ...)
	@$(BIN)/ml-exporter demo $(ARGS)

test: $(VENV)/.dev ## Lint, then run all tests; installs Prometheus, Alertmanager and Chromium where it may
	@tools/install-programs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

check: $(VENV)/.dev ## Look for mistakes in under two minutes: ruff, mypy, fast tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile -m "not slow and not prometheus" $(ARGS)

lint: $(VENV)/.dev ## Run ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.dev ## Put the code into its form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

coverage: $(VENV)/.dev ## Run all tests and fail when they cover less than before
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --cov --cov-report=term:skip-covered $(ARGS)

bench: $(VENV)/.bench ## Measure speed and memory, print the tables (ARGS="decoding scrape" for some)
	$(BIN)/python -m benchmarks $(ARGS)

bench-calibration: $(VENV)/.bench ## Simulate false alarms and power beside Evidently, NannyML and whylogs
	$(BIN)/python -m benchmarks.calibration $(ARGS)

docs: $(VENV)/.dev ## Write the reference pages anew from the code
	$(BIN)/python -m exporter.reference docs
	$(BIN)/python tools/write_command_line.py

clean: ## Remove the virtual environment and everything that was built
	rm -rf $(VENV) .venv-peers build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@tools/create-venv $(VENV)
	@echo "Upgrading pip ..."
	@$(PIP) install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml $(CONSTRAINTS)
	@echo "Installing ml-exporter and the demo's data into $(VENV) (once; a minute or two) ..."
	@$(PIP) install --quiet $(PINS) --editable ".[demo]"
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(PIP) install --quiet $(PINS) --group bench
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml $(CONSTRAINTS)
	@echo "Installing ml-exporter and its development tools into $(VENV) (once; a minute or two) ..."
	@$(PIP) install --quiet $(PINS) --editable ".[demo]" --group dev
	@touch $@
