"""Reading from and writing to one client's socket, every wait with a deadline.

Cheroot's own streams are in pure Python, copy a large body or answer many times, and wait anew for every
packet, so that a client that sends a byte a second holds a thread for ever. These read with one buffer,
write from a view, and stop at a deadline for the whole.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from cheroot.errors import FatalSSLAlert

from exporter.errors import TooLargeError, UnreadableError
from exporter.web.patience import Patience

T = TypeVar("T")

RECEIVE_BYTES = 256 * 1024
_LINE_BYTES = 8192
_HELD_BYTES = 16 * 1024
_UNREAD = "the client did not read its response in time"


class SocketReader:
    """Buffered reads from a socket, for as long as :meth:`allow` says."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._patience: Patience | None = None
        self._buffer = b""
        self._position = 0
        self.bytes_read = 0
        self.closed = False
        self._since = self._deadline = time.monotonic()

    def allow(self, seconds: float, patience: Patience | None = None) -> None:
        """Read for up to `seconds` from now on; without `patience` the caller bounds how many do so."""
        self._since = time.monotonic()
        self._deadline = self._since + seconds
        self._patience = patience

    def has_data(self) -> bool:
        """Whether bytes are at hand that a selector on the socket does not see."""
        if self._position < len(self._buffer):
            return True
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def read_some(self, size: int) -> bytes:
        """Between 1 and `size` bytes; none at the end. Raises TimeoutError at the deadline."""
        if self._position < len(self._buffer):
            data = self._buffer[self._position : self._position + size]
            self._position += len(data)
            return data
        return self._receive(size)

    def read_into(self, buffer: memoryview) -> int:
        """Fill the start of a buffer with what is at hand; how many bytes, 0 at the end."""
        if self._position < len(self._buffer):
            data = self.read_some(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        count = self._translated(lambda: self._socket.recv_into(buffer))
        self.bytes_read += count
        return count

    def readline(self, size: int = _LINE_BYTES) -> bytes:
        """One line with its end, or its first `size` bytes."""
        line = b""
        while True:
            if self._position >= len(self._buffer):
                self._buffer, self._position = self._receive(_LINE_BYTES), 0
                if not self._buffer:
                    return line
            wanted = self._position + size - len(line)
            end = self._buffer.find(b"\n", self._position, wanted)
            stop = min(wanted, len(self._buffer)) if end < 0 else end + 1
            line += self._buffer[self._position : stop]
            self._position = stop
            if end >= 0 or len(line) >= size:
                return line

    def close(self) -> None:
        self.closed = True

    def _receive(self, size: int) -> bytes:
        data = self._translated(lambda: self._socket.recv(size))
        self.bytes_read += len(data)
        return data

    def _translated(self, operation: Callable[[], T]) -> T:
        try:
            return self._waited_for(operation)
        except TimeoutError:
            raise TimeoutError("timed out") from None
        except ssl.SSLError as error:
            raise FatalSSLAlert(*error.args) from error

    def _waited_for(self, operation: Callable[[], T]) -> T:
        if self._patience is not None:
            return self._patience.wait(self._socket, operation, since=self._since, deadline=self._deadline)
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(remaining)
        return operation()


class SocketWriter:
    """Unbuffered writes to a socket, each whole write within `seconds`."""

    def __init__(self, sock: socket.socket, seconds: float, patience: Patience) -> None:
        self._socket = sock
        self._seconds = seconds
        self._patience = patience
        self._held: bytes | None = None
        self.bytes_written = 0

    def hold(self) -> None:
        """Keep the next small write, the header, to send it with what follows."""
        self._held = b""

    def flush(self) -> None:
        """Send what is kept."""
        held, self._held = self._held, None
        if held:
            self._send(held)

    def write(self, data: bytes) -> int:
        if self._held is not None:
            if len(self._held) + len(data) <= _HELD_BYTES:
                self._held += data
                return len(data)
            self.flush()
        self._send(data)
        return len(data)

    def _send(self, data: bytes) -> None:
        since = time.monotonic()
        view = memoryview(data)
        while view:
            try:
                sent = self._patience.wait(
                    self._socket,
                    partial(self._socket.send, view),
                    since=since,
                    deadline=since + self._seconds,
                )
            except TimeoutError:
                raise ConnectionAbortedError(errno.ECONNABORTED, _UNREAD) from None
            except ssl.SSLError as error:
                raise FatalSSLAlert(*error.args) from error
            view = view[sent:]
            self.bytes_written += sent


class Body(Protocol):
    """The body of one request: at most `size` bytes a read, none at the end."""

    @property
    def exhausted(self) -> bool: ...
    def read(self, size: int = -1) -> bytes: ...


class SizedBody:
    """A body whose length the header gave."""

    def __init__(self, reader: SocketReader, length: int, before_read: Callable[[], None]) -> None:
        self._reader = reader
        self._left = length
        self._before_read = before_read

    @property
    def exhausted(self) -> bool:
        return self._left == 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return self._left

    def read(self, size: int = -1) -> bytes:
        if self._left == 0:
            return b""
        self._before_read()
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._reader.read_some(min(wanted, RECEIVE_BYTES))
        if not data:
            raise UnreadableError(f"expected {self._left} more bytes of body, but the connection ended")
        self._left -= len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of a buffer; how many bytes, 0 at the end."""
        if self._left == 0:
            return 0
        self._before_read()
        count = self._reader.read_into(buffer[: self._left])
        if not count:
            raise UnreadableError(f"expected {self._left} more bytes of body, but the connection ended")
        self._left -= count
        return count


class ChunkedBody:
    """A body in chunks (RFC 9112, 7.1), read piece by piece whatever the chunks' sizes are."""

    def __init__(self, reader: SocketReader, before_read: Callable[[], None]) -> None:
        self._reader = reader
        self._before_read = before_read
        self._left = 0
        self._started = False
        self.exhausted = False

    def read(self, size: int = -1) -> bytes:
        if self.exhausted or size == 0:
            return b""
        self._before_read()
        if self._left == 0 and not self._next_chunk():
            return b""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._reader.read_some(min(wanted, RECEIVE_BYTES))
        if not data:
            raise UnreadableError("expected another chunk of the body, but the connection ended")
        self._left -= len(data)
        return data

    def _next_chunk(self) -> bool:
        if self._started and self._reader.readline(3) != b"\r\n":
            raise UnreadableError("expected a line end after a chunk of the body, but other bytes came")
        self._started = True
        line = self._reader.readline(_LINE_BYTES)
        digits = line.split(b";", 1)[0].strip()
        if not line.endswith(b"\n") or not digits or len(digits) > 16 or not _is_hexadecimal(digits):
            raise UnreadableError(f"expected the size of a chunk in hexadecimal, but {line[:40]!r} came")
        self._left = int(digits, 16)
        if self._left == 0:
            self._skip_trailers()
            self.exhausted = True
        return not self.exhausted

    def _skip_trailers(self) -> None:
        for _ in range(100):
            if self._reader.readline(_LINE_BYTES) in (b"\r\n", b"\n", b""):
                return
        raise TooLargeError("expected at most 100 trailers after the body, but more came")


def _is_hexadecimal(digits: bytes) -> bool:
    return all(digit in b"0123456789abcdefABCDEF" for digit in digits)
