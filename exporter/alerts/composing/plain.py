"""The plain form of a message: made without templates, facts or links, from what the notification holds.

Nothing here can fail for any content: every text is made one of printable characters and is cut.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Final

from exporter.alerts.composing.figures import clean, cut, line, rfc3339
from exporter.alerts.records import (
    Alert,
    Facts,
    Group,
    Kind,
    Message,
    Notification,
    NotifiedAlert,
    View,
)

TITLE_LENGTH: Final = 150
LINE_LENGTH: Final = 300
TEXT_LENGTH: Final = 1000
MOST_LABELS: Final = 30
MOST_VIEWS: Final = 100

_HEADS = {Kind.TEST: "Test", Kind.SILENCE: "Silence", Kind.REMINDER: "Still firing"}


def plain_message(notification: Notification, now: float) -> Message:
    """The message of a notification that no data can make fail; every text is cut, control characters go."""
    views = tuple(_view(notified) for notified in notification.alerts[:MOST_VIEWS])
    models = {view.alert.model for view in views}
    versions = {view.alert.labels.get("version", "") for view in views}
    firing = notification.firing > 0
    left_out = len(notification.alerts) - len(views)
    kept = replace(
        notification,
        group=_group(notification.group),
        alerts=tuple(
            NotifiedAlert(view.alert, view.change, notified.alert_id)
            for view, notified in zip(views, notification.alerts, strict=False)
        ),
        omitted=notification.omitted + left_out,
        text=clean(notification.text, TEXT_LENGTH),
    )
    return Message(
        notification=kept,
        title=plain_title(kept, firing=firing),
        status="firing" if firing else "resolved",
        severity=notification.severity,
        model=models.pop() if len(models) == 1 else "",
        version=versions.pop() if len(versions) == 1 else "",
        views=views,
        links={},
        made_at=now,
    )


def plain_title(notification: Notification, *, firing: bool) -> str:
    """One line without any template."""
    head = "Firing" if firing else "Resolved"
    if firing or notification.kind is Kind.TEST:
        head = _HEADS.get(notification.kind, head)
    if not notification.alerts:
        return line(f"{head}: {notification.text}" if notification.text else head, TITLE_LENGTH)
    first = notification.alerts[0].alert
    summary = first.annotations.get("summary") or first.name or "alert"
    count = len(notification.alerts) + notification.omitted
    more = f" ({count} alerts)" if count > 1 else ""
    begin = f"[{notification.severity.text}] {head}: "
    return begin + line(summary, TITLE_LENGTH - len(begin) - len(more)) + more


def plain_text(message: Message, length: int = 4000) -> str:
    """A whole message as plain text, whole alerts only, and how many were left out."""
    notification = message.notification
    pieces = [message.title]
    if notification.text and notification.text not in message.title:
        pieces.append(notification.text)
    used = sum(map(len, pieces)) + len(pieces)
    told = 0
    for view in message.views:
        piece = _told(view)
        if used + len(piece) + 2 > length - 80:
            break
        pieces.append(piece)
        used += len(piece) + 2
        told += 1
    left_out = len(message.views) - told + notification.omitted
    if left_out:
        pieces.append(f"... and {left_out} more")
    return clean("\n\n".join(pieces), length)


def _told(view: View) -> str:
    alert = view.alert
    state = f"{alert.severity.text}, {view.change.value}"
    if view.ending:
        state += f" ({view.ending})"
    lines = [f"{alert.name or 'alert'} [{state}]: {view.summary}", view.what, view.description]
    labels = ", ".join(f"{name}={value}" for name, value in alert.labels.items() if name != "alertname")
    lines += [cut(labels, LINE_LENGTH), f"since {rfc3339(alert.starts_at) or 'an unknown time'}"]
    lines += [f"{name}: {url}" for name, url in view.links.items() if name in ("dashboard", "runbook")]
    return "\n".join(dict.fromkeys(filter(None, lines)))


def _view(notified: NotifiedAlert) -> View:
    alert = _alert(notified.alert)
    annotations = alert.annotations
    summary = line(annotations.get("summary") or alert.name or "alert", LINE_LENGTH)
    description = clean(annotations.get("description") or annotations.get("message"), TEXT_LENGTH)
    value = annotations.get("value", "")
    return View(
        alert=alert,
        change=notified.change,
        summary=summary,
        description=description,
        what=line(f"value {value}", LINE_LENGTH) if value else "",
        facts=Facts(),
    )


def _alert(alert: Alert) -> Alert:
    return replace(
        alert,
        fingerprint=line(alert.fingerprint, 64),
        labels=_texts(alert.labels.items(), LINE_LENGTH),
        annotations=_texts(alert.annotations.items(), TEXT_LENGTH),
        generator_url="",
    )


def _group(group: Group) -> Group:
    return Group(line(group.id, 64), line(group.route, 100), _texts(group.labels.items(), LINE_LENGTH))


def _texts(items: object, length: int) -> MappingProxyType[str, str]:
    pairs = list(items)[:MOST_LABELS]  # type: ignore[call-overload]  # items of a mapping
    return MappingProxyType({line(name, 100): clean(value, length) for name, value in pairs})
