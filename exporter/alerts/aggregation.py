"""Groups whose window is over become notifications, with one delivery for each channel of their route.

A notification, its deliveries and the clearing of the marks that it tells of commit together. A process that
dies before that has told nothing and finds all marks again; one that dies after it finds the deliveries.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

import orjson

from exporter.alerts.config import BridgeConfig
from exporter.alerts.marks import Marks, Membership
from exporter.alerts.records import (
    MOST_ALERTS,
    Alert,
    Change,
    Group,
    Kind,
    Notification,
    NotifiedAlert,
    Severity,
)
from exporter.alerts.routing import Route, Router
from exporter.alerts.store.notifications import insert_notification, new_notification_id
from exporter.alerts.store.store import AlertStore
from exporter.clock import Clock

GROUPS_AT_ONCE = 64
MEMBERS_AT_ONCE = 5_000
"""What one transaction looks at, at most, beyond its first group: the intake waits for it."""

_ORDER = {Change.FIRING: 0, Change.RESOLVED: 1, Change.PASSED: 2, Change.STILL: 3}


class _Due(NamedTuple):
    """A group that is to be told of now."""

    group: Group
    reminder: bool


class _Member(NamedTuple):
    """An alert of a group, without its texts."""

    alert_id: int
    told: str | None
    change: str | None
    severity: int
    firing: int
    suppressed: str | None
    model: str

    @property
    def news(self) -> Change:
        return Change.STILL if self.change is None else Change(self.change)


class Aggregator:
    """Makes notifications of what the intake marked; one thread at a time uses it."""

    def __init__(self, config: BridgeConfig, store: AlertStore, clock: Clock) -> None:
        self._router = Router(config)
        self._store = store
        self._clock = clock

    def flush(self, now: float) -> int:
        """Tell of all groups that are due, the most severe first; gives the number of notifications."""
        return self._flush(now, now)

    def flush_all(self) -> int:
        """Tell of all groups with changes, whether their windows are over or not."""
        return self._flush(float("inf"), self._clock.time())

    def next_due(self) -> float | None:
        """When the next window is over; None when nothing is to be told."""
        with self._store.read() as connection:
            found = connection.execute("SELECT min(due_at) FROM groups WHERE due_at IS NOT NULL").fetchone()
        return None if found[0] is None else float(found[0])

    def pending(self) -> int:
        """Groups whose window is open."""
        with self._store.read() as connection:
            return int(
                connection.execute("SELECT count(*) FROM groups WHERE due_at IS NOT NULL").fetchone()[0]
            )

    def _flush(self, until: float, now: float) -> int:
        made = 0
        due_at = self.next_due()
        while due_at is not None and due_at <= until:
            with self._store.write() as connection:
                seen = 0
                for due in _due(connection, until):
                    members = _members(connection, due.group.id)
                    made += self._tell(connection, due, members, now)
                    seen += len(members)
                    if seen >= MEMBERS_AT_ONCE:
                        break
            due_at = self.next_due()
        return made

    def _tell(self, connection: sqlite3.Connection, due: _Due, members: list[_Member], now: float) -> bool:
        group = due.group
        route = self._router.routes.get(group.route)
        if route is None:
            self._rehome(connection, group, members, now)
            _settle(connection, group, None)
            return False
        told = [member for member in members if member.change is not None]
        kind = Kind.CHANGE
        if not told and due.reminder:
            told = [member for member in members if member.firing and member.suppressed is None]
            kind = Kind.REMINDER
        if not told:
            _settle(connection, group, None)
            return False
        self._write(connection, route, group, kind=kind, told=told, members=members, now=now)
        _clear(connection, group)
        _settle(connection, group, now)
        return True

    def _write(
        self,
        connection: sqlite3.Connection,
        route: Route,
        group: Group,
        *,
        kind: Kind,
        told: list[_Member],
        members: list[_Member],
        now: float,
    ) -> None:
        news = {member.alert_id for member in told}
        shown = told + [
            member
            for member in members
            if member.alert_id not in news and member.firing and member.suppressed is None
        ]
        shown.sort(
            key=lambda member: (
                member.alert_id not in news,
                -member.severity,
                _ORDER[member.news],
                member.alert_id,
            )
        )
        listed = shown[:MOST_ALERTS]
        alerts = read_alerts(connection, [member.alert_id for member in listed])
        notification = Notification(
            id=new_notification_id(now),
            created=now,
            kind=kind,
            group=group,
            severity=Severity(max(member.severity for member in told)),
            alerts=tuple(
                NotifiedAlert(alerts[member.alert_id], member.news, member.alert_id) for member in listed
            ),
            firing=sum(member.firing for member in members),
            omitted=len(shown) - len(listed),
        )
        insert_notification(
            connection,
            self._store.outbox,
            notification,
            channels=route.channels,
            alert_ids=news,
            models={member.model for member in told},
        )

    def _rehome(
        self, connection: sqlite3.Connection, group: Group, members: list[_Member], now: float
    ) -> None:
        """Give the members of a group whose route is gone to the routes that there are now."""
        marks = Marks(connection, self._router, now=now)
        labels = orjson.dumps(group.labels).decode()
        for some in _chunks(members, MOST_ALERTS):
            alerts = read_alerts(connection, [member.alert_id for member in some])
            for member in some:
                place = Membership(group.id, group.route, labels, member.told, member.change)
                marks.rehome(member.alert_id, alerts[member.alert_id], place)
        marks.finish()


def read_alerts(connection: sqlite3.Connection, alert_ids: Iterable[int]) -> dict[int, Alert]:
    """Alerts as they are now, by their ids."""
    found = {}
    for alert_id in alert_ids:
        row = connection.execute(
            "SELECT fingerprint, firing, labels, annotations, starts_at, resolved_at, generator_url"
            " FROM alerts WHERE id = ?",
            (alert_id,),
        ).fetchone()
        fingerprint, firing, labels, annotations, starts_at, resolved_at, url = row
        found[alert_id] = Alert(
            fingerprint=fingerprint,
            firing=bool(firing),
            labels=orjson.loads(labels),
            annotations=orjson.loads(annotations),
            starts_at=starts_at,
            ends_at=None if firing else resolved_at,
            generator_url=url,
        )
    return found


def _due(connection: sqlite3.Connection, until: float) -> list[_Due]:
    rows = connection.execute(
        "SELECT id, route, labels, reminder FROM groups WHERE due_at <= ?"
        " ORDER BY severity DESC, due_at LIMIT ?",
        (until, GROUPS_AT_ONCE),
    ).fetchall()
    return [_Due(Group(row[0], row[1], orjson.loads(row[2])), bool(row[3])) for row in rows]


def _members(connection: sqlite3.Connection, group: str) -> list[_Member]:
    rows = connection.execute(
        "SELECT m.alert, m.told, m.change, a.severity, a.firing, a.suppressed, a.model FROM members m"
        " JOIN alerts a ON a.id = m.alert WHERE m.group_id = ? ORDER BY m.alert",
        (group,),
    )
    return [_Member(*row) for row in rows]


def _clear(connection: sqlite3.Connection, group: Group) -> None:
    connection.execute(
        "DELETE FROM members WHERE group_id = ? AND change IN ('resolved', 'passed')", (group.id,)
    )
    connection.execute(
        "UPDATE members SET told = 'firing', change = NULL WHERE group_id = ? AND change = 'firing'",
        (group.id,),
    )


def _settle(connection: sqlite3.Connection, group: Group, told_at: float | None) -> None:
    """The group waits for nothing now."""
    connection.execute(
        "UPDATE groups SET due_at = NULL, severity = 0, reminder = 0,"
        " told_at = coalesce(?1, told_at), used_at = coalesce(?1, used_at) WHERE id = ?2",
        (told_at, group.id),
    )


def _chunks(members: list[_Member], size: int) -> Iterable[list[_Member]]:
    return (members[start : start + size] for start in range(0, len(members), size))
