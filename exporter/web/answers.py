"""Answers in JSON, and the one shape that every error has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from flask import Response

from exporter.errors import BusyError, ExporterError

_OPTIONS = (
    orjson.OPT_SERIALIZE_NUMPY
    | orjson.OPT_NON_STR_KEYS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_APPEND_NEWLINE
)


class RequestTimeoutError(ExporterError):
    """The body of a request did not come in time."""

    code = "request_timeout"
    status = 408


class UnauthenticatedError(ExporterError):
    """Nobody is named by this request."""

    code = "unauthenticated"
    status = 401


class ForbiddenError(ExporterError):
    """Whoever asks may not do this."""

    code = "forbidden"
    status = 403


def _as_json(value: object) -> Any:
    to_dict = getattr(value, "to_dict", None)
    if to_dict is not None:
        return to_dict()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | set | frozenset):
        return list(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def json_bytes(value: object) -> bytes:
    """JSON of plain values, results with ``to_dict`` and arrays; NaN and infinities become null."""
    return orjson.dumps(value, default=_as_json, option=_OPTIONS)


def error_body(code: str, message: str, details: Sequence[Any] = ()) -> bytes:
    return json_bytes({"error": {"code": code, "message": message, "details": list(details)}})


def json_response(value: object, status: int = 200) -> Response:
    return Response(json_bytes(value), status=status, content_type="application/json")


def error_response(error: ExporterError, status: int | None = None) -> Response:
    """The answer to an error that was raised on purpose, with ``Retry-After`` where coming again helps."""
    response = Response(
        error_body(error.code, error.message, error.details),
        status=status or error.status,
        content_type="application/json",
    )
    if isinstance(error, BusyError):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if isinstance(error, UnauthenticatedError):
        response.headers.add("WWW-Authenticate", 'Basic realm="ml-exporter", charset="UTF-8"')
        response.headers.add("WWW-Authenticate", 'Bearer realm="ml-exporter"')
    return response
