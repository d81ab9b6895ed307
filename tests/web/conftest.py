"""A running server over a real service, store and decoder, and a way to speak to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from exporter.clock import SystemClock
from exporter.config import parse_config
from exporter.decoding import Decoder
from exporter.service import Service
from exporter.store import Store
from exporter.web.app import create_app
from exporter.web.limits import WebLimits
from exporter.web.server import WebServer

MODEL = "flight_delay"
BATCHES = f"/api/v1/models/{MODEL}/batches"
CONFIGURATION = {
    "models": {
        MODEL: {
            "task": "binary",
            "columns": {
                "id": "flight_id",
                "prediction": "predicted",
                "score": "probability",
                "label": "delayed",
            },
            "features": {"distance": "numeric", "carrier": "categorical"},
            "windows": ["1d", "7d"],
            "baseline": {"rows": 1_000_000},
        },
        "other <model>": {"task": "regression", "columns": {"prediction": "y_pred", "label": "y"}},
    }
}


class FaultyService(Service):
    """The real service, in which the next calls can be made to fail or to wait."""

    failure: Exception | None = None
    hold: threading.Event | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.entered = threading.Semaphore(0)

    @contextmanager
    def failing(self, error: Exception) -> Iterator[None]:
        self.failure = error
        yield
        self.failure = None

    def _strike(self) -> None:
        self.entered.release()
        if self.hold is not None:
            self.hold.wait(30)
        if self.failure is not None:
            raise self.failure

    def ingest_batch(self, *arguments: Any, **options: Any) -> Any:
        self._strike()
        return super().ingest_batch(*arguments, **options)

    def drift(self, *arguments: Any, **options: Any) -> Any:
        self._strike()
        return super().drift(*arguments, **options)


@dataclass
class Web:
    """A server that runs and the service behind it."""

    server: WebServer
    service: FaultyService
    decoder: Decoder
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False  # neither proxies nor authorities of the machine

    @classmethod
    def start(cls, storage: Path, *, limits: WebLimits | None = None, tls: Any = None, **options: Any) -> Web:
        clock = SystemClock()
        service = FaultyService(parse_config(CONFIGURATION), Store.open(storage, clock=clock), clock=clock)
        decoder = Decoder()
        app = create_app(service, decoder=decoder, limits=limits, **options)
        server = WebServer(app, ("127.0.0.1", 0), limits=limits, tls=tls)
        server.start()
        service.start()
        return cls(server, service, decoder)

    def stop(self) -> None:
        if self.service.hold is not None:
            self.service.hold.set()
        self.session.close()
        self.server.stop(5)
        self.service.stop()
        self.decoder.close()

    @property
    def url(self) -> str:
        return self.server.url

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=20, **options)

    def push(self, data: Any, path: str = BATCHES, **headers: str) -> requests.Response:
        sent = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        body = orjson.dumps(data) if isinstance(data, list | dict) else data
        return self.ask("POST", path, data=body, headers=sent)

    def raw(self, *pieces: bytes, seconds: float = 10.0) -> bytes:
        """Everything that the server answers to these bytes until it closes the connection."""
        with socket.create_connection(self.server.address, timeout=seconds) as client:
            for piece in pieces:
                client.sendall(piece)
            return read_all(client)


def read_all(client: socket.socket) -> bytes:
    """Read what comes until the other side closes."""
    answer = b""
    while received := client.recv(65536):
        answer += received
    return answer


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """Give a function that starts a server on a free port; all are stopped at the end."""
    started: list[Web] = []

    def start(**options: Any) -> Web:
        started.append(Web.start(tmp_path / f"store-{len(started)}", **options))
        return started[-1]

    yield start
    for web in started:
        web.stop()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Give a server of the whole file, with default settings and nobody to authenticate."""
    web = Web.start(tmp_path_factory.mktemp("store"))
    yield web
    web.stop()
