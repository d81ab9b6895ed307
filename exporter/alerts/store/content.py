"""A notification as it is kept: what it told is frozen when it is made, whatever its alerts do later."""

from __future__ import annotations

import sqlite3
import zlib
from typing import Any

import orjson

from exporter.alerts.records import Alert, Change, Group, Kind, Notification, NotifiedAlert, Severity

FORM = 1


def dump_notification(notification: Notification) -> bytes:
    """Bytes that :func:`read_notification` makes the same notification of."""
    content = {
        "form": FORM,
        "id": notification.id,
        "created": notification.created,
        "kind": notification.kind.value,
        "group": {
            "id": notification.group.id,
            "route": notification.group.route,
            "labels": dict(notification.group.labels),
        },
        "severity": notification.severity.text,
        "alerts": [_alert_out(told) for told in notification.alerts],
        "firing": notification.firing,
        "omitted": notification.omitted,
        "text": notification.text,
    }
    return zlib.compress(orjson.dumps(content), 1)


def read_notification(data: bytes) -> Notification:
    """The notification of the bytes; ValueError (or a kind of it) when they are damaged."""
    try:
        content: dict[str, Any] = orjson.loads(zlib.decompress(data))
        group = content["group"]
        return Notification(
            id=content["id"],
            created=content["created"],
            kind=Kind(content["kind"]),
            group=Group(group["id"], group["route"], group["labels"]),
            severity=Severity.of(content["severity"]),
            alerts=tuple(_alert_in(told) for told in content["alerts"]),
            firing=content["firing"],
            omitted=content["omitted"],
            text=content["text"],
        )
    except (zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"expected a kept notification, but it cannot be read: {error!r}") from error


def load_notification(connection: sqlite3.Connection, notification_id: str) -> Notification:
    """A kept notification.

    Raises
    ------
    LookupError
        There is none with this id.
    ValueError
        What was kept is damaged.
    """
    found = connection.execute(
        "SELECT content FROM notifications WHERE id = ?", (notification_id,)
    ).fetchone()
    if found is None:
        raise LookupError(f"there is no notification {notification_id}")
    return read_notification(found[0])


def _alert_out(told: NotifiedAlert) -> dict[str, Any]:
    alert = told.alert
    return {
        "id": told.alert_id,
        "change": told.change.value,
        "fingerprint": alert.fingerprint,
        "firing": alert.firing,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
        "generator_url": alert.generator_url,
    }


def _alert_in(told: dict[str, Any]) -> NotifiedAlert:
    alert = Alert(
        fingerprint=told["fingerprint"],
        firing=told["firing"],
        labels=told["labels"],
        annotations=told["annotations"],
        starts_at=told["starts_at"],
        ends_at=told["ends_at"],
        generator_url=told["generator_url"],
    )
    return NotifiedAlert(alert, Change(told["change"]), told["id"])
