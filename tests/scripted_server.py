"""An HTTP server on the loopback that fails as it is told, for the tests of the client."""

from __future__ import annotations

import gzip
import io
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pyarrow as pa
import zstandard


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]

    @property
    def content(self) -> bytes:
        encoding = self.headers.get("content-encoding")
        if encoding == "gzip":
            return gzip.decompress(self.body)
        if encoding == "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(self.body)
        return self.body

    @property
    def table(self) -> pa.Table:
        return pa.ipc.open_stream(self.content).read_all()


@dataclass
class Reply:
    status: int = 202
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Take the request and close the connection without an answer."""


class ScriptedServer:
    """Answers from a script, then like an exporter that keeps idempotency keys."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.requests: list[Seen] = []
        self.kept: dict[str, int] = {}
        self.generation: str | None = None
        """When set, a model is shown with it, whatever the script says, and such requests are not noted."""
        self.count: Callable[[Seen], int] = lambda seen: seen.table.num_rows
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def _answer(self) -> None:
                url = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(self.command, url.path, parse_qs(url.query), headers, self.rfile.read(length))
                reply = script.show(seen)
                if reply is None:
                    script.requests.append(seen)
                    reply = script.script.popleft() if script.script else script.accept(seen)
                if reply.cut:
                    self.close_connection = True
                    return
                body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body or {})
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815  # the names that http.server calls

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def show(self, seen: Seen) -> Reply | None:
        """Describe the model, when that is asked for."""
        if self.generation is None or seen.method != "GET" or seen.path.count("/") != 4:
            return None
        return Reply(200, {"generation": self.generation})

    def accept(self, seen: Seen) -> Reply:
        """Count each key once."""
        if seen.method != "POST" or not seen.body:
            return Reply(200, {"path": seen.path})
        if seen.key in self.kept:
            return Reply(200, {"rows": self.kept[seen.key], "duplicate": True})
        rows = self.kept[seen.key] = self.count(seen)
        return Reply(202, {"rows": rows, "accepted": rows, "rejected": 0, "warnings": [], "duplicate": False})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def error(status: int, code: str, message: str = "no", **headers: str) -> Reply:
    """The error shape of the exporter."""
    body = {"error": {"code": code, "message": message, "details": [{"column": "x"}]}}
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def text_rows(seen: Seen) -> int:
    """Count rows of any content type."""
    content_type = seen.headers["content-type"]
    if "arrow" in content_type:
        return seen.table.num_rows
    lines = len(io.BytesIO(seen.content).readlines())
    return lines - 1 if content_type == "text/csv" else lines
