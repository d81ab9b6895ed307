"""A bridge elsewhere, asked for the exporter's callers. What a caller may not see is taken out here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import orjson
import requests

from exporter.alerts.timeline import added_steps
from exporter.errors import BadRequestError, BusyError, ConfigurationError, ExporterError, NotFoundError
from exporter.web.bridge_protocol import Models, NoBridge

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0
MOST_BYTES: Final = 32 * 1024 * 1024
RETRY_SECONDS: Final = 5.0
_PIECE = 1 << 16
_ELSEWHERE = (
    "the bridge runs elsewhere, and only alerts and notifications are asked of it here: ask it itself"
)


class BridgeFailedError(ExporterError):
    """The bridge answered what cannot be used."""

    code = "bridge_failed"
    status = 502


@dataclass(frozen=True, slots=True)
class BridgeAddress:
    """Where a bridge runs.

    Attributes
    ----------
    url : of its root
    token_file : with a bearer token that has the scope `read` for all models; read at every request
    ca_file : certificates of a private authority
    """

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None


class RemoteBridge:
    """Asks a bridge by HTTP, briefly; raises :class:`ConfigurationError` for an unusable address."""

    ready = True

    def __init__(self, address: BridgeAddress) -> None:
        parts = urlsplit(address.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError(
                "expected --bridge.url as http://host:port or https://host:port, "
                f"but {address.url[:80]!r} came"
            )
        if parts.username or parts.password:
            raise ConfigurationError(
                "expected --bridge.url without user and password: use --bridge.token.file"
            )
        self._address = address
        self._url = address.url.rstrip("/")
        self._token()
        elsewhere = NoBridge(_ELSEWHERE)
        self.take, self.rejected, self.retry = elsewhere.take, elsewhere.rejected, elsewhere.retry
        self.test, self.reload = elsewhere.test, elsewhere.reload

    def alerts(self, *, limit: int, cursor: str | None, models: Models, **asked: Any) -> Mapping[str, Any]:
        if models is not None and asked.get("model") is None and len(models) == 1:
            asked["model"] = next(iter(models))
        found = self._ask("/api/v1/alerts", _query(limit=limit, next=cursor, **asked))
        return found if models is None else {**found, "alerts": _visible(found.get("alerts"), models)}

    def alert(self, alert_id: int, *, models: Models) -> Mapping[str, Any]:
        found = self._ask(f"/api/v1/alerts/{alert_id}", {})
        if not _visible([found], models):
            raise NotFoundError(f"there is no alert {alert_id}, or none that you may see")
        return found

    def notifications(
        self, *, limit: int, cursor: str | None, models: Models, **asked: Any
    ) -> Mapping[str, Any]:
        if models is not None and asked.get("model") is None and len(models) == 1:
            asked["model"] = next(iter(models))
        found = self._ask("/api/v1/notifications", _query(limit=limit, next=cursor, **asked))
        if models is None:
            return found
        return {**found, "notifications": _visible(found.get("notifications"), models)}

    def alert_summary(self, *, models: Models, **asked: Any) -> Mapping[str, Any]:
        if models is None or asked.get("model") is not None:
            return self._ask("/api/v1/alerts/summary", _query(**asked))
        summaries = [
            self._ask("/api/v1/alerts/summary", _query(**{**asked, "model": model}))
            for model in sorted(models)
        ]
        try:
            return merged_summaries(summaries)
        except (KeyError, TypeError) as error:
            raise BridgeFailedError("expected counts of the bridge, but something else came") from error

    def _ask(self, path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            status, content = self._fetch(path, query)
        except ConfigurationError as error:
            raise BridgeFailedError(error.message) from None
        except (requests.RequestException, OSError) as error:
            raise BusyError(
                f"the bridge did not answer in time ({type(error).__name__}); come again",
                retry_after_seconds=RETRY_SECONDS,
                code="bridge_unreachable",
            ) from None
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise BridgeFailedError(
                f"expected JSON of the bridge, but it answered {status} with something else"
            )
        if status != 200:
            _raise(status, answer)
        return answer

    def _fetch(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        until = time.monotonic() + ANSWER_SECONDS
        with (
            requests.Session() as session,
            session.get(
                self._url + path,
                params=dict(query),
                headers={"Accept": "application/json", "User-Agent": "ml-exporter"},
                auth=self._authorize,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                verify=str(self._address.ca_file) if self._address.ca_file else True,
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
        """The token goes out as it is; ~/.netrc is not looked at."""
        if (token := self._token()) is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    def _token(self) -> str | None:
        file = self._address.token_file
        if file is None:
            return None
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read the token in {file}: {error}") from None


def _raise(status: int, answer: Mapping[str, Any]) -> NoReturn:
    error = answer.get("error")
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    text = str(message or "no reason")[:300]
    if status == 400:
        raise BadRequestError(text, code=str(code or "bad_request")[:80])
    if status == 404:
        raise NotFoundError(text, code=str(code or "not_found")[:80])
    if status in (401, 403):
        raise BridgeFailedError("the bridge does not take the exporter's token: see --bridge.token.file")
    if status in (429, 503):
        raise BusyError(f"the bridge is busy: {text}", retry_after_seconds=RETRY_SECONDS)
    raise BridgeFailedError(f"the bridge answered {status}: {text}")


def _query(*, start: float | None = None, end: float | None = None, **asked: Any) -> dict[str, str]:
    wanted = {"from": start, "to": end, **asked}
    return {name: str(value) for name, value in wanted.items() if value is not None}


def merged_summaries(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summaries of several models as one: numbers add up, counts follow each other, most first."""
    whole: dict[str, Any] = {}
    for summary in summaries:
        for key, value in summary.items():
            if key == "steps":
                whole[key] = added_steps(whole[key], value) if key in whole else value
            elif isinstance(value, Mapping):
                known = whole.setdefault(key, {})
                for name, count in value.items():
                    known[name] = known.get(name, 0) + count
            else:
                whole[key] = whole[key] + value if key in whole else value
    if "counts" in whole:
        whole["counts"] = sorted(
            whole["counts"], key=lambda entry: (-entry["count"], entry["model"], entry["name"])
        )
    return whole


def _visible(entries: Any, models: Models) -> list[Any]:
    """The entries that are of these models alone. Raises :class:`BridgeFailedError` for what is no list."""
    if not isinstance(entries, list):
        raise BridgeFailedError("expected a list of the bridge, but something else came")
    return [entry for entry in entries if models is None or _models_of(entry) <= set(models)]


def _models_of(entry: Any) -> set[str]:
    """Models that an alert, or a notification of several, is about; none counts as one without a name."""
    told = entry.get("models") if isinstance(entry, dict) else None
    return set(map(str, told or [entry.get("model", "") if isinstance(entry, dict) else ""]))
