"""What is asked of Alertmanager's API (version 2): groups with their alerts, silences, the configuration."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import requests

from exporter.errors import ExporterError

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 10.0
MOST_BYTES: Final = 64 << 20
_PIECE: Final = 1 << 16
_TIME_INTERVALS = re.compile(r"^\s*(?:- )?(?:mute|active)_time_intervals\s*:", re.MULTILINE)


class AlertmanagerUnavailableError(ExporterError):
    """It cannot be asked now, or its answer cannot be used."""

    code = "alertmanager_unavailable"
    status = 502


class AlertmanagerApi:
    """One Alertmanager, by the URL that `links.alertmanager` gives."""

    def __init__(self, base_url: str, *, ca_file: Path | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._verify: bool | str = True if ca_file is None else str(ca_file)

    def groups(self) -> Sequence[Mapping[str, Any]]:
        """Groups with the alerts that are not resolved, silenced and inhibited ones too."""
        return self._list("/api/v2/alerts/groups", active="true", silenced="true", inhibited="true")

    def silences(self) -> Sequence[Mapping[str, Any]]:
        """All silences that it still knows."""
        return self._list("/api/v2/silences")

    def has_time_intervals(self) -> bool:
        """Whether routes are muted at times; which alerts that concerns its API does not say."""
        status = self._get("/api/v2/status")
        config = status.get("config") if isinstance(status, Mapping) else None
        text = config.get("original") if isinstance(config, Mapping) else None
        return not isinstance(text, str) or _TIME_INTERVALS.search(text) is not None

    def _list(self, path: str, **params: str) -> list[Mapping[str, Any]]:
        found = self._get(path, **params)
        if not isinstance(found, list):
            raise AlertmanagerUnavailableError(f"expected a list from Alertmanager's {path}")
        return [entry for entry in found if isinstance(entry, Mapping)]

    def _get(self, path: str, **params: str) -> Any:
        try:
            content = self._fetch(path, params)
        except (requests.RequestException, OSError, ValueError) as error:
            reason = type(error).__name__
        else:
            try:
                return orjson.loads(content)
            except orjson.JSONDecodeError:
                reason = "its answer is no JSON"
        raise AlertmanagerUnavailableError(f"Alertmanager's {path} cannot be asked: {reason}")

    def _fetch(self, path: str, params: Mapping[str, str]) -> bytes:
        until = time.monotonic() + ANSWER_SECONDS
        with requests.Session() as session:
            session.trust_env = False
            with session.get(
                self._base_url + path,
                params=dict(params),
                headers={"Accept": "application/json", "User-Agent": "ml-exporter-bridge"},
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            ) as response:
                if response.status_code != 200:
                    raise ValueError(response.status_code)
                content = bytearray()
                for piece in response.iter_content(_PIECE):
                    content += piece
                    if len(content) > MOST_BYTES or time.monotonic() > until:
                        raise ValueError(len(content))
                return bytes(content)
