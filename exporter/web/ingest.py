"""Requests that bring data: batches, labels, profiles, baselines.

Each is refused as early as it can be: who asks, which model, which content type and how large come from the
header; then there must be room for one more body; only then is the body read, once, against a deadline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
from flask import Request, Response, request

from exporter.baseline import BASELINE_TYPE
from exporter.compression import Bytes, decompress
from exporter.errors import BadRequestError, TooLargeError, UnreadableError, UnsupportedFormatError
from exporter.limits import Limits
from exporter.profilefile import PROFILE_TYPE
from exporter.schema import Schema
from exporter.web.answers import RequestTimeoutError, json_response
from exporter.web.limits import Admission, WebLimits
from exporter.web.operations import JSON_TYPE, ROW_TYPES, parse_time
from exporter.web.protocol import AnswerProtocol, ServiceProtocol

_READ_BYTES = 256 * 1024
_PERIOD_BYTES = 4096
_ENCODINGS = ("gzip", "zstd")


class DecoderProtocol(Protocol):
    """Bytes to columns; :class:`exporter.decoding.Decoder` is the real one."""

    def decode(
        self,
        body: bytes | memoryview,
        content_type: str,
        content_encoding: str | None,
        *,
        limits: Limits,
        schema: Schema | None,
    ) -> pa.Table: ...


@dataclass(frozen=True, slots=True)
class Received:
    """One body: its bytes, what they are, and the key under which the client may repeat it."""

    data: Bytes
    content_type: str
    encoding: str | None
    key: str | None
    body_hash: str


class Ingest:
    """Handlers of the operations with a body."""

    def __init__(self, service: ServiceProtocol, decoder: DecoderProtocol, limits: WebLimits) -> None:
        self._service = service
        self._decoder = decoder
        self._limits = limits
        self._decoding = Limits(body_bytes=limits.body_bytes)
        self._admission = Admission(limits)

    def push_batch(self, model: str, version: str, backfill: bool) -> Response:
        schema = self._service.schema(model)
        with self._body(ROW_TYPES, version=version, backfill=backfill) as body:
            table = self._rows(body, schema)
            return _answer(
                self._service.ingest_batch(
                    model, table, version=version, key=body.key, body_hash=body.body_hash, backfill=backfill
                )
            )

    def push_labels(self, model: str) -> Response:
        schema = self._service.schema(model)
        with self._body(ROW_TYPES) as body:
            table = self._rows(body, schema)
            return _answer(self._service.ingest_labels(model, table, key=body.key, body_hash=body.body_hash))

    def push_profile(self, model: str, version: str) -> Response:
        self._service.schema(model)
        with self._body((PROFILE_TYPE,), version=version) as body:
            return _answer(
                self._service.ingest_profile(
                    model, self._plain(body), version=version, key=body.key, body_hash=body.body_hash
                )
            )

    def create_baseline(self, model: str, version: str | None, activate: bool, regrid: bool) -> Response:
        schema = self._service.schema(model)
        parameters = {"version": version, "activate": activate, "regrid": regrid}
        with self._body((*ROW_TYPES, BASELINE_TYPE), **parameters) as body:
            source: dict[str, Any]
            if body.content_type == BASELINE_TYPE:
                source = {"artifact": self._plain(body)}
            elif (period := _period(body)) is not None:
                source = {"period": period}
            else:
                source = {"table": self._rows(body, schema)}
            return _answer(
                self._service.create_baseline(
                    model,
                    version=version,
                    activate=activate,
                    regrid=regrid,
                    key=body.key,
                    body_hash=body.body_hash,
                    **source,
                )
            )

    @contextmanager
    def _body(self, accepted: tuple[str, ...], **parameters: str | bool | None) -> Iterator[Received]:
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

    def _rows(self, body: Received, schema: Schema) -> pa.Table:
        return self._decoder.decode(
            memoryview(body.data), body.content_type, body.encoding, limits=self._decoding, schema=schema
        )

    def _plain(self, body: Received) -> bytes:
        return bytes(decompress(body.data, body.encoding, maximum_bytes=self._decoding.decoded_bytes))


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


def _period(body: Received) -> tuple[float, float] | None:
    """The past window that a small JSON object ``{"from": T, "to": T}`` names."""
    if body.content_type != JSON_TYPE or body.encoding is not None or len(body.data) > _PERIOD_BYTES:
        return None
    try:
        value = orjson.loads(bytes(body.data))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or not {"from", "to"} & value.keys() or {"rows", "columns"} & value.keys():
        return None
    if value.keys() != {"from", "to"}:
        raise BadRequestError(
            f"expected the keys from and to and no others, but {', '.join(map(str, value))} came",
            code="bad_period",
        )
    start, end = parse_time(value["from"], "from"), parse_time(value["to"], "to")
    if not start < end:
        raise BadRequestError("expected from to be before to, but it is not", code="bad_period")
    return start, end


def _answer(answer: AnswerProtocol) -> Response:
    return json_response(answer.body, answer.status)
