"""Where current values come from: the exporter's API, by HTTP or within the process.

A message never waits long for them, and a storm of messages never asks the same again and again: times are
short, answers are kept for some seconds, and an exporter that does not answer is left alone for a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
import requests

from exporter.errors import BadRequestError, BusyError, NotFoundError

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 1.0
MOST_BYTES: Final = 8 * 1024 * 1024
REST_SECONDS: Final = 30.0
"""An exporter that did not answer is not asked again for so long."""
KEPT_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 10.0
"""Waiting for answers, of all messages together, that may be used up before it is rationed ..."""
PATIENCE_RATIO: Final = 0.25
"""... to this share of the time: a slow exporter makes messages poorer, not late."""
_MOST_KEPT = 200
_PIECE = 1 << 16


class FactsUnavailableError(Exception):
    """There is no answer; `missing` when the exporter said that there is no such thing."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


class FactsSource(Protocol):
    """The exporter's API. Safe to share between threads."""

    def get(self, path: str, params: Mapping[str, str]) -> Any:
        """The JSON that a path such as `/api/v1/models/m/drift` answers.

        Raises
        ------
        FactsUnavailableError
        """


class InProcessFacts:
    """The exporter of this process.

    Parameters
    ----------
    ask : callable
        From a path and query parameters to what the API would answer, as dicts and lists. Raises
        :class:`NotFoundError` where that would be 404.
    """

    def __init__(self, ask: Callable[[str, Mapping[str, str]], Any]) -> None:
        self._ask = ask

    def get(self, path: str, params: Mapping[str, str]) -> Any:
        try:
            return self._ask(path, params)
        except (NotFoundError, BadRequestError) as error:
            raise FactsUnavailableError(error.message, missing=True) from error
        except (FactsUnavailableError, BusyError) as error:
            raise FactsUnavailableError(str(error)) from error
        except Exception as error:
            logger.exception("The exporter of this process could not be asked")
            raise FactsUnavailableError(type(error).__name__) from error


class HttpFacts:
    """An exporter elsewhere.

    Parameters
    ----------
    base_url : str
    token : str, optional
        With the scope `read`.
    ca_file : path, optional
        Certificates of a private authority.
    """

    def __init__(self, base_url: str, token: str | None = None, ca_file: str | Path | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._verify: bool | str = True if ca_file is None else str(ca_file)
        self._rests_until = 0.0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "HttpFacts()"

    def get(self, path: str, params: Mapping[str, str]) -> Any:
        with self._lock:
            if time.monotonic() < self._rests_until:
                raise FactsUnavailableError("it did not answer a moment ago")
        try:
            status, content = self._fetch(path, params)
        except (requests.RequestException, OSError, ValueError) as error:
            self._rest(type(error).__name__)
            raise FactsUnavailableError(type(error).__name__) from error
        if status in (400, 404):
            raise FactsUnavailableError(f"the exporter answered {status}", missing=True)
        if status != 200:
            self._rest(f"it answered {status}")
            raise FactsUnavailableError(f"the exporter answered {status}")
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            self._rest("its answer is no JSON")
            raise FactsUnavailableError("the answer is no JSON") from error

    def _fetch(self, path: str, params: Mapping[str, str]) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "User-Agent": "ml-exporter-bridge"}
        until = time.monotonic() + ANSWER_SECONDS
        with (
            requests.Session() as session,
            session.get(
                self._base_url + path,
                params=dict(params),
                headers=headers,
                auth=self._authorize,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            content = bytearray()
            for piece in response.iter_content(_PIECE):
                content += piece
                if len(content) > MOST_BYTES or time.monotonic() > until:
                    raise requests.Timeout
            return response.status_code, bytes(content)

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """A token goes out as it is; ~/.netrc is not looked at."""
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _rest(self, why: str) -> None:
        with self._lock:
            self._rests_until = time.monotonic() + REST_SECONDS
        logger.warning(
            "The exporter cannot be asked for current values (%s); messages go out without them for %g s",
            why, REST_SECONDS,
        )  # fmt: skip


class KeptFacts:
    """A source whose answers, and refusals, are kept for some seconds, and whose slowness costs little."""

    def __init__(self, source: FactsSource, *, seconds: float = KEPT_SECONDS) -> None:
        self._source = source
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, ...], tuple[float, Any]] = OrderedDict()
        self._patience, self._counted = PATIENCE_SECONDS, time.monotonic()

    def forget(self, seconds: float) -> None:
        """Drop what was asked longer than so many seconds ago."""
        oldest = time.monotonic() + self._seconds - max(0.0, seconds)
        with self._lock:
            for key in [key for key, (until, _) in self._kept.items() if until < oldest]:
                del self._kept[key]

    def get(self, path: str, params: Mapping[str, str]) -> Any:
        key = (path, *sorted(params.items()))
        now = time.monotonic()
        with self._lock:
            known = self._kept.get(key)
        if known is not None and now < known[0]:
            answer = known[1]
        else:
            if not self._patient(0.0):
                raise FactsUnavailableError("it answers too slowly")
            try:
                answer = self._source.get(path, params)
            except FactsUnavailableError as error:
                answer = error
            self._patient(time.monotonic() - now)
            with self._lock:
                self._kept[key] = (time.monotonic() + self._seconds, answer)
                self._kept.move_to_end(key)
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
        if isinstance(answer, FactsUnavailableError):
            raise FactsUnavailableError(str(answer), missing=answer.missing)
        return answer

    def _patient(self, waited: float) -> bool:
        """Count time that was waited; whether there is patience left."""
        with self._lock:
            now = time.monotonic()
            regained = (now - self._counted) * PATIENCE_RATIO
            self._patience = min(PATIENCE_SECONDS, self._patience + regained) - waited
            self._counted = now
            return self._patience > 0
