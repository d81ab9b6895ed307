"""The parts of a baseline that segments are compared with: a profile of each followed value's rows."""

from __future__ import annotations

from dataclasses import replace

from exporter.baseline import BuiltBaseline
from exporter.batch import Batch, Codes
from exporter.evaluation import Failed, Reference, Settings, reference_performance
from exporter.profiles import Grid, Meters, Profile, decode, encode, profile_outcomes, profile_rows
from exporter.service.ingestion.payload import segment_key
from exporter.service.ingestion.profiling import by_value
from exporter.service.lane import Lane
from exporter.store import StoredBaseline
from exporter.windows import Span

Parts = tuple[tuple[str, bytes], ...]
"""Encoded profiles by segment key."""


def with_parts(
    lane: Lane, built: BuiltBaseline, batch: Batch, labels: Codes | None, meters: Meters
) -> BuiltBaseline:
    """A baseline of rows with the profiles of its segments.

    These are the values that the model follows, and while there is room the largest other ones.
    """
    values = lane.segments.copied()
    values.prefer(built.grid)
    parts = []
    outcomes = None if labels is None else meters.prepared(replace(batch.outcomes, label=labels))
    for column in values.columns:
        for value, rows in by_value(batch.segments[column]):
            if values.follow(column, value):
                profile = profile_rows(
                    built.grid, batch.take(rows), threads=2, meters=meters.rows, multivariate=False
                )
                if outcomes is not None:
                    labelled = profile_outcomes(built.grid, outcomes.take(rows), meters=meters.outcomes)
                    profile = profile.merge(labelled)
                parts.append((segment_key(column, value), encode(profile)))
    return replace(built, segments=tuple(parts))


def past_parts(lane: Lane, grid: Grid, span: Span, version: str | None) -> Parts:
    """What a past span has of each segment, of one version or of all together."""
    totals: dict[str, Profile] = {}
    for name, state in lane.versions.items():
        for key, series in state.series.items():
            if key and version in (None, name):
                totals.setdefault(key, Profile.empty(grid)).add(series.merged(span))
    return tuple((key, encode(total)) for key, total in sorted(totals.items()) if total.rows)


def part_of(lane: Lane, baseline: StoredBaseline, key: str) -> Profile | None:
    """What a segment is compared with; None where the baseline has fewer rows of it than are evaluated.

    The last one is remembered, for the next window of the same segment.
    """
    place = (baseline.id, key)
    with lane.lock:
        if lane.last_part is not None and lane.last_part[0] == place:
            return lane.last_part[1]
        grid = lane.grids.get(baseline.grid_id)
        encoded = dict(baseline.segments).get(key)
    part = None if grid is None or encoded is None else decode(encoded, grid, stored=True)
    if part is not None and part.rows < lane.config.segment_minimum_rows:
        part = None
    lane.last_part = place, part
    return part


def part_reference(
    lane: Lane, place: tuple[str, str], part: Profile | None, settings: Settings, failed: Failed
) -> Reference:
    """Metrics of the part at (baseline id, segment key), computed once; None where it has few labels."""
    if place not in lane.part_references:
        enough = part is not None and part.labeled_rows >= lane.config.segment_minimum_rows
        lane.part_references[place] = reference_performance(part, settings, failed) if enough else None
    return lane.part_references[place]
