"""How much one client, and all clients together, may ask of the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from exporter.errors import BusyError

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class WebLimits:
    """Limits of the HTTP server.

    Attributes
    ----------
    body_bytes : int
        Largest request body as it comes over the wire (before decompression); beyond it 413.
    body_seconds : float
        Time for the whole body of one request, from its header on; beyond it 408.
    header_seconds : float
        Time for the whole header of one request, from its first byte on, TLS handshake included.
    header_bytes : int
        Largest header of one request.
    response_seconds : float
        Time a client may take to read a response.
    idle_seconds : float
        How long a connection may wait for its next request. Idle connections hold no thread.
    ingestions : int
        Requests with a body that are read, decoded or stored at once; beyond it 503 at once.
    ingestion_bytes : int
        Bytes of bodies that may be held in memory at once; beyond it 503 at once.
    webhooks, webhook_bytes : int
        The same for webhooks to the bridge. All groups of an Alertmanager may come at once; what is refused
        comes again.
    threads : int
        Worker threads. Must exceed `ingestions` and `webhooks`, so that scrapes always find a free one.
    connections : int
        Open connections; beyond it new ones are closed at once.
    """

    body_bytes: int = 64 * MEBIBYTE
    body_seconds: float = 60.0
    header_seconds: float = 5.0
    header_bytes: int = 64 * 1024
    response_seconds: float = 60.0
    idle_seconds: float = 120.0
    ingestions: int = 8
    ingestion_bytes: int = 256 * MEBIBYTE
    webhooks: int = 8
    webhook_bytes: int = 64 * MEBIBYTE
    threads: int = 40
    connections: int = 512


class Admission:
    """Lets a bounded number of bodies in at once; refuses the others at once instead of queueing them."""

    def __init__(self, limits: WebLimits) -> None:
        self._requests = limits.ingestions
        self._bytes = max(limits.ingestion_bytes, limits.body_bytes)
        self._lock = threading.Lock()
        self._running = 0
        self._held = 0

    @contextmanager
    def admit(self, size: int) -> Iterator[None]:
        """Hold one place and `size` bytes. Raises :class:`BusyError` when there is no room."""
        with self._lock:
            if self._running >= self._requests or self._held + size > self._bytes:
                raise BusyError(
                    f"expected at most {self._requests} requests with a body at once; come again in a second"
                )
            self._running += 1
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                self._held -= size
