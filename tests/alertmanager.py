"""A real Alertmanager for tests: it is given alerts and asked what became of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

START_SECONDS = 30.0
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Alertmanager:
    """A running server at `url`."""

    url: str
    log: Path

    def post(self, *alerts: Labels, annotations: Labels | None = None, minutes: float = 60.0) -> None:
        """Let alerts of these labels fire from now on for some minutes; 0 resolves them."""
        now = datetime.now(UTC)
        ends = (now + timedelta(minutes=minutes)).isoformat()
        body = [
            {"labels": dict(labels), "annotations": dict(annotations or {}), "endsAt": ends}
            | ({"startsAt": (now - timedelta(minutes=1)).isoformat()} if minutes <= 0 else {})
            for labels in alerts
        ]
        answer = requests.post(f"{self.url}/api/v2/alerts", json=body, timeout=10)
        assert answer.ok, answer.text

    def alerts(self) -> list[dict[str, Any]]:
        """Return all alerts with their `status`."""
        return requests.get(f"{self.url}/api/v2/alerts", timeout=10).json()

    def inhibited(self) -> list[dict[str, str]]:
        """Return the labels of the alerts that are muted by others."""
        return [alert["labels"] for alert in self.alerts() if alert["status"]["inhibitedBy"]]

    def silence(self, matchers: Iterable[Mapping[str, Any]], comment: str = "known") -> str:
        """Silence for an hour what matches (`name`, `value`, `isRegex`, `isEqual`); returns the id."""
        now = datetime.now(UTC)
        body = {
            "matchers": [dict(matcher) for matcher in matchers],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "test",
            "comment": comment,
        }
        answer = requests.post(f"{self.url}/api/v2/silences", json=body, timeout=10)
        assert answer.ok, answer.text
        return str(answer.json()["silenceID"])


@contextmanager
def running_alertmanager(
    program: Path, directory: Path, configuration: str, port: int
) -> Iterator[Alertmanager]:
    """Run Alertmanager with a configuration (YAML) on a loopback `port` until the block ends."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "alertmanager.yml"
    config.write_text(configuration, encoding="utf-8")
    log = directory / "alertmanager.log"
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    server = Alertmanager(f"http://127.0.0.1:{port}", log)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_ready(server: Alertmanager, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, server.log.read_text()
        try:
            if requests.get(f"{server.url}/-/ready", timeout=2).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError(server.log.read_text())
