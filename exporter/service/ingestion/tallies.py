"""The small counts of a profile: rules, timeliness, and rows that were rejected or repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from exporter.batch import Batch
from exporter.columns.repeats import repeated_rows
from exporter.profiles import Profile
from exporter.rules import RuleOutcome
from exporter.service.evaluation.arrivals import buckets_behind
from exporter.service.lane import Lane
from exporter.store import Delta
from exporter.windows import bucket_starts

Tallies = Mapping[tuple[str, ...], int]

NO_VERSION = ""
"""In the place of a version in the counters of rows that belong to none: labels that were rejected."""


def arrival_tallies(
    batch: Batch, rejected: Counter[str], *, profiled: int, duplicates: int
) -> dict[tuple[str, ...], int]:
    """What came and was left out: rows that have no place in time. Profiles count the others themselves."""
    counts = rejected_tallies(batch.received - profiled, rejected, batch.invalid)
    if batch.ids is not None:
        counts["duplicate",] = duplicates
    return counts


def rejected_tallies(
    received: int, rejected: Mapping[str, int], invalid: Mapping[str, int]
) -> dict[tuple[str, ...], int]:
    """Rows that came and are in no profile, by reason, and wrong values, by column."""
    counts: dict[tuple[str, ...], int] = {("received",): received}
    counts |= {("rejected", reason): count for reason, count in rejected.items() if count}
    counts |= {("invalid", column): count for column, count in invalid.items() if count}
    return counts


def tally_rows(lane: Lane, rows: Batch, judged: RuleOutcome, deltas: Sequence[Delta], arrival: float) -> None:
    """Count rule results, repeated rows and timely rows in the buckets that the rows fall into.

    Without ids a row is repeated when it equals an earlier one of its batch in all columns that were pushed.
    """
    for version in {delta.version for delta in deltas}:
        lane.note_rule_failures(version, judged.failures)
    repeated = repeated_rows(rows.table) if rows.ids is None else None
    starts = bucket_starts(rows.event_time, lane.resolution)
    timeliness = lane.config.quality.timeliness
    watermarks = {delta.version: lane.version(delta.version).watermark for delta in deltas}
    for delta in deltas:
        if delta.segment:
            continue
        positions = np.flatnonzero(starts == delta.bucket)
        behind = buckets_behind(delta.bucket, watermarks[delta.version], lane.resolution)
        if behind:
            add_tallies(delta.profile, {("behind", str(behind)): int(positions.size)})
        add_tallies(
            delta.profile, (judged if positions.size == rows.rows else judged.take(positions)).tallies
        )
        if repeated is not None:
            add_tallies(delta.profile, {("repeated",): int(np.count_nonzero(repeated[positions]))})
        if timeliness is not None:
            delay = arrival - rows.event_time[positions]
            add_tallies(delta.profile, {("timely",): int(np.count_nonzero(delay <= timeliness))})


def tally_arrival(lane: Lane, counts: Tallies, deltas: list[Delta], version: str, arrival: float) -> None:
    """Count what came in the newest bucket of the batch; without rows, in that of the watermark."""
    wholes = [delta for delta in deltas if not delta.segment]
    if not wholes and lane.grid is not None:
        watermark = lane.version(version).watermark
        newest = np.array([arrival if watermark is None else watermark])
        bucket = int(bucket_starts(newest, lane.resolution)[0])
        wholes = [Delta(version, "", bucket, Profile.empty(lane.grid))]
        deltas.append(wholes[0])
    if wholes:
        add_tallies(max(wholes, key=lambda delta: delta.bucket).profile, counts)


def add_tallies(profile: Profile, tallies: Tallies) -> None:
    for key, count in tallies.items():
        profile.tallies[key] = profile.tallies.get(key, 0) + count
