"""Bodies of requests: refused as early as they can be, then read once, against a deadline.

Which content type and how large come from the header; then there must be room for one more body; only then is
it read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from flask import Request, request

from exporter.compression import Bytes, decompress
from exporter.errors import BadRequestError, TooLargeError, UnreadableError, UnsupportedFormatError
from exporter.web.answers import RequestTimeoutError
from exporter.web.limits import Admission, WebLimits

_READ_BYTES = 256 * 1024
_ENCODINGS = ("gzip", "zstd")


@dataclass(frozen=True, slots=True)
class Received:
    """One body: its bytes, what they are, and the key under which the client may repeat it."""

    data: Bytes
    content_type: str
    encoding: str | None
    key: str | None
    body_hash: str

    def plain(self, maximum_bytes: int) -> bytes:
        """Bytes before they were packed. Raises :class:`TooLargeError` beyond `maximum_bytes`."""
        return bytes(decompress(self.data, self.encoding, maximum_bytes=maximum_bytes))


class Bodies:
    """Takes in the bodies of some operations, with limits that are theirs alone."""

    def __init__(self, limits: WebLimits) -> None:
        self._limits = limits
        self._admission = Admission(limits)

    @contextmanager
    def receive(self, accepted: tuple[str, ...], **parameters: str | bool | None) -> Iterator[Received]:
        """Read the body of the request that is under way; its memory counts while the block runs."""
        content_type, encoding = _content_type(request, accepted), _encoding(request)
        key = idempotency_key(request)
        length = request.content_length
        if length is not None and length > self._limits.body_bytes:
            raise _too_large(self._limits.body_bytes, length)
        if length is None and not request.environ.get("wsgi.input_terminated"):
            length = 0
        with self._admission.admit(self._limits.body_bytes if length is None else length):
            data = _read(request.environ["wsgi.input"], length, self._limits.body_bytes)
            yield Received(data, content_type, encoding, key, content_hash(data, parameters))


def content_hash(data: bytes | bytearray | memoryview, parameters: Mapping[str, str | bool | None]) -> str:
    """What an idempotency key stands for: the body as it came, and the parameters that came with it."""
    asked = orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(hashlib.sha256(data).digest() + asked).hexdigest()


def idempotency_key(request: Request) -> str | None:
    """The request's key. Raises :class:`BadRequestError` unless it is 1 to 255 printable ASCII characters."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise BadRequestError(
            f"expected an Idempotency-Key of 1 to 255 printable ASCII characters, but one of {len(key)} came",
            code="bad_idempotency_key",
        )
    return key


def _content_type(request: Request, accepted: tuple[str, ...]) -> str:
    mimetype = request.mimetype
    if mimetype not in accepted:
        came = repr(mimetype[:80]) if mimetype else "no Content-Type"
        raise UnsupportedFormatError(f"expected one of {', '.join(accepted)}, but {came} came")
    return mimetype


def _encoding(request: Request) -> str | None:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return None
    if encoding not in _ENCODINGS:
        raise UnsupportedFormatError(
            f"expected Content-Encoding gzip or zstd, but {encoding[:80]!r} came", code="unsupported_encoding"
        )
    return encoding


def _read(stream: Any, length: int | None, limit: int) -> Bytes:
    """The whole body; `length` is None when it comes in chunks."""
    return _read_chunks(stream, limit) if length is None else _read_sized(stream, length)


def _read_sized(stream: Any, length: int) -> memoryview:
    buffer = np.empty(length, np.uint8).data  # not zeroed, so what does not come takes no memory
    position = 0
    try:
        while position < length:
            count = stream.readinto(buffer[position:])
            if not count:
                raise UnreadableError(f"expected {length} bytes of body, but {position} came")
            position += count
    except TimeoutError:
        raise _too_slow(position) from None
    return buffer


def _read_chunks(stream: Any, limit: int) -> bytearray:
    data = bytearray()
    try:
        while piece := stream.read(_READ_BYTES):
            data += piece
            if len(data) > limit:
                raise _too_large(limit, None)
    except TimeoutError:
        raise _too_slow(len(data)) from None
    return data


def _too_slow(came: int) -> RequestTimeoutError:
    return RequestTimeoutError(f"expected the whole body in time, but after {came} bytes it took too long")


def _too_large(limit: int, length: int | None) -> TooLargeError:
    return TooLargeError(
        f"expected a body of at most {limit} bytes, but {'more' if length is None else length} came"
    )
