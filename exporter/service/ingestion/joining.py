"""Labels to predictions: which are new, repeated or corrected, and what that changes in the profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.service.comparing.pairs import pair_deltas, pairs_among
from exporter.service.ingestion.backfilling import for_history, halves, past_of
from exporter.service.ingestion.meters import meters_of
from exporter.service.ingestion.payload import outcomes_of
from exporter.service.ingestion.profiling import outcome_deltas
from exporter.service.ingestion.rows import gather
from exporter.service.lane import Lane
from exporter.store import Delta, PredictionIndex

Hashes = NDArray[np.uint64]
Floats = NDArray[np.float64]


@dataclass
class Join:
    """What labels meet in the index. `matched`, `pending`, `duplicates` and `corrected` count labels."""

    matches: Any
    old: Floats
    new: Floats
    changed: NDArray[np.bool_]
    """Of the matches: those whose label is new or another than before."""
    arrival: float
    matched: int
    pending: int
    duplicates: int
    corrected: int
    held: tuple[Hashes, Floats] = field(default_factory=lambda: (np.empty(0, np.uint64), np.empty(0)))
    """Labels to be kept until their prediction comes."""
    replaced: tuple[Hashes, Floats, Floats] | None = None
    """Held labels that these replaced, with their arrivals; known once they are marked."""

    def chunks(self) -> list[int]:
        """Ids of the chunks whose payload is needed."""
        return [int(chunk) for chunk in np.unique(self.matches.chunk[self.changed])]

    def mark(self, index: PredictionIndex) -> None:
        index.set_labels(self.matches.slot[self.changed], self.new[self.changed])
        query, values, arrivals = index.take_held(self.held[0])
        self.replaced = (self.held[0][query], values, arrivals)
        index.hold(self.held[0], self.held[1], self.arrival)

    def unmark(self, index: PredictionIndex) -> None:
        """Take the marks back, when the commit failed."""
        index.set_labels(self.matches.slot[self.changed], self.old[self.changed])
        index.take_held(self.held[0])
        if self.replaced is not None:
            index.hold(*self.replaced)


def last_of_each(hashes: Hashes, values: Floats) -> tuple[Hashes, Floats, int]:
    """The last label of every id, in order, and how many came before it in the same request."""
    _, reversed_first = np.unique(hashes[::-1], return_index=True)
    kept = np.sort(hashes.size - 1 - reversed_first)
    return hashes[kept], values[kept], int(hashes.size - kept.size)


def join(index: PredictionIndex, hashes: Hashes, values: Floats, arrival: float) -> Join:
    """Look labels up; changes nothing. The hashes are distinct."""
    matches = index.find(hashes)
    old = index.labels_of(matches.slot)
    new = values[matches.query]
    fresh = np.isnan(old)
    changed = fresh | (old != new)
    per_label = np.zeros(hashes.size, dtype=np.int8)  # 0 no prediction, 1 same as before, 2 corrected, 3 new
    np.maximum.at(per_label, matches.query, np.where(fresh, 3, np.where(changed, 2, 1)).astype(np.int8))
    waiting = np.flatnonzero(per_label == 0)
    already = index.held_labels(hashes[waiting])
    repeated = already == values[waiting]
    corrected_early = int(np.count_nonzero(~np.isnan(already) & ~repeated))
    new_waiting = waiting[~repeated]
    return Join(
        matches=matches,
        old=old,
        new=new,
        changed=changed,
        arrival=arrival,
        matched=int(np.count_nonzero(per_label == 3)),
        pending=int(new_waiting.size) - corrected_early,
        duplicates=int(np.count_nonzero(per_label == 1) + repeated.sum()),
        corrected=int(np.count_nonzero(per_label == 2)) + corrected_early,
        held=(hashes[new_waiting], values[new_waiting]),
    )


def join_deltas(
    lane: Lane, joined: Join, payloads: Mapping[int, pa.RecordBatch], version_names: Mapping[int, str]
) -> tuple[list[Delta], dict[str, int]]:
    """The profile deltas of a join, and newly labelled rows by version.

    A corrected label is taken back with its old value and counted with the new one.
    """
    deltas: list[Delta] = []
    labeled: dict[str, int] = {}
    grid = lane.grid
    matches = joined.matches
    paired = joined.changed.copy()
    for code in np.unique(matches.version_code[joined.changed]):
        version = version_names[int(code)]
        chosen = np.flatnonzero(joined.changed & (matches.version_code == code))
        fresh = np.isnan(joined.old[chosen])
        labeled[version] = int(fresh.sum())
        if grid is None:
            continue
        rows = gather(payloads, matches.chunk[chosen], matches.row[chosen])
        event_time, past = rows["event_time"].to_numpy(), past_of(rows)
        paired[chosen[past]] = False  # comparisons are of rows of now
        segments = {
            column: rows[f"segment_{position}"].combine_chunks()
            for position, column in enumerate(lane.segments.columns)
            if f"segment_{position}" in rows.schema.names
        }
        for sign, selected, values in ((-1, ~fresh, joined.old), (1, np.ones(chosen.size, bool), joined.new)):
            positions = np.flatnonzero(selected)
            if not positions.size:
                continue
            for half, of_past in halves(past[positions]):
                these = positions[half]
                labels = lane.labels.decode(values[chosen[these]])
                came = np.full(these.size, np.nan if of_past else joined.arrival)
                made = outcome_deltas(
                    grid,
                    outcomes_of(rows.take(pa.array(these)), lane.schema, labels, came),
                    event_time[these],
                    {column: array.take(pa.array(these)) for column, array in segments.items()},
                    version=version,
                    segments=lane.segments,
                    resolution=lane.resolution,
                    sign=sign,
                    meters=meters_of(lane, version),
                    groups=False,
                )
                deltas += for_history(made, joined.arrival) if of_past else made
    if grid is not None:
        pairs = pairs_among(lane, matches, joined.old, joined.new, paired)
        deltas += pair_deltas(lane, grid, pairs, payloads)
    return deltas, labeled
