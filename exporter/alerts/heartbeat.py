"""An alert that always fires: while it is heard, everything from Prometheus to here works.

Only the time of the last beat is kept: no alert a beat, no message. When beats stay away, the bridge itself
tells of it, since nobody else can; and once more when they are back.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from exporter.alerts.config import BridgeConfig
from exporter.alerts.matchers import parse_matcher
from exporter.alerts.records import Alert, Group, Kind, Notification, Severity
from exporter.alerts.routing import Router, group_id
from exporter.alerts.store.notifications import insert_notification, new_notification_id
from exporter.alerts.store.store import AlertStore
from exporter.clock import Clock
from exporter.durations import format_duration

HEARD = "heartbeat:heard"
SILENT = "heartbeat:silent"
GROUP = Group(group_id("\0heartbeat", {}), "heartbeat", {})


class Heartbeat:
    """Listens for beats; silence counts from the last one, or from when this began to listen."""

    def __init__(self, config: BridgeConfig, store: AlertStore, clock: Clock) -> None:
        settings = config.heartbeat
        self._matchers = [parse_matcher(text) for text in settings.matchers]
        self._timeout = settings.timeout
        critical = Router(config).routes_of({"severity": Severity.CRITICAL.text})
        self._channels = settings.channels or (critical[0].channels if critical else tuple(config.channels))
        self._store = store
        self._clock = clock
        self._listening_since = clock.time()

    def matches(self, alert: Alert) -> bool:
        """Whether an alert is a beat."""
        return bool(self._matchers) and all(matcher.matches(alert.labels) for matcher in self._matchers)

    def hear(self, connection: sqlite3.Connection, now: float) -> None:
        """Note a beat; after a silence, tell that it is over."""
        silent = _time_at(connection, SILENT)
        if silent is not None:
            heard = _time_at(connection, HEARD)
            lasted = format_duration(max(0.0, round(now - (silent if heard is None else heard))))
            self._tell(connection, f"The heartbeat of Prometheus and Alertmanager is back after {lasted}.", 0)
            connection.execute("DELETE FROM state WHERE key = ?", (SILENT,))
        _set_time(connection, HEARD, now)

    def check(self, now: float) -> bool:
        """Tell of a silence that has become too long; whether it did so."""
        with self._store.read() as connection:
            if not self._is_news(connection, now):
                return False
        with self._store.write() as connection:
            if not self._is_news(connection, now):
                return False
            heard = _time_at(connection, HEARD) or 0.0
            since = datetime.fromtimestamp(heard, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._tell(
                connection,
                f"No heartbeat of Prometheus and Alertmanager since {since}: alerts may not get through.",
                1,
            )
            _set_time(connection, SILENT, now)
        return True

    def heard_at(self) -> float | None:
        """When the last beat was heard; None when none ever was."""
        with self._store.read() as connection:
            return _time_at(connection, HEARD)

    def _is_news(self, connection: sqlite3.Connection, now: float) -> bool:
        heard = _time_at(connection, HEARD)
        if heard is None or now - max(heard, self._listening_since) <= self._timeout:
            return False
        return _time_at(connection, SILENT) is None

    def _tell(self, connection: sqlite3.Connection, text: str, firing: int) -> None:
        now = self._clock.time()
        notification = Notification(
            id=new_notification_id(now),
            created=now,
            kind=Kind.SILENCE,
            group=GROUP,
            severity=Severity.CRITICAL,
            alerts=(),
            firing=firing,
            text=text,
        )
        insert_notification(connection, self._store.outbox, notification, channels=self._channels)


def _time_at(connection: sqlite3.Connection, key: str) -> float | None:
    found = connection.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
    return None if found is None else float(found[0])


def _set_time(connection: sqlite3.Connection, key: str, at: float) -> None:
    connection.execute("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", (key, repr(at)))
