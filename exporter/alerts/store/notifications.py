"""Writing a notification down with everything that belongs to it, in the transaction of its cause."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Collection, Iterable

import orjson

from exporter.alerts.records import Notification
from exporter.alerts.store.content import dump_notification
from exporter.alerts.store.outbox import Outbox


def new_notification_id(now: float) -> str:
    """A name that no other notification has; later ones sort later, within a millisecond as it comes."""
    return f"{max(0, int(now * 1000)):011x}{secrets.token_hex(6)}"


def insert_notification(
    connection: sqlite3.Connection,
    outbox: Outbox,
    notification: Notification,
    *,
    channels: Iterable[str],
    alert_ids: Iterable[int] = (),
    models: Collection[str] = (),
) -> None:
    """Write a notification, the alerts that it tells of (in words or not) and a delivery for each channel."""
    connection.execute(
        "INSERT INTO notifications (id, group_id, created, kind, severity, models, content)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            notification.id,
            notification.group.id,
            notification.created,
            notification.kind.value,
            int(notification.severity),
            orjson.dumps(sorted(models)).decode(),
            dump_notification(notification),
        ),
    )
    connection.executemany(
        "INSERT INTO told_of (alert, notification) VALUES (?, ?)",
        [(alert_id, notification.id) for alert_id in alert_ids],
    )
    connection.executemany(
        "INSERT INTO notified_models (model, notification, created) VALUES (?, ?, ?)",
        [(model, notification.id, notification.created) for model in models],
    )
    for channel in channels:
        outbox.add(
            connection,
            notification.id,
            notification.group.id,
            channel,
            notification.severity,
            notification.created,
        )
