"""Rows of the past: which ones they are, and what becomes of them.

A row that was backfilled and is older than the lateness counts in the history only. Its profiles lie apart
from those of now, and neither delays nor per-bin counters know it: when it arrived says nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.service.lane import Lane
from exporter.store import Change, Delta

SECONDS_PER_DAY = 86_400
PAST = "past"
"""A column of stored predictions: whether their labels count in the history only."""


def past_before(lane: Lane, version: str, arrival: float) -> float:
    """Rows of earlier events are of the past; of a version that is new, by the clock."""
    watermark = lane.version(version).watermark
    return (arrival if watermark is None else watermark) - lane.config.lateness


def for_history(deltas: Iterable[Delta], arrival: float) -> list[Delta]:
    """The same deltas, for the history only."""
    return [replace(delta, backfilled=arrival) for delta in deltas]


def halves(past: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], bool]]:
    """(positions, whether they are of the past) of the rows of now and of the past, where there are any.

    Rows of now come first, and without rows of either kind there are none of now.
    """
    if not past.any():
        yield np.arange(past.size), False
        return
    if not past.all():
        yield np.flatnonzero(~past), False
    yield np.flatnonzero(past), True


def waiting_days(
    lane: Lane, version: str, event_time: NDArray[np.float64], past: NDArray[np.bool_], arrival: float
) -> NDArray[np.int64]:
    """Days under which predictions wait for their labels.

    That is their event day; predictions of the past wait as if they were made now, for their own horizon.
    """
    days = (event_time // SECONDS_PER_DAY).astype(np.int64)
    if not past.any():
        return days
    watermark = lane.version(version).watermark
    today = int((arrival if watermark is None else watermark) // SECONDS_PER_DAY)
    return np.where(past, np.maximum(days, today), days)


def with_past(payload: pa.RecordBatch, past: NDArray[np.bool_]) -> pa.RecordBatch:
    """Stored predictions that tell which of them are of the past."""
    if not past.any():
        return payload
    return pa.RecordBatch.from_arrays([*payload.columns, pa.array(past)], names=[*payload.schema.names, PAST])


def past_of(rows: pa.Table) -> NDArray[np.bool_]:
    """Which stored predictions are of the past."""
    if PAST not in rows.schema.names:
        return np.zeros(rows.num_rows, dtype=bool)
    return np.asarray(rows[PAST].combine_chunks().fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)


def marks_of(lane: Lane, deltas: Iterable[Delta]) -> dict[tuple[str, int], int]:
    """The buckets that deltas change behind the newest one of their version, and how.

    What comes to the newest bucket is recorded with the next evaluation.
    """
    marks: dict[tuple[str, int], int] = {}
    for delta in deltas:
        if delta.segment:
            continue
        state = lane.versions.get(delta.version)
        newest = None if state is None else state.watermark
        change = Change.ROWS if delta.profile.rows else Change.LABELS
        if delta.backfilled is not None:
            change |= Change.PAST
        elif newest is None or delta.bucket + lane.resolution > newest:
            continue
        key = delta.version, delta.bucket
        marks[key] = marks.get(key, 0) | int(change)
    return marks
