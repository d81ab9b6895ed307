"""What an operation of an HTTP API is: its path, who may use it, and what it takes.

Routes and OpenAPI documents are made from lists of these (:mod:`exporter.web.operations`,
:mod:`exporter.web.bridge_operations`), so neither knows an operation that the other does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from exporter.errors import BadRequestError

JSON_TYPE = "application/json"
METRICS_TYPES = ("text/plain", "application/openmetrics-text")


class Scope(StrEnum):
    """What a token may do."""

    METRICS = "metrics"
    READ = "read"
    PUSH = "push"
    ADMIN = "admin"
    ALERTMANAGER = "alertmanager"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter; `kind` is ``string`` or ``boolean``."""

    kind: str
    description: str
    default: Any = None

    def parse(self, name: str, text: str) -> Any:
        """The value of the text. Raises :class:`BadRequestError` (400)."""
        if self.kind == "boolean":
            if text.lower() not in ("true", "false", "1", "0"):
                raise BadRequestError(
                    f"expected true or false for the query parameter {name}, but {text[:80]!r} came",
                    code="bad_parameter",
                )
            return text.lower() in ("true", "1")
        if not text or len(text) > 1000:
            raise BadRequestError(
                f"expected 1 to 1000 characters for the query parameter {name}, but {len(text)} came",
                code="bad_parameter",
            )
        return text


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path.

    Attributes
    ----------
    name : the handler's name and the OpenAPI ``operationId``
    scope : what the caller needs; None lets everybody in
    query : the parameters that are known; others are refused, unless `query` is None
    accepts : content types of the request's body; none when it has no body
    answers : status code -> what it means, errors that any operation can give left out
    produces : content types of the answer
    keyed : whether it takes an ``Idempotency-Key``
    personal : whether the handler is told who asks, as `caller`
    whole : whether only callers who may see every model may use it
    """

    name: str
    method: str
    path: str
    scope: Scope | None
    summary: str
    query: Mapping[str, Parameter] | None = field(default_factory=dict)
    accepts: tuple[str, ...] = ()
    answers: Mapping[int, str] = field(default_factory=lambda: {200: "What was asked for."})
    produces: tuple[str, ...] = (JSON_TYPE,)
    keyed: bool = False
    personal: bool = False
    whole: bool = False

    def parse_query(self, arguments: Mapping[str, list[str]]) -> dict[str, Any]:
        """Values of the query parameters, defaults included. Raises :class:`BadRequestError` (400)."""
        if self.query is None:
            return {}
        values = {name: parameter.default for name, parameter in self.query.items()}
        for name, texts in arguments.items():
            parameter = self.query.get(name)
            if parameter is None:
                known = ", ".join(self.query) or "none"
                raise BadRequestError(
                    f"unknown query parameter {name[:80]!r}; known here: {known}", code="unknown_parameter"
                )
            if len(texts) > 1:
                raise BadRequestError(
                    f"expected the query parameter {name} once, but it came {len(texts)} times",
                    code="bad_parameter",
                )
            values[name] = parameter.parse(name, texts[0])
        return values


def parse_time(value: object, what: str) -> float:
    """Seconds since the Unix epoch of an RFC 3339 text (UTC where it names no zone) or of a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
        return float(value)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            try:
                return parse_time(float(value), what)
            except ValueError:
                pass
        else:
            zoned = moment if moment.tzinfo else moment.fromisoformat(f"{moment.isoformat()}+00:00")
            return zoned.timestamp()
    raise BadRequestError(
        f"expected {what} as an RFC 3339 time or Unix seconds, but {str(value)[:80]!r} came", code="bad_time"
    )
