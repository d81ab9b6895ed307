"""Ids that the champion and a challenger have both answered: what their labels add to comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.batch import Outcomes
from exporter.profiles import Grid, Part, Profile
from exporter.service.ingestion.backfilling import past_of
from exporter.service.ingestion.payload import outcomes_of
from exporter.service.ingestion.profiling import by_bucket
from exporter.service.ingestion.rows import gather
from exporter.service.lane import Lane
from exporter.statistics.comparison import pair_sums
from exporter.store import Delta, Matches

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

PAIR = "pair"
"""What the names of totals of pairs begin with; the challenger follows. They lie with the champion's rows."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Answers of the champion and one challenger to the same ids, with their label before and after.

    `champion` and `challenger` are (2, n): chunk id and row of each answer. Labels are stored numbers, NaN
    where there is none; `old` is what was counted of the pair before.
    """

    challenger: str
    champion_at: Places
    challenger_at: Places
    old: Floats
    new: Floats


def chunks_of(pairs: Iterable[Pairs]) -> set[int]:
    """Ids of the chunks whose payload is needed."""
    chunks: set[int] = set()
    for these in pairs:
        chunks.update(np.unique((these.champion_at[0], these.challenger_at[0])).tolist())
    return chunks


def pairs_among(
    lane: Lane,
    matches: Matches,
    old: Floats,
    new: Floats,
    changed: NDArray[np.bool_],
    *,
    challenger: str | None = None,
) -> list[Pairs]:
    """The pairs whose label has changed on both sides.

    Parameters
    ----------
    matches : Matches
        Over all versions.
    old, new : float64 (m,)
        Labels of the matches, NaN where there is none.
    changed : bool (m,)
    challenger : str or None
        Only pairs with this one; None for all.
    """
    versions, champion = lane.index.versions, lane.config.champion
    if champion not in versions or len(versions) < 2 or not changed.any():
        return []
    queries = int(matches.query.max()) + 1
    own = np.flatnonzero(changed & (matches.version_code == versions.index(champion)))
    place = np.full(queries, -1, np.int64)
    place[matches.query[own]] = own
    found = []
    for code, version in enumerate(versions):
        if version == champion or challenger not in (None, version):
            continue
        theirs = np.flatnonzero(changed & (matches.version_code == code))
        theirs = theirs[place[matches.query[theirs]] >= 0]
        if not theirs.size:
            continue
        ours = place[matches.query[theirs]]
        both = ~np.isnan(old[ours]) & ~np.isnan(old[theirs])
        found.append(
            Pairs(
                version,
                np.stack((matches.chunk[ours], matches.row[ours])),
                np.stack((matches.chunk[theirs], matches.row[theirs])),
                np.where(both, old[ours], np.nan),
                new[ours],
            )
        )
    return found


def labelled_pairs(lane: Lane, hashes: NDArray[np.uint64], *, version: str | None = None) -> list[Pairs]:
    """Pairs among some ids whose label is known to both sides; the caller holds the lane's lock.

    With a `version` only those that one of its answers belongs to: rows that have just been indexed.
    """
    champion = lane.config.champion
    if champion is None or len(lane.index.versions) < 2 or not hashes.size:
        return []
    matches = lane.index.find(hashes)
    labels = lane.index.labels_of(matches.slot)
    nothing = np.full(labels.size, np.nan)
    only = None if version in (None, champion) else version
    return pairs_among(lane, matches, nothing, labels, ~np.isnan(labels), challenger=only)


def pair_deltas(
    lane: Lane, grid: Grid, pairs: Iterable[Pairs], payloads: Mapping[int, pa.RecordBatch]
) -> list[Delta]:
    """What pairs add to the champion's totals, by the bucket of its answers."""
    deltas: list[Delta] = []
    for these in pairs:
        champion, challenger = gather(payloads, *these.champion_at), gather(payloads, *these.challenger_at)
        event_time = champion["event_time"].to_numpy()
        current = ~(past_of(champion) | past_of(challenger))  # rows of the past are for history only
        for sign, labels in ((-1, these.old), (1, these.new)):
            chosen = np.flatnonzero(~np.isnan(labels) & current)
            for bucket, inside in by_bucket(event_time[chosen], lane.resolution):
                positions = chosen[inside]
                arms = _outcomes(lane, (champion, challenger), positions, labels[positions])
                sums = pair_sums(lane.schema, *arms)
                if sums is not None:
                    deltas.append(_delta(lane, grid, these.challenger, bucket, sign * sums))
    return deltas


def _outcomes(
    lane: Lane, arms: Sequence[pa.Table], positions: NDArray[np.intp], labels: Floats
) -> list[Outcomes]:
    codes = lane.labels.decode(labels)
    nothing = np.full(positions.size, np.nan)
    return [outcomes_of(arm.take(pa.array(positions)), lane.schema, codes, nothing) for arm in arms]


def _delta(lane: Lane, grid: Grid, challenger: str, bucket: int, sums: Floats) -> Delta:
    part = Part(grid.layout.outcomes, totals={(PAIR, challenger): sums})
    return Delta(lane.config.champion or "", "", bucket, Profile(grid, outcomes=part))
