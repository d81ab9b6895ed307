"""Whether too few or too many rows came, against what the same hours brought before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special, stats

from exporter.durations import format_duration
from exporter.results.findings import VolumeReport, VolumeSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HOUR, DAY, WEEK = 3600.0, 86_400.0, 604_800.0

SPANS = (1, 3, 24)
"""Numbers of last complete buckets that are looked at together: sudden silence, and what one bucket hides."""

WEEKS, DAYS, FEWEST_BUCKETS = 2, 3, 24
"""History that is needed to compare the same hours of the week, of the day, or all buckets."""

FALSE_ALARMS_PER_WEEK = 0.1
"""Expected number of false verdicts a week, over all spans, when rows come as they did before."""

LEAST_EFFECT = 0.1
"""Smallest relative deviation that is called one."""

LARGEST_DISPERSION = 1e6

CUT = 6.0
"""Buckets of the history further from their hour's median than so many (robust) deviations are left out."""


@dataclass(frozen=True, eq=False, slots=True)
class History:
    """Rows of consecutive buckets of the past.

    Attributes
    ----------
    start : float
        Of the first bucket, in seconds since the epoch.
    width : float
        Of a bucket, in seconds.
    rows : float64 (n,)
        0 where a bucket had none.
    """

    start: float
    width: float
    rows: Floats

    @classmethod
    def of(cls, buckets: Sequence[tuple[int, int]], width: float) -> History:
        """From (start, rows) of the buckets that have rows; those between are empty, the first one is left
        out.

        It is left out because the first rows seldom come at its beginning.
        """
        ordered = sorted(buckets)[1:]
        if not ordered:
            return cls(0.0, width, np.zeros(0))
        first = ordered[0][0]
        rows = np.zeros(round((ordered[-1][0] - first) / width) + 1)
        for start, count in ordered:
            rows[round((start - first) / width)] += count
        return cls(float(first), width, rows)

    def before(self, end: float) -> History:
        """The buckets that end at or before an instant."""
        count = max(0, math.floor((end - self.start) / self.width + 1e-9))
        return History(self.start, self.width, self.rows[:count])

    @property
    def starts(self) -> Floats:
        return np.asarray(self.start + self.width * np.arange(len(self.rows)), np.float64)

    @property
    def season(self) -> str | None:
        """`week`, `day` or `none`; None when there is too little to compare with."""
        seconds, width = len(self.rows) * self.width, self.width
        if seconds >= WEEKS * WEEK and width <= DAY and _divides(width, WEEK):
            return "week"
        if seconds >= DAYS * DAY and 2 * width <= DAY and _divides(width, DAY):
            return "day"
        return "none" if len(self.rows) >= FEWEST_BUCKETS else None


def _divides(width: float, cycle: float) -> bool:
    return abs(cycle / width - round(cycle / width)) < 1e-9


def volume(
    history: History,
    current: History,
    *,
    source: str,
    local: Callable[[float], float] = float,
    false_alarms_per_week: float = FALSE_ALARMS_PER_WEEK,
) -> VolumeReport:
    """The last complete buckets against the history's same hours.

    The expectation of a bucket is the mean of the history's buckets of the same hour of the week (from two
    weeks of history on), of the day (from three days on), or of all of them. Counts are taken as negative
    binomial: variance mu + d mu^2, where d is fitted by moments so that Pearson's chi-square over the history
    equals its degrees of freedom, for each span of its own, on the sums of so many neighbouring buckets: what
    one whole day has in common is then in the spread of days. The bounds are quantiles of that distribution
    with the expectation's own error (1 + 1/k for k buckets an hour) and, for few degrees of freedom,
    Student's tail.

    Parameters
    ----------
    history, current : History
        `current` follows the history; its last buckets are judged. Both of one width.
    source : str
        `baseline` or `history`: said in the report.
    local : callable
        Unix seconds to the seconds of the clock by which hours are counted.
    false_alarms_per_week : float
        Each look at each span gets its share: this / spans * bucket width / a week.

    Returns
    -------
    VolumeReport
        `reason` is `insufficient_rows` without enough history.
    """
    season = history.season
    if season is None or not len(current.rows):
        return VolumeReport(source=source, history_buckets=len(history.rows), reason="insufficient_rows")
    width = history.width
    every = np.concatenate((history.starts, current.starts))
    slots = _slots(every, season, width, local)
    means, filled, k = _expectation(history.rows, slots[: len(history.rows)], int(slots.max()) + 1)
    expected, ahead = means[slots[: len(history.rows)]], means[slots[len(history.rows) :]]
    level = min(0.5, false_alarms_per_week / len(SPANS) * width / WEEK)
    spans = {}
    for buckets in SPANS:
        name = format_duration(buckets * width)
        end = current.start + width * len(current.rows)
        rows = int(current.rows[-buckets:].sum())
        if len(current.rows) < buckets or len(history.rows) < 3 * buckets:
            spans[name] = VolumeSpan(name, end - buckets * width, end, rows, reason="insufficient_rows")
            continue
        dispersion, freedom = _dispersion(filled, expected, buckets, k)
        mean = float(ahead[-buckets:].sum())
        lower, upper = _bounds(mean, dispersion, 1 + 1 / k, freedom, level)
        detected = "low" if rows < lower else "high" if rows > upper else None
        spans[name] = VolumeSpan(name, end - buckets * width, end, rows, mean, lower, upper, detected)
    return VolumeReport(
        spans=spans,
        season=season,
        source=source,
        history_buckets=len(history.rows),
        dispersion=_dispersion(filled, expected, 1, k)[0],
        false_alarms_per_week=false_alarms_per_week,
    )


