"""Notifications in a store, for the tests of what delivers them."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.alerts.records import Alert, Change, Group, Kind, Notification, NotifiedAlert, Severity
from exporter.alerts.store.content import dump_notification
from exporter.alerts.store.store import AlertStore


def notification(
    number: int | str,
    group: str = "g",
    *,
    severity: Severity = Severity.WARNING,
    firing: int = 1,
    kind: Kind = Kind.CHANGE,
    created: float = 0.0,
    changes: Sequence[Change] = (Change.FIRING,),
) -> Notification:
    """Make a notification of a group that tells of one alert for each change."""
    labels = {"alertname": "MLColumnDrift", "model": "flight_delay", "severity": severity.text}
    alerts = tuple(
        NotifiedAlert(
            Alert(f"f{place}", change in (Change.FIRING, Change.STILL), labels, {"summary": "s"}, 1.0),
            change,
            place + 1,
        )
        for place, change in enumerate(changes)
    )
    return Notification(
        f"n{number}",
        created,
        kind,
        Group(group, "routes[0]", {"model": "flight_delay"}),
        severity,
        alerts,
        firing,
    )


def queue(store: AlertStore, one: Notification, *channels: str) -> str:
    """Keep a notification and queue it for channels; gives its id."""
    with store.write() as connection:
        connection.execute(
            "INSERT INTO notifications (id, group_id, created, kind, severity, models, content)"
            " VALUES (?, ?, ?, ?, ?, '', ?)",
            (one.id, one.group.id, one.created, one.kind.value, int(one.severity), dump_notification(one)),
        )
        for told in one.alerts:
            connection.execute("INSERT INTO told_of VALUES (?, ?)", (told.alert_id, one.id))
        for channel in channels or ("chat",):
            store.outbox.add(connection, one.id, one.group.id, channel, one.severity, one.created)
    return one.id
