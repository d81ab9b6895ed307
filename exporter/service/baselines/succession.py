"""Which baseline came after which, what changed between two of them, and the way back."""

from __future__ import annotations

import math
from typing import Any

from exporter.errors import ConflictError
from exporter.evaluation import measure_drift, reference_performance
from exporter.profiles import CategoricalColumn, Profile
from exporter.results import Estimate
from exporter.service.evaluation.evaluator import settings_of
from exporter.service.lane import Lane
from exporter.store import StoredBaseline

MOST_CATEGORIES = 20
"""Categories that a difference names of each column, those with the most rows."""


def activation_key(baseline: StoredBaseline) -> tuple[str, str, str]:
    """Where the store keeps when a baseline was last made the active one."""
    return "activated", baseline.version or "", baseline.id


def activated(lane: Lane, baseline: StoredBaseline) -> float | None:
    """When a baseline was last made the active one; None for one that never was."""
    return lane.state.get(activation_key(baseline))


def next_instant(lane: Lane, kind: str, now: float) -> float:
    """Now, or just after the latest instant of a kind (`activated`, say): the clock may go back."""
    latest = max((at for key, at in lane.state.items() if key[0] == kind), default=float("-inf"))
    return now if now > latest else math.nextafter(latest, math.inf)


def succession(lane: Lane, baseline: StoredBaseline) -> dict[str, Any]:
    """When a baseline was activated, and for an active one which was active before."""
    found: dict[str, Any] = {"activated": activated(lane, baseline), "previous": None}
    if baseline.active:
        earlier = _earlier(lane, baseline.version)
        found["previous"] = earlier.id if earlier is not None else None
    return found


def previous(lane: Lane, version: str | None) -> StoredBaseline:
    """The baseline that was active before the active one of a version (None: of all versions).

    Raises
    ------
    ConflictError
        `no_earlier_baseline` when none was, or it is on another grid.
    """
    earlier = _earlier(lane, version)
    if earlier is None:
        whose = "all versions" if version is None else f"version {version!r}"
        raise ConflictError(
            f"no baseline of {whose} was active before the active one, on the grid in use",
            code="no_earlier_baseline",
        )
    return earlier


def _earlier(lane: Lane, version: str | None) -> StoredBaseline | None:
    earlier = [
        (at, baseline)
        for baseline in lane.baselines.values()
        if baseline.version == version and not baseline.active
        if (at := activated(lane, baseline)) is not None
        if lane.grid is not None and baseline.grid_id == lane.grid.id
    ]
    return max(earlier, key=lambda entry: entry[0])[1] if earlier else None


def difference(lane: Lane, one: StoredBaseline, other: StoredBaseline) -> dict[str, Any]:
    """What changed from baseline `other` to baseline `one`, as a drift report and metric by metric.

    Raises
    ------
    ConflictError
        `other_grid` when they are on two grids.
    """
    if one.grid_id != other.grid_id:
        raise ConflictError(
            f"baseline {one.id!r} is on grid {one.grid_id} and {other.id!r} on grid {other.grid_id}; "
            "only baselines on one grid can be compared",
            code="other_grid",
        )
    with lane.lock:
        settings = settings_of(lane)
        after, before = lane.baseline_profile(one), lane.baseline_profile(other)
    report, missing = measure_drift(after, after, before, settings)
    metrics = [reference_performance(profile, settings) or {} for profile in (before, after)]
    return {
        "baseline": one.id,
        "with": other.id,
        "rows": {"baseline": one.rows, "with": other.rows},
        "period": {"baseline": _period(one), "with": _period(other)},
        "drift": report.to_dict(),
        "performance": {
            name: {
                "with": _value(metrics[0].get(name)),
                "baseline": _value(metrics[1].get(name)),
            }
            for name in dict.fromkeys((*metrics[0], *metrics[1]))
        },
        "categories": _categories(after, before),
        "undefined": [
            {"measure": measure, "subject": subject, "reason": reason} for measure, subject, reason in missing
        ],
    }


def _value(found: object) -> float | None:
    return found.value if isinstance(found, Estimate) else None


def _period(baseline: StoredBaseline) -> list[float] | None:
    if baseline.period is not None:
        return list(baseline.period)
    starts = [start for start, _ in baseline.buckets]
    return [min(starts), max(starts)] if starts else None


def _categories(after: Profile, before: Profile) -> dict[str, dict[str, dict[str, int]]]:
    """Categories that only one of two profiles has, with their rows, by column."""
    found = {}
    for name in after.grid.columns:
        now, then = after.column(name), before.column(name)
        if not isinstance(now, CategoricalColumn) or not isinstance(then, CategoricalColumn):
            continue
        counts = [_counts(column) for column in (now, then)]
        new = {value: rows for value, rows in counts[0].items() if value not in counts[1]}
        gone = {value: rows for value, rows in counts[1].items() if value not in counts[0]}
        if new or gone:
            found[name] = {"new": _most(new), "gone": _most(gone)}
    return found


def _counts(column: CategoricalColumn) -> dict[str, int]:
    known = zip(column.grid.categories, column.counts.tolist(), strict=True)
    return {value: int(rows) for value, rows in (*known, *column.novel.items()) if rows > 0}


def _most(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: -entry[1])[:MOST_CATEGORIES])
