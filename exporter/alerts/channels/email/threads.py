"""How mail clients see what belongs together and what came twice: ids, and subjects that stay."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from exporter.alerts.composing.figures import line, rfc3339
from exporter.alerts.records import Change, Kind, Message, Notification

SUBJECT_LENGTH = 120
_LONGEST_DOMAIN = 40


def message_id(notification: Notification, channel: str, domain: str) -> str:
    """The same for each attempt to deliver one notification to one channel, so that clients drop the second.

    Examples
    --------
    >>> from exporter.alerts.records import Group, Severity
    >>> made = Notification("01J", 0.0, Kind.TEST, Group("g", "r", {}), Severity.INFO, ())
    >>> message_id(made, "mail", "example.org")
    '<9536de8a052ec6a256bfa59f.notification@example.org>'
    """
    return f"<{digest(notification.id, channel)}.notification@{_right_side(domain)}>"


def root_id(notification: Notification, thread: Mapping[str, Any] | None, domain: str) -> str:
    """What all messages of a group refer to: kept while the thread is open, else of the group and the day."""
    kept = (thread or {}).get("root")
    if isinstance(kept, str) and kept.startswith("<") and kept.endswith(">") and kept.isprintable():
        return kept
    day = (rfc3339(notification.created) or "undated")[:10].replace("-", "")
    return f"<{digest(notification.group.id, day)}.{day}@{_right_side(domain)}>"


def topic_of(message: Message, thread: Mapping[str, Any] | None) -> str:
    """What the subject says after severity and state; the same through a thread."""
    kept = (thread or {}).get("topic")
    if isinstance(kept, str) and kept:
        return line(kept, SUBJECT_LENGTH)
    if not message.views:
        return line(message.notification.text or message.title, SUBJECT_LENGTH)
    summary = message.views[0].summary or message.title
    whose = "" if message.model in summary else line(f"{message.model} {message.version}", 50)
    return line(" · ".join(filter(None, (whose, summary))), SUBJECT_LENGTH)


def subject_of(message: Message, topic: str) -> str:
    """One short line: state and number, severity, what it is about.

    Such as `[FIRING:2] critical · flight_delay · f1 dropped`.
    """
    state = state_of(message)
    severity = message.severity.text if message.notification.kind is not Kind.TEST else ""
    return line(f"[{state}] " + " · ".join(filter(None, (severity, topic))), SUBJECT_LENGTH + 30)


def state_of(message: Message) -> str:
    """The state of the group in capitals; `NO DATA` where alerts ended because nothing is measured."""
    kind = message.notification.kind
    if kind is Kind.TEST:
        return "TEST"
    if kind is Kind.SILENCE:
        return "RESOLVED" if message.status == "resolved" else "SILENCE"
    if message.status == "firing":
        word = "STILL FIRING" if kind is Kind.REMINDER else "FIRING"
        return f"{word}:{message.notification.firing}"
    ended = [view for view in message.views if view.change in {Change.RESOLVED, Change.PASSED}]
    if ended and all(view.ending == "no data" for view in ended):
        return "NO DATA"
    return "RESOLVED"


def digest(*parts: str) -> str:
    """24 hexadecimal digits of some texts."""
    joined = "\0".join(parts).encode("utf-8", "replace")
    return hashlib.sha256(joined).hexdigest()[:24]


def _right_side(domain: str) -> str:
    """Short enough that no header with two ids has to be folded within one."""
    return domain if len(domain) <= _LONGEST_DOMAIN and "[" not in domain else "ml-exporter.invalid"
