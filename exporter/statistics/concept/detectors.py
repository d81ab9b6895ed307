"""Change detectors on a stream of errors: ADWIN, Page-Hinkley and the drift detection method (DDM).

The detectors of the literature read one error after the other, in the order in which they arrive, and
forget it. Labels come late and in any order here, and are corrected; so each detector is written as a
function of sums by event-time bucket, which merge and can be taken back. Its statistic is the original's;
its threshold is not the original's bound or rule of thumb, but the quantile of the same statistic over
streams without a change: sums with the very row counts of this stream and the skewness of its losses,
simulated with a fixed seed. That makes `drift_threshold` a false-alarm rate for them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from exporter.results import ColumnDrift, TestResult, Undefined
from exporter.schema import Role
from exporter.statistics.concept.stream import ErrorStream

PATHS = 999
"""Simulated streams without a change."""

TAIL = 0.05
"""Share of them, the most extreme, beyond which p-values come from a curve fitted to them."""

SEED = 20_260_101

DRIFT_PER_ROW = 0.02
"""Page-Hinkley's delta, in standard deviations of a row's loss: a smaller increase is no change."""

Floats = NDArray[np.float64]

Detector = Callable[[Floats, Floats, NDArray[np.bool_]], Floats]
"""(centred sums of losses by bucket (paths, T) in standard deviations, rows (T,), candidates (T,)) -> the
statistic of each path. Candidates are the buckets before which a change may lie."""


def adaptive_window(sums: Floats, rows: Floats, candidates: NDArray[np.bool_]) -> Floats:
    """ADWIN: the largest difference of the mean loss before and after any cut, in standard errors.

    Two-sided: errors that became fewer are a change too. Bifet and Gavalda (2007), "Learning from
    time-changing data with adaptive windowing", 10.1137/1.9781611972771.42.
    """
    total, size = sums.sum(axis=1, keepdims=True), rows.sum()
    before, sum_before = np.cumsum(rows)[:-1], np.cumsum(sums, axis=1)[:, :-1]
    after = size - before
    difference = (total - sum_before) / after - sum_before / before
    z = np.abs(difference) / np.sqrt(1 / before + 1 / after)
    statistic: Floats = np.where(candidates[1:], z, 0.0).max(axis=1, initial=0.0)
    return statistic


def page_hinkley(sums: Floats, rows: Floats, candidates: NDArray[np.bool_]) -> Floats:
    """Page-Hinkley: the largest rise of the cumulative sum of losses above its lowest point so far.

    One-sided: more errors. From every row's loss are taken the mean of all and `DRIFT_PER_ROW`; the
    statistic is in standard deviations of a row's loss. Page (1954), 10.1093/biomet/41.1-2.100.
    """
    centred = sums - rows * (sums.sum(axis=1, keepdims=True) / rows.sum())
    path = np.cumsum(centred - DRIFT_PER_ROW * rows, axis=1)
    lowest = np.minimum.accumulate(np.concatenate((np.zeros((len(path), 1)), path), axis=1), axis=1)
    rise = path - lowest[:, :-1]
    statistic: Floats = np.where(candidates, rise, 0.0).max(axis=1, initial=0.0)
    return statistic


def drift_detection(sums: Floats, rows: Floats, candidates: NDArray[np.bool_]) -> Floats:
    """DDM: how far the running mean loss has risen above its best, in standard errors of the best.

    One-sided: more errors. The best is where mean plus standard error was least. Gama et al. (2004),
    "Learning with drift detection", 10.1007/978-3-540-28645-5_29.
    """
    seen = np.cumsum(rows)
    error = 1 / np.sqrt(seen)
    level = np.cumsum(sums, axis=1) / seen + error
    best = np.minimum.accumulate(level, axis=1)
    newer = np.where(level <= best, np.arange(len(rows)), 0)
    of_best = error[np.maximum.accumulate(newer, axis=1)]
    risen = (level - best) / of_best
    statistic: Floats = np.where(candidates, risen, 0.0).max(axis=1, initial=0.0)
    return statistic


LARGEST_SKEWNESS = 4.0
"""A bucket's sum is bent to at most this skewness; beyond it the bent variable is not like a sum any more."""

POWERS: Mapping[str, int] = MappingProxyType({"adwin": 2, "page_hinkley": 1, "ddm": 2})
"""The power of each statistic in which its far tail is exponential."""

DETECTORS: Mapping[str, Detector] = MappingProxyType(
    {"adwin": adaptive_window, "page_hinkley": page_hinkley, "ddm": drift_detection}
)
"""By the name that is exported as `method`; the first one decides, the others inform."""


