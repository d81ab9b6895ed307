"""What is to be told: marks on the members of groups, made by the intake and cleared by the aggregator.

A member is an alert in the group of one route. `told` is what the route's channels were last told of it
(nothing or `firing`), `change` is what they are to be told next. A member that was told as resolved is none
any more. Within a route an alert stays in the group in which it began, so that its end is told where its
beginning was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from exporter.alerts.lives import Sighting
from exporter.alerts.records import Alert, Change, Group, Severity
from exporter.alerts.routing import Route, Router
from exporter.alerts.store.events import append_event


class Membership(NamedTuple):
    """An alert's place in one group."""

    group: str
    route: str
    labels: str
    told: str | None
    change: str | None


@dataclass(slots=True)
class Marked:
    """What marking did: groups that wait to be told, and alerts that are told to nobody."""

    groups: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    """Groups of which alerts were seen that fire on."""
    unrouted: int = 0


class Marks:
    """Marks made in one transaction; :meth:`finish` sets when the groups are due."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        router: Router,
        *,
        now: float,
        group_labels: Mapping[str, str] | None = None,
    ) -> None:
        self._connection = connection
        self._router = router
        self._now = now
        self._group_labels = group_labels
        self._due: dict[str, tuple[float, int]] = {}
        self._groups: set[str] = set()
        self.marked = Marked()

    def add(self, sightings: Iterable[Sighting]) -> None:
        """Mark what is new."""
        for sighting in sightings:
            self._add(sighting)

    def rehome(self, alert_id: int, alert: Alert, place: Membership) -> None:
        """Move a membership of a route that is not configured any more to those that take the alert now."""
        connection = self._connection
        connection.execute("DELETE FROM members WHERE group_id = ? AND alert = ?", (place.group, alert_id))
        routes = self._router.destinations(alert)
        append_event(
            connection,
            (alert_id,),
            self._now,
            "rerouted",
            {"from": place.route, "to": [route.name for route in routes]},
        )
        taken = {other.route for other in self._places(alert_id)}
        for route in routes:
            if route.name not in taken:
                group = route.group(alert.labels, orjson.loads(place.labels))
                change = None if place.change is None else Change(place.change)
                self._put(route, group, alert_id, alert, told=place.told, change=change)

    def finish(self, *, remind_after: float | None = None) -> Marked:
        """Write when groups are due.

        Groups of which nothing is new are reminded of when they were last told of longer ago than
        `remind_after` seconds; never when that is None.
        """
        self._connection.executemany(
            "UPDATE groups SET due_at = min(coalesce(due_at, ?1), ?1), severity = max(severity, ?2),"
            " used_at = ?3 WHERE id = ?4",
            [(due_at, severity, self._now, group) for group, (due_at, severity) in self._due.items()],
        )
        self.marked.groups.update(self._due)
        if remind_after is not None:
            for group in self.marked.known - self.marked.groups:
                reminded = self._connection.execute(
                    "UPDATE groups SET due_at = ?1, reminder = 1, used_at = ?1"
                    " WHERE id = ?2 AND due_at IS NULL AND told_at <= ?3",
                    (self._now, group, self._now - remind_after),
                )
                if reminded.rowcount:
                    self.marked.groups.add(group)
        return self.marked

    def _add(self, sighting: Sighting) -> None:
        alert_id, alert, news = sighting
        places = self._places(alert_id)
        for place in places:
            if place.route not in self._router.routes:
                self.rehome(alert_id, alert, place)
        if any(place.route not in self._router.routes for place in places):
            places = self._places(alert_id)
        routes = self._router.destinations(alert)
        if news is None:
            if not alert.firing:
                return
            self.marked.known.update(place.group for place in places)
            news = Change.FIRING
        else:
            for place in places:
                self._change(place, alert_id, alert, news)
            if not routes:
                self._note_untold(alert_id, alert)
        taken = {place.route for place in places}
        for route in routes:
            if route.name not in taken:
                change = Change.FIRING if news is Change.FIRING else Change.PASSED
                group = route.group(alert.labels, self._labels_of(alert))
                self._put(route, group, alert_id, alert, told=None, change=change)

    def _change(self, place: Membership, alert_id: int, alert: Alert, news: Change) -> None:
        change: Change | None
        if news is Change.FIRING:
            change = None if place.told == Change.FIRING else Change.FIRING
        else:
            change = Change.RESOLVED if place.told == Change.FIRING else Change.PASSED
        self._connection.execute(
            "UPDATE members SET change = ? WHERE group_id = ? AND alert = ?",
            (change, place.group, alert_id),
        )
        if change is not None:
            self._note_due(self._router.routes[place.route], place.group, alert.severity)

    def _put(
        self,
        route: Route,
        group: Group,
        alert_id: int,
        alert: Alert,
        *,
        told: str | None,
        change: Change | None,
    ) -> None:
        if group.id not in self._groups:
            self._connection.execute(
                "INSERT OR IGNORE INTO groups (id, route, labels, severity, reminder, used_at)"
                " VALUES (?, ?, ?, 0, 0, ?)",
                (group.id, group.route, orjson.dumps(group.labels).decode(), self._now),
            )
            self._groups.add(group.id)
        self._connection.execute(
            "INSERT OR REPLACE INTO members (group_id, alert, told, change) VALUES (?, ?, ?, ?)",
            (group.id, alert_id, told, change),
        )
        if change is not None:
            self._note_due(route, group.id, alert.severity)

    def _note_due(self, route: Route, group: str, severity: Severity) -> None:
        due_at = self._now + self._router.window(route, severity)
        earlier, highest = self._due.get(group, (due_at, int(severity)))
        self._due[group] = (min(due_at, earlier), max(int(severity), highest))

    def _note_untold(self, alert_id: int, alert: Alert) -> None:
        if self._router.tells_of(alert.severity):
            self.marked.unrouted += 1
            append_event(self._connection, (alert_id,), self._now, "unrouted")
        else:
            append_event(
                self._connection, (alert_id,), self._now, "suppressed", {"severity": alert.severity.text}
            )

    def _labels_of(self, alert: Alert) -> Mapping[str, str]:
        if self._group_labels is not None:
            return self._group_labels
        return {name: alert.labels[name] for name in ("alertname", "model") if name in alert.labels}

    def _places(self, alert_id: int) -> list[Membership]:
        rows = self._connection.execute(
            "SELECT m.group_id, g.route, g.labels, m.told, m.change FROM members m"
            " JOIN groups g ON g.id = m.group_id WHERE m.alert = ?",
            (alert_id,),
        )
        return [Membership(*row) for row in rows]
