"""A notification bridge in a process of its own for benchmarks, and receivers that count what comes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from aiosmtpd.controller import Controller

from benchmarks.running import wait_until_ready


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RunningBridge:
    """One `ml-exporter bridge`; `kill` and `start` as a power cut would."""

    directory: Path
    configuration: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    peak_bytes: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.directory / "bridge.log"

    def start(self) -> None:
        config = self.directory / "bridge.yml"
        config.write_text(self.configuration, encoding="utf-8")
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "exporter", "bridge"),
                    f"--config.file={config}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    f"--storage.path={self.directory / 'data'}",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until_ready(self.url, self.process)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def memory_bytes(self) -> int:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        now = int(line.split()[1]) * 1024
        self.peak_bytes = max(self.peak_bytes, now)
        return now

    def get(self, path: str, **query: Any) -> Any:
        answer = requests.get(f"{self.url}{path}", params=query, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def metrics(self) -> dict[str, float]:
        """Samples by their text, such as `ml_bridge_queue{channel="mail"}`."""
        page = requests.get(f"{self.url}/metrics", timeout=30).text
        lines = [line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def waiting(self) -> int:
        """Groups that are not told of yet, and notifications on their way; gauges lag by some seconds."""
        pending = int(self.metrics()["ml_bridge_pending_groups"])
        states = ("queued", "leased", "failed")
        return pending + sum(
            len(self.get("/api/v1/notifications", state=state, limit=1000)["notifications"])
            for state in states
        )

    def settle(self, seconds: float) -> int:
        """Wait until nothing has waited for six seconds; returns what still does."""
        deadline, quiet = time.time() + seconds, 0
        while time.time() < deadline and quiet < 3:
            quiet = quiet + 1 if self.waiting() == 0 else 0
            time.sleep(2)
        return self.waiting()

    def all_alerts(self) -> Iterator[dict[str, Any]]:
        query: dict[str, Any] = {"limit": 1000}
        while True:
            page = self.get("/api/v1/alerts", **query)
            yield from page["alerts"]
            if not page.get("next"):
                return
            query["next"] = page["next"]


@dataclass
class Receiver:
    """An HTTP receiver that keeps (time, path, id, body) of what it took; `status` is what it answers."""

    status: int = 200
    taken: list[tuple[float, str, str, dict[str, Any]]] = field(default_factory=list)
    refused: int = 0
    url: str = ""

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if receiver.status == 200:
                    identity = self.headers.get("webhook-id", "")
                    where = self.path.partition("?")[0]
                    receiver.taken.append((time.time(), where, identity, json.loads(body)))
                else:
                    receiver.refused += 1
                self.send_response(receiver.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Say nothing when a killed bridge breaks a connection."""

        server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def of(self, path: str) -> list[tuple[float, str, dict[str, Any]]]:
        return [(at, identity, body) for at, where, identity, body in list(self.taken) if where == path]


class Mailbox:
    """What a real SMTP server on the loopback took: (time, bytes)."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, bytes]] = []

    async def handle_DATA(  # noqa: N802  the name that aiosmtpd calls
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        del server, session
        self.taken.append((time.time(), envelope.original_content or b""))
        return "250 OK"

    @contextmanager
    def running(self) -> Iterator[int]:
        port = free_port()
        controller = Controller(self, hostname="127.0.0.1", port=port)
        controller.start()
        try:
            yield port
        finally:
            controller.stop()


@contextmanager
def alertmanager(program: str, directory: Path, bridge: str, group_by: Sequence[str]) -> Iterator[str]:
    """Run a real Alertmanager that groups by these labels and tells the bridge."""
    port = free_port()
    settings = {
        "route": {
            "receiver": "bridge",
            "group_by": list(group_by),
            "group_wait": "1s",
            "group_interval": "5s",
            "repeat_interval": "4h",
        },
        "receivers": [{"name": "bridge", "webhook_configs": [{"url": f"{bridge}/alertmanager"}]}],
    }
    config = directory / "alertmanager.yml"
    config.write_text(json.dumps(settings), encoding="utf-8")
    with (directory / "alertmanager.log").open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.path={directory / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def alert(group: int, number: int, severity: str, **more: str) -> dict[str, Any]:
    """One alert of a column that drifted, as Prometheus posts it to Alertmanager."""
    model = f"model_{group % 100:03d}"
    labels = {
        "alertname": "MLColumnDrift",
        "severity": severity,
        "model": model,
        "version": f"v{group}",
        "window": "1d",
        "column": f"feature_{number:04d}",
        "role": "feature",
        "instance": "127.0.0.1:10090",
        "job": "ml-exporter",
        **more,
    }
    annotations = {
        "summary": f"Columns of {model} drifted",
        "description": f"feature_{number:04d}: ks 0.21 is above 0.06 (v{group}, 1d).",
        "runbook_url": "http://127.0.0.1:10090/runbooks/MLColumnDrift",
        "dashboard_url": f"http://127.0.0.1:3000/d/ml-drift/drift?var-model={model}",
        "value": "0.21",
        "threshold": "0.06",
    }
    return {"labels": labels, "annotations": annotations, "generatorURL": "http://127.0.0.1:9090/graph"}


def webhook(group: Mapping[str, str], alerts: Sequence[Mapping[str, Any]], started: str) -> dict[str, Any]:
    """What Alertmanager would post for one group."""
    return {
        "version": "4",
        "receiver": "bridge",
        "status": "firing",
        "groupKey": "{}:" + json.dumps(group, sort_keys=True),
        "groupLabels": dict(group),
        "commonLabels": dict(group),
        "commonAnnotations": {},
        "externalURL": "http://127.0.0.1:9093",
        "truncatedAlerts": 0,
        "alerts": [
            {
                **one,
                "status": one.get("status", "firing"),
                "startsAt": started,
                "endsAt": one.get("endsAt", "0001-01-01T00:00:00Z"),
                "fingerprint": f"{abs(hash(json.dumps(one['labels'], sort_keys=True))):016x}"[:16],
            }
            for one in alerts
        ],
    }
