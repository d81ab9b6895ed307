"""Every error that the package raises on purpose.

::

    ExporterError
    ├── ConfigurationError        a setting is wrong; `problems` lists (path, message)
    ├── BadRequestError           what a client sent cannot be used
    │   ├── UnreadableError           bytes that do not decode          (HTTP 400)
    │   ├── UnusableBatchError        no usable row, or the wrong shape (HTTP 422)
    │   ├── UnsupportedFormatError    unknown content type or encoding  (HTTP 415)
    │   └── TooLargeError             beyond a stated limit             (HTTP 413)
    ├── NotFoundError             no such model, version, baseline ...  (HTTP 404)
    ├── ConflictError             the state forbids it now              (HTTP 409)
    ├── KeyReusedError            an idempotency key with another body  (HTTP 422)
    ├── BusyError                 try again after `retry_after_seconds` (HTTP 429 or 503)
    │   └── StorageUnavailableError   the disk is full or fails         (HTTP 503)
    ├── DeliveryError             a channel did not take a message
    │   ├── TemporaryDeliveryError    it may later, after `retry_after_seconds`
    │   └── PermanentDeliveryError    it never will take this message
    ├── ExpressionError           a rule's expression is not allowed or failed
    └── StoreError                the store cannot be opened or read
        └── CorruptStoreError         damaged bytes; nothing was overwritten

Every error carries a snake_case `code` (what the API answers) and a sentence that says what was expected
and what came. Nothing here knows the rest of the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class ExporterError(Exception):
    """Base of all errors that are raised on purpose."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, details: Sequence[Any] = (), code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = list(details)
        if code is not None:
            self.code = code  # type: ignore[misc]  # an instance may be more exact than its class


class ConfigurationError(ExporterError):
    """Settings that cannot be used; `problems` holds every (path, message)."""

    code = "bad_configuration"

    def __init__(self, message: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, details=[{"path": path, "message": text} for path, text in problems])
        self.problems = list(problems)


class BadRequestError(ExporterError):
    """What a client sent cannot be used."""

    code = "bad_request"
    status = 400


class UnreadableError(BadRequestError):
    code = "unreadable"


class UnusableBatchError(BadRequestError):
    """No row can be used, or the shape is wrong; `rejected` counts rows by reason, `invalid` by column."""

    code = "unusable_batch"
    status = 422

    def __init__(
        self,
        message: str,
        *,
        details: Sequence[Any] = (),
        code: str | None = None,
        rejected: Mapping[str, int] | None = None,
        invalid: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(message, details=details, code=code)
        self.rejected = dict(rejected or {})
        self.invalid = dict(invalid or {})


class UnsupportedFormatError(BadRequestError):
    code = "unsupported_format"
    status = 415


class TooLargeError(BadRequestError):
    code = "too_large"
    status = 413


class NotFoundError(ExporterError):
    code = "not_found"
    status = 404


class ConflictError(ExporterError):
    code = "conflict"
    status = 409


class KeyReusedError(ExporterError):
    code = "idempotency_key_reused"
    status = 422


class BusyError(ExporterError):
    """Too much at once; the client should come again after `retry_after_seconds`."""

    code = "busy"
    status = 503

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class StorageUnavailableError(BusyError):
    code = "storage_unavailable"


class DeliveryError(ExporterError):
    """A channel did not take a message. The text names no secret: no token, password or secret URL."""

    code = "delivery_failed"
    status = 502


class TemporaryDeliveryError(DeliveryError):
    """The channel may take the message later.

    Attributes
    ----------
    retry_after_seconds : float or None
        When the other side said so.
    uncertain : bool
        The message may have arrived all the same (the connection broke after it was sent).
    whole_channel : bool
        Nothing gets through now, not only this message: an unknown host, a refused connection.
    partial : bool
        Some receivers got it; the channel works, and only the others are tried again.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        uncertain: bool = False,
        whole_channel: bool = False,
        partial: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.uncertain = uncertain
        self.whole_channel = whole_channel
        self.partial = partial


class PermanentDeliveryError(DeliveryError):
    """The channel will never take this message in this form.

    Attributes
    ----------
    plain_may_work : bool
        It refused the form, not the receiver: a plain text may get through.
    whole_channel : bool
        It refuses us, not this message (a wrong password or token, a channel that is gone): the messages
        wait until somebody mends it, or are given up when their time is over.
    """

    def __init__(self, message: str, *, plain_may_work: bool = False, whole_channel: bool = False) -> None:
        super().__init__(message)
        self.plain_may_work = plain_may_work
        self.whole_channel = whole_channel


class ExpressionError(ExporterError):
    code = "bad_expression"
    status = 422


class StoreError(ExporterError):
    code = "store_error"


class CorruptStoreError(StoreError):
    code = "corrupt_store"
