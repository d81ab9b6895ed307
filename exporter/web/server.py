"""The WSGI server: cheroot in this process, hardened so that slow clients never keep a scrape waiting.

What is ours on top of cheroot (`docs/adr/0008-http-server.md` has the measurements):

- a connection gets a thread only once bytes have come, so idle ones cost nothing;
- the TLS handshake happens in that thread, not in the one that accepts;
- headers, bodies and responses have deadlines for the whole, not for each packet;
- only some threads wait for slow clients at once, so that there is always one for a scrape;
- ``100 Continue`` is sent when the body is first read, so refusing one costs no transfer;
- a response that leaves a body unread closes the connection after a short drain, so the client sees it;
- errors of the protocol have the one error shape.
"""

from __future__ import annotations

import logging
import math
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from cheroot import wsgi
from cheroot.server import DropUnderscoreHeaderReader, HTTPConnection, HTTPRequest
from cheroot.ssl import Adapter

from exporter.errors import ExporterError
from exporter.web.answers import error_body
from exporter.web.limits import WebLimits
from exporter.web.patience import Patience
from exporter.web.streams import ChunkedBody, SizedBody, SocketReader, SocketWriter

logger = logging.getLogger(__name__)

_DRAIN_BYTES = 64 * 1024
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 256 * 1024 * 1024
_PROMPT_THREADS = 8
"""Threads that neither take in bodies nor wait for slow clients: those for scrapes."""
_ONCE = (
    b"Host",
    b"Content-Length",
    b"Content-Type",
    b"Content-Encoding",
    b"Authorization",
    b"Idempotency-Key",
)


class ListenError(ExporterError):
    """The address to listen on cannot be had."""

    code = "cannot_listen"


