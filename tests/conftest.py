"""What tests of several rooms share: programs they may need, free ports, and a running exporter."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest
import requests

_NAMES = {
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "chromium": (
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ),
}
_ABSENT = "needs the program"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


# The same examples at every run in CI, new ones everywhere else: a find then belongs to whoever made it.
hypothesis.settings.register_profile("ci", derandomize=True)
if in_ci():
    hypothesis.settings.load_profile("ci")


@pytest.fixture(scope="session")
def requires_program() -> Callable[[str], Path]:
    """Give a function that finds a program; without it the test fails in CI and is skipped elsewhere."""

    def find(name: str) -> Path:
        for candidate in _NAMES.get(name, (name,)):
            found = shutil.which(candidate)
            if found:
                return Path(found)
        reason = f"{_ABSENT} {name}, which is not installed (tools/install-programs)"
        if in_ci():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    return find


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which tests did not run for want of a program."""
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if _ABSENT in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section("NOT TESTED: programs are missing", red=True, bold=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[-1]}")


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Give a function that returns a TCP port of the loopback interface that nobody listens on now."""

    def choose() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return choose


@dataclass
class RunningExporter:
    """One `ml-exporter serve` in a process of its own; its output is kept in `log`."""

    url: str
    command: list[str]
    log: Path
    storage: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start the process and wait until it is ready; also used to start it again after `kill`."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                pytest.fail(f"the exporter stopped with {self.process.returncode}:\n{self.log.read_text()}")
            try:
                if requests.get(f"{self.url}/-/ready", timeout=2).ok:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.05)
        pytest.fail(f"the exporter was not ready after {_START_SECONDS:.0f} s:\n{self.log.read_text()}")

    def stop(self) -> int:
        """Ask the exporter to shut down and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_SECONDS)

    def kill(self) -> None:
        """Kill the process and its workers at once, as a power cut would."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_STOP_SECONDS)


@pytest.fixture
def running_exporter(
    tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[Callable[..., RunningExporter]]:
    """Give a function (configuration text, *further flags) -> RunningExporter; all are stopped at the end."""
    started: list[RunningExporter] = []

    def run(configuration: str, *flags: str) -> RunningExporter:
        number = len(started)
        config_file = tmp_path / f"models-{number}.yml"
        config_file.write_text(configuration, encoding="utf-8")
        storage = tmp_path / f"storage-{number}"
        address = f"127.0.0.1:{free_port()}"
        command = [
            str(Path(sys.executable).with_name("ml-exporter")),
            "serve",
            f"--config.file={config_file}",
            f"--web.listen-address={address}",
            f"--storage.path={storage}",
            *flags,
        ]
        exporter = RunningExporter(f"http://{address}", command, tmp_path / f"exporter-{number}.log", storage)
        started.append(exporter)
        exporter.start()
        return exporter

    yield run
    for exporter in started:
        if hasattr(exporter, "process"):
            exporter.kill()
