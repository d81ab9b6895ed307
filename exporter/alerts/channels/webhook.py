"""Any HTTP endpoint: a POST of JSON, signed as Standard Webhooks describes.

The identifier of a request is that of the notification: it stays the same over all attempts, so a receiver
that remembers the identifiers it has handled takes each notification exactly once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import orjson
import requests
from requests.auth import HTTPBasicAuth

from exporter.alerts.channels.slack.transport import failure_of, retry_after
from exporter.alerts.composing.body import body_of
from exporter.alerts.composing.figures import line
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import WebhookSettings
from exporter.alerts.delivery.redaction import Redactor
from exporter.alerts.records import Delivery, Message, Receipt
from exporter.errors import ConfigurationError, PermanentDeliveryError, TemporaryDeliveryError

TEMPLATE: Final = "webhook.json"
PLAIN_ALERTS: Final = 20
"""Alerts in the plain form."""

_MOST_ANSWER_BYTES = 64 * 1024
_QUOTED = 200
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]{0,4000}")
_OURS = frozenset(
    {
        *("webhook-id", "webhook-timestamp", "webhook-signature", "idempotency-key"),
        *("host", "content-length", "transfer-encoding", "connection", "expect"),
    }
)
_TEMPORARY = frozenset({408, 425, 429})
_FORM_REFUSED = frozenset({400, 406, 413, 415, 422})
_WE_ARE_REFUSED = frozenset({401, 403, 404, 405, 407})


class WebhookChannel:
    """Posts to one URL.

    Raises
    ------
    ConfigurationError
        The secret is no `whsec_` and base64, or a header cannot be sent.
    """

    spacing_seconds = 0.0

    def __init__(self, settings: WebhookSettings, *, name: str, templates: Templates, timezone: str) -> None:
        del timezone  # times are in UTC here
        self._url = settings.url.get_secret_value()
        self._key = _key(name, settings)
        self._headers = _headers(name, settings)
        self._timeout = settings.timeout
        self._verify: bool | str = True if settings.ca_file is None else str(settings.ca_file)
        self._templates = templates
        self._clean = Redactor(settings)
        self._receiver, self._login = _receiver(name, self._url)

    def __repr__(self) -> str:
        return f"WebhookChannel({self._receiver!r})"

    def send(self, message: Message, delivery: Delivery) -> Receipt:
        """Post the message; see :class:`exporter.alerts.channels.Channel`."""
        body = self._body(message, plain=delivery.plain)
        status, headers, content = self._post(message.notification.id, body)
        if 200 <= status < 300:
            return Receipt(f"{self._receiver} answered {status}", plain=delivery.plain)
        raise self._refusal(status, headers, content)

    def close(self) -> None:
        """Nothing is kept open."""

    def _body(self, message: Message, *, plain: bool) -> bytes:
        body = body_of(message, most_alerts=PLAIN_ALERTS if plain else None)
        if not plain and self._templates.has(TEMPLATE):
            text = self._templates.own(TEMPLATE, message=message, body=body)
            if text is not None:
                try:
                    orjson.loads(text)
                    return text.encode("utf-8")
                except ValueError as error:
                    self._templates.failed(TEMPLATE, ValueError(f"it makes no JSON: {error}"))
        return orjson.dumps(body)

    def _post(self, notification: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        headers = self._headers | signed(notification, int(time.time()), body, self._key)
        until = time.monotonic() + 2 * self._timeout
        try:
            with (
                requests.Session() as session,
                session.post(
                    self._url,
                    data=body,
                    headers=headers,
                    auth=self._authorize,
                    timeout=self._timeout,
                    verify=self._verify,
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                return response.status_code, dict(response.headers), _begin(response, until)
        except (requests.RequestException, OSError, ValueError) as error:
            sentence, uncertain = failure_of(error)
        # outside of the handler: the error that names the URL is not even its context
        raise TemporaryDeliveryError(
            f"{self._receiver}: {sentence}", uncertain=uncertain, whole_channel=not uncertain
        )

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The login of the URL; ~/.netrc is not looked at."""
        return request if self._login is None else HTTPBasicAuth(*self._login)(request)

    def _refusal(
        self, status: int, headers: Mapping[str, str], content: bytes
    ) -> PermanentDeliveryError | TemporaryDeliveryError:
        quoted = line(self._clean(content[: 8 * _QUOTED].decode("utf-8", "replace")), _QUOTED)
        text = f"{self._receiver} answered {status}" + (f": {quoted}" if quoted else "")
        if 300 <= status < 400:
            return PermanentDeliveryError(
                f"{self._receiver} answered {status}, a redirect, which is not followed; give the URL it "
                "leads to",
                whole_channel=True,
            )
        if status in _TEMPORARY or status >= 500 or status < 200:
            asked = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
            return TemporaryDeliveryError(
                text,
                retry_after_seconds=None if asked is None else retry_after(asked),
                uncertain=status in (500, 502, 504),
                whole_channel=status in (429, 503),
            )
        return PermanentDeliveryError(
            text, plain_may_work=status in _FORM_REFUSED, whole_channel=status in _WE_ARE_REFUSED
        )


def signed(notification: str, timestamp: int, body: bytes, key: bytes | None) -> dict[str, str]:
    """The headers of Standard Webhooks, and an idempotency key for receivers that look for that.

    Examples
    --------
    >>> signed("msg", 0, b"{}", b"key")["webhook-signature"]
    'v1,BWabgWh/eVtZU3fE9FaXcwuzHlfpjd4z6HPrucJM6VI='
    """
    headers = {
        "webhook-id": notification,
        "webhook-timestamp": str(timestamp),
        "Idempotency-Key": notification,
    }
    if key is not None:
        content = f"{notification}.{timestamp}.".encode() + body
        digest = hmac.new(key, content, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _key(name: str, settings: WebhookSettings) -> bytes | None:
    if settings.secret is None:
        return None
    secret = settings.secret.get_secret_value()
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise _wrong(f"channels.{name}.secret", "expected base64 after whsec_")
    return key


def _headers(name: str, settings: WebhookSettings) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "ml-exporter"}
    for header, secret in settings.headers.items():
        value, place = secret.get_secret_value(), f"channels.{name}.headers.{header[:100]}"
        if not _HEADER_NAME.fullmatch(header) or header.lower() in _OURS:
            raise _wrong(place, "expected the name of a header that may be set")
        if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
            raise _wrong(place, "expected printable ASCII without spaces around it")
        headers = {kept: text for kept, text in headers.items() if kept.lower() != header.lower()}
        headers[header] = value
    return headers


def _receiver(name: str, url: str) -> tuple[str, tuple[str, str] | None]:
    """How errors call the other side (never by path or query), and the login in the URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise _wrong(f"channels.{name}.url", "expected a URL with a host")
    login = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    return (f"{host}:{port}" if port else host), login


def _wrong(place: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"{place}: {text}", [(place, text)])


def _begin(response: requests.Response, until: float) -> bytes:
    """The begin of an answer, which is all that an error quotes; what broke off does not matter."""
    content = b""
    try:
        for piece in response.iter_content(8192):
            content += piece
            if len(content) > _MOST_ANSWER_BYTES or time.monotonic() > until:
                break
    except (requests.RequestException, OSError):
        pass
    return content
