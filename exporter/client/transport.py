"""One request, repeated until it is answered or there is no more patience."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from exporter.client.answers import ClientError, UnreachableError, error_of
from exporter.client.encoding import JSON_TYPE, compressed

_IN_PROGRESS = "idempotency_key_in_progress"
_FIRST_DELAY_SECONDS = 0.25
_LONGEST_DELAY_SECONDS = 20.0


class _BearerAuth(AuthBase):
    """A token; as an auth object, because a bare header would lose to an entry in ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Transport:
    """Requests to one server. The parameters are those of :class:`exporter.client.Client`."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        username: str | None,
        password: str | None,
        timeout: float,
        retries: int,
        deadline: float,
        compression: Literal["zstd", "gzip"] | None,
        ca_file: str | Path | None,
        session: requests.Session | None,
        sleep: Callable[[float], None],
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"expected an http:// or https:// URL, got {url!r}")
        if token is not None and username is not None:
            raise ValueError("expected a token or a username, got both")
        if compression not in ("zstd", "gzip", None):
            raise ValueError(f"expected compression zstd, gzip or None, got {compression!r}")
        self.url = url.rstrip("/")
        self._auth: AuthBase | None = None
        if token is not None:
            self._auth = _BearerAuth(token)
        elif username is not None:
            self._auth = HTTPBasicAuth(username, password or "")
        self._timeout = timeout
        self._retries = retries
        self._deadline = deadline
        self._compression = compression
        self._verify: bool | str = True if ca_file is None else str(ca_file)
        self._owns_session = session is None
        self._session = session or requests.Session()
        self._sleep = sleep
        self._jitter = random.SystemRandom()

    def close(self) -> None:
        if self._owns_session:
            self._session.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str | None = None,
        key: str | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """The answer; with `stream` its body is still to be read."""
        headers = {"Accept": JSON_TYPE, "User-Agent": "ml-exporter-client"}
        if key is not None:
            headers["Idempotency-Key"] = key
        if body is not None and content_type is not None:
            headers["Content-Type"] = content_type
            if self._compression is not None and content_type != JSON_TYPE:
                body = compressed(body, self._compression)
                headers["Content-Encoding"] = self._compression
        give_up = time.monotonic() + self._deadline
        attempt = 0
        while True:
            answer = self._attempt(method, path, query, body, headers, stream=stream)
            if isinstance(answer, requests.Response):
                if answer.ok and not answer.is_redirect:
                    return answer
                if method == "DELETE" and attempt and answer.status_code == 404:
                    return answer  # an earlier attempt had done it
                error, asked = error_of(answer), _retry_after(answer)
                if not _is_worth_repeating(answer, error):
                    raise error
            else:
                error, asked = answer, 0.0
            delay = max(asked, self._back_off(attempt))
            if attempt >= self._retries or time.monotonic() + delay > give_up:
                raise error
            self._sleep(delay)
            attempt += 1

    def _attempt(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        stream: bool,
    ) -> requests.Response | UnreachableError:
        """Send it once; an error that a repetition may cure is returned."""
        try:
            return self._session.request(
                method,
                f"{self.url}{path}",
                params=dict(query or {}),
                data=body,
                headers=dict(headers),
                auth=self._auth,
                timeout=self._timeout,
                verify=self._verify,
                allow_redirects=False,
                stream=stream,
            )
        except requests.exceptions.SSLError as error:
            raise UnreachableError(f"no secure connection to {self.url}: {error}") from error
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            unreachable = UnreachableError(f"no answer from {self.url}: {error}")
            unreachable.__cause__ = error
            return unreachable
        except requests.RequestException as error:
            raise UnreachableError(f"{self.url} cannot be asked: {error}") from error

    def _back_off(self, attempt: int) -> float:
        """Full jitter: anything up to the exponential delay."""
        longest = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2 ** min(attempt, 16))
        return self._jitter.uniform(0.0, longest)


def _is_worth_repeating(response: requests.Response, error: ClientError) -> bool:
    status = response.status_code
    if status == 409:
        return error.code == _IN_PROGRESS
    return status in (408, 429) or (status >= 500 and status not in (501, 505))


def _retry_after(response: requests.Response) -> float:
    """Seconds that the server asks to wait; 0 when it does not, or not readably."""
    text = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
