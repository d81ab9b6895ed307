"""The bridge in this process, as the web asks it; its configuration can be read again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.samples import Sample

from exporter.alerts.bridge import Bridge
from exporter.alerts.composing.facts import FactsSource
from exporter.alerts.config import BridgeConfig, load_bridge_config
from exporter.clock import Clock
from exporter.errors import BadRequestError, ConfigurationError
from exporter.web.bridge_protocol import Models

logger = logging.getLogger(__name__)


class RefusedConfigurationError(BadRequestError):
    """A configuration that was to be read again cannot be used."""

    code = "bad_configuration"
    status = 422


@dataclass(frozen=True, slots=True)
class BridgeFile:
    """Where a bridge's configuration comes from: a file, or settings that never change."""

    source: Path | BridgeConfig

    def load(self) -> BridgeConfig:
        """Raises :class:`ConfigurationError` with every problem."""
        return load_bridge_config(self.source) if isinstance(self.source, Path) else self.source


class LocalBridge:
    """A bridge of one configuration file and one directory.

    Parameters
    ----------
    file : its configuration
    directory : of its store
    clock : the system's when left out
    source : of facts about models; None: the exporter that the configuration links to
    """

    def __init__(
        self,
        file: BridgeFile,
        directory: Path,
        *,
        clock: Clock | None = None,
        source: FactsSource | None = None,
    ) -> None:
        self._file = file
        self._config = file.load()
        self._bridge = Bridge(self._config, directory, clock=clock, source=source)

    def start(self) -> None:
        self._bridge.start()

    def stop(self, drain_seconds: float = 10.0) -> None:
        self._bridge.stop(drain_seconds)

    @property
    def ready(self) -> bool:
        return self._bridge.ready

    def samples(self) -> Iterator[tuple[str, Sample]]:
        """What it exposes on `/metrics`: (family, sample)."""
        return self._bridge.telemetry.samples()

    def count_web_failure(self) -> None:
        """Count that the web configuration could not be read again."""
        self._bridge.telemetry.errors.labels("web_config").inc()

    def channels(self) -> list[dict[str, Any]]:
        """Every configured channel: name, type, queued, oldest (seconds), dead, last delivery."""
        seen: dict[str, dict[str, float]] = {}
        for family, sample in self.samples():
            if family in _OF_CHANNEL:
                seen.setdefault(sample.labels["channel"], {})[_OF_CHANNEL[family]] = sample.value
        return [
            {"name": name, "type": settings.type, **seen.get(name, {})}
            for name, settings in self._config.channels.items()
        ]

    def take(self, body: bytes) -> Mapping[str, Any]:
        return self._bridge.take(body)

    def alerts(self, **asked: Any) -> Mapping[str, Any]:
        return self._bridge.alerts(**asked)

    def alert(self, alert_id: int, *, models: Models) -> Mapping[str, Any]:
        return self._bridge.alert(str(alert_id), models=models)

    def alert_summary(self, **asked: Any) -> Mapping[str, Any]:
        return self._bridge.alert_summary(**asked)

    def notifications(self, **asked: Any) -> Mapping[str, Any]:
        return self._bridge.notifications(**asked)

    def rejected(self) -> Mapping[str, Any]:
        return self._bridge.rejected()

    def retry(self, notification_id: str, channel: str | None = None) -> Mapping[str, Any]:
        return self._bridge.retry(notification_id, channel)

    def test(self, channel: str) -> Mapping[str, Any]:
        return self._bridge.test(channel)

    def reload(self) -> None:
        """Read the configuration again. Raises :class:`RefusedConfigurationError`; the old one stays then."""
        try:
            config = self._file.load()
            self._bridge.reload(config)
        except ConfigurationError as error:
            self._bridge.telemetry.reloaded.set(0)
            raise RefusedConfigurationError(error.message, details=error.details) from None
        self._config = config
        self._bridge.telemetry.reloaded.set(1)
        logger.info("bridge configuration re-read")

    def reload_or_log(self) -> None:
        """Read the configuration again; what cannot be used is logged and changes nothing."""
        try:
            self.reload()
        except RefusedConfigurationError as error:
            logger.error(  # noqa: TRY400  # the sentence says it all
                "bridge configuration not re-read; the old one stays in force",
                extra={"problem": error.message},
            )


_OF_CHANNEL = {
    "ml_bridge_queue": "queued",
    "ml_bridge_oldest_seconds": "oldest",
    "ml_bridge_dead": "dead",
    "ml_bridge_last_delivery_timestamp_seconds": "last_delivery",
}
