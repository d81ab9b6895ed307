"""Webhooks as Alertmanager sends them, and a store with an intake and an aggregator around it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exporter.alerts.aggregation import Aggregator
from exporter.alerts.config import parse_bridge_config
from exporter.alerts.intake import Intake, Taken
from exporter.alerts.payload import fingerprint_of
from exporter.alerts.records import Notification
from exporter.alerts.store.content import read_notification
from exporter.alerts.store.store import AlertStore
from exporter.clock import ManualClock

NOW = 1_795_492_800.0
HOOK = {"type": "webhook", "url": "http://127.0.0.1:9/"}


def rfc3339(seconds: float | None) -> str:
    if seconds is None:
        return "0001-01-01T00:00:00Z"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def an_alert(
    name: str = "MLColumnDrift",
    *,
    starts_at: float = NOW,
    ends_at: float | None = None,
    firing: bool | None = None,
    **labels: str,
) -> dict[str, Any]:
    """An alert of a payload; it is resolved when it has an end."""
    every = {"alertname": name, "model": "fraud", "severity": "warning"} | labels
    return {
        "status": "firing" if (ends_at is None if firing is None else firing) else "resolved",
        "labels": every,
        "annotations": {"summary": f"{name} of {every['model']}"},
        "startsAt": rfc3339(starts_at),
        "endsAt": rfc3339(ends_at),
        "generatorURL": "http://prometheus/graph",
        "fingerprint": fingerprint_of(every),
    }


def a_payload(
    alerts: Iterable[Mapping[str, Any]],
    *,
    receiver: str = "bridge",
    group_labels: Mapping[str, str] | None = None,
) -> bytes:
    labels = {"model": "fraud"} if group_labels is None else dict(group_labels)
    alerts = list(alerts)
    payload = {
        "receiver": receiver,
        "status": "firing" if any(alert.get("status") == "firing" for alert in alerts) else "resolved",
        "alerts": alerts,
        "groupLabels": labels,
        "version": "4",
        "groupKey": f"{{}}:{labels}",
        "truncatedAlerts": 0,
    }
    return json.dumps(payload).encode()


class Rig:
    """A bridge without delivery: what it would send stands in the queues."""

    def __init__(self, directory: Path, *, now: float = NOW, **settings: Any) -> None:
        self.directory = directory
        self.clock = ManualClock(now)
        self.settings: dict[str, Any] = {"channels": {"hook": HOOK}} | settings
        self.store = AlertStore.open(directory, clock=self.clock)
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Load changed settings into the same store."""
        self.settings |= settings
        self.config = parse_bridge_config(self.settings)
        self.intake = Intake(self.config, self.store, self.clock)
        self.aggregator = Aggregator(self.config, self.store, self.clock)

    def take(self, *alerts: Mapping[str, Any], **payload: Any) -> Taken:
        return self.intake.take(a_payload(alerts, **payload))

    def flush(self) -> list[Notification]:
        """Tell of what is due now; the new notifications in their order."""
        known = {notification.id for notification in self.notifications()}
        self.aggregator.flush(self.clock.time())
        return [told for told in self.notifications() if told.id not in known]

    def notifications(self) -> list[Notification]:
        rows = self.rows("SELECT content FROM notifications ORDER BY rowid")
        return [read_notification(content) for (content,) in rows]

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.store.read() as connection:
            return connection.execute(query, values).fetchall()

    def events(self, alert_id: int = 1) -> list[str]:
        return [
            kind for (kind,) in self.rows("SELECT kind FROM events WHERE alert = ? ORDER BY id", alert_id)
        ]

    def close(self) -> None:
        self.store.close()


def told(notification: Notification) -> list[tuple[str, str]]:
    """Names and changes that a notification tells of."""
    return [(entry.alert.name, entry.change.value) for entry in notification.alerts]
