"""Old things go: resolved alerts, finished notifications, and what belongs to them."""

from __future__ import annotations

import sqlite3

from exporter.alerts.config import BridgeConfig
from exporter.alerts.store.store import AlertStore

AT_ONCE = 500
"""Rows that one transaction lets go of; the intake waits for it."""

VACUUM_PAGES = 2000
"""Free pages that are given back to the disk after something went."""


class Expiry:
    """Lets go of what is older than `retention`, little by little. What fires or waits stays, however old."""

    def __init__(self, config: BridgeConfig, store: AlertStore) -> None:
        self._seconds = config.retention
        self._store = store

    def expire(self, now: float) -> int:
        """Let go of all that is too old; gives the number of alerts and notifications."""
        before = now - self._seconds
        gone = 0
        for step in (_notifications, _alerts):
            while True:
                with self._store.write() as connection:
                    count = step(connection, before)
                gone += count
                if count < AT_ONCE:
                    break
        with self._store.write() as connection:
            _rest(connection, before)
            if gone:
                connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES:d})").fetchall()
        return gone


def _notifications(connection: sqlite3.Connection, before: float) -> int:
    rows = connection.execute(
        "SELECT id FROM notifications WHERE created < ? AND NOT EXISTS (SELECT 1 FROM deliveries d"
        " WHERE d.notification = notifications.id AND d.state IN ('queued', 'leased'))"
        " ORDER BY created LIMIT ?",
        (before, AT_ONCE),
    ).fetchall()
    connection.executemany(
        "DELETE FROM notified_models WHERE notification = ?1 AND (model, created) IN"
        " (SELECT j.value, n.created FROM notifications n, json_each(n.models) j WHERE n.id = ?1)",
        rows,
    )
    for table, column in (
        ("deliveries", "notification"),
        ("told_of", "notification"),
        ("notifications", "id"),
    ):
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows)  # noqa: S608
    return len(rows)


def _alerts(connection: sqlite3.Connection, before: float) -> int:
    rows = connection.execute(
        "SELECT id FROM alerts WHERE firing = 0 AND resolved_at < ?1 AND last_seen < ?1 AND NOT EXISTS"
        " (SELECT 1 FROM members m WHERE m.alert = alerts.id) ORDER BY resolved_at LIMIT ?2",
        (before, AT_ONCE),
    ).fetchall()
    for table, column in (("events", "alert"), ("told_of", "alert"), ("alerts", "id")):
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows)  # noqa: S608
    return len(rows)


def _rest(connection: sqlite3.Connection, before: float) -> None:
    connection.execute("DELETE FROM rejected WHERE received < ?", (before,))
    connection.execute(
        "DELETE FROM groups WHERE used_at < ? AND due_at IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM members m WHERE m.group_id = groups.id)",
        (before,),
    )
    connection.execute(
        "DELETE FROM threads WHERE opened < ? AND NOT EXISTS"
        " (SELECT 1 FROM members m WHERE m.group_id = threads.group_id)",
        (before,),
    )
