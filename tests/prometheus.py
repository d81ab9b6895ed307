"""A real Prometheus for tests: it scrapes a loopback target and is asked for values."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

START_SECONDS = 30.0


@dataclass(frozen=True)
class Prometheus:
    """A running server at `url`."""

    url: str
    log: Path

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the instant vector of `expression`: rows of `metric` (labels) and `value` [time, text]."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def value(self, expression: str) -> float | None:
        """Return the value of the one series of `expression`, None where there is no series."""
        series = self.query(expression)
        assert len(series) <= 1, series
        return float(series[0]["value"][1]) if series else None

    def values(self, expression: str, label: str) -> dict[str, float]:
        """Return the values of `expression` by one label."""
        return {row["metric"].get(label, ""): float(row["value"][1]) for row in self.query(expression)}

    def targets(self) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.url}/api/v1/targets", timeout=10).json()
        return answer["data"]["activeTargets"]

    def wait_for_scrape(self, job: str = "ml", *, seconds: float = 30.0) -> dict[str, Any]:
        """Return the job's target after its next finished scrape; an AssertionError says why it is not up."""
        seen: str | None = None
        target: dict[str, Any] = {}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            target = next((t for t in self.targets() if t["labels"]["job"] == job), {})
            if target and target["health"] != "unknown":
                assert target["health"] == "up", target["lastError"]
                if seen is not None and target["lastScrape"] != seen:
                    return target
                seen = target["lastScrape"]
            time.sleep(0.05)
        message = f"no scrape within {seconds} s: {target}"
        raise AssertionError(message)


@contextmanager
def running_prometheus(
    program: Path,
    directory: Path,
    targets: str | Mapping[str, str],
    port: int,
    *,
    interval: str = "500ms",
    rule_files: Sequence[Path] = (),
    alertmanagers: Sequence[str] = (),
    metrics_path: str = "/metrics",
) -> Iterator[Prometheus]:
    """Run Prometheus on a loopback `port` until the block ends.

    `targets` is one host:port, scraped as the job `ml`, or a mapping of job to host:port. The first scrape
    comes about 5 s after the start, since Prometheus discovers targets at that pace.
    """
    directory.mkdir(parents=True, exist_ok=True)
    jobs = {"ml": targets} if isinstance(targets, str) else targets
    settings = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval, "scrape_timeout": interval},
        "rule_files": [str(path) for path in rule_files],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
        "scrape_configs": [
            {"job_name": job, "metrics_path": metrics_path, "static_configs": [{"targets": [address]}]}
            for job, address in jobs.items()
        ],
    }
    config = directory / "prometheus.yml"
    config.write_text(json.dumps(settings), encoding="utf-8")
    log = directory / "prometheus.log"
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    server = Prometheus(f"http://127.0.0.1:{port}", log)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_ready(server: Prometheus, process: subprocess.Popen[bytes]) -> None:
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


Answer = Callable[[str | None, str | None], tuple[bytes, dict[str, str]]]
"""(Accept, Accept-Encoding) -> body and headers."""


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve what `answer` gives on a free loopback port until the block ends; yields host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, headers = answer(self.headers.get("Accept"), self.headers.get("Accept-Encoding"))
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check_metrics(program: Path, text: bytes) -> tuple[int, str]:
    """Return the exit code and the complaints of `promtool check metrics`."""
    done = subprocess.run([str(program), "check", "metrics"], input=text, capture_output=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()