class WebServer:
    """Serves a WSGI application from threads of this process.

    Parameters
    ----------
    app : WSGI application
    address : (host, port); port 0 lets the system choose
    limits : WebLimits
    tls : gives the TLS context for a new connection; None serves plain HTTP
    """

    def __init__(
        self,
        app: Any,
        address: tuple[str, int],
        *,
        limits: WebLimits | None = None,
        tls: Adapter | None = None,
    ) -> None:
        self._server = _Server(app, address, limits or WebLimits(), tls)
        self._thread: threading.Thread | None = None
        self._tls = tls is not None

    def start(self) -> None:
        """Bind, and serve from a thread. Raises :class:`ListenError`."""
        try:
            self._server.prepare()
        except OSError as error:
            host, port = self.address
            reason = re.search(r"\[Errno -?\d+\] ([^)]*)", str(error))
            raise ListenError(f"cannot listen on {host}:{port}: {reason[1] if reason else error}") from error
        self._thread = threading.Thread(target=self._server.serve, name="web-accept", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Host and the port that is really bound."""
        host, port = self._server.bind_addr[:2]
        return str(host), int(port)

    @property
    def url(self) -> str:
        """Where a client on this machine finds the server."""
        host, port = self.address
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def stop(self, drain_seconds: float = 30.0) -> None:
        """Take no new connection, let running requests finish for up to `drain_seconds`, close."""
        self._server.shutdown_timeout = drain_seconds
        self._server.stop()
        if self._thread is not None:
            self._thread.join(drain_seconds)
            self._thread = None


class _HeaderReader(DropUnderscoreHeaderReader):
    """Reads headers; refuses a repeated one that must be single, and keeps ``Expect`` for the request."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def _allow_header(self, key_name: bytes) -> bool:
        if key_name in _ONCE and key_name in self._seen:
            raise ValueError(f"expected one {key_name.decode('latin-1')} header, but several came")
        self._seen.add(key_name)
        return b"_" not in key_name


class _Request(HTTPRequest):
    """One request and its response."""

    expects_continue = False

    def parse_request(self) -> None:
        self.header_reader = self._read_headers
        self.conn.rfile.allow(self.server.limits.header_seconds, self.server.patience)
        super().parse_request()

    def _read_headers(self, rfile: Any, headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
        _HeaderReader()(rfile, headers)
        self.expects_continue = headers.pop(b"Expect", b"").lower() == b"100-continue"
        length = headers.get(b"Content-Length")
        if length is not None and not (length.isdigit() and len(length) < 19):
            raise ValueError("expected Content-Length to be a whole number")
        if length is not None and b"Transfer-Encoding" in headers:
            raise ValueError("expected Content-Length or Transfer-Encoding, but both came")
        return headers

    def respond(self) -> None:
        reader = self.conn.rfile
        reader.allow(self.server.limits.body_seconds)
        if self.chunked_read:
            self.rfile = ChunkedBody(reader, self._continue)
        else:
            self.rfile = SizedBody(reader, int(self.inheaders.get(b"Content-Length", 0)), self._continue)
        self.server.gateway(self).respond()
        if self.ready:
            self.ensure_headers_sent()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")
        self.conn.wfile.flush()

    def send_headers(self) -> None:
        body = self.rfile
        unread = isinstance(body, SizedBody | ChunkedBody) and not body.exhausted
        if unread and (self.expects_continue or not self._drained(body)):
            self.close_connection = True
            self.conn.unread = True
        self.conn.wfile.hold()
        super().send_headers()

    def simple_response(self, status: str | int, msg: str = "") -> None:
        """An error of the protocol, in the shape of all errors; the connection ends with it."""
        number, _, reason = str(status).partition(" ")
        code, sentence = _PROTOCOL_ERRORS.get(number, ("bad_request", ""))
        body = error_body(code, msg or sentence or reason)
        self.close_connection = True
        self.sent_headers = True
        self.conn.unread = True
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        with suppress(OSError):
            self.conn.wfile.write(head.encode("latin-1") + body)

    def _continue(self) -> None:
        if self.expects_continue:
            self.expects_continue = False
            self.conn.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _drained(self, body: SizedBody | ChunkedBody) -> bool:
        """Whether the rest of the body was small and is read away, so that the connection can stay."""
        if isinstance(body, ChunkedBody) or body.left > _DRAIN_BYTES:
            return False
        self.conn.rfile.allow(_LINGER_SECONDS, self.server.patience)
        try:
            while body.read():
                pass
        except (OSError, ExporterError):
            return False
        return True


_PROTOCOL_ERRORS = {
    "400": ("bad_request", "expected an HTTP/1.1 request"),
    "408": ("request_timeout", "expected the whole request header in time, but it did not come"),
    "413": ("too_large", ""),
    "414": ("too_large", ""),
    "500": ("internal_error", "the server failed on this request; its log says more"),
    "501": ("not_implemented", "expected no transfer encoding other than chunked"),
    "503": ("busy", "too many requests at once; come again in a second"),
    "505": ("bad_request", "expected HTTP/1.0 or HTTP/1.1"),
}


class _Connection(HTTPConnection):
    """One client's connection."""

    RequestHandlerClass = _Request
    unread = False

    def __init__(self, server: _Server, sock: socket.socket, makefile: Any = None) -> None:
        del makefile  # cheroot's streams are replaced

        def stream(sock: socket.socket, mode: str, size: int) -> SocketReader | SocketWriter:
            del size
            if mode == "rb":
                return SocketReader(sock)
            return SocketWriter(sock, server.limits.response_seconds, server.patience)

        super().__init__(server, sock, stream)

    def close(self) -> None:
        """Close; when the client may still be sending, read that away first so that it sees the answer."""
        if self.rfile.closed:
            return
        self.rfile.close()
        with suppress(OSError):
            if self.unread:
                self.socket.shutdown(socket.SHUT_WR)
                self._discard()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _discard(self) -> None:
        since = time.monotonic()
        received = 0
        while received < _LINGER_BYTES:
            data = self.server.patience.wait(
                self.socket,
                partial(self.socket.recv, 65536),
                since=since,
                deadline=since + _LINGER_SECONDS,
            )
            if not data:
                return
            received += len(data)


class _Server(wsgi.Server):
    ConnectionClass = _Connection
    keep_alive_conn_limit: Any = None  # the limit on all connections is ours
    expiration_interval = 0.1  # seconds; also how long stopping waits for the thread that accepts

    def __init__(self, app: Any, address: tuple[str, int], limits: WebLimits, tls: Adapter | None) -> None:
        super().__init__(
            address,
            app,
            numthreads=limits.threads,
            max=limits.threads,
            server_name="ml-exporter",
            request_queue_size=128,
            timeout=math.ceil(limits.idle_seconds),
        )
        self.limits = limits
        others = limits.threads - limits.ingestions - limits.webhooks - _PROMPT_THREADS
        self.patience = Patience(max(1, others))
        self.max_request_header_size = limits.header_bytes
        self.ssl_adapter = tls

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        """Bind; close what cannot be bound."""
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()
            raise
        return socket_

    def process_conn(self, conn: Any) -> None:
        """Give a connection a thread; a new one first waits, without a thread, for its first bytes."""
        if conn.last_used is not None:
            super().process_conn(conn)
            return
        connections: Any = self._connections  # type: ignore[attr-defined]  # cheroot's stubs leave it out
        if connections._num_connections >= self.limits.connections:  # noqa: SLF001  # no public count
            conn.close()
        else:
            connections.put(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        logger.log(level, "%s", msg, exc_info=traceback)


class LazyHandshake(Adapter):
    """TLS whose handshake happens at the first read, in the connection's own thread.

    `context` is asked for every new connection, so that certificates can change under a running server.
    """

    def __init__(self, context: Callable[[], Any]) -> None:
        self._new_context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[socket.socket, dict[str, str]]:
        wrapped = self._new_context().wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, self.get_environ()

    def get_environ(self) -> dict[str, str]:
        return {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        raise NotImplementedError("connections make their own streams")
