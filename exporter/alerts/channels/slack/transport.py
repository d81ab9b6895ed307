"""HTTP to Slack: one session, bounded answers, and errors that name no secret.

What `requests` raises contains the URL, and the URL of an incoming webhook is its password. So nothing that
it raises leaves this module: every failure becomes a sentence of our own.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import orjson
import requests
from requests.auth import AuthBase
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from exporter.alerts.composing.mrkdwn import visible
from exporter.errors import TemporaryDeliveryError

MOST_ANSWER_BYTES: Final = 8 * 2**20
LONGEST_WAIT_SECONDS: Final = 3600.0
ATTEMPT_SECONDS: Final = 60.0
ATTEMPT_TIMEOUTS: Final = 10
"""One attempt may make its last request so long after the first: a minute, and ten times its time limit."""
DEFAULT_WAIT_SECONDS: Final = 30.0
"""Where Slack says that it is too much, but not for how long."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers by lower-case name, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body's begin, as far as it can be shown in an error."""
        return " ".join(visible(self.body[:300].decode("utf-8", "replace")).split())

    @property
    def retry_after_seconds(self) -> float:
        """What the header `Retry-After` asks for, in its two forms."""
        return retry_after(self.headers.get("retry-after", ""))

    def json(self) -> dict[str, Any]:
        """The body as an object; empty when it is none."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass
class Transport:
    """Requests to one service.

    Parameters
    ----------
    timeout : float
        Seconds to connect, and to wait for each answer.
    ca_file : Path or None
        Of a private authority.
    secrets : tuple of str
        What never stands in an error: tokens, paths of URLs.
    """

    timeout: float
    ca_file: Path | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "ml-exporter"
        self._over_at = math.inf

    def begin(self) -> None:
        """An attempt begins, of several requests; none is made once its time is over."""
        self._over_at = time.monotonic() + ATTEMPT_SECONDS + ATTEMPT_TIMEOUTS * self.timeout

    def post(
        self, url: str, body: bytes, content_type: str, *, token: str | None = None, name: str = "Slack"
    ) -> Answer:
        """Send one request and read its answer; redirects are not followed.

        Raises
        ------
        TemporaryDeliveryError
            `uncertain` when the request may have arrived.
        """
        now = time.monotonic()
        if now > self._over_at:
            raise TemporaryDeliveryError(f"{name}: the time for one attempt is over")
        until = now + 2 * self.timeout
        try:
            with self._session.post(
                url,
                data=body,
                headers={"Content-Type": content_type},
                auth=_Bearer(token),
                timeout=self.timeout,
                verify=True if self.ca_file is None else str(self.ca_file),
                allow_redirects=False,
                stream=True,
            ) as response:
                content = _content(response, until)
                headers = {key.lower(): value for key, value in response.headers.items()}
                return Answer(response.status_code, headers, content)
        except (requests.RequestException, OSError, ValueError) as error:
            sentence, uncertain = failure_of(error)
        # outside of the handler: the error that names the URL is not even its context
        raise TemporaryDeliveryError(f"{name}: {sentence}", uncertain=uncertain, whole_channel=not uncertain)

    def clean(self, text: str) -> str:
        """The text of another side without secrets, in one line, cut."""
        for secret in self.secrets:
            if secret:
                text = text.replace(secret, "***")
        return " ".join(visible(text).split())[:300]

    def close(self) -> None:
        self._session.close()


_Kinds = tuple[type[BaseException], ...]
_FAILURES: tuple[tuple[_Kinds, str, bool], ...] = (
    ((NameResolutionError,), "its host name is not known", False),
    ((ssl.SSLCertVerificationError,), "its certificate was not accepted", False),
    ((requests.exceptions.ProxyError,), "the proxy did not let us through", False),
    ((requests.ConnectTimeout, ConnectTimeoutError), "no connection within the time limit", False),
    ((NewConnectionError, ConnectionRefusedError), "the connection was refused", False),
    ((requests.Timeout, TimeoutError), "no answer within the time limit", True),
    ((requests.exceptions.SSLError, ssl.SSLError), "TLS failed", True),
    ((requests.exceptions.InvalidURL, requests.exceptions.MissingSchema), "the URL cannot be used", False),
    ((requests.exceptions.InvalidSchema,), "the URL cannot be used", False),
    ((requests.exceptions.InvalidHeader,), "the token cannot be used", False),
    ((FileNotFoundError, PermissionError), "the file of certificates cannot be read", False),
)
"""Kinds of errors, looked for in this order: a sentence, and whether the request may have arrived."""


def failure_of(error: BaseException) -> tuple[str, bool]:
    """What went wrong, without any address, and whether the request may have arrived."""
    causes = _causes(error)
    for kinds, sentence, uncertain in _FAILURES:
        if any(isinstance(cause, kinds) for cause in causes):
            return sentence, uncertain
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return "the file of certificates cannot be read", False
    return "the connection broke before the answer came", True


def retry_after(text: str) -> float:
    """Seconds of a `Retry-After`: a number, or a date.

    Examples
    --------
    >>> retry_after("12"), retry_after("soon"), retry_after("-1"), retry_after("1e9")
    (12.0, 30.0, 0.0, 3600.0)
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return DEFAULT_WAIT_SECONDS
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS) if seconds == seconds else DEFAULT_WAIT_SECONDS  # noqa: PLR0124


class _Bearer(AuthBase):
    """Sets the token, or nothing; either way no password of ~/.netrc is sent."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _content(response: requests.Response, until: float) -> bytes:
    """The whole body, within bounds of size and time."""
    pieces, size = [], 0
    for piece in response.iter_content(65536):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_ANSWER_BYTES:
            raise requests.ConnectionError("too long")
        if time.monotonic() > until:
            raise requests.Timeout("too slow")
    return b"".join(pieces)


def _causes(error: BaseException) -> list[BaseException]:
    """The error, what it was raised from, and what it wraps."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting and len(found) < 20:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    return found
