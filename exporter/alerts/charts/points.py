"""Which points of a history are drawn, and between which the line is broken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import TypeAlias, TypeGuard

from exporter.alerts.records import Facts

Point: TypeAlias = tuple[float, float]
Run: TypeAlias = Sequence[Point]

MOST_POINTS = 240
"""Of longer histories the smallest and the largest of every few points are drawn."""
LARGEST = 1e15
"""Values from here on are left out: no axis could show them beside others."""
LATEST = 1e11
"""Times from here on are left out."""
GAP = 2.5
"""Neighbours further apart than this many usual distances are not joined."""


def runs_of(facts: Facts) -> list[Run]:
    """The history in order, cut where points are missing; it ends with the current value, if there is one.

    Empty when fewer than two points can be drawn.
    """
    known: dict[float, float] = {
        round(at): value for at, value in facts.history if 0 <= at < LATEST and shown(value)
    }
    if shown(facts.current) and known:
        at = round(facts.at) if facts.at is not None and 0 <= facts.at < LATEST else max(known)
        known = {time: value for time, value in known.items() if time < at} | {at: facts.current}
    points = sorted(known.items())
    if len(points) < 2:
        return []
    step = math.ceil(2 * len(points) / MOST_POINTS) if len(points) > MOST_POINTS else 1
    return [_extremes(run, step) for run in _unbroken(points)]


def shown(value: float | None) -> TypeGuard[float]:
    """Whether a value can be drawn."""
    return value is not None and math.isfinite(value) and abs(value) < LARGEST


def _unbroken(points: Run) -> list[list[Point]]:
    usual = median(after[0] - before[0] for before, after in pairwise(points))
    runs = [[points[0]]]
    for before, point in pairwise(points):
        if point[0] - before[0] > GAP * usual:
            runs.append([])
        runs[-1].append(point)
    return runs


def _extremes(points: Run, step: int) -> Run:
    """Smallest and largest of every `step` points, and the last: no spike is lost."""
    if step == 1:
        return points
    kept = {points[-1]}
    for i in range(0, len(points), step):
        few = points[i : i + step]
        kept |= {min(few, key=lambda point: point[1]), max(few, key=lambda point: point[1])}
    return sorted(kept)
