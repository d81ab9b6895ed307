"""Questions about alerts and notifications: plain dicts, newest first, a page at a time.

A cursor names the last entry of a page; entries that come meanwhile don't shift the next one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import orjson

from exporter.alerts.composing.figures import rfc3339
from exporter.alerts.records import Severity
from exporter.alerts.store.content import read_notification
from exporter.alerts.store.store import AlertStore
from exporter.alerts.timeline import steps
from exporter.errors import BadRequestError, NotFoundError

MOST = 1000
"""Entries of one answer."""

MOST_COUNTS = 1000
MOST_EVENTS = 1000
MOST_TOLD = 100
STATES = ("firing", "resolved", "silenced", "inhibited")
DELIVERY_STATES = ("queued", "leased", "delivered", "failed", "dead")

_STATE = "CASE WHEN firing = 0 THEN 'resolved' ELSE coalesce(suppressed, 'firing') END"
_COLUMNS = (
    "id, fingerprint, starts_at, name, model, version, severity, labels, annotations, generator_url, source,"
    f" {_STATE}, suppressed_by, first_seen, last_seen, resolved_at"
)


class _Where(NamedTuple):
    """Conditions of a query, and their values."""

    conditions: list[str]
    values: list[Any]

    def add(self, condition: str, *values: Any) -> None:
        self.conditions.append(condition)
        self.values.extend(values)

    def add_any(self, column: str, allowed: Collection[str]) -> None:
        marks = ", ".join("?" * len(allowed))
        self.add(f"{column} IN ({marks})", *allowed)

    @property
    def text(self) -> str:
        return " AND ".join(self.conditions) or "1"


class Questions:
    """Reads what the store remembers; from any thread.

    Where `models` is given only alerts of these models are seen, and only notifications that tell of nothing
    else.
    """

    def __init__(self, store: AlertStore) -> None:
        self._store = store

    def alerts(
        self,
        *,
        model: str | None = None,
        severity: str | None = None,
        state: str | None = None,
        name: str | None = None,
        start: float | None = None,
        end: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
        models: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Alerts that still fired at `start` or later and began at `end` or earlier: `alerts` and `next`.

        `notified` of each says which channels took it, how often, and when last.
        """
        where = _alerts_where(model=model, start=start, end=end, models=models)
        if severity is not None:
            where.add("severity = ?", int(_severity(severity)))
        if name is not None:
            where.add("name = ?", name)
        if state is not None:
            where.add(*_of_state(state))
        if cursor is not None:
            where.add("(first_seen, id) < (?, ?)", *_cursor(cursor, int))
        limit = _limit(limit)
        query = f"SELECT {_COLUMNS} FROM alerts WHERE {where.text} ORDER BY first_seen DESC, id DESC LIMIT ?"  # noqa: S608
        with self._store.read() as connection:
            rows = connection.execute(query, (*where.values, limit + 1)).fetchall()
            notified = _notified(connection, [row[0] for row in rows[:limit]])
        following = _next(rows[limit - 1][13], rows[limit - 1][0]) if len(rows) > limit else None
        alerts = [{**_alert(row), "notified": notified.get(row[0], [])} for row in rows[:limit]]
        return {"alerts": alerts, "next": following}

    def alert(self, alert_id: int | str, *, models: Collection[str] | None = None) -> dict[str, Any]:
        """One alert with its `events` and what was told of it; raises :class:`NotFoundError`."""
        with self._store.read() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM alerts WHERE id = ?", (alert_id,)).fetchone()  # noqa: S608
            if row is None or (models is not None and row[4] not in models):
                raise NotFoundError(f"there is no alert {str(alert_id)[:100]}, or none that you may see")
            events = connection.execute(
                "SELECT at, kind, detail FROM events WHERE alert = ? ORDER BY id LIMIT ?",
                (row[0], MOST_EVENTS),
            ).fetchall()
            told = connection.execute(
                "SELECT n.id, n.created, n.kind, n.severity FROM told_of t JOIN notifications n"
                " ON n.id = t.notification WHERE t.alert = ? ORDER BY n.created DESC LIMIT ?",
                (row[0], MOST_TOLD),
            ).fetchall()
            notifications = [
                {
                    "id": number,
                    "created": rfc3339(created),
                    "kind": kind,
                    "severity": Severity(severity).text,
                    "deliveries": _deliveries(connection, number),
                }
                for number, created, kind, severity in told
            ]
        return {
            **_alert(row),
            "events": [
                {"at": rfc3339(at), "kind": kind, **orjson.loads(detail or b"{}")}
                for at, kind, detail in events
            ],
            "notifications": notifications,
        }

    def summary(
        self,
        *,
        model: str | None = None,
        start: float | None = None,
        end: float | None = None,
        step: float | None = None,
        models: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Alerts counted: `total`, by one property each, and `counts` of all together, most first.

        With `step`, `start` and `end`, `steps` says what began and ended when.
        """
        where = _alerts_where(model=model, start=start, end=end, models=models)
        query = (
            f"SELECT model, severity, {_STATE}, name, count(*) FROM alerts WHERE {where.text}"  # noqa: S608
            " GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 4"
        )
        with self._store.read() as connection:
            rows = connection.execute(query, where.values).fetchall()
            timeline = {}
            if step is not None:
                if start is None or end is None:
                    raise BadRequestError("step: expected `from` and `to` with it", code="bad_parameter")
                seen = models if model is None else {model} if models is None else {model} & set(models)
                timeline = {"steps": steps(connection, start=start, end=end, step=step, models=seen)}
        keys = ("model", "severity", "state", "name")
        counts = [
            {"model": one, "severity": Severity(severity).text, "state": state, "name": name, "count": count}
            for one, severity, state, name, count in rows
        ]
        sums: dict[str, dict[str, int]] = {key: {} for key in keys}
        for entry in counts:
            for key in keys:
                sums[key][entry[key]] = sums[key].get(entry[key], 0) + entry["count"]
        return {
            "total": sum(entry["count"] for entry in counts),
            **{f"by_{key}": dict(list(found.items())[:MOST_COUNTS]) for key, found in sums.items()},
            "counts": counts[:MOST_COUNTS],
            **timeline,
        }

    def notifications(
        self,
        *,
        model: str | None = None,
        channel: str | None = None,
        state: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        models: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Notifications with their deliveries: `notifications` and `next`."""
        where = _Where([], [])
        if model is not None:
            where.add("id IN (SELECT notification FROM notified_models WHERE model = ?)", model)
        if models is not None:
            where.add("models <> '[]'")
            where.add(
                "NOT EXISTS (SELECT 1 FROM json_each(notifications.models) m WHERE m.value NOT IN"
                " (SELECT value FROM json_each(?)))",
                orjson.dumps(sorted(models)).decode(),
            )
        if channel is not None or state is not None:
            where.add(*_with_delivery(channel, state))
        if cursor is not None:
            where.add("(created, id) < (?, ?)", *_cursor(cursor, str))
        limit = _limit(limit)
        query = (
            "SELECT id, created, kind, severity, models, content FROM notifications"  # noqa: S608
            f" WHERE {where.text} ORDER BY created DESC, id DESC LIMIT ?"
        )
        with self._store.read() as connection:
            rows = connection.execute(query, (*where.values, limit + 1)).fetchall()
            found = [_notification(connection, row) for row in rows[:limit]]
        following = _next(rows[limit - 1][1], rows[limit - 1][0]) if len(rows) > limit else None
        return {"notifications": found, "next": following}

    def rejected(self, *, limit: int = 100) -> dict[str, Any]:
        """What could not be read, newest first, with the begin of its body: `rejected`."""
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT id, received, reason, body, bytes FROM rejected ORDER BY id DESC LIMIT ?",
                (_limit(limit),),
            ).fetchall()
        return {
            "rejected": [
                {
                    "id": number,
                    "received": rfc3339(received),
                    "reason": reason,
                    "body": body.decode("utf-8", "replace"),
                    "bytes": size,
                }
                for number, received, reason, body, size in rows
            ]
        }


