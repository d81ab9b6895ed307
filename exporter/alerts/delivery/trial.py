"""The message that shows whether a channel works."""

from __future__ import annotations

from exporter.alerts.records import Group, Kind, Notification, Severity
from exporter.alerts.routing import group_id
from exporter.alerts.store.notifications import new_notification_id

ROUTE = "test"


def trial_notification(channel: str, now: float) -> Notification:
    """A test message for one channel; no alert is in it."""
    return Notification(
        id=new_notification_id(now),
        created=now,
        kind=Kind.TEST,
        group=Group(group_id("\0test", {"channel": channel}), ROUTE, {"channel": channel}),
        severity=Severity.INFO,
        alerts=(),
        text=f"This is a test of the channel {channel}: notifications of the bridge arrive here.",
    )
