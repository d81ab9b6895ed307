"""What the history is corrected from: marks of buckets that changed, and profiles of rows of the past.

Profiles of rows that were backfilled lie apart from the others, so that neither recovery nor windows of now
meet them. They go once the windows over them are recorded and no label can come for them any more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from enum import IntFlag
from typing import TYPE_CHECKING, Any, NamedTuple

from exporter.profiles import encode

if TYPE_CHECKING:
    from exporter.store.history import HistoryStore
    from exporter.store.records import Delta

AT_ONCE = 256


class Change(IntFlag):
    """What changed in a bucket."""

    LABELS = 1
    """Labels came or were corrected: records of windows that cover it tell of fewer."""
    ROWS = 2
    """Rows came: the same, of rows too."""
    PAST = 4
    """Rows of the past came: windows that cover it may have no record yet."""
    END = 8
    """Windows that end with it were evaluated without rows of the past that they cover."""


class Mark(NamedTuple):
    """A bucket of a version that changed; a later change of it has another stamp."""

    version: str
    bucket: int
    change: Change
    stamp: int


def write_marks(connection: sqlite3.Connection, model: int, marks: Mapping[tuple[str, int], int]) -> None:
    """Mark buckets, inside the transaction that the caller opened."""
    if not marks:
        return
    query = "SELECT coalesce(max(stamp), 0) FROM history_marks WHERE model = ?"
    stamp = int(connection.execute(query, (model,)).fetchone()[0])
    connection.executemany(
        "INSERT INTO history_marks (model, version, bucket, kind, stamp) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (model, version, bucket) DO UPDATE SET"
        " kind = kind | excluded.kind, stamp = excluded.stamp",
        (
            (model, version, bucket, int(change), stamp + number)
            for number, ((version, bucket), change) in enumerate(marks.items(), start=1)
        ),
    )


def write_past(connection: sqlite3.Connection, model: int, deltas: Iterable[Delta]) -> None:
    """Keep profiles of rows of the past, inside the transaction that the caller opened."""
    connection.executemany(
        "INSERT INTO past_deltas (model, version, segment, bucket, grid, stored, profile)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                *(model, delta.version, delta.segment, delta.bucket, delta.profile.grid.id),
                *(delta.backfilled, encode(delta.profile)),
            )
            for delta in deltas
            if delta.backfilled is not None
        ),
    )


class PastStore:
    """Marks and buckets of all models, as recomputation reads them; any thread may call it."""

    def __init__(self, history: HistoryStore) -> None:
        self._history = history

    def _row(self, model: str) -> int:
        rows = self._history.query("SELECT id FROM models WHERE name = ?", (model,))
        return int(rows[0][0]) if rows else -1

    def marks(self, model: str) -> list[Mark]:
        """All marks of a model, the oldest first."""
        rows = self._history.query(
            "SELECT version, bucket, kind, stamp FROM history_marks WHERE model = ? ORDER BY stamp",
            (self._row(model),),
        )
        return [Mark(str(v), int(bucket), Change(kind), int(stamp)) for v, bucket, kind, stamp in rows]

    def mark(self, model: str, marks: Mapping[tuple[str, int], int]) -> None:
        row = self._row(model)
        self._history.run(lambda connection: write_marks(connection, row, marks))

    def unmark(self, model: str, marks: Iterable[Mark]) -> None:
        """Take marks away, unless their buckets have changed again."""
        row = self._row(model)
        gone = [(row, mark.version, mark.bucket, mark.stamp) for mark in marks]
        self._history.run(
            lambda connection: connection.executemany(
                "DELETE FROM history_marks WHERE model = ? AND version = ? AND bucket = ? AND stamp = ?", gone
            )
        )

    def buckets(
        self, model: str, version: str, segment: str, *, start: float, end: float
    ) -> list[tuple[int, str, bytes]]:
        """(bucket, grid id, encoded profile) of all that is kept of a span of time, of the past or not."""
        scope = (self._row(model), version, segment, start, end)
        rows: list[tuple[Any, ...]] = []
        for table in ("deltas", "past_deltas"):
            rows += self._history.query(
                f"SELECT bucket, grid, profile FROM {table}"  # noqa: S608  # our own names
                " WHERE model = ? AND version = ? AND segment = ? AND bucket >= ? AND bucket < ? ORDER BY id",
                scope,
            )
        return [(int(bucket), str(grid), bytes(data)) for bucket, grid, data in rows]

    def segments(self, model: str, version: str, bucket: int) -> set[str]:
        """Segments with rows of the past in a bucket, the whole as ""."""
        rows = self._history.query(
            "SELECT DISTINCT segment FROM past_deltas WHERE model = ? AND version = ? AND bucket = ?",
            (self._row(model), version, bucket),
        )
        return {str(segment) for (segment,) in rows}

    def past_spans(self, model: str) -> dict[str, tuple[int, int]]:
        """First and last bucket with rows of the past, by version."""
        rows = self._history.query(
            "SELECT version, min(bucket), max(bucket) FROM past_deltas WHERE model = ? GROUP BY version",
            (self._row(model),),
        )
        return {str(version): (int(first), int(last)) for version, first, last in rows}

    def extent(self, model: str, version: str) -> tuple[int, int] | None:
        """The oldest and the newest bucket that is kept of a version."""
        scope = (self._row(model), version)
        found = [
            self._history.query(
                f"SELECT min(bucket), max(bucket) FROM {table} WHERE model = ? AND version = ?",  # noqa: S608  # our own names
                scope,
            )[0]
            for table in ("deltas", "past_deltas")
        ]
        spans = [(int(first), int(last)) for first, last in found if first is not None]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    def gone(self, model: str, version: str) -> list[tuple[int, int]]:
        """[first, until) of event time where buckets of a version were dropped."""
        rows = self._history.query(
            "SELECT first, until FROM history_gone WHERE model = ? AND version = ?",
            (self._row(model), version),
        )
        return [(int(first), int(until)) for first, until in rows]

    def note_gone(self, model: str, version: str, *, before: int) -> None:
        """Remember that the buckets before an instant are about to be dropped."""
        row = self._row(model)
        known = self._history.query(
            "SELECT min(bucket), max(bucket) FROM deltas WHERE model = ? AND version = ? AND bucket < ?",
            (row, version, before),
        )
        if known[0][0] is not None:
            self._history.run(
                lambda connection: _note_gone(connection, (row, version, 0), known[0][0], before)
            )

    def drop(self, model: str, version: str, *, stored_before: float, older_than: float) -> int:
        """Drop buckets of the past that were stored, or begin, before an instant; how many rows."""
        row, dropped = self._row(model), 0
        while True:
            rows = self._history.query(
                "SELECT id, bucket FROM past_deltas WHERE model = ? AND version = ?"
                " AND (stored < ? OR bucket < ?) LIMIT ?",
                (row, version, stored_before, older_than, AT_ONCE),
            )
            if not rows:
                return dropped
            first, last = min(bucket for _, bucket in rows), max(bucket for _, bucket in rows)
            ids = [(number,) for number, _ in rows]

            def delete(
                connection: sqlite3.Connection,
                ids: list[tuple[Any, ...]] = ids,
                first: int = first,
                last: int = last,
            ) -> None:
                connection.executemany("DELETE FROM past_deltas WHERE id = ?", ids)
                _note_gone(connection, (row, version, 1), first, last + 1)

            self._history.run(delete)
            dropped += len(ids)


def _note_gone(connection: sqlite3.Connection, place: tuple[int, str, int], first: int, until: int) -> None:
    connection.execute(
        "INSERT INTO history_gone VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " first = min(first, excluded.first), until = max(until, excluded.until)",
        (*place, first, until),
    )
