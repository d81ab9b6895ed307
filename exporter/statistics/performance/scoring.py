"""Metrics of scores against two classes, read off score histograms.

`negatives` and `positives` are int64 (S,): labelled rows by score cell, scores ascending, rows without a
score left out. What is lost is only the order inside a cell (see the score grid).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from exporter.results import Estimate, Undefined
from exporter.statistics.intervals import enclose, logit_bounds, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]

CALIBRATION_BINS = 10
"""Bins of equal width on [0, 1] for the expected calibration error."""


def roc_auc(negatives: Cells, positives: Cells, z: float) -> Estimate | Undefined:
    """Area under the ROC curve in [0, 1], 0.5 = chance; ties count half; bounds by DeLong's variance.

    Source: DeLong, DeLong & Clarke-Pearson, doi:10.2307/2531595; bounds are symmetric in the logit.
    """
    n, p = int(negatives.sum()), int(positives.sum())
    if n <= 0 or p <= 0:
        return _one_class(n, p)
    below = (np.cumsum(negatives) - negatives / 2) / n  # share of negatives that a positive here outranks
    above = 1 - (np.cumsum(positives) - positives / 2) / p
    value = float(below @ positives) / p
    error = math.sqrt(
        _variance(below, positives, value, p) / max(p - 1, 1)
        + _variance(above, negatives, value, n) / max(n - 1, 1)
    )
    if not 0 < value < 1 or error <= 0:
        bounds = wilson(value * min(n, p), min(n, p), z)
    else:
        bounds = logit_bounds(value, error, z)
    return Estimate(value, *enclose(value, bounds, least=0.0, most=1.0), n + p)


def average_precision(negatives: Cells, positives: Cells, z: float) -> Estimate | Undefined:
    """Area under the precision-recall curve as the sum of precision times gained recall, in [0, 1].

    Bounds are symmetric in the logit. The standard error is the larger one of the binomial sqrt(AP (1 - AP) /
    positives), which holds at few positives, and of the delta method on the counts of the cells, which knows
    the chance of the negatives too.
    Source: Boyd, Eng & Page, doi:10.1007/978-3-642-40994-3_29.
    """
    p = int(positives.sum())
    if p <= 0:
        return _one_class(int(negatives.sum()), p)
    hits, rows = np.cumsum(positives[::-1]), np.cumsum((negatives + positives)[::-1])
    gained = positives[::-1]
    kept = gained > 0
    value = min(1.0, float((hits[kept] / rows[kept]) @ gained[kept]) / p)
    centre = (value * p + 0.5) / (p + 1)
    binomial = math.sqrt(centre * (1 - centre) / p)
    bounds = logit_bounds(centre, max(binomial, _precision_error(negatives[::-1], gained, value)), z)
    return Estimate(value, *enclose(value, bounds, least=0.0, most=1.0), int(rows[-1]))


def calibration_error(
    negatives: Cells, positives: Cells, values: NDArray[np.float64], z: float
) -> Estimate | Undefined:
    """Expected calibration error in [0, 1]: mean over rows of |mean score - share of positives| in the bin.

    Ten bins of equal width; `values` (S,) is the probability that stands for each cell; 0 = calibrated.
    Chance biases the estimate upwards; the lower bound takes that bias off.
    Source: Naeini, Cooper & Hauskrecht (2015), doi:10.1609/aaai.v29i1.9602.
    """
    return mean_calibration_error([(negatives, positives)], values, z)


def mean_calibration_error(
    classes: Sequence[tuple[Cells, Cells]], values: NDArray[np.float64], z: float
) -> Estimate | Undefined:
    """Mean of the expected calibration errors of classes, each given as (negatives, positives).

    The bounds are as wide as if the errors of the classes were perfectly correlated.
    """
    parts = [_calibration_parts(*histograms, values) for histograms in classes]
    total = max((rows for *_, rows in parts), default=0)
    if total <= 0 or not all(rows for *_, rows in parts):
        return Undefined("empty", "no labelled row has a score")
    value, bias, error = (float(np.mean([part[place] for part in parts])) for place in range(3))
    return Estimate(value, max(0.0, value - bias - z * error), min(1.0, value + z * error), total)


def _calibration_parts(
    negatives: Cells, positives: Cells, values: NDArray[np.float64]
) -> tuple[float, float, float, int]:
    """(calibration error, what chance adds to it, its standard error, rows)."""
    rows = negatives + positives
    total = int(rows.sum())
    if total <= 0:
        return 0.0, 0.0, 0.0, 0
    bins = np.minimum((values * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    squares = positives * (1 - values) ** 2 + negatives * values**2
    count, gap, square, own = (
        np.bincount(bins, of, CALIBRATION_BINS)
        for of in (rows, positives - values * rows, squares, rows * values * (1 - values))
    )
    filled = count > 0
    count, gap, square, own = count[filled], gap[filled], square[filled], own[filled]
    # the variance of rows about their mean, with one more row of the variance that the scores promise
    variance = np.maximum(square - gap * gap / count, 0.0) + own / count
    deviation = np.sqrt(variance) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = np.where(deviation > 0, np.abs(gap) / total / deviation, np.inf)
    bias = math.sqrt(2 / math.pi) * float((deviation * np.exp(-(strength**2) / 8)).sum())
    return float(np.abs(gap).sum()) / total, bias, math.sqrt(float((deviation**2).sum())), total


def _precision_error(negatives: Cells, positives: Cells, value: float) -> float:
    """Standard error of the average precision, by the delta method; cells by falling score."""
    p = int(positives.sum())
    hits, rows = np.cumsum(positives), np.cumsum(negatives + positives)
    share = np.divide(hits, rows, out=np.zeros(len(rows)), where=rows > 0)
    per_row = np.divide(positives, rows, out=np.zeros(len(rows)), where=rows > 0) / p
    below = _from_end(per_row * share)  # what a row takes from the precision at all lower thresholds
    of_positive = (share - value) / p + _from_end(per_row) - below
    return math.sqrt(float(positives @ (of_positive * of_positive) + negatives @ (below * below)))


def _from_end(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.cumsum(values[::-1])[::-1]


def _variance(scores: NDArray[np.float64], rows: Cells, mean: float, total: int) -> float:
    return float((scores - mean) ** 2 @ rows) / total


def _one_class(negatives: int, positives: int) -> Undefined:
    if negatives + positives <= 0:
        return Undefined("empty", "no labelled row has a score")
    missing = "positive" if positives <= 0 else "negative"
    return Undefined("single_class", f"no {missing} label among the rows with a score")
