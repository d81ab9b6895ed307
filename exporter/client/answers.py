"""What the server answers: reports of pushed rows, and errors with its error shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
import requests

from exporter.errors import ExporterError


class ClientError(ExporterError):
    """What the server refused, or why it could not be asked."""

    code: ClassVar[str] = "client_error"

    def __init__(
        self, message: str, *, status: int | None = None, code: str | None = None, details: Sequence[Any] = ()
    ) -> None:
        super().__init__(message, details=details, code=code)
        self.status: int | None = status  # type: ignore[misc,assignment]  # of the answer, not of the class


class UnreachableError(ClientError):
    code = "unreachable"


class AuthenticationError(ClientError):
    code = "unauthorized"


class MissingError(ClientError):
    code = "not_found"


class OutdatedError(ClientError):
    code = "conflict"


class RefusedError(ClientError):
    code = "refused"


class OverloadedError(ClientError):
    code = "busy"


class ServerFailureError(ClientError):
    code = "server_failure"


_ERRORS: Mapping[int, type[ClientError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    404: MissingError,
    409: OutdatedError,
    429: OverloadedError,
    503: OverloadedError,
}


@dataclass(frozen=True, slots=True)
class PushReport:
    """What became of pushed rows: `rows` = `accepted` + `rejected` + `duplicates` + `skipped`.

    Attributes
    ----------
    duplicates : int
        Rows of batches that the server had taken before.
    batches : int
        Requests that were answered.
    skipped : int
        Rows that were not sent, because a journal says they had been taken.
    matched, pending : int
        Labels that met their prediction, and that wait for it.
    warnings : tuple of str
        Each distinct warning of the server.
    """

    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    batches: int = 0
    skipped: int = 0
    matched: int = 0
    pending: int = 0
    warnings: tuple[str, ...] = ()

    def __add__(self, other: PushReport) -> PushReport:
        counts = {
            name: getattr(self, name) + getattr(other, name) for name in self.__slots__ if name != "warnings"
        }
        return PushReport(**counts, warnings=tuple(dict.fromkeys(self.warnings + other.warnings)))

    @classmethod
    def of(cls, answer: Mapping[str, Any], rows: int) -> PushReport:
        """Read the answer to one batch of `rows` rows."""
        warnings = tuple(str(warning) for warning in answer.get("warnings") or ())
        if answer.get("duplicate"):
            return cls(rows=rows, duplicates=rows, batches=1, warnings=warnings)
        rejected = int(answer.get("rejected", 0))
        return cls(
            rows=rows,
            accepted=int(answer.get("accepted", rows - rejected)),
            rejected=rejected,
            batches=1,
            matched=int(answer.get("matched", 0)),
            pending=int(answer.get("pending", 0)),
            warnings=warnings,
        )


def json_object(response: requests.Response) -> Mapping[str, Any]:
    if not response.content:
        return {}
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise ServerFailureError(
            f"expected a JSON object from {response.url}, got {response.headers.get('Content-Type')!r}; "
            "is this an ml-exporter?",
            status=response.status_code,
        )
    return answer


def error_of(response: requests.Response) -> ClientError:
    """Read the server's error shape; anything else, from a proxy say, is named by its status."""
    status = response.status_code
    try:
        shape = orjson.loads(response.content)["error"]
        code, message, details = str(shape["code"]), str(shape["message"]), list(shape.get("details") or ())
    except (orjson.JSONDecodeError, KeyError, TypeError):
        code, message, details = None, f"{response.request.method} {response.url} answered {status}", []
        if response.is_redirect:
            message += f", a redirect to {response.headers.get('Location')!r}; use that URL"
    kind = _ERRORS.get(status, RefusedError if 400 <= status < 500 else ServerFailureError)
    return kind(message, status=status, code=code, details=details)
