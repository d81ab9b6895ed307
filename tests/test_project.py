"""What the project promises about itself: its two commands, its pages and its files."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest
import yaml

from exporter.config import load_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BROUGHT_ALONG = {"werkzeug", "pydantic-core", "markupsafe", "urllib3", "pillow"}
"""Imported, and always there with what is declared: Flask is made of Werkzeug, Jinja2 of MarkupSafe,
Requests of urllib3, and Matplotlib draws with Pillow."""
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def tracked_files() -> list[Path]:
    """Return the files that git keeps, or all but the ignored ones where there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, flags=re.MULTILINE))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    return normal(re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0])


def test_readme_shows_the_two_commands():
    """A newcomer finds `make demo` and `make test`, and both exist."""
    for command in ("make demo", "make test"):
        assert command in README
        assert command.removeprefix("make ") in targets()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_that_pages_name_exist(page):
    """No page names a target that the Makefile lacks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE))
    assert named <= targets()


def test_make_help_lists_every_target():
    """`make help` shows each target that is meant for people, with a sentence."""
    out = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)[0].split())
    assert phony == targets()
    for target in phony:
        assert f"make {target} " in out


def test_ci_runs_make_test():
    """The one check of what lands is `make test`, in a shell that stops at the first failure."""
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\nset -euo pipefail\n")
    assert "\nmake test\n" in text


def test_make_names_what_to_install_where_python_has_no_venv(tmp_path):
    """A Python without the venv module gets a sentence with the package, and exit code 2."""
    python = tmp_path / "python3"
    python.write_text(
        '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; *print*) echo 3.11;; esac\n', encoding="utf-8"
    )
    python.chmod(0o755)
    run = subprocess.run(
        [ROOT / "tools" / "create-venv", tmp_path / "venv"],
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "apt-get install python3.11-venv" in run.stderr


def test_make_names_what_to_install_where_python_is_too_old(tmp_path):
    """Without a Python of 3.11 or newer the message says how to get one, and the exit code is 2."""
    run = subprocess.run(
        [ROOT / "tools" / "create-venv", tmp_path / "venv"],
        env={**os.environ, "PYTHON": "no-such-python"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "3.11" in run.stderr
    assert "apt-get install python3 python3-venv" in run.stderr


def test_constraints_pin_every_direct_dependency():
    """Each direct dependency has exactly one pinned version, and nothing else is pinned."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    direct = [
        *PROJECT["project"]["dependencies"],
        *(entry for extra in PROJECT["project"]["optional-dependencies"].values() for entry in extra),
        *(entry for group in PROJECT["dependency-groups"].values() for entry in group),
    ]
    assert sorted(requirement_name(pin) for pin in pins) == sorted(
        {requirement_name(entry) for entry in direct}
    )


def test_dependencies_are_those_that_are_imported():
    """What the package imports is declared, and what is declared is imported."""
    provided = packages_distributions()
    imported = set()
    for path in (ROOT / "exporter").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"exporter"}
    needed = {normal(provided[name][0]) for name in foreign}
    declared = {requirement_name(entry) for entry in PROJECT["project"]["dependencies"]}
    assert needed <= declared | BROUGHT_ALONG
    assert declared <= needed


def test_no_file_names_a_package_index():
    """Where packages come from is the machine's affair: no file holds an index's host name."""
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "conda.anaconda" + ".org")
    for path in tracked_files():
        content = path.read_bytes()
        for host in hosts:
            assert host.encode() not in content, f"{path.relative_to(ROOT)} names {host}"


def test_changelog_keeps_its_form():
    """The changelog is in the form of Keep a Changelog, and its newest release is the package's version."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "keepachangelog.com" in text
    versions = re.findall(r"^## \[(.+?)\](?: - (.*))?$", text, flags=re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    for version, date in versions[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", date)
    if len(versions) > 1:
        assert versions[1][0] == PROJECT["project"]["version"]
    assert set(re.findall(r"^### (.*)$", text, flags=re.MULTILINE)) <= CHANGES


def test_decisions_are_numbered_and_have_their_sections():
    """Every decision has a number of its own, also in its title, and says why and what."""
    pages = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    numbers = [page.name[:4] for page in pages]
    assert len(set(numbers)) == len(numbers)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.match(rf"# {int(page.name[:4])}\. \S", text), f"{page.name}: title without its number"
        for section in ("## Context\n", "## Decision\n"):
            assert section in text, f"{page.name}: no {section.strip()}"


def test_command_line_page_is_what_the_commands_are():
    """The page docs/command-line.md lists every command and flag, and is not stale (`make docs`)."""
    from exporter.cli import command

    tool = runpy.run_path(str(ROOT / "tools" / "write_command_line.py"))
    text = tool["PAGE"].read_text(encoding="utf-8")
    assert text == tool["command_line"]()
    for name, found in command.commands.items():
        parts = found.commands.values() if isinstance(found, click.Group) else [found]
        for part in parts:
            for parameter in part.params:
                for flag in (option for option in parameter.opts if option.startswith("--")):
                    assert flag in text, f"{name} {flag}"


def test_every_page_is_in_the_index():
    """docs/index.md leads to each page beside it."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, page.name


def test_links_between_pages_lead_somewhere():
    """A relative link in any page points to a file that exists."""
    for path in tracked_files():
        if path.suffix != ".md":
            continue
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if "://" not in link and not link.startswith("mailto:"):
                assert (path.parent / link).exists(), f"{path.relative_to(ROOT)} links to {link}"


def test_demo_configuration_is_valid_and_names_the_demo_columns():
    """The demo's configuration doubles as an example, so it must load and fit what the demo pushes."""
    from exporter.demo.flights import CATEGORICAL_FEATURES, FEATURES
    from exporter.demo.replay import MODEL

    path = ROOT / "exporter" / "demo" / "models.yml"
    model = load_config(path).models[MODEL]
    schema = model.schema(MODEL)
    assert schema.features is not None
    assert {column.name for column in schema.features} == set(FEATURES)
    assert {c.name for c in schema.features if c.kind == "categorical"} == set(CATEGORICAL_FEATURES)
    assert schema.reserved == {"flight_id", "scheduled", "predicted", "probability", "delayed"}
    assert model.segments == ("origin",)


def test_licence_is_apache():
    """The licence file is the one that pyproject.toml names."""
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text


def test_yaml_files_can_be_read():
    """Every YAML file of the project parses."""
    for path in tracked_files():
        if path.suffix in {".yml", ".yaml"} and "tests" not in path.parts:
            list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def test_make_bench_runs_every_benchmark():
    """The list that `make bench` goes through holds each program of the folder once."""
    from benchmarks.__main__ import ORDER

    programs = {
        path.stem
        for path in (ROOT / "benchmarks").glob("[!_]*.py")
        if "__main__" in path.read_text(encoding="utf-8")
    }
    assert sorted(ORDER) == sorted(programs)
    assert "python -m benchmarks $(ARGS)" in MAKEFILE
