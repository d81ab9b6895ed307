"""A running server over a service in memory that is as small as the web's tests need it."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pytest
import requests

from exporter.compression import decompress
from exporter.errors import ConflictError, KeyReusedError, NotFoundError, UnreadableError, UnusableBatchError
from exporter.schema import Schema, Task
from exporter.web.app import create_app
from exporter.web.auth import Authenticator
from exporter.web.limits import WebLimits
from exporter.web.server import WebServer

MODEL = "flight_delay"


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    text: bytes
    openmetrics: bytes

    @property
    def text_gzip(self) -> bytes:
        return gzip.compress(self.text, 1)

    @property
    def openmetrics_gzip(self) -> bytes:
        return gzip.compress(self.openmetrics, 1)


@dataclass
class StandInService:
    """Keeps what it is given; one model called `flight_delay`."""

    ready: bool = True
    failure: Exception | None = None
    hold: threading.Event | None = None
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    answers: dict[str, tuple[str, Answer]] = field(default_factory=dict)
    tables: list[pa.Table] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    snapshot_text: bytes = b"# HELP ml_rows_total Rows.\n# TYPE ml_rows_total counter\nml_rows_total 1\n"

    def schema(self, model: str) -> Schema:
        if model != MODEL:
            raise NotFoundError(f"no model {model!r} is configured")
        return Schema(model, Task.BINARY, "predicted", "delayed", id="flight_id", score="probability")

    def _stored(self, name: str, key: str | None, body_hash: str, status: int = 202, **fields: Any) -> Answer:
        self.calls.append((name, {**fields, "key": key, "body_hash": body_hash}))
        self.entered.release()
        if self.hold is not None:
            self.hold.wait(30)
        if self.failure is not None:
            raise self.failure
        if key is not None and key in self.answers:
            known, answer = self.answers[key]
            if known != body_hash:
                raise KeyReusedError("this key came with another body")
            return Answer(200, {**answer.body, "duplicate": True})
        rows = fields["table"].num_rows if fields.get("table") is not None else 0
        if fields.get("table") is not None:
            self.tables.append(fields["table"])
        body = {"batch_id": str(len(self.calls)), "rows": rows, "accepted": rows}
        answer = Answer(status, {**body, "rejected": {}, "warnings": [], "duplicate": False})
        if key is not None:
            self.answers[key] = (body_hash, answer)
        return answer

    def ingest_batch(self, model: str, table: pa.Table, **fields: Any) -> Answer:
        return self._stored("batch", table=table, **fields)

    def ingest_labels(self, model: str, table: pa.Table, **fields: Any) -> Answer:
        return self._stored("labels", table=table, **fields)

    def ingest_profile(self, model: str, data: bytes, **fields: Any) -> Answer:
        if data == b"stale":
            raise ConflictError("the grid is stale", code="stale_grid", details=[{"grid": "g2"}])
        return self._stored("profile", data=data, **fields)

    def create_baseline(self, model: str, **fields: Any) -> Answer:
        return self._stored("baseline", status=201, **fields)

    def list_baselines(self, model: str) -> list[dict[str, Any]]:
        self.schema(model)
        return [{"id": "b1", "active": True, "rows": 10}]

    def show_baseline(self, model: str, baseline: str) -> dict[str, Any]:
        self.schema(model)
        if baseline != "b1":
            raise NotFoundError(f"no baseline {baseline!r}")
        return {"id": "b1", "active": True, "rows": 10}

    def baseline_artifact(self, model: str, baseline: str) -> bytes:
        self.show_baseline(model, baseline)
        return b"artifact"

    def activate_baseline(self, model: str, baseline: str) -> dict[str, Any]:
        return self.show_baseline(model, baseline)

    def delete_baseline(self, model: str, baseline: str) -> dict[str, Any]:
        return {"deleted": self.show_baseline(model, baseline)["id"]}

    def list_models(self) -> list[dict[str, Any]]:
        model = {"name": MODEL, "task": "binary", "state": "ok", "windows": ["1d", "7d"], "baseline": None}
        return [{**model, "last_batch": None}]

    def show_model(self, model: str) -> dict[str, Any]:
        self.schema(model)
        return self.list_models()[0]

    def _view(self, name: str, model: str, **view: str | None) -> dict[str, Any]:
        self.schema(model)
        if self.failure is not None:
            raise self.failure
        return {"view": name, **view}

    def performance(self, model: str, **view: str | None) -> dict[str, Any]:
        return self._view("performance", model, **view)

    def drift(self, model: str, **view: str | None) -> dict[str, Any]:
        return self._view("drift", model, **view)

    def quality(self, model: str, **view: str | None) -> dict[str, Any]:
        return self._view("quality", model, **view)

    def status(self, model: str) -> dict[str, Any]:
        return self._view("status", model)

    def distributions(self, model: str, column: str, **view: str | None) -> dict[str, Any]:
        return self._view("distributions", model, column=column, **view)

    def grid(self, model: str) -> dict[str, Any]:
        return self._view("grid", model)

    def delete_data(self, model: str) -> dict[str, Any]:
        return self._view("delete_data", model)

    def delete_version(self, model: str, version: str) -> dict[str, Any]:
        return self._view("delete_version", model, version=version)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.snapshot_text, self.snapshot_text + b"# EOF\n")

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.append((method, route, status))


class StandInDecoder:
    """Bare arrays of JSON rows."""

    def decode(self, body, content_type, content_encoding, *, limits, schema):
        data = decompress(body, content_encoding, maximum_bytes=limits.decoded_bytes)
        try:
            rows = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise UnreadableError(f"expected JSON: {error}") from error
        if not isinstance(rows, list):
            raise UnusableBatchError("expected an array of rows")
        return pa.Table.from_pylist(rows)


@dataclass
class Web:
    """A server that runs, the service behind it, and a way to speak to it."""

    server: WebServer
    service: StandInService
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def url(self) -> str:
        return self.server.url

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=20, **options)

    def push(
        self, data: Any, path: str = f"/api/v1/models/{MODEL}/batches", **headers: str
    ) -> requests.Response:
        sent = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        body = orjson.dumps(data) if isinstance(data, list | dict) else data
        return self.ask("POST", path, data=body, headers=sent)

    def raw(self, *pieces: bytes, seconds: float = 10.0) -> bytes:
        """Everything that the server answers to these bytes until it closes the connection."""
        with socket.create_connection(self.server.address, timeout=seconds) as client:
            for piece in pieces:
                client.sendall(piece)
            answer = b""
            while received := client.recv(65536):
                answer += received
        return answer


@pytest.fixture
def serve() -> Iterator[Callable[..., Web]]:
    """Give a function that starts a server on a free port; all are stopped at the end."""
    started: list[Web] = []

    def start(
        *, limits: WebLimits | None = None, auth: Authenticator | None = None, tls: Any = None, **options: Any
    ) -> Web:
        service = StandInService()
        app = create_app(service, decoder=StandInDecoder(), auth=auth, limits=limits, **options)
        server = WebServer(app, ("127.0.0.1", 0), limits=limits, tls=tls)
        server.start()
        started.append(Web(server, service))
        return started[-1]

    yield start
    for web in started:
        if web.service.hold is not None:
            web.service.hold.set()
        web.session.close()
        web.server.stop(5)


@pytest.fixture
def web(serve: Callable[..., Web]) -> Web:
    """Give a server with default settings and nobody to authenticate."""
    return serve()
