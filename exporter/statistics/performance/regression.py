"""Metrics of regressors from the moments and the error grid of an outcome profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import special

from exporter.results import Estimate, Undefined
from exporter.statistics.intervals import enclose, mean_bounds, moment_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

ONE, ERROR, ABSOLUTE, SQUARED, LABEL, LABEL_SQUARED, PERCENTAGE, SYMMETRIC = range(8)
"""Positions in the profile's moments: sums of v v^T with v = (1, e, |e|, e^2, y', y'^2, ape, smape)."""


class RegressionView(Protocol):
    """See the profiles; y' is the label in units of `target_scale`."""

    @property
    def labelled_rows(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def moments(self) -> NDArray[np.float64]: ...
    @property
    def ape_rows(self) -> int: ...
    @property
    def abs_error_cells(self) -> NDArray[np.int64]: ...
    @property
    def abs_error_edges(self) -> NDArray[np.float64]: ...
    @property
    def target_scale(self) -> float: ...


def _mean(
    outcome: RegressionView, moment: int, n: int, z: float, *, least: float = 0.0
) -> Estimate | Undefined:
    """Mean of one moment over `n` rows with Student's bounds."""
    if n < 2:
        return Undefined("insufficient_labels", f"{n} rows count, 2 are needed")
    value = float(outcome.moments[ONE, moment]) / n
    bounds = mean_bounds(value, float(outcome.moments[moment, moment]) / n, n, z)
    return Estimate(value, *enclose(value, bounds, least=least), n)


def mean_absolute_error(outcome: RegressionView, z: float) -> Estimate | Undefined:
    """Mean of |prediction - label| in the label's unit, >= 0."""
    return _mean(outcome, ABSOLUTE, outcome.n, z)


def root_mean_squared_error(outcome: RegressionView, z: float) -> Estimate | Undefined:
    """Root of the mean squared error in the label's unit, >= 0.

    Squares have heavy tails: bounds are the wider ones of those symmetric in the mean square and in its
    logarithm.
    """
    squared = _mean(outcome, SQUARED, outcome.n, z)
    if isinstance(squared, Undefined):
        return squared
    value = math.sqrt(max(squared.value, 0.0))
    if value <= 0:
        return Estimate(0.0, 0.0, 0.0, squared.n)
    factor = _factor((squared.upper - squared.value) / squared.value / 2)
    lower = min(value / factor, math.sqrt(max(squared.lower, 0.0)))
    return Estimate(value, lower, value * factor, squared.n)


def _factor(half: float) -> float:
    """The exponential of half a width on the logarithm's scale, kept finite."""
    return math.exp(min(half, 300.0))


def mean_error(outcome: RegressionView, z: float) -> Estimate | Undefined:
    """Mean of prediction - label in the label's unit; 0 = unbiased."""
    return _mean(outcome, ERROR, outcome.n, z, least=-math.inf)


def mean_absolute_percentage_error(outcome: RegressionView, z: float) -> Estimate | Undefined:
    """Mean of |error / label| over the rows whose label is not 0, a ratio, >= 0."""
    return _mean(outcome, PERCENTAGE, outcome.ape_rows, z)


def symmetric_percentage_error(outcome: RegressionView, z: float) -> Estimate | Undefined:
    """Mean of 2 |error| / (|prediction| + |label|), in [0, 2]; 0 where both are 0."""
    return _mean(outcome, SYMMETRIC, outcome.n, z)


def coefficient_of_determination(outcome: RegressionView, z: float) -> Estimate | Undefined:
    """1 - residual / total sum of squares, at most 1.

    Bounds by the delta method on the moments, the wider ones of those symmetric in R2 and in the
    logarithm of 1 - R2.
    """
    n = outcome.n
    if n < 2:
        return Undefined("insufficient_labels", f"{n} labelled rows, 2 are needed")
    picked = [SQUARED, LABEL, LABEL_SQUARED]
    means = outcome.moments[ONE, picked] / n
    products = outcome.moments[np.ix_(picked, picked)] / n
    residual, label, label_squared = means.tolist()
    residual /= outcome.target_scale**2
    variance = label_squared - label * label
    if variance <= 1e-12 * max(label_squared, 1e-300):
        return Undefined("constant", "all labels are equal")
    gradient = np.array(
        [
            -1 / (variance * outcome.target_scale**2),
            -2 * label * residual / variance**2,
            residual / variance**2,
        ]
    )
    value = 1 - residual / variance
    ratio = residual / variance
    if ratio <= 0:
        return Estimate(1.0, 1.0, 1.0, n)
    quantile = float(special.stdtrit(n - 1, special.ndtr(z)))
    half = quantile * moment_error(means, products, gradient, n)
    bounds = 1 - ratio * _factor(half / ratio), value + half
    return Estimate(value, *enclose(value, bounds, most=1.0), n)


def absolute_error_quantile(outcome: RegressionView, z: float, *, q: float) -> Estimate | Undefined:
    """The q-quantile of |prediction - label| in the label's unit, >= 0; bounds are order statistics.

    Read off the error grid: at most 1.2 % off inside its range; the bounds are edges of cells, so they are
    never inside those of the rows themselves. The ranks of the bounds are binomial quantiles (Clopper &
    Pearson); where fewer rows came than have an upper bound, 36 for q = 0.9 and 368 for q = 0.99, it is
    `insufficient_labels`.
    """
    total = int(outcome.abs_error_cells.sum())
    tail = float(special.ndtr(-z))
    needed = max(2, math.ceil(math.log(tail) / math.log(q)))
    if total < needed:
        return Undefined("insufficient_labels", f"{total} labelled rows, {needed} are needed")
    low = math.floor(special.bdtrik(tail, total, q))
    high = math.ceil(special.bdtrik(1 - tail, total, q)) + 1
    cumulative = np.cumsum(outcome.abs_error_cells)
    value = _cell_at(outcome, cumulative, q * total, 0.5)
    bounds = (
        0.0 if low < 1 else _cell_at(outcome, cumulative, low, 0.0),
        _cell_at(outcome, cumulative, high, 1.0),
    )
    return Estimate(value, *enclose(value, bounds, least=0.0), total)


def error_quantile(outcome: RegressionView, q: float) -> float:
    """The q-quantile of the absolute error, without bounds; there are labelled rows."""
    cumulative = np.cumsum(outcome.abs_error_cells)
    return _cell_at(outcome, cumulative, q * float(cumulative[-1]), 0.5)


def _cell_at(outcome: RegressionView, cumulative: NDArray[np.int64], rank: float, share: float) -> float:
    """The absolute error with the given rank (from 1): so much of its cell's ratio above its lower edge."""
    cell = int(np.searchsorted(cumulative, min(max(math.ceil(rank), 1), int(cumulative[-1]))))
    edges = outcome.abs_error_edges
    if cell == 0:
        return float(edges[0]) if share == 1 else 0.0
    if cell >= len(edges):
        return float(edges[-1])
    return float(edges[cell - 1] ** (1 - share) * edges[cell] ** share)


REGRESSION_METRICS: Mapping[str, Callable[[RegressionView, float], Estimate | Undefined]] = MappingProxyType(
    {
        "mae": mean_absolute_error,
        "rmse": root_mean_squared_error,
        "mape": mean_absolute_percentage_error,
        "smape": symmetric_percentage_error,
        "bias": mean_error,
        "r2": coefficient_of_determination,
        "median_absolute_error": partial(absolute_error_quantile, q=0.5),
        "absolute_error_p90": partial(absolute_error_quantile, q=0.9),
        "absolute_error_p95": partial(absolute_error_quantile, q=0.95),
        "absolute_error_p99": partial(absolute_error_quantile, q=0.99),
    }
)
