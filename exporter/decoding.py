"""Decoding that keeps what is slow or can crash out of the main process.

`orjson.loads` of 8 MB holds the interpreter lock for so long that a scrape waits a second, and a damaged
Parquet footer can end the process that reads it. JSON and NDJSON over a threshold and all Parquet go to
worker processes at nice 5 that answer with Arrow; all else is decoded where it is, by code that releases the
lock.
See docs/adr/0004-decoding.md.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import orjson
import pyarrow as pa

from exporter import errors
from exporter.compression import Bytes
from exporter.decoding_worker import ANSWER, ERROR, REQUEST, Request, receive
from exporter.errors import BadRequestError, BusyError, TooLargeError, UnreadableError
from exporter.formats import JSON, NDJSON, PARQUET, decode, media_type, read
from exporter.limits import Limits
from exporter.reading import opened
from exporter.schema import Schema

THRESHOLD_BYTES = 256 * 1024
_LAST_MOMENT_SECONDS = 1.0
_CRASHES = {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL}
_STARTUP = "from exporter.decoding_worker import main; main()"


class Decoder:
    """Decodes bodies as :func:`exporter.formats.decode` does, large JSON and Parquet in worker processes.

    Safe to share between threads. Workers are started when they are first needed, or by :meth:`start`.

    Parameters
    ----------
    processes : int
        Worker processes at most.
    threshold_bytes : int
        Decompressed JSON from this size on goes to a worker.
    deadline_seconds : float
        For one body, waiting for a worker included.
    queue : int
        Bodies that may wait for a worker; more are refused with BusyError.
    """

    def __init__(
        self,
        processes: int = 2,
        *,
        threshold_bytes: int = THRESHOLD_BYTES,
        deadline_seconds: float = 30.0,
        queue: int = 16,
    ) -> None:
        self._threshold = threshold_bytes
        self._deadline = deadline_seconds
        self._free = threading.Semaphore(processes)
        self._admitted = threading.BoundedSemaphore(processes + queue)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._processes = processes
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start all workers in the background, so that the first body does not wait for their imports."""
        workers = [self._take() for _ in range(self._processes)]
        for worker in workers:
            self._give_back(worker)

    def decode(
        self,
        body: Bytes,
        content_type: str,
        content_encoding: str | None = None,
        *,
        limits: Limits | None = None,
        schema: Schema | None = None,
    ) -> pa.Table:
        """The rows in a body; see :func:`exporter.formats.decode`.

        Raises
        ------
        UnreadableError
            Also when two workers in turn crashed over this body.
        BusyError
            Too many bodies wait, two workers in turn were killed, or the decoder is closed.
        TooLargeError
            Also when a body took longer than the deadline.
        """
        limits = limits or Limits()
        kind = media_type(content_type)
        if kind not in (JSON, NDJSON, PARQUET):
            return decode(body, content_type, content_encoding, limits=limits, schema=schema)
        content = opened(body, content_encoding, limits)
        if kind != PARQUET and len(content) < self._threshold:
            return read(content, kind, limits, schema)
        if not self._admitted.acquire(blocking=False):
            raise BusyError("Too many large bodies wait to be decoded.")
        try:
            return self._decode_elsewhere(content, kind, limits, schema)
        finally:
            self._admitted.release()

    def close(self) -> None:
        """End all workers and wait until they are gone; bodies in their hands fail with BusyError."""
        with self._lock:
            self._closed = True
            workers = list(self._workers)
            self._workers.clear()
            self._idle.clear()
        for worker in workers:
            worker.end()

    def _decode_elsewhere(self, content: Bytes, kind: str, limits: Limits, schema: Schema | None) -> pa.Table:
        until = time.monotonic() + self._deadline
        crashed = False
        if not self._free.acquire(timeout=self._deadline):
            raise BusyError("No decoding process became free in time.")
        try:
            for fast in (True, False):
                worker = self._take()
                request = Request(kind, fast, limits, schema)
                try:
                    answer = worker.ask(request, content, until)
                except TimeoutError:
                    self._discard(worker)
                    raise TooLargeError(
                        f"The body could not be decoded within {self._deadline:g} seconds; send less at once."
                    ) from None
                except (EOFError, OSError):
                    crashed = self._discard(worker) in _CRASHES
                    continue
                self._give_back(worker)
                return _read(*answer)
        finally:
            self._free.release()
        if crashed:
            raise UnreadableError("The body is so damaged that its reader crashed.")
        raise BusyError("The decoding process was killed twice over this body.")

    def _take(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise BusyError("The decoder is closed.")
            if self._idle:
                return self._idle.pop()
            worker = _Worker()
            self._workers.add(worker)
            return worker

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(worker)

    def _discard(self, worker: _Worker) -> int:
        """End a worker and give its exit code, negative for a signal."""
        with self._lock:
            self._workers.discard(worker)
        return worker.end()


class _Worker:
    """One worker process and our end of its socket; asked by one thread at a time."""

    def __init__(self) -> None:
        package = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
        self._gone = False
        self._socket, other = socket.socketpair()
        with other:
            self.process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-c", _STARTUP],
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": path},
            )

    def ask(self, request: Request, content: Bytes, until: float) -> tuple[bytes, memoryview]:
        """The kind and bytes of the answer; TimeoutError at `until`, EOFError or OSError when it is gone."""
        head = pickle.dumps(request)
        try:
            self._limit(until)
            self._socket.sendall(REQUEST.pack(len(head), len(content)) + head)
            self._limit(until)
            self._socket.sendall(content)
            self._limit(until)
            kind, size = ANSWER.unpack(receive(self._socket, ANSWER.size))
            self._limit(until)
            return kind, receive(self._socket, size)
        except TimeoutError:
            raise
        except (EOFError, OSError):
            self._gone = True
            raise

    def _limit(self, until: float) -> None:
        self._socket.settimeout(max(until - time.monotonic(), 0.001))

    def end(self) -> int:
        try:
            code = self.process.wait(_LAST_MOMENT_SECONDS if self._gone else 0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._socket.close()
        return code


def _read(kind: bytes, answer: memoryview) -> pa.Table:
    if kind == ERROR:
        parts = orjson.loads(answer)
        error: type[BadRequestError] = getattr(errors, parts["error"])
        raise error(parts["message"], details=parts["details"])
    with pa.ipc.open_stream(pa.py_buffer(answer)) as reader:
        return reader.read_all()
