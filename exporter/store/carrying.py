"""What outlives its buckets: outcomes since an instant, carried on when the buckets expire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from exporter.profiles import Grid, Profile, decode, encode
from exporter.store.upkeep import ROWS_AT_ONCE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

OUTCOMES: tuple[Literal["outcomes"]] = ("outcomes",)

CarriedSpan = tuple[int, int]
"""(start, end) of event time, unix seconds: buckets that begin in it are carried on under their start."""


def carry_deltas(
    connection: sqlite3.Connection, model: int, before_bucket: int, version: str, spans: Iterable[CarriedSpan]
) -> int:
    """Delete some delta rows of buckets before `before_bucket`, and keep their outcomes; how many rows.

    The outcomes of a whole version, not of its segments, are added to what is carried of each span that the
    bucket begins in, in the same transaction.
    """
    rows = connection.execute(
        "SELECT id, segment, bucket, grid, profile FROM deltas"
        " WHERE model = ? AND version = ? AND bucket < ? ORDER BY id LIMIT ?",
        (model, version, before_bucket, ROWS_AT_ONCE),
    ).fetchall()
    grids: dict[str, Grid | None] = {}
    totals: dict[tuple[int, str], Profile] = {}
    for _, segment, bucket, grid_id, data in rows:
        starts = [] if segment else [start for start, end in spans if start <= bucket < end]
        if not starts:
            continue
        if grid_id not in grids:
            grids[grid_id] = _grid(connection, model, grid_id)
        grid = grids[grid_id]
        if grid is None:
            continue
        outcomes = decode(data, grid, OUTCOMES, stored=True)
        for start in starts:
            totals.setdefault((start, grid_id), Profile.empty(grid)).add(outcomes)
    for (start, grid_id), total in totals.items():
        place = (model, version, start, grid_id)
        stored = connection.execute(
            "SELECT profile FROM carried WHERE model = ? AND version = ? AND start = ? AND grid = ?", place
        ).fetchone()
        if stored is not None:
            total.add(decode(stored[0], total.grid, stored=True))
        connection.execute(
            "INSERT INTO carried VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET profile = excluded.profile",
            (*place, encode(total)),
        )
    connection.executemany("DELETE FROM deltas WHERE id = ?", ((row[0],) for row in rows))
    return len(rows)


def drop_carried(
    connection: sqlite3.Connection, model: int, version: str, spans: Iterable[CarriedSpan]
) -> None:
    """Forget what is carried of a version under any other start than those of the spans."""
    kept = {start for start, _ in spans}
    scope = (model, version)
    found = connection.execute("SELECT DISTINCT start FROM carried WHERE model = ? AND version = ?", scope)
    for (start,) in found.fetchall():
        if start not in kept:
            connection.execute(
                "DELETE FROM carried WHERE model = ? AND version = ? AND start = ?", (*scope, start)
            )


def read_carried(
    connection: sqlite3.Connection, model: int
) -> dict[tuple[str, int], list[tuple[str, bytes]]]:
    """(grid id, encoded profile) by (version, start)."""
    carried: dict[tuple[str, int], list[tuple[str, bytes]]] = {}
    for version, start, grid, profile in connection.execute(
        "SELECT version, start, grid, profile FROM carried WHERE model = ?", (model,)
    ):
        carried.setdefault((str(version), int(start)), []).append((str(grid), bytes(profile)))
    return carried


def _grid(connection: sqlite3.Connection, model: int, grid_id: str) -> Grid | None:
    row = connection.execute("SELECT data FROM grids WHERE model = ? AND id = ?", (model, grid_id)).fetchone()
    return None if row is None else Grid.from_bytes(row[0])