def concept_drift(
    stream: ErrorStream, *, since: float, alpha: float = 0.05, minimum_rows: int = 100
) -> Mapping[str, TestResult] | Undefined:
    """Whether the mean loss changed at or after an instant.

    Parameters
    ----------
    stream : ErrorStream
        With all that came before `since` as what to compare with.
    since : float
        Seconds since the epoch; a change before it is not looked for.
    alpha : float
        False-alarm rate of each detector, over the whole of the looked-for time.
    minimum_rows : int
        Labelled rows that are needed before `since`, and from it on.

    Returns
    -------
    Mapping of detector to TestResult, or Undefined
        `constant` where every row has the same loss, `insufficient_labels` where there are too few.
    """
    recent = stream.starts >= since
    for where, rows in (("before the window", ~recent), ("in the window", recent)):
        known = float(stream.rows[rows].sum())
        if known < minimum_rows:
            detail = f"{known:.0f} labelled rows {where}, {minimum_rows} are needed"
            return Undefined("insufficient_labels", detail)
    coarse = stream.adjusted(since).coarsened()
    candidates = coarse.starts >= since
    dispersion = coarse.dispersion()
    if not dispersion > 0:
        return Undefined("constant", "every labelled row has the same loss")
    if not candidates.any():
        return Undefined("insufficient_labels", "the window is shorter than the buckets of the stream")
    observed = (coarse.losses - coarse.mean * coarse.rows) / np.sqrt(dispersion)
    null = _unchanged(coarse.rows, coarse.skewness(dispersion))
    results = {}
    for name, detector in DETECTORS.items():
        statistic = float(detector(observed[None, :], coarse.rows, candidates)[0])
        tail = _Tail(detector(null, coarse.rows, candidates), power=POWERS[name])
        critical = tail.quantile(alpha)
        results[name] = TestResult(
            method=name,
            statistic=statistic,
            critical_value=critical,
            p_value=tail.p_value(statistic),
            detected=statistic > critical,
        )
    return results


def _unchanged(rows: Floats, skewness: Floats) -> Floats:
    """Sums by bucket of streams without a change, (PATHS, T), in standard deviations of a row's loss.

    A Gaussian variable bent to the skewness of its bucket (Cornish and Fisher's first term), of variance 1.
    """
    z = np.random.default_rng(SEED).standard_normal((PATHS, len(rows)))
    bend = np.clip(skewness, -LARGEST_SKEWNESS, LARGEST_SKEWNESS) / 6
    bent: Floats = (z + bend * (z * z - 1)) / np.sqrt(1 + 2 * bend * bend) * np.sqrt(rows)
    return bent


class _Tail:
    """The distribution of a statistic without a change: simulated, its far tail fitted.

    Beyond the 1 - `TAIL` quantile the survival function is exponential in statistic ** power, as it is of a
    maximum of Gaussian (power 2) and of reflected (power 1) walks; its rate is the simulated excesses'.
    """

    def __init__(self, simulated: Floats, power: int) -> None:
        self._sorted = np.sort(simulated)
        self._power = power
        beyond = self._sorted[int(np.ceil((1 - TAIL) * (PATHS + 1))) - 1 :] ** power
        self._begin = float(beyond[0])
        self._rate = 1 / max(float((beyond[1:] - beyond[0]).mean()), np.finfo(float).tiny)

    def p_value(self, statistic: float) -> float:
        exceeding = PATHS - int(np.searchsorted(self._sorted, statistic, side="left"))
        plain = (exceeding + 1) / (PATHS + 1)
        if plain > TAIL:
            return plain
        return float(TAIL * np.exp(-self._rate * max(0.0, statistic**self._power - self._begin)))

    def quantile(self, alpha: float) -> float:
        """What the statistic exceeds with probability `alpha`."""
        if alpha >= TAIL:
            return float(self._sorted[int(np.ceil((1 - alpha) * (PATHS + 1))) - 1])
        return float((self._begin + np.log(TAIL / alpha) / self._rate) ** (1 / self._power))


@lru_cache(maxsize=256)
def concept_column(
    stream: ErrorStream, *, since: float, alpha: float, minimum_rows: int, name: str
) -> ColumnDrift:
    """The verdict on the errors as on a column of role `error`; the first detector decides.

    It is a family of its own, so the p-value is the q-value. The answer for the same stream object is
    remembered.
    """
    results = concept_drift(stream, since=since, alpha=alpha, minimum_rows=minimum_rows)
    if isinstance(results, Undefined):
        return ColumnDrift(name, Role.ERROR.value, reason=results.reason, detail=results.detail)
    deciding = next(iter(results))
    verdict = results[deciding]
    return ColumnDrift(
        name,
        Role.ERROR.value,
        deciding,
        verdict.detected,
        verdict.statistic,
        verdict.critical_value,
        verdict.p_value,
        verdict.p_value,
        {**results, deciding: replace(verdict, q_value=verdict.p_value)},
    )
