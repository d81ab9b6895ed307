"""What a window is held against: all of the baseline, or its part of the same season; how restless it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from zoneinfo import ZoneInfo

from exporter.evaluation import drift_columns
from exporter.profiles import Profile, decode
from exporter.service.lane import Lane
from exporter.statistics.drift.blocks import BlockEffect, block_effects
from exporter.store import StoredBaseline
from exporter.windows import Span

DAY_SECONDS = 86_400.0
HOUR_SECONDS = 3_600.0

MOST_SLICES = 24
"""Seasonal parts of baselines that a model keeps merged; the least recently used one goes first."""

Season = frozenset[int]
"""Hours of the day, 0 to 23, or hours of the week, 0 to 167 from Monday on, in the model's time zone."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What drift of a window is measured with.

    Attributes
    ----------
    profile : Profile or None
        The seasonal part of the baseline; None where the whole baseline serves.
    block_nulls : mapping or None
        What blocks of the baseline as long as the window differ by; None where rows count as independent.
    """

    profile: Profile | None = None
    block_nulls: Mapping[tuple[str, str], BlockEffect] | None = None


WHOLE = Yardstick()


def yardstick(lane: Lane, baseline: StoredBaseline | None, span: Span, window_seconds: float) -> Yardstick:
    """How a window is measured, as `baseline.season` and `drift.null` say.

    What it needs of a baseline is decoded once and remembered; the caller holds no lock meanwhile.
    """
    if baseline is None or not baseline.buckets or lane.grid is None or baseline.grid_id != lane.grid.id:
        return WHOLE
    return Yardstick(_seasonal(lane, baseline, span), _blocks(lane, baseline, window_seconds))


def season_of(lane: Lane, span: Span) -> Season | None:
    """The hours that a window covers; None where there is no season or the window covers all of it.

    With `hour` windows shorter than a day have one, with `weekday` those shorter than a week.
    """
    kind = lane.config.baseline.season
    period = {"none": 0.0, "hour": DAY_SECONDS, "weekday": 7 * DAY_SECONDS}[kind]
    if span.end - span.start >= period:
        return None
    step = min(lane.resolution, HOUR_SECONDS)
    count = max(1, round((span.end - span.start) / step))
    return frozenset(_hours(lane, [span.start + step * number for number in range(count)]))


def _hours(lane: Lane, instants: list[float]) -> Iterator[int]:
    zone, weekly = ZoneInfo(lane.config.timezone), lane.config.baseline.season == "weekday"
    for instant in instants:
        local = datetime.fromtimestamp(instant, UTC).astimezone(zone)
        yield local.hour + 24 * local.weekday() * weekly


def _seasonal(lane: Lane, baseline: StoredBaseline, span: Span) -> Profile | None:
    season = season_of(lane, span)
    if season is None:
        return None
    with lane.lock:
        key = (baseline.id, season)
        if key in lane.seasonal:
            lane.seasonal.move_to_end(key)
            return lane.seasonal[key]
        grid = lane.grids[baseline.grid_id]
    total = Profile.empty(grid)
    hours = _hours(lane, [float(start) for start, _ in baseline.buckets])
    for hour, (_, encoded) in zip(hours, baseline.buckets, strict=True):
        if hour in season:
            total.add(decode(encoded, grid, parts=("features", "outcomes"), stored=True))
    part = total if total.rows >= lane.config.drift.minimum_rows else None
    with lane.lock:
        lane.seasonal[key] = part
        while len(lane.seasonal) > MOST_SLICES:
            lane.seasonal.popitem(last=False)
    return part


def _blocks(
    lane: Lane, baseline: StoredBaseline, window_seconds: float
) -> Mapping[tuple[str, str], BlockEffect] | None:
    if lane.config.drift.null != "blocks":
        return None
    key = (baseline.id, window_seconds)
    with lane.lock:
        if key in lane.block_effects:
            return lane.block_effects[key]
        grid, whole = lane.grids[baseline.grid_id], lane.baseline_profile(baseline)
    blocks = []
    for _, members in groupby(baseline.buckets, key=lambda bucket: bucket[0] // window_seconds):
        block = Profile.empty(grid)
        for _, encoded in members:
            block.add(decode(encoded, grid, stored=True))
        blocks.append(drift_columns(block, block))
    effects = block_effects(blocks, drift_columns(whole, whole), lane.config.drift.methods)
    with lane.lock:
        lane.block_effects[key] = effects
    return effects


def measuring_notes(lane: Lane, baseline: StoredBaseline) -> list[str]:
    """What of `baseline.season` and `drift.null` the active baseline does not allow, one sentence each."""
    found = []
    seasonal, blocks = lane.config.baseline.season != "none", lane.config.drift.null == "blocks"
    if (seasonal or blocks) and not baseline.buckets:
        asked = " and ".join(["baseline.season"] * seasonal + ["drift.null: blocks"] * blocks)
        found.append(
            f"Baseline {baseline.id} has no times of its own, so {asked} cannot be followed; its rows need "
            "columns.timestamp, and not more than 2,000 buckets."
        )
    if any(part is None for (of, _), part in lane.seasonal.items() if of == baseline.id):
        found.append(
            f"Baseline {baseline.id} has too few rows of some seasons; windows of these are compared with "
            "all of it."
        )
    if any(not effects for (of, _), effects in lane.block_effects.items() if of == baseline.id):
        found.append(
            f"Baseline {baseline.id} has too few blocks of the length of some windows for "
            "drift.null: blocks; their rows count as independent."
        )
    return found
