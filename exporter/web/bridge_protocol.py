"""What the web asks of the bridge behind it, wherever that runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NoReturn, Protocol

from exporter.errors import NotFoundError

Models = Collection[str] | None
"""Models that the caller may see; None: all."""


class BridgeProtocol(Protocol):
    """Everything that HTTP can ask for. Methods raise the errors of :mod:`exporter.errors`."""

    @property
    def ready(self) -> bool: ...
    def take(self, body: bytes) -> Mapping[str, Any]: ...
    def alerts(
        self,
        *,
        model: str | None,
        severity: str | None,
        state: str | None,
        name: str | None,
        start: float | None,
        end: float | None,
        limit: int,
        cursor: str | None,
        models: Models,
    ) -> Mapping[str, Any]: ...
    def alert(self, alert_id: int, *, models: Models) -> Mapping[str, Any]: ...
    def alert_summary(
        self,
        *,
        model: str | None,
        start: float | None,
        end: float | None,
        step: float | None,
        models: Models,
    ) -> Mapping[str, Any]: ...
    def notifications(
        self,
        *,
        model: str | None,
        channel: str | None,
        state: str | None,
        limit: int,
        cursor: str | None,
        models: Models,
    ) -> Mapping[str, Any]: ...
    def rejected(self) -> Mapping[str, Any]: ...
    def retry(self, notification_id: str, channel: str | None = None) -> Mapping[str, Any]: ...
    def test(self, channel: str) -> Mapping[str, Any]: ...
    def reload(self) -> None: ...


class NoBridge:
    """Answers every question with how to get a bridge."""

    ready = True

    def __init__(
        self,
        message: str = (
            "no bridge runs here: start the exporter with --bridge.config.file, or with --bridge.url"
        ),
    ) -> None:
        self._message = message

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotFoundError(self._message, code="no_bridge")

    take = alerts = alert = alert_summary = notifications = rejected = retry = test = reload = _refuse
