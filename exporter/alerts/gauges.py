"""The bridge's gauges, measured now and then."""

from __future__ import annotations

from collections.abc import Callable, Collection

from exporter.alerts.records import Severity
from exporter.alerts.store.outbox import QueueCount
from exporter.alerts.store.store import AlertStore
from exporter.alerts.telemetry import BridgeTelemetry

EMPTY = QueueCount(0, None, 0)


class Gauges:
    """Reads what waits and what fires, and sets the gauges."""

    def __init__(
        self, store: AlertStore, telemetry: BridgeTelemetry, *, channels: Callable[[], Collection[str]]
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._channels = channels
        self._shown: set[str] = set()

    def measure_queues(self, now: float) -> None:
        """What waits for its window and for each channel, those no longer configured included."""
        telemetry = self._telemetry
        counts = self._store.outbox.counts()
        names = {*self._channels(), *counts}
        for name in self._shown - names:
            telemetry.forget_channel(name)
        for name in names:
            count = counts.get(name, EMPTY)
            telemetry.queue.labels(name).set(count.queued)
            telemetry.oldest.labels(name).set(0.0 if count.oldest is None else max(0.0, now - count.oldest))
            telemetry.dead.labels(name).set(count.dead)
        self._shown = names
        with self._store.read() as connection:
            pending = connection.execute("SELECT count(*) FROM groups WHERE due_at IS NOT NULL").fetchone()[0]
        telemetry.pending_groups.set(pending)
        telemetry.store_bytes.set(self._store.size_bytes())

    def measure_alerts(self) -> None:
        """Alerts that fire now."""
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT model, severity, coalesce(suppressed, 'firing'), count(*) FROM alerts"
                " WHERE firing = 1 GROUP BY 1, 2, 3"
            ).fetchall()
        self._telemetry.show_firing(
            {(model, Severity(severity).text, state): count for model, severity, state, count in rows}
        )
