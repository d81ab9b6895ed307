"""The lives of alerts: what each sighting of an alert says about what the store holds.

A fingerprint names an alert, with its start it names one life of it. Alertmanager holds one life of a
fingerprint at a time, so at most one fires here as well, and what was said last is true. Sightings may come
late, twice or in another order:

- a firing one that began later than the one that fires here: that one has ended, and a new life begins;
- a firing one that began earlier: of a life that is known to have ended it is an echo; otherwise it is the
  same life, whose start Alertmanager has put back (it does so when it joins what two Prometheis sent);
- a resolved one that was never seen firing is kept as a life that passed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

import orjson

from exporter.alerts.records import Alert, Change
from exporter.alerts.store.events import append_event

ALERTMANAGER = "alertmanager"
"""Source of alerts that Alertmanager knows, in contrast to those that were handed over in the process."""


class Sighting(NamedTuple):
    """What one alert of a payload means for one life; `news` is None when it was known."""

    alert_id: int
    alert: Alert
    news: Change | None


class _Life(NamedTuple):
    id: int
    starts_at: float
    firing: bool


def see(
    connection: sqlite3.Connection, alerts: Iterable[Alert], *, now: float, source: str
) -> list[Sighting]:
    """Write alerts down, in their order, and say what is new."""
    lives = _Lives(connection, now, source)
    return [sighting for alert in alerts for sighting in lives.see(alert)]


def end(connection: sqlite3.Connection, alert_id: int, alert: Alert, *, at: float, why: str) -> Sighting:
    """Mark a life as ended for another reason than a webhook that says so."""
    connection.execute(
        "UPDATE alerts SET firing = 0, resolved_at = ?, suppressed = NULL, suppressed_by = NULL WHERE id = ?",
        (at, alert_id),
    )
    append_event(connection, (alert_id,), at, "resolved", {"why": why})
    return Sighting(alert_id, alert, Change.RESOLVED)


class _Lives:
    def __init__(self, connection: sqlite3.Connection, now: float, source: str) -> None:
        self._connection = connection
        self._now = now
        self._source = source

    def see(self, alert: Alert) -> list[Sighting]:
        known = self._life(
            "SELECT id, starts_at, firing FROM alerts WHERE fingerprint = ? AND starts_at = ?",
            (alert.fingerprint, alert.starts_at),
        )
        held = known if known is not None and known.firing else self._firing(alert.fingerprint)
        if alert.firing:
            return self._see_firing(alert, known, held)
        return self._see_resolved(alert, known, held)

    def _see_firing(self, alert: Alert, known: _Life | None, held: _Life | None) -> list[Sighting]:
        ended = []
        if held is not None:
            if known is not None and known.id == held.id:
                return [self._still(held, alert)]
            if alert.starts_at < held.starts_at:
                return [self._still(held, alert, starts_at=alert.starts_at if known is None else None)]
            ended = [self._resolve(held, alert, alert.starts_at, why="it began anew")]
        if known is None:
            return [*ended, self._begin(alert)]
        self._connection.execute(
            "UPDATE alerts SET firing = 1, resolved_at = NULL, last_seen = ?, annotations = ?,"
            " generator_url = ? WHERE id = ?",
            (self._now, _text(alert.annotations), alert.generator_url, known.id),
        )
        append_event(self._connection, (known.id,), self._now, "firing", {"again": True})
        return [*ended, Sighting(known.id, alert, Change.FIRING)]

    def _see_resolved(self, alert: Alert, known: _Life | None, held: _Life | None) -> list[Sighting]:
        ends_at = self._end_of(alert)
        if held is None:
            return [self._pass(alert, ends_at)] if known is None else [Sighting(known.id, alert, None)]
        if known is not None and known.id == held.id:
            return [self._resolve(held, alert, ends_at)]
        if alert.starts_at < held.starts_at:
            if known is not None:
                return [Sighting(known.id, alert, None)]
            if ends_at > held.starts_at:
                return [self._resolve(held, alert, ends_at)]
            return [self._pass(alert, ends_at)]
        ended = self._resolve(held, alert, alert.starts_at, why="it began anew")
        return [ended] if known is not None else [ended, self._pass(alert, ends_at)]

    def _begin(self, alert: Alert) -> Sighting:
        alert_id = self._insert(alert, None)
        append_event(self._connection, (alert_id,), self._now, "firing", {"source": self._source})
        return Sighting(alert_id, alert, Change.FIRING)

    def _pass(self, alert: Alert, ends_at: float) -> Sighting:
        alert_id = self._insert(alert, ends_at)
        append_event(self._connection, (alert_id,), self._now, "resolved", {"source": self._source})
        return Sighting(alert_id, alert, Change.RESOLVED)

    def _still(self, held: _Life, alert: Alert, *, starts_at: float | None = None) -> Sighting:
        self._connection.execute(
            "UPDATE alerts SET last_seen = ?, annotations = ?, generator_url = ?,"
            " starts_at = coalesce(?, starts_at) WHERE id = ?",
            (self._now, _text(alert.annotations), alert.generator_url, starts_at, held.id),
        )
        return Sighting(held.id, alert, None)

    def _resolve(self, held: _Life, alert: Alert, at: float, *, why: str = "") -> Sighting:
        at = min(max(at, held.starts_at), max(self._now, held.starts_at))
        self._connection.execute(
            "UPDATE alerts SET firing = 0, resolved_at = ?, last_seen = ?, suppressed = NULL,"
            " suppressed_by = NULL, annotations = ? WHERE id = ?",
            (at, self._now, _text(alert.annotations), held.id),
        )
        append_event(self._connection, (held.id,), self._now, "resolved", {"why": why} if why else None)
        return Sighting(held.id, alert, Change.RESOLVED)

    def _insert(self, alert: Alert, resolved_at: float | None) -> int:
        labels = alert.labels
        cursor = self._connection.execute(
            "INSERT INTO alerts (fingerprint, starts_at, name, model, version, severity, labels, annotations,"
            " generator_url, source, firing, first_seen, last_seen, resolved_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                alert.fingerprint,
                alert.starts_at,
                alert.name,
                alert.model,
                labels.get("version", ""),
                int(alert.severity),
                _text(labels),
                _text(alert.annotations),
                alert.generator_url,
                self._source,
                resolved_at is None,
                self._now,
                self._now,
                resolved_at,
            ),
        )
        return int(cursor.lastrowid or 0)

    def _end_of(self, alert: Alert) -> float:
        """When a resolved alert ended: as it says, but neither before its start nor in the future."""
        said = self._now if alert.ends_at is None else alert.ends_at
        return max(min(said, self._now), alert.starts_at)

    def _firing(self, fingerprint: str) -> _Life | None:
        return self._life(
            "SELECT id, starts_at, firing FROM alerts WHERE fingerprint = ? AND firing = 1", (fingerprint,)
        )

    def _life(self, query: str, values: tuple[object, ...]) -> _Life | None:
        found = self._connection.execute(query, values).fetchone()
        return None if found is None else _Life(int(found[0]), float(found[1]), bool(found[2]))


def _text(texts: object) -> str:
    return orjson.dumps(texts).decode()
