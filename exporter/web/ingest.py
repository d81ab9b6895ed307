"""Requests that bring data: batches, labels, profiles, baselines."""

from __future__ import annotations

from typing import Any, Protocol

import orjson
import pyarrow as pa
from flask import Response

from exporter.baseline import BASELINE_TYPE
from exporter.errors import BadRequestError
from exporter.limits import Limits
from exporter.profilefile import PROFILE_TYPE
from exporter.schema import Schema
from exporter.web.answers import json_response
from exporter.web.bodies import Bodies, Received
from exporter.web.limits import WebLimits
from exporter.web.operation import JSON_TYPE, parse_time
from exporter.web.operations import ROW_TYPES
from exporter.web.protocol import AnswerProtocol, ServiceProtocol

_PERIOD_BYTES = 4096


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


class Ingest:
    """Handlers of the operations with a body."""

    def __init__(self, service: ServiceProtocol, decoder: DecoderProtocol, limits: WebLimits) -> None:
        self._service = service
        self._decoder = decoder
        self._bodies = Bodies(limits)
        self._decoding = Limits(body_bytes=limits.body_bytes)

    def push_batch(self, model: str, version: str, backfill: bool) -> Response:
        schema = self._service.schema(model)
        with self._bodies.receive(ROW_TYPES, version=version, backfill=backfill) as body:
            table = self._rows(body, schema)
            return _answer(
                self._service.ingest_batch(
                    model, table, version=version, key=body.key, body_hash=body.body_hash, backfill=backfill
                )
            )

    def push_labels(self, model: str) -> Response:
        schema = self._service.schema(model)
        with self._bodies.receive(ROW_TYPES) as body:
            table = self._rows(body, schema)
            return _answer(self._service.ingest_labels(model, table, key=body.key, body_hash=body.body_hash))

    def push_profile(self, model: str, version: str) -> Response:
        self._service.schema(model)
        with self._bodies.receive((PROFILE_TYPE,), version=version) as body:
            return _answer(
                self._service.ingest_profile(
                    model, self._plain(body), version=version, key=body.key, body_hash=body.body_hash
                )
            )

    def create_baseline(self, model: str, version: str | None, activate: bool, regrid: bool) -> Response:
        schema = self._service.schema(model)
        parameters = {"version": version, "activate": activate, "regrid": regrid}
        with self._bodies.receive((*ROW_TYPES, BASELINE_TYPE), **parameters) as body:
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

    def _rows(self, body: Received, schema: Schema) -> pa.Table:
        return self._decoder.decode(
            memoryview(body.data), body.content_type, body.encoding, limits=self._decoding, schema=schema
        )

    def _plain(self, body: Received) -> bytes:
        return body.plain(self._decoding.decoded_bytes)


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
