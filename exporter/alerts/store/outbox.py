"""The queues: notifications that wait for their channels. Leased, then acknowledged; never forgotten between.

Of each group one delivery a channel is at the *head*, the others stand behind it, so that a group is told of
in order. `turn` says where a queued delivery stands: behind another of its group, ready, or at the head but
not before `next_at`. `priority` is its own severity or that of the most urgent one behind it, so that what is
urgent never waits for the turn of what it stands behind. So the next delivery is one look into an index,
however many wait.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from exporter.alerts.records import Delivery, Receipt, Severity
from exporter.alerts.store.content import load_notification

log = logging.getLogger(__name__)

BEHIND, READY, LATER = 0, 1, 2
"""Values of `turn`."""

CRASHES_BEFORE_PLAIN = 5
"""Times that sending may end our own code or process before the plain form is used."""

LONGEST_TEXT = 1000
"""Characters of an error or a detail that are kept."""


class Transactions(Protocol):
    """What the outbox needs of the store."""

    def write(self) -> AbstractContextManager[sqlite3.Connection]: ...

    def read(self) -> AbstractContextManager[sqlite3.Connection]: ...


class QueueCount(NamedTuple):
    """What waits for one channel."""

    queued: int
    oldest: float | None
    """When the one that waits longest was made; None when none waits."""
    dead: int


class Outbox:
    """The deliveries of all channels; every method may be called from any thread."""

    def __init__(self, store: Transactions) -> None:
        self._store = store

    # -- in -----------------------------------------------------------------------------------------

    def add(  # noqa: PLR0917  # one row, in the order of its columns
        self,
        connection: sqlite3.Connection,
        notification_id: str,
        group_id: str,
        channel: str,
        severity: Severity,
        created: float,
    ) -> None:
        """Queue a notification for a channel, in the transaction that makes the notification."""
        last = connection.execute(
            "SELECT priority FROM deliveries WHERE channel = ? AND group_id = ?"
            " AND state IN ('queued', 'leased') ORDER BY id DESC LIMIT 1",
            (channel, group_id),
        ).fetchone()
        connection.execute(
            "INSERT OR IGNORE INTO deliveries (notification, group_id, channel, severity, priority, state,"
            " turn, attempts, crashes, created, queued_at, next_at, uncertain, plain)"
            " VALUES (?, ?, ?, ?, ?, 'queued', ?, 0, 0, ?, ?, ?, 0, 0)",
            (
                notification_id,
                group_id,
                channel,
                int(severity),
                int(severity),
                READY if last is None else BEHIND,
                created,
                created,
                created,
            ),
        )
        if last is not None and last[0] < severity:
            connection.execute(
                "UPDATE deliveries SET priority = ? WHERE channel = ? AND group_id = ?"
                " AND state IN ('queued', 'leased') AND priority < ?",
                (int(severity), channel, group_id, int(severity)),
            )

    def record(
        self, connection: sqlite3.Connection, delivery: Delivery, now: float, *, detail: str, failed: bool
    ) -> None:
        """Write down what became of a delivery that never was in a queue (`delivered`, else `failed`)."""
        notification = delivery.notification
        connection.execute(
            "INSERT INTO deliveries (notification, group_id, channel, severity, priority, state, turn,"
            " attempts, crashes, created, queued_at, next_at, uncertain, plain, first_tried, finished, error,"
            " detail) VALUES (?, ?, ?, ?, ?, ?, 0, 1, 0, ?, ?, ?, 0, ?, ?, ?, ?, ?)",
            (
                notification.id,
                notification.group.id,
                delivery.channel,
                int(notification.severity),
                int(notification.severity),
                "failed" if failed else "delivered",
                *(notification.created,) * 3,
                delivery.plain,
                notification.created,
                now,
                detail[:LONGEST_TEXT] if failed else None,
                None if failed else detail[:LONGEST_TEXT],
            ),
        )

    def retry(self, notification_id: str, channel: str | None = None, *, now: float | None = None) -> int:
        """Queue the dead deliveries of a notification again, as if they were new; gives their number."""
        with self._store.write() as connection:
            rows = connection.execute(
                "SELECT id, channel, group_id, created FROM deliveries WHERE notification = ?"
                " AND state = 'dead' AND (? IS NULL OR channel = ?)",
                (notification_id, channel, channel),
            ).fetchall()
            for row, name, group, created in rows:
                head = _head(connection, name, group)
                queued = created if now is None else now
                connection.execute(
                    "UPDATE deliveries SET state = 'queued', turn = ?, attempts = 0, crashes = 0, plain = 0,"
                    " queued_at = ?, next_at = ?, first_tried = NULL, finished = NULL WHERE id = ?",
                    (READY if head is None else BEHIND, queued, queued, row),
                )
            return len(rows)

    # -- out ----------------------------------------------------------------------------------------

    def lease(self, channel: str, *, now: float, lease_seconds: float) -> Delivery | None:
        """The most urgent delivery whose turn it is, for this long; None when there is none now.

        What was leased and never acknowledged is leased again when its time is over, as uncertain.
        """
        token = secrets.token_hex(8)
        with self._store.write() as connection:
            _wake(connection, channel, now)
            row = connection.execute(
                "UPDATE deliveries SET state = 'leased', lease = ?, lease_until = ?, attempts = attempts + 1,"
                " first_tried = coalesce(first_tried, ?), plain = plain OR crashes >= ?"
                " WHERE id = (SELECT id FROM deliveries WHERE channel = ? AND state = 'queued' AND turn = 1"
                " ORDER BY priority DESC, id LIMIT 1)"
                " RETURNING id, notification, group_id, attempts, uncertain, plain, first_tried",
                (token, now + lease_seconds, now, CRASHES_BEFORE_PLAIN, channel),
            ).fetchall()
            if not row:
                return None
            number, notification_id, group, attempts, uncertain, plain, first_tried = row[0]
            thread = connection.execute(
                "SELECT reference FROM threads WHERE channel = ? AND group_id = ?", (channel, group)
            ).fetchone()
            try:
                return Delivery(
                    id=number,
                    channel=channel,
                    notification=load_notification(connection, notification_id),
                    attempt=attempts,
                    lease=token,
                    uncertain=bool(uncertain),
                    plain=bool(plain),
                    first_tried=first_tried,
                    thread=None if thread is None else json.loads(thread[0]),
                )
            except (LookupError, TypeError, ValueError) as error:
                log.exception(
                    "a notification cannot be read; it was put aside",
                    extra={"notification": notification_id, "channel": channel},
                )
                _finish(connection, number, token, "dead", now, error=f"cannot be read: {error}")
        return None

    def renew(self, delivery: Delivery, until: float) -> bool:
        """Keep a lease for longer; False when it is lost."""
        with self._store.write() as connection:
            changed = connection.execute(
                "UPDATE deliveries SET lease_until = ? WHERE id = ? AND lease = ? AND state = 'leased'",
                (until, delivery.id, delivery.lease),
            )
            return changed.rowcount == 1

    def acknowledge(self, delivery: Delivery, receipt: Receipt, now: float) -> bool:
        """It was delivered; False when the lease was lost, and then nothing is changed."""
        notification = delivery.notification
        with self._store.write() as connection:
            if not _finish(connection, delivery.id, delivery.lease, "delivered", now, detail=receipt.detail):
                return False
            if receipt.plain:
                connection.execute("UPDATE deliveries SET plain = 1 WHERE id = ?", (delivery.id,))
            key = (delivery.channel, notification.group.id)
            if notification.firing == 0:
                connection.execute("DELETE FROM threads WHERE channel = ? AND group_id = ?", key)
            elif receipt.thread is not None:
                connection.execute(
                    "INSERT INTO threads (channel, group_id, opened, reference) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (channel, group_id) DO UPDATE SET reference = excluded.reference",
                    (*key, now, json.dumps(dict(receipt.thread))),
                )
            _tell_alerts(
                connection, notification.id, "notified", now, channel=delivery.channel, detail=receipt.detail
            )
        return True

    def skip(self, delivery: Delivery, reason: str, now: float) -> bool:
        """It is not to be sent, for this reason; False when the lease was lost."""
        with self._store.write() as connection:
            done = _finish(connection, delivery.id, delivery.lease, "delivered", now, detail=reason)
            if done and delivery.notification.firing == 0:
                connection.execute(
                    "DELETE FROM threads WHERE channel = ? AND group_id = ?",
                    (delivery.channel, delivery.notification.group.id),
                )
            return done

    def postpone(
        self,
        delivery: Delivery,
        next_at: float,
        error: str,
        *,
        uncertain: bool = False,
        plain: bool = False,
        crashed: bool = False,
    ) -> bool:
        """Try it again at `next_at`; False when the lease was lost."""
        with self._store.write() as connection:
            changed = connection.execute(
                "UPDATE deliveries SET state = 'queued', turn = 2, lease = NULL, lease_until = NULL,"
                " next_at = ?, error = ?, uncertain = uncertain OR ?, plain = plain OR ?,"
                " crashes = crashes + ? WHERE id = ? AND lease = ? AND state = 'leased'",
                (next_at, error[:LONGEST_TEXT], uncertain, plain, crashed, delivery.id, delivery.lease),
            )
            return changed.rowcount == 1

    def bury(self, delivery: Delivery, error: str, now: float) -> bool:
        """Give it up: it is kept, counted and can be queued again; False when the lease was lost."""
        with self._store.write() as connection:
            done = _finish(connection, delivery.id, delivery.lease, "dead", now, error=error)
            if done:
                _tell_alerts(
                    connection,
                    delivery.notification.id,
                    "undelivered",
                    now,
                    channel=delivery.channel,
                    detail=error,
                )
            return done

    def release(self, delivery: Delivery) -> bool:
        """Give an unused lease back, as if it had not been taken; False when it was lost."""
        with self._store.write() as connection:
            changed = connection.execute(
                "UPDATE deliveries SET state = 'queued', turn = 1, lease = NULL, lease_until = NULL,"
                " attempts = attempts - 1, first_tried = CASE WHEN attempts > 1 THEN first_tried END"
                " WHERE id = ? AND lease = ? AND state = 'leased'",
                (delivery.id, delivery.lease),
            )
            return changed.rowcount == 1

    def crashes(self, delivery: Delivery) -> int:
        """How often sending it ended our own code or process so far."""
        with self._store.read() as connection:
            row = connection.execute("SELECT crashes FROM deliveries WHERE id = ?", (delivery.id,)).fetchone()
        return 0 if row is None else int(row[0])

    # -- a whole channel ----------------------------------------------------------------------------

    def recover(self) -> int:
        """Take back the leases of a process that ended; gives their number. Only before any is given."""
        with self._store.write() as connection:
            changed = connection.execute(
                "UPDATE deliveries SET state = 'queued', turn = 1, lease = NULL, lease_until = NULL,"
                " uncertain = 1, crashes = crashes + 1 WHERE state = 'leased'"
            )
            return changed.rowcount

    def hasten(self, channel: str) -> None:
        """Make ready what waits for its next attempt: the channel works again."""
        with self._store.write() as connection:
            connection.execute(
                "UPDATE deliveries SET turn = 1 WHERE channel = ? AND state = 'queued' AND turn = 2",
                (channel,),
            )

    def bury_older(self, channel: str, queued_before: float, error: str, now: float) -> int:
        """Give up all of a channel that were queued before a time; gives their number."""
        with self._store.write() as connection:
            rows = connection.execute(
                "SELECT id, notification, group_id FROM deliveries WHERE channel = ?"
                " AND state IN ('queued', 'leased') AND state = 'queued' AND queued_at <= ? ORDER BY id",
                (channel, queued_before),
            ).fetchall()
            for number, notification, _ in rows:
                connection.execute(
                    "UPDATE deliveries SET state = 'dead', turn = 0, finished = ?, error = ? WHERE id = ?",
                    (now, error[:LONGEST_TEXT], number),
                )
                _tell_alerts(connection, notification, "undelivered", now, channel=channel, detail=error)
            for group in dict.fromkeys(group for _, _, group in rows):
                _promote(connection, channel, group)
            return len(rows)

    def next_at(self, channel: str) -> float | None:
        """When there may be something to lease: 0 when there is now, None when nothing waits."""
        with self._store.read() as connection:
            ready = connection.execute(
                "SELECT min(created) FROM (SELECT created FROM deliveries WHERE channel = ?"
                " AND state = 'queued' AND turn = 1 LIMIT 1)",
                (channel,),
            ).fetchone()[0]
            if ready is not None:
                return 0.0
            later = connection.execute(
                "SELECT min(next_at) FROM deliveries WHERE channel = ? AND state = 'queued' AND turn = 2",
                (channel,),
            ).fetchone()[0]
            leased = connection.execute(
                "SELECT min(lease_until) FROM deliveries WHERE channel = ? AND state = 'leased'", (channel,)
            ).fetchone()[0]
        return min((float(time) for time in (later, leased) if time is not None), default=None)

    def counts(self) -> dict[str, QueueCount]:
        """What waits and what is dead, of every channel that has any."""
        with self._store.read() as connection:
            waiting = connection.execute(
                "SELECT channel, count(*), min(queued_at) FROM deliveries INDEXED BY deliveries_of_group"
                " WHERE state IN ('queued', 'leased') GROUP BY channel"
            ).fetchall()
            dead = dict(
                connection.execute(
                    "SELECT channel, count(*) FROM deliveries WHERE state = 'dead' GROUP BY channel"
                ).fetchall()
            )
        found = {
            channel: QueueCount(count, oldest, dead.pop(channel, 0)) for channel, count, oldest in waiting
        }
        return found | {channel: QueueCount(0, None, count) for channel, count in dead.items()}


def _wake(connection: sqlite3.Connection, channel: str, now: float) -> None:
    """Make ready what has waited long enough, and take back leases that are over."""
    connection.execute(
        "UPDATE deliveries SET turn = 1 WHERE channel = ? AND state = 'queued' AND turn = 2 AND next_at <= ?",
        (channel, now),
    )
    connection.execute(
        "UPDATE deliveries SET state = 'queued', turn = 1, lease = NULL, lease_until = NULL, uncertain = 1,"
        " crashes = crashes + 1 WHERE channel = ? AND state = 'leased' AND lease_until <= ?",
        (channel, now),
    )


def _finish(
    connection: sqlite3.Connection,
    number: int,
    lease: str,
    state: str,
    now: float,
    *,
    detail: str | None = None,
    error: str | None = None,
) -> bool:
    """End a leased delivery and let the next of its group step forward; False when the lease is lost."""
    row = connection.execute(
        "UPDATE deliveries SET state = ?, turn = 0, lease = NULL, lease_until = NULL, finished = ?,"
        " detail = ?, error = ? WHERE id = ? AND lease = ? AND state = 'leased' RETURNING channel, group_id",
        (
            state,
            now,
            None if detail is None else detail[:LONGEST_TEXT],
            None if error is None else error[:LONGEST_TEXT],
            number,
            lease,
        ),
    ).fetchall()
    if not row:
        return False
    _promote(connection, *row[0])
    return True


def _head(connection: sqlite3.Connection, channel: str, group: str) -> int | None:
    row = connection.execute(
        "SELECT id FROM deliveries WHERE channel = ? AND group_id = ?"
        " AND state IN ('queued', 'leased') AND turn > 0",
        (channel, group),
    ).fetchone()
    return None if row is None else int(row[0])


def _promote(connection: sqlite3.Connection, channel: str, group: str) -> None:
    """Let the first of a group be at its head, when no other is."""
    if _head(connection, channel, group) is None:
        connection.execute(
            "UPDATE deliveries SET turn = 1 WHERE id = (SELECT id FROM deliveries WHERE channel = ?"
            " AND group_id = ? AND state IN ('queued', 'leased') ORDER BY id LIMIT 1)",
            (channel, group),
        )


def _tell_alerts(
    connection: sqlite3.Connection, notification: str, kind: str, now: float, *, channel: str, detail: str
) -> None:
    """Write into the history of every alert that a notification tells of what became of it."""
    connection.execute(
        "INSERT INTO events (alert, at, kind, detail) SELECT alert, ?, ?, ? FROM told_of"
        " WHERE notification = ?",
        (now, kind, json.dumps({"channel": channel, "detail": detail[:LONGEST_TEXT]}), notification),
    )