def _slots(starts: Floats, season: str, width: float, local: Callable[[float], float]) -> NDArray[np.intp]:
    """The hour of the cycle of each bucket; neighbouring buckets of one hour share it."""
    if season == "none":
        return np.zeros(len(starts), np.intp)
    cycle = WEEK if season == "week" else DAY
    there = np.array([local(start) for start in starts.tolist()])
    return np.asarray((there % cycle) // max(width, HOUR), np.intp)


def _expectation(rows: Floats, slots: NDArray[np.intp], size: int) -> tuple[Floats, Floats, float]:
    """Mean by slot, the history with outliers replaced by it, and buckets a slot."""
    present = np.unique(slots)
    k = len(rows) / len(present)
    medians = np.full(size, np.median(rows))
    for slot in present.tolist():
        medians[slot] = np.median(rows[slots == slot])
    residual = np.abs(rows - medians[slots]) / np.sqrt(np.maximum(medians[slots], 1.0))
    scale = max(1.0, float(np.quantile(residual, 0.9)) / 1.645 / math.sqrt(1 - 1 / max(k, 2.0)))
    keep = residual <= CUT * scale
    kept = np.bincount(slots[keep], minlength=size)
    total = np.bincount(slots[keep], weights=rows[keep], minlength=size)
    means = np.where(kept > 0, total / np.maximum(kept, 1), medians)
    return means, np.where(keep, rows, means[slots]), k


def _dispersion(rows: Floats, expected: Floats, buckets: int, k: float) -> tuple[float, float]:
    """Squared coefficient of variation of the sums of so many buckets, and its degrees of freedom."""
    window = np.ones(buckets)
    seen, mean = np.convolve(rows, window, "valid"), np.convolve(expected, window, "valid")
    squares, mean = (seen - mean)[mean > 0] ** 2, mean[mean > 0]
    free = len(mean) * (1 - 1 / k)

    def excess(dispersion: float) -> float:
        return float((squares / (mean + dispersion * mean**2)).sum()) - free

    freedom = max(1.0, free / buckets)
    if not len(mean) or excess(0.0) <= 0:
        return 0.0, freedom
    most = 1.0
    while excess(most) > 0 and most < LARGEST_DISPERSION:
        most *= 10
    if excess(most) > 0:
        return most, freedom
    return float(optimize.brentq(excess, 0.0, most, xtol=1e-9)), freedom


def _bounds(
    mean: float, dispersion: float, error: float, freedom: float, level: float
) -> tuple[float, float]:
    """The fewest and the most rows that are still as expected."""
    if mean <= 0:
        return 0.0, math.inf
    heavier = float(stats.t.isf(level / 2, freedom)) / float(-special.ndtri(level / 2))
    variance = (mean + dispersion * mean**2) * error * heavier**2
    variance = max(variance, mean * (1 + 1e-9))
    size, share = mean**2 / (variance - mean), mean / variance
    lower = float(stats.nbinom.ppf(level / 2, size, share))
    upper = float(stats.nbinom.isf(level / 2, size, share))
    return max(0.0, min(lower, (1 - LEAST_EFFECT) * mean)), max(upper, (1 + LEAST_EFFECT) * mean)