def _alerts_where(
    *, model: str | None, start: float | None, end: float | None, models: Collection[str] | None
) -> _Where:
    where = _Where([], [])
    if model is not None:
        where.add("model = ?", model)
    if models is not None:
        where.add_any("model", models)
    if start is not None:
        where.add("(firing = 1 OR resolved_at >= ?)", start)
    if end is not None:
        where.add("starts_at <= ?", end)
    return where


def _of_state(state: str) -> tuple[Any, ...]:
    if state == "resolved":
        return ("firing = 0",)
    if state == "firing":
        return ("firing = 1 AND suppressed IS NULL",)
    if state in STATES:
        return ("firing = 1 AND suppressed = ?", state)
    raise BadRequestError(f"state: expected {_or(STATES)}, got {state[:100]!r}", code="bad_parameter")


def _with_delivery(channel: str | None, state: str | None) -> tuple[Any, ...]:
    conditions, values = ["d.notification = notifications.id"], []
    if channel is not None:
        conditions.append("d.channel = ?")
        values.append(channel)
    if state is not None:
        if state not in DELIVERY_STATES:
            text = f"state: expected {_or(DELIVERY_STATES)}, got {state[:100]!r}"
            raise BadRequestError(text, code="bad_parameter")
        conditions.append("d.state = ?")
        values.append(state)
    return (f"EXISTS (SELECT 1 FROM deliveries d WHERE {' AND '.join(conditions)})", *values)  # noqa: S608


