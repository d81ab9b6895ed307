"""Ways on which alerts from Python code go out: a bridge in this process, or an Alertmanager.

:class:`exporter.alerts.alert_manager.AlertManager` chooses one and knows which alerts fire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from exporter.alerts.records import Alert


class Way(Protocol):
    """Where alerts go. Every method may be called from any thread."""

    def firing(self, model: str) -> list[Alert]:
        """Alerts of a model that fire since an earlier process."""

    def send(self, alerts: Sequence[Alert]) -> None:
        """Take alerts, firing or resolved. Raises the errors of :mod:`exporter.errors`."""

    def flush(self, seconds: float) -> int:
        """Send now what waits, for so long at most; gives how much still waits."""

    def close(self, seconds: float) -> list[str]:
        """Send what waits, for so long at most, and stop; gives a sentence on each that could not be sent."""

    def alerts(self, model: str) -> list[dict[str, Any]]:
        """Alerts of a model as the bridge's API has them, oldest first."""

    def notifications(self, model: str) -> list[dict[str, Any]]:
        """Notifications of a model as the bridge's API has them, oldest first."""
