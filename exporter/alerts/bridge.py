"""The notification bridge: every part put together, without any web in it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.alerts.config import BridgeConfig
from exporter.alerts.records import Alert
from exporter.alerts.telemetry import BridgeTelemetry
from exporter.clock import Clock, SystemClock

log = logging.getLogger(__name__)

GAUGES_SECONDS = 1.0
SUPERVISION_SECONDS = 5.0
HEARTBEAT_SECONDS = 5.0
RETENTION_SECONDS = 300.0
REMOVED_CHANNEL_SECONDS = 24 * 3600.0
"""How long deliveries to a channel that is no longer configured wait for it to come back."""


class Bridge:
    """Takes alerts, keeps them, and delivers notifications of them; every method is safe from any thread.

    Parameters
    ----------
    config : BridgeConfig
    directory : Path
        Of the store; one process at a time.
    clock : Clock, optional
    source : FactsSource, optional
        Where current values come from; by default the exporter of `links.exporter` over HTTP, if named.

    Raises
    ------
    ConfigurationError
        A channel or a template cannot be opened.
    StoreError
        The store cannot be opened.
    """

    def __init__(
        self,
        config: BridgeConfig,
        directory: Path,
        *,
        clock: Clock | None = None,
        source: Any = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._source = source
        self.telemetry = BridgeTelemetry(self._clock.time())
        self._config = config
        self._directory = directory
        self._reloading = threading.Lock()
        self._started = False
        self._stopped = False

    # -- life ---------------------------------------------------------------------------------------

    @property
    def config(self) -> BridgeConfig:
        """What is in force now."""
        return self._config

    @property
    def ready(self) -> bool:
        """Whether webhooks are taken and notifications delivered."""
        return self._started and not self._stopped

    def start(self) -> None:
        """Take up what the last process left, and deliver."""

    def stop(self, drain_seconds: float = 10.0) -> None:
        """Finish what is being sent, for so long at most; the rest stays queued for the next start."""

    def reload(self, config: BridgeConfig) -> None:
        """Use another configuration from now on; queues and open threads stay.

        A configuration that cannot be used changes nothing, and `ml_bridge_config_last_reload_successful`
        becomes 0. What waits for a channel that is no longer configured is kept for a day, so that the
        channel can come back, and is given up after that.

        Raises
        ------
        ConfigurationError
        """

    # -- in -----------------------------------------------------------------------------------------

    def take(self, body: bytes) -> dict[str, Any]:
        """A webhook of Alertmanager; returns once it is durable: `status`, `alerts` and `groups`.

        Raises
        ------
        BadRequestError
            It cannot be read; it is kept among the rejected ones.
        StorageUnavailableError
            The disk is full or fails; nothing of it was kept.
        """
        raise NotImplementedError

    def accept(
        self,
        alerts: Sequence[Alert],
        *,
        receiver: str = "",
        group_labels: Mapping[str, str] | None = None,
        source: str = "python",
    ) -> dict[str, Any]:
        """Alerts that do not come from Alertmanager; otherwise like :meth:`take`."""
        raise NotImplementedError

    def flush(self, wait_seconds: float = 0.0) -> int:
        """Send now what is being collected; waits so long for the queues, gives what still waits."""
        raise NotImplementedError

    # -- questions ----------------------------------------------------------------------------------

    def alerts(
        self,
        *,
        model: str | None = None,
        severity: str | None = None,
        state: str | None = None,
        name: str | None = None,
        start: float | None = None,
        end: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
        models: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Alerts, newest first: `alerts` and `next`."""
        raise NotImplementedError

    def alert(self, alert_id: str) -> dict[str, Any]:
        """The life of one alert; raises :class:`NotFoundError`."""
        raise NotImplementedError

    def alert_summary(
        self,
        *,
        model: str | None = None,
        start: float | None = None,
        end: float | None = None,
        models: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Alerts counted by model, severity, state and name."""
        raise NotImplementedError

    def notifications(
        self,
        *,
        model: str | None = None,
        channel: str | None = None,
        state: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        models: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Notifications with their deliveries, newest first: `notifications` and `next`."""
        raise NotImplementedError

    def rejected(self, *, limit: int = 100) -> dict[str, Any]:
        """Webhooks that could not be used, newest first: `rejected`."""
        raise NotImplementedError

    # -- hands on -----------------------------------------------------------------------------------

    def retry(self, notification_id: str, channel: str | None = None) -> dict[str, Any]:
        """Queue the dead deliveries of a notification again: `{"id", "queued"}`; raises NotFoundError."""
        raise NotImplementedError

    def test(self, channel: str) -> dict[str, Any]:
        """Send a test message at once: `{"channel", "delivered", "detail", "notification"}`.

        Raises
        ------
        NotFoundError
            There is no such channel.
        DeliveryError
            It was not delivered; the message says why.
        """
        raise NotImplementedError
