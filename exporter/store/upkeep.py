"""Keeping the store small: merging delta rows, dropping what expired or was deleted, giving pages back.

Most functions are one small transaction on the writer's connection; :class:`exporter.store.Store` repeats
them, so that commits come in between.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.profiles import Grid, decode, encode
from exporter.store.writing import merged, new_generation

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

ROWS_AT_ONCE = 256
PAGES_AT_ONCE = 1024
BYTES_AT_ONCE = 16 << 20
FREE_SHARE = 4
"""Free pages are given back once they are more than one in this many; till then new rows use them."""


@dataclass(frozen=True, slots=True)
class Merge:
    """Delta rows that become one."""

    ids: tuple[int, ...]
    model: int
    version: str
    segment: str
    bucket: int
    grid: str
    profile: bytes


def plan_merges(
    connection: sqlite3.Connection, model: int, bucket_of: Callable[[int], int] | None
) -> list[list[int]]:
    """Ids of delta rows that share version, segment, grid and (coarser) bucket, where there are several."""
    groups: dict[tuple[str, str, str, int], list[int]] = defaultdict(list)
    rows = connection.execute(
        "SELECT id, version, segment, grid, bucket FROM deltas WHERE model = ?", (model,)
    )
    for row_id, version, segment, grid, bucket in rows:
        target = bucket if bucket_of is None else bucket_of(bucket)
        groups[version, segment, grid, target].append(row_id)
    return [ids for ids in groups.values() if len(ids) > 1]


def merge_rows(
    connection: sqlite3.Connection,
    model: int,
    ids: list[int],
    grids: dict[str, Grid],
    bucket_of: Callable[[int], int] | None,
) -> Merge | None:
    """Read and merge delta rows; None when they are gone meanwhile; writes nothing."""
    rows = [
        connection.execute(
            "SELECT version, segment, bucket, grid, profile FROM deltas WHERE id = ?", (row_id,)
        ).fetchone()
        for row_id in ids
    ]
    if any(row is None for row in rows):
        return None
    version, segment, bucket, grid_id, _ = rows[0]
    if grid_id not in grids:
        data = connection.execute(
            "SELECT data FROM grids WHERE model = ? AND id = ?", (model, grid_id)
        ).fetchone()
        if data is None:
            return None
        grids[grid_id] = Grid.from_bytes(data[0])
    profile = merged([decode(row[4], grids[grid_id]) for row in rows])
    target = bucket if bucket_of is None else bucket_of(bucket)
    return Merge(tuple(ids), model, version, segment, target, grid_id, encode(profile))


def write_merges(connection: sqlite3.Connection, merges: list[Merge]) -> int:
    """Put merged rows in place of their parts; a merge whose parts are gone is left out.

    Returns how many rows fewer there are.
    """
    fewer = 0
    for merge in merges:
        there = sum(
            connection.execute(
                "SELECT count(*) FROM deltas WHERE id = ? AND model = ?", (row_id, merge.model)
            ).fetchone()[0]
            for row_id in merge.ids
        )
        if there != len(merge.ids):
            continue
        connection.executemany("DELETE FROM deltas WHERE id = ?", ((row_id,) for row_id in merge.ids))
        connection.execute(
            "INSERT INTO deltas (model, version, segment, bucket, grid, profile) VALUES (?, ?, ?, ?, ?, ?)",
            (merge.model, merge.version, merge.segment, merge.bucket, merge.grid, merge.profile),
        )
        fewer += len(merge.ids) - 1
    return fewer


def batches_of(merges: Iterator[Merge | None]) -> Iterator[list[Merge]]:
    """Merges in transactions of bounded size."""
    batch: list[Merge] = []
    size = rows = 0
    for merge in merges:
        if merge is None:
            continue
        batch.append(merge)
        size += len(merge.profile)
        rows += len(merge.ids)
        if size > BYTES_AT_ONCE or rows > ROWS_AT_ONCE:
            yield batch
            batch, size, rows = [], 0, 0
    if batch:
        yield batch


def drop_deltas(
    connection: sqlite3.Connection, model: int, before_bucket: int, version: str | None = None
) -> int:
    """Delete some delta rows of buckets before `before_bucket`, of one version or all; how many."""
    return connection.execute(
        "DELETE FROM deltas WHERE id IN (SELECT id FROM deltas"
        " WHERE model = ?1 AND bucket < ?2 AND (?3 IS NULL OR version = ?3) LIMIT ?4)",
        (model, before_bucket, version, ROWS_AT_ONCE),
    ).rowcount


def drop_grid(connection: sqlite3.Connection, model: int, grid: str) -> int:
    """Delete some delta rows that were made on a grid, and all that is carried on it; how many rows."""
    connection.execute("DELETE FROM carried WHERE model = ? AND grid = ?", (model, grid))
    return connection.execute(
        "DELETE FROM deltas WHERE id IN (SELECT id FROM deltas WHERE model = ? AND grid = ? LIMIT ?)",
        (model, grid, ROWS_AT_ONCE),
    ).rowcount


def drop_predictions(
    connection: sqlite3.Connection, model: int, before_day: int, version: str | None = None
) -> int:
    """Delete some chunks of event days before `before_day`, of one version or all, with their payloads.

    Returns how many.
    """
    ids = [
        (model, chunk_id)
        for (chunk_id,) in connection.execute(
            "SELECT id FROM predictions"
            " WHERE model = ?1 AND day < ?2 AND (?3 IS NULL OR version = ?3) LIMIT ?4",
            (model, before_day, version, ROWS_AT_ONCE),
        )
    ]
    connection.executemany("DELETE FROM predictions WHERE model = ? AND id = ?", ids)
    connection.executemany("DELETE FROM payloads WHERE model = ? AND id = ?", ids)
    return len(ids)


def drop_joined_labels(connection: sqlite3.Connection, model: int, before_day: int) -> int:
    """Delete some labels that had joined predictions of expired days only; how many pushes."""
    return connection.execute(
        "DELETE FROM labels WHERE id IN (SELECT id FROM labels WHERE model = ? AND day < ? LIMIT ?)",
        (model, before_day, ROWS_AT_ONCE),
    ).rowcount


def drop_labels(connection: sqlite3.Connection, model: int, before: float) -> int:
    """Delete some labels that arrived before an instant and joined no known day; how many pushes."""
    return connection.execute(
        "DELETE FROM labels WHERE id IN"
        " (SELECT id FROM labels WHERE model = ? AND arrival < ? AND day IS NULL LIMIT ?)",
        (model, before, ROWS_AT_ONCE),
    ).rowcount


def drop_answers(connection: sqlite3.Connection, model: int, before: float) -> int:
    """Delete some idempotency answers that were given before an instant; how many."""
    return connection.execute(
        "DELETE FROM answers WHERE (model, endpoint, key) IN"
        " (SELECT model, endpoint, key FROM answers WHERE model = ? AND created < ? LIMIT ?)",
        (model, before, ROWS_AT_ONCE),
    ).rowcount


_TABLES = (
    "grids", "deltas", "counters", "bins", "state", "answers", "predictions", "payloads", "labels",
    "raw_rows", "baselines", "baseline_buckets", "history", "history_names", "history_marks", "history_gone",
    "past_deltas", "carried", "baseline_segments",
)  # fmt: skip

_VERSIONED = (
    "deltas", "counters", "bins", "state", "answers", "predictions", "raw_rows", "baselines", "history",
    "history_marks", "history_gone", "past_deltas", "carried",
)  # fmt: skip


def delete_model(connection: sqlite3.Connection, model: int) -> None:
    """Delete all that a model has, except its name and hash key; what comes is a new generation."""
    for table in _TABLES:
        connection.execute(f"DELETE FROM {table} WHERE model = ?", (model,))  # noqa: S608  # our own names
    _renew(connection, model)


def delete_version(connection: sqlite3.Connection, model: int, version: str) -> None:
    """Delete all that belongs to one version, answers included; labels belong to ids, and stay."""
    scope = (model, version)
    connection.execute(
        "DELETE FROM payloads WHERE model = ?1 AND id IN"
        " (SELECT id FROM predictions WHERE model = ?1 AND version = ?2)",
        scope,
    )
    for table in ("baseline_buckets", "baseline_segments"):
        connection.execute(
            f"DELETE FROM {table} WHERE model = ?1 AND baseline IN"  # noqa: S608  # our own names
            " (SELECT id FROM baselines WHERE model = ?1 AND version = ?2)",
            scope,
        )
    for table in _VERSIONED:
        connection.execute(f"DELETE FROM {table} WHERE model = ? AND version = ?", scope)  # noqa: S608  # our own names
    _renew(connection, model)


def _renew(connection: sqlite3.Connection, model: int) -> None:
    connection.execute("UPDATE models SET generation = ? WHERE id = ?", (new_generation(), model))


def free_pages(connection: sqlite3.Connection) -> tuple[int, int]:
    """(free pages, all pages)."""
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return int(free), int(connection.execute("PRAGMA page_count").fetchone()[0])


def give_back_pages(connection: sqlite3.Connection) -> int:
    """Take some free pages off the end of the file; how many are left that can go. Its own transaction."""
    before, _ = free_pages(connection)
    try:
        # a script, because a cursor takes only the first step of this statement, which is one page
        connection.executescript(f"BEGIN IMMEDIATE; PRAGMA incremental_vacuum({PAGES_AT_ONCE:d}); COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    after, _ = free_pages(connection)
    return after if after < before else 0


def truncate_log(connection: sqlite3.Connection) -> None:
    """Move the write-ahead log into the file and shorten it, unless someone reads it; in no transaction."""
    patience = int(connection.execute("PRAGMA busy_timeout").fetchone()[0])
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute(f"PRAGMA busy_timeout = {patience:d}")
