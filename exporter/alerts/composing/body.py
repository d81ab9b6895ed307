"""A message as JSON, for webhooks. The schema is published as docs/webhook-schema.json."""

from __future__ import annotations

import math
from typing import Any, Final

from exporter.alerts.composing.figures import rfc3339
from exporter.alerts.records import Facts, Message, View

VERSION: Final = "1"
"""Fields are added under the same version; one that is renamed or removed raises it."""


def body_of(message: Message, *, most_alerts: int | None = None) -> dict[str, Any]:
    """The message as plain dicts, lists, texts and finite numbers; at most `most_alerts` alerts."""
    notification = message.notification
    views = message.views if most_alerts is None else message.views[:most_alerts]
    identifiers = [notified.alert_id for notified in notification.alerts]
    body = {
        "version": VERSION,
        "id": notification.id,
        "kind": notification.kind.value,
        "status": message.status,
        "severity": message.severity.text,
        "title": message.title,
        "text": notification.text,
        "model": message.model,
        "model_version": message.version,
        "created": rfc3339(notification.created),
        "sent": rfc3339(message.made_at),
        "group": {
            "id": notification.group.id,
            "route": notification.group.route,
            "labels": dict(notification.group.labels),
        },
        "firing": notification.firing,
        "omitted": notification.omitted + len(message.views) - len(views),
        "links": dict(message.links),
        "alerts": [
            _alert(view, identifiers[place] if place < len(identifiers) else 0)
            for place, view in enumerate(views)
        ],
    }
    cleaned: dict[str, Any] = _writable(body)
    return cleaned


def _alert(view: View, identifier: int) -> dict[str, Any]:
    alert = view.alert
    return {
        "id": identifier,
        "fingerprint": alert.fingerprint,
        "name": alert.name,
        "status": "firing" if alert.firing else "resolved",
        "change": view.change.value,
        "ending": view.ending,
        "severity": alert.severity.text,
        "model": alert.model,
        "model_version": alert.labels.get("version", ""),
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": rfc3339(alert.starts_at),
        "ends_at": rfc3339(alert.ends_at),
        "summary": view.summary,
        "description": view.description,
        "what": view.what,
        "facts": _facts(view.facts),
        "links": dict(view.links),
    }


def _facts(facts: Facts) -> dict[str, Any] | None:
    if facts == Facts():
        return None
    return {
        "measure": facts.measure,
        "current": facts.current,
        "threshold": facts.threshold,
        "baseline": facts.baseline,
        "lower": facts.lower,
        "upper": facts.upper,
        "unit": facts.unit,
        "rows": facts.rows,
        "at": rfc3339(facts.at),
        "undefined": facts.undefined,
        "history": [
            {"time": rfc3339(at), "value": value} for at, value in facts.history if math.isfinite(value)
        ],
        "worst_columns": [
            {
                "column": worst.column,
                "statistic": worst.statistic,
                "critical_value": worst.critical_value,
                "method": worst.method,
            }
            for worst in facts.worst_columns
        ],
    }


def _writable(value: Any) -> Any:
    """What JSON can hold: no infinite numbers, no halves of characters."""
    if isinstance(value, dict):
        return {_writable(str(name)): _writable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_writable(item) for item in value]
    if isinstance(value, str):
        return str(value).encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