def _alert(row: Sequence[Any]) -> dict[str, Any]:
    suppressed_by = row[12]
    return {
        "id": row[0],
        "fingerprint": row[1],
        "name": row[3],
        "model": row[4],
        "version": row[5],
        "severity": Severity(row[6]).text,
        "state": row[11],
        "suppressed_by": None if suppressed_by is None else orjson.loads(suppressed_by),
        "labels": orjson.loads(row[7]),
        "annotations": orjson.loads(row[8]),
        "starts_at": rfc3339(row[2]),
        "resolved_at": rfc3339(row[15]),
        "first_seen": rfc3339(row[13]),
        "last_seen": rfc3339(row[14]),
        "source": row[10],
        "generator_url": row[9],
    }


def _notified(connection: sqlite3.Connection, alerts: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Where each alert was told of, and when each channel last took it."""
    rows = connection.execute(
        "SELECT t.alert, d.channel, max(d.finished), count(*)"
        " FROM told_of t JOIN deliveries d ON d.notification = t.notification"
        " WHERE t.alert IN (SELECT value FROM json_each(?)) AND d.state = 'delivered'"
        " GROUP BY t.alert, d.channel ORDER BY t.alert, d.channel",
        (orjson.dumps(list(alerts)).decode(),),
    )
    found: dict[int, list[dict[str, Any]]] = {}
    for alert, channel, finished, times in rows:
        found.setdefault(alert, []).append({"channel": channel, "at": rfc3339(finished), "times": times})
    return found


def _notification(connection: sqlite3.Connection, row: Sequence[Any]) -> dict[str, Any]:
    number, created, kind, severity, models, content = row
    try:
        told = read_notification(content)
    except ValueError:
        told = None
    names = orjson.loads(models)
    return {
        "id": number,
        "created": rfc3339(created),
        "kind": kind,
        "severity": Severity(severity).text,
        "model": names[0] if len(names) == 1 else "",
        "models": names,
        "group": {}
        if told is None
        else {"id": told.group.id, "route": told.group.route, "labels": dict(told.group.labels)},
        "text": "" if told is None else told.text,
        "firing": None if told is None else told.firing,
        "omitted": None if told is None else told.omitted,
        "alerts": []
        if told is None
        else [
            {"id": one.alert_id, "name": one.alert.name, "change": one.change.value} for one in told.alerts
        ],
        "deliveries": _deliveries(connection, number),
    }


def _deliveries(connection: sqlite3.Connection, notification: str) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT channel, state, attempts, plain, next_at, finished, error, detail FROM deliveries"
        " WHERE notification = ? ORDER BY channel",
        (notification,),
    )
    return [
        {
            "channel": channel,
            "state": state,
            "attempts": attempts,
            "plain": bool(plain),
            "next_at": rfc3339(next_at) if state == "queued" else None,
            "finished": rfc3339(finished),
            "error": error,
            "detail": detail,
        }
        for channel, state, attempts, plain, next_at, finished, error, detail in rows
    ]


def _severity(text: str) -> Severity:
    if text not in [severity.text for severity in Severity]:
        names = _or([severity.text for severity in Severity])
        raise BadRequestError(f"severity: expected {names}, got {text[:100]!r}", code="bad_parameter")
    return Severity.of(text)


def _limit(limit: int) -> int:
    return max(1, min(MOST, limit))


def _next(time: float, number: object) -> str:
    return f"{time!r}_{number}"


def _cursor(text: str, kind: type[int | str]) -> tuple[float, int | str]:
    time, _, number = text.partition("_")
    try:
        return float(time), kind(number)
    except ValueError:
        message = f"next: expected the `next` of an answer, got {text[:100]!r}"
        raise BadRequestError(message, code="bad_parameter") from None


def _or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
