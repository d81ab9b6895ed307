"""Alerts and notifications of the bridge's API as data frames; empty ones have the same columns and types."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from exporter.alerts.sending.times import seconds_of

_TIME = "datetime64[ns, UTC]"
HISTORY: Mapping[str, str] = {
    "id": "Int64",
    "alert_type": "str",
    "severity": "str",
    "message": "str",
    "state": "str",
    "model": "str",
    "version": "str",
    "value": "float64",
    "threshold": "float64",
    "started": _TIME,
    "ended": _TIME,
    "last_seen": _TIME,
    "labels": "object",
    "annotations": "object",
}
NOTIFICATIONS: Mapping[str, str] = {
    "id": "str",
    "kind": "str",
    "severity": "str",
    "channel": "str",
    "state": "str",
    "attempts": "Int64",
    "created": _TIME,
    "finished": _TIME,
    "alerts": "Int64",
    "error": "str",
    "detail": "str",
}


def history_frame(alerts: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each alert."""
    return _frame([_alert_row(alert) for alert in alerts], HISTORY)


def notifications_frame(notifications: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each delivery of each notification."""
    rows = [_delivery_row(told, delivery) for told in notifications for delivery in told["deliveries"]]
    return _frame(rows, NOTIFICATIONS)


def _alert_row(alert: Mapping[str, Any]) -> dict[str, Any]:
    annotations = alert["annotations"]
    return {
        "id": alert.get("id"),
        "alert_type": alert["name"],
        "severity": alert["severity"],
        "message": annotations.get("description") or annotations.get("summary", ""),
        "state": alert["state"],
        "model": alert["model"],
        "version": alert["version"],
        "value": _number(annotations.get("value")),
        "threshold": _number(annotations.get("threshold")),
        "started": seconds_of(alert["starts_at"]),
        "ended": seconds_of(alert.get("resolved_at")),
        "last_seen": seconds_of(alert["last_seen"]),
        "labels": alert["labels"],
        "annotations": annotations,
    }


def _delivery_row(told: Mapping[str, Any], delivery: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": told["id"],
        "kind": told["kind"],
        "severity": told["severity"],
        "channel": delivery["channel"],
        "state": delivery["state"],
        "attempts": delivery.get("attempts"),
        "created": seconds_of(told["created"]),
        "finished": seconds_of(delivery.get("finished")),
        "alerts": _count(told.get("alerts")),
        "error": delivery.get("error") or "",
        "detail": delivery.get("detail") or "",
    }


def _frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    series: dict[str, Any] = {}
    for name, kind in columns.items():
        values = [row[name] for row in rows]
        if kind == _TIME:
            whole = [None if value is None else round(value * 1e9) for value in values]
            series[name] = pd.Series(pd.to_datetime(pd.array(whole, dtype="Int64"), unit="ns", utc=True))
        else:
            series[name] = pd.Series(values, dtype=kind)
    return pd.DataFrame(series, columns=list(columns))


def _number(text: str | None) -> float:
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan


def _count(alerts: object) -> int | None:
    if isinstance(alerts, int):
        return alerts
    return len(alerts) if isinstance(alerts, Sequence) else None
