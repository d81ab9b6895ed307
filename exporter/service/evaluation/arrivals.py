"""How rows arrive: whether as many as usual, and how fresh they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from exporter.profiles.codec import row_counts
from exporter.statistics.quality.freshness import freshness
from exporter.statistics.quality.volume import SPANS, History, volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from exporter.results import Evaluation
    from exporter.results.findings import VolumeReport
    from exporter.service.lane import Lane, VersionState

ON_TIME = 0.99
"""A time bucket is complete once this share of its rows has usually come."""

TRAFFIC = frozenset({"window", "first_rows", "refresh", "new_version"})
"""Sources of baselines whose rows are all that came in their time; pushed rows may be a sample."""

_SEASONS = ("none", "day", "week")


@dataclass(frozen=True, slots=True)
class Pace:
    """How late rows of a version usually are.

    Attributes
    ----------
    behind_seconds : float
        Behind the newest event that came before them.
    delay_seconds : float or None
        From event to arrival; None where that was never measured.
    """

    behind_seconds: float = 0.0
    delay_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The volume of one version, as of the bucket that ends at `until`."""

    pace: Pace
    until: float
    report: VolumeReport


def judge_volumes(lane: Lane, versions: Iterable[VersionState], now: float) -> dict[str, Judged]:
    """The volume of each version; the caller holds the lane's lock."""
    judged = {}
    for state in versions:
        if state.whole is not None and state.watermark is not None:
            pace = _pace(lane, state)
            until = complete_until(state.watermark, pace, lane.resolution, now)
            judged[state.name] = Judged(pace, until, _volume(lane, state, until))
    return judged


def judge_again(lane: Lane, now: float) -> bool:
    """Judge versions of which a bucket has become complete though no rows came; whether there was one."""
    changed = False
    with lane.lock:
        for name, judged in lane.volumes.items():
            state = lane.versions.get(name)
            if state is None or state.watermark is None:
                continue
            until = complete_until(state.watermark, judged.pace, lane.resolution, now)
            if until > judged.until:
                lane.volumes[name] = Judged(judged.pace, until, _volume(lane, state, until))
                changed = True
    return changed


def complete_until(watermark: float, pace: Pace, width: float, now: float) -> float:
    """End of the newest bucket of which no more rows are to be expected.

    A bucket is complete when newer events have come for as long as rows usually are out of order, or when as
    much time has passed since it ended as rows usually take: so the end of all rows is seen too. Rows that
    are replayed long after their time are taken by their order alone.
    """
    seen = watermark - pace.behind_seconds
    if pace.delay_seconds is not None:
        seen = max(seen, now - pace.delay_seconds)
    return math.floor(seen / width) * width


def with_arrivals(lane: Lane, evaluation: Evaluation) -> Evaluation:
    """The evaluation of a whole window with its freshness and the version's volume."""
    if evaluation.segment is not None:
        return evaluation
    with lane.lock:
        state = lane.versions.get(evaluation.version)
        if state is None or state.whole is None or state.watermark is None:
            return evaluation
        judged = lane.volumes.get(evaluation.version)
        coverage, newest = state.whole.coverage(), state.watermark
    fresh = freshness(
        [start for start, rows, _ in coverage if rows > 0],
        width=lane.resolution,
        start=evaluation.start,
        end=evaluation.end,
        newest_event=newest,
        now=evaluation.made_at,
    )
    report = None if judged is None else judged.report
    return replace(evaluation, quality=replace(evaluation.quality, freshness=fresh, volume=report))


def buckets_behind(bucket: int, watermark: float | None, width: float) -> int:
    """How many buckets before that of the watermark a bucket is, rounded up to a power of two; 0 for none."""
    if watermark is None:
        return 0
    behind = int(math.floor(watermark / width) - bucket // width)
    return 1 << (behind - 1).bit_length() if behind > 0 else 0


def _pace(lane: Lane, state: VersionState) -> Pace:
    """From what the longest window holds."""
    if state.whole is None or state.watermark is None:
        return Pace()
    longest = max(lane.config.windows, key=lambda window: window.seconds)
    _, profile = state.whole.window(longest.name, state.watermark, "features")
    late = {int(key[1]): rows for key, rows in profile.tallies.items() if key[0] == "behind"}
    allowed = (1 - ON_TIME) * profile.rows
    behind = 0
    for buckets in sorted(late, reverse=True):
        allowed -= late[buckets]
        if allowed < 0:
            behind = buckets
            break
    delay = profile.event_delay().quantile(ON_TIME)
    return Pace(behind * lane.resolution, None if delay is None else float(delay))


def _volume(lane: Lane, state: VersionState, until: float) -> VolumeReport:
    """The version's last complete buckets against its baseline's or its own past."""
    width = lane.resolution
    coverage = [] if state.whole is None else state.whole.coverage()
    own = History.of([(start, rows) for start, rows, _ in coverage], width)
    count = max(0, round((until - own.start) / width)) if len(own.rows) else 0
    rows = np.zeros(count)
    kept = min(count, len(own.rows))
    rows[:kept] = own.rows[:kept]
    first = max(0, count - max(SPANS))
    current = History(own.start + first * width, width, rows[first:])
    past, source = own.before(current.start), "history"
    given = _baseline_history(lane, state)
    if given is not None and _rank(given) >= max(_rank(past), _SEASONS.index("day")):
        past, source = given, "baseline"
    return volume(past, current, source=source, local=local_clock(lane.schema.timezone))


def _rank(history: History) -> int:
    return -1 if history.season is None else _SEASONS.index(history.season)


def _baseline_history(lane: Lane, state: VersionState) -> History | None:
    """The rows by bucket of the version's baseline, where these were all that came to that version."""
    baseline = lane.active_baseline(state.name)
    if baseline is None or baseline.source not in TRAFFIC:
        return None
    if baseline.version != state.name and len(lane.versions) > 1:
        return None
    counts = [(start, row_counts(encoded)[0]) for start, encoded in baseline.buckets]
    return History.of(counts[:-1], lane.resolution)


def local_clock(zone: str) -> Callable[[float], float]:
    """Unix seconds to the seconds that clocks of a zone show."""
    if zone == "UTC":
        return float
    place = ZoneInfo(zone)

    def local(instant: float) -> float:
        offset = datetime.fromtimestamp(instant, place).utcoffset()
        return instant + (0.0 if offset is None else offset.total_seconds())

    return local


def volume_gaps(volumes: Mapping[str, Judged], version: str) -> list[tuple[str, str | None, str]]:
    """Why a version's volume is not judged, or that of a span."""
    judged = volumes.get(version)
    if judged is None:
        return [("volume", None, "insufficient_rows")]
    if judged.report.reason is not None:
        return [("volume", None, judged.report.reason)]
    spans = judged.report.spans.items()
    return [("volume", name, span.reason) for name, span in spans if span.reason is not None]
