"""Labels that come later for rows that are ranked together.

A group counts when every row of it has a label. Its rows came in one push and have one event time, so they
lie in one chunk of the store, the hashes of their ids beside them; what labels they have the index knows.
When some labels of a group are new or corrected, what the group counted for before is taken back, and what it
counts for now is added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter.columns import canonical_text
from exporter.profiles import Grid, profile_groups
from exporter.schema import Task
from exporter.service.ingestion.backfilling import for_history, halves, past_of
from exporter.service.ingestion.joining import Join
from exporter.service.ingestion.payload import KEPT, outcomes_of, segment_key
from exporter.service.ingestion.profiling import by_bucket, by_value
from exporter.service.lane import Lane
from exporter.store import Delta

HASH = "hash"
"""The column of a chunk with the hash of each row's id."""

_ALL_GROUPS = np.zeros(1, np.uint64)


def in_flight(lane: Lane, hashes: NDArray[np.uint64] | None, *, labels: bool) -> NDArray[np.uint64] | None:
    """The ids of a request, for its flight: in rankings labels come one request after another.

    What a group counts for depends on the labels of all its rows; two requests that each bring some of them
    would both see a group that is complete.
    """
    if hashes is None or not labels or lane.schema.task is not Task.RANKING:
        return hashes
    return np.concatenate((hashes, _ALL_GROUPS))


def with_hashes(lane: Lane, payload: pa.RecordBatch, hashes: NDArray[np.uint64]) -> pa.RecordBatch:
    """What is kept of predictions, in rankings with the hashes of their ids."""
    if lane.schema.task is not Task.RANKING:
        return payload
    columns = dict(zip(payload.schema.names, payload.columns, strict=True))
    return pa.RecordBatch.from_pydict({**columns, HASH: pa.array(hashes)})


def first_groups(lane: Lane, pushes: Sequence[pa.Table]) -> list[pa.Table]:
    """As many whole pushes as a first baseline needs rows, so that no group is cut.

    A group that came in two pushes is two groups: its name is made another in each.
    """
    group, rows, chosen = str(lane.schema.group), 0, []
    for place, table in enumerate(pushes):
        if rows >= lane.config.baseline.rows:
            break
        named = pc.binary_join_element_wise(canonical_text(table[group]), str(place), "/")
        chosen.append(table.set_column(table.column_names.index(group), group, named))
        rows += table.num_rows
    return chosen


@dataclass(frozen=True, slots=True)
class _Touched:
    """The rows of the groups of one chunk whose labels have changed, with their labels before and now."""

    version: str
    rows: pa.Table
    old: NDArray[np.float64]
    new: NDArray[np.float64]


def group_deltas(lane: Lane, joined: Join, payloads: Mapping[int, pa.RecordBatch]) -> list[Delta]:
    """What labels that were joined change in the groups of their rows; nothing in other tasks."""
    grid = lane.grid
    if lane.schema.task is not Task.RANKING or grid is None:
        return []
    deltas: list[Delta] = []
    for touched in _touched(lane, joined, payloads):
        for positions, past in halves(past_of(touched.rows)):
            for sign in (-1, 1):
                made = _counted(lane, grid, touched, positions, sign)
                deltas += for_history(made, joined.arrival) if past else made
    return deltas


def _touched(lane: Lane, joined: Join, payloads: Mapping[int, pa.RecordBatch]) -> Iterator[_Touched]:
    matches, versions = joined.matches, lane.index.versions
    for chunk in joined.chunks():
        payload = payloads[chunk]
        if KEPT + str(lane.schema.group) not in payload.schema.names or HASH not in payload.schema.names:
            continue
        here = np.flatnonzero(joined.changed & (matches.chunk == chunk))
        groups = payload[KEPT + str(lane.schema.group)]
        chosen = pc.is_in(groups, value_set=groups.take(pa.array(matches.row[here])).unique())
        rows = np.flatnonzero(chosen.to_numpy(zero_copy_only=False))
        of = pa.Table.from_batches([payload.take(pa.array(rows))]).combine_chunks()
        new = np.full(payload.num_rows, np.nan)
        with lane.lock:
            mates = lane.index.find(of[HASH].to_numpy())
            own = np.flatnonzero(mates.chunk == chunk)
            new[mates.row[own]] = lane.index.labels_of(mates.slot[own])
        old = new.copy()
        new[matches.row[here]] = joined.new[here]
        old[matches.row[here]] = joined.old[here]
        yield _Touched(versions[int(matches.version_code[here[0]])], of, old[rows], new[rows])


def _counted(
    lane: Lane, grid: Grid, touched: _Touched, positions: NDArray[np.intp], sign: int
) -> Iterator[Delta]:
    labels = touched.old if sign < 0 else touched.new
    if np.isnan(labels[positions]).all():
        return
    rows = touched.rows.take(pa.array(positions))
    event_time = rows["event_time"].to_numpy()
    outcomes = outcomes_of(rows, lane.schema, labels[positions], event_time)
    for bucket, these in by_bucket(event_time, lane.resolution):
        profile = profile_groups(grid, outcomes.take(these), sign=sign)
        yield Delta(touched.version, "", bucket, profile)
        for place, column in enumerate(lane.segments.columns):
            if f"segment_{place}" not in rows.schema.names:
                continue
            for value, inside in by_value(rows[f"segment_{place}"].combine_chunks().take(pa.array(these))):
                if lane.segments.follow(column, value):
                    part = profile_groups(grid, outcomes.take(these[inside]), sign=sign)
                    yield Delta(touched.version, segment_key(column, value), bucket, part)
