"""What is compared of one arm: the value of each metric, and the variance that a row adds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.catalog import PERFORMANCE_METRICS
from exporter.results import Undefined
from exporter.schema import ScoreKind
from exporter.statistics.comparison.delta import Function, row_variance, share_variance, unless_rounding

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

SMOOTHING_ROWS = 2.0
"""Rows spread evenly over a confusion matrix before variances are taken: 0.5 a cell of a 2 x 2 one."""

SHARE, RATE, AREA = 0.03, 0.1, 0.03
"""Differences for which bounds are made (`t`): of proportions, of other rates such as F1, of the ROC AUC."""

ERROR_SCALE = 0.1
"""The same of means of losses and values, in standard deviations of one row."""

MACRO_CLASSES = 20
"""Classes that count at most for the support of means over classes: with 100 rows, 5 of the rarest."""

CONVERSION, MEAN_LABEL = "conversion", "mean_label"
"""Metrics of the labels alone, higher = better: the share of positive ones, and their mean."""

WITHOUT_VARIANCE = MappingProxyType(
    {
        "ece": "the expected calibration error has no normal limit near 0",
        "pr_auc": "average precision has no variance that merges",
        "bias": "what counts of the bias is its distance from 0, which has no normal limit there",
        "median_absolute_error": "medians have no variance that merges",
        "absolute_error_p90": "quantiles have no variance that merges",
        "absolute_error_p95": "quantiles have no variance that merges",
        "absolute_error_p99": "quantiles have no variance that merges",
    }
)
"""Metrics of the catalogue that are not compared, and why."""


@dataclass(frozen=True, slots=True)
class ArmMeasure:
    """One metric of one arm.

    Attributes
    ----------
    value : float
    row_variance : float
        The variance of the value, times `rows`.
    rows : int
        Rows that the variance is over.
    support : int
        What must reach the minimum: rows that the metric speaks of, such as positive predictions.
    scale : float or None
        `t`; None for `ERROR_SCALE` standard deviations of a row.
    """

    value: float
    row_variance: float
    rows: int
    support: int
    scale: float | None = None


Measured = ArmMeasure | Undefined


def higher_is_better(metric: str) -> bool:
    entry = PERFORMANCE_METRICS.get(metric)
    return True if entry is None else entry.higher_is_better


# -- functions of a confusion matrix, (..., K, K) rows by actual and predicted class -------------------


def accuracy(cells: NDArray[Any]) -> Any:
    return np.trace(cells, axis1=-2, axis2=-1) / cells.sum(axis=(-2, -1))


def precision(cells: NDArray[Any]) -> Any:
    return cells[..., 1, 1] / cells[..., :, 1].sum(axis=-1)


def recall(cells: NDArray[Any]) -> Any:
    return cells[..., 1, 1] / cells[..., 1, :].sum(axis=-1)


def specificity(cells: NDArray[Any]) -> Any:
    return cells[..., 0, 0] / cells[..., 0, :].sum(axis=-1)


def f1(cells: NDArray[Any]) -> Any:
    return 2 * cells[..., 1, 1] / (cells[..., 1, :].sum(axis=-1) + cells[..., :, 1].sum(axis=-1))


def macro_recall(cells: NDArray[Any]) -> Any:
    return _ratio(_diagonal(cells), cells.sum(axis=-1)).mean(axis=-1)


def macro_precision(cells: NDArray[Any]) -> Any:
    return _ratio(_diagonal(cells), cells.sum(axis=-2)).mean(axis=-1)


def macro_f1(cells: NDArray[Any]) -> Any:
    return _ratio(2 * _diagonal(cells), cells.sum(axis=-1) + cells.sum(axis=-2)).mean(axis=-1)


def macro_specificity(cells: NDArray[Any]) -> Any:
    actual, predicted = cells.sum(axis=-1), cells.sum(axis=-2)
    others = cells.sum(axis=(-2, -1))[..., None] - actual
    return _ratio(others - predicted + _diagonal(cells), others).mean(axis=-1)


def matthews(cells: NDArray[Any]) -> Any:
    shares = cells / cells.sum(axis=(-2, -1))[..., None, None]
    actual, predicted = shares.sum(axis=-1), shares.sum(axis=-2)
    covariance = np.trace(shares, axis1=-2, axis2=-1) - (actual * predicted).sum(axis=-1)
    return covariance / np.sqrt((1 - (actual**2).sum(axis=-1)) * (1 - (predicted**2).sum(axis=-1)))


def conversion(cells: NDArray[Any]) -> Any:
    return cells[..., 1, :].sum(axis=-1) / cells.sum(axis=(-2, -1))


def _diagonal(cells: NDArray[Any]) -> Any:
    return np.diagonal(cells, axis1=-2, axis2=-1)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    """A class without the rows that it needs counts 0."""
    ratio: NDArray[Any] = np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
    return ratio


@dataclass(frozen=True, slots=True)
class Rate:
    """A smooth function of a confusion matrix, its `t`, and how many rows it speaks of."""

    function: Function
    scale: float
    support: Callable[[Counts], int]


def _all(confusion: Counts) -> int:
    return int(confusion.sum())


def _rarer(confusion: Counts) -> int:
    return 2 * int(confusion.sum(axis=1).min())


def macro_support(labels: Counts) -> int:
    """Rows that a mean over classes rests on, from the labels of each: the rarest, times the classes.

    Half of the error of such a mean may come from the class with the fewest rows: with one or two of them it
    jumps, and with none it does not vary.
    """
    return min(len(labels), MACRO_CLASSES) * int(labels.min())


def _macro(confusion: Counts) -> int:
    return macro_support(confusion.sum(axis=1))


BINARY_RATES: Mapping[str, Rate] = MappingProxyType(
    {
        "accuracy": Rate(accuracy, SHARE, _all),
        "balanced_accuracy": Rate(macro_recall, SHARE, _rarer),
        "precision": Rate(precision, SHARE, lambda confusion: int(confusion[:, 1].sum())),
        "recall": Rate(recall, SHARE, lambda confusion: int(confusion[1].sum())),
        "f1": Rate(f1, RATE, lambda confusion: int(confusion.sum() - confusion[0, 0])),
        "specificity": Rate(specificity, SHARE, lambda confusion: int(confusion[0].sum())),
        "mcc": Rate(matthews, RATE, _rarer),
        CONVERSION: Rate(conversion, SHARE, _all),
    }
)

MACRO_RATES = frozenset({"balanced_accuracy", "precision", "recall", "f1"})
"""Rates of several classes in which each class weighs the same, however few rows it has."""

MULTICLASS_RATES: Mapping[str, Rate] = MappingProxyType(
    {
        "accuracy": Rate(accuracy, SHARE, _all),
        "balanced_accuracy": Rate(macro_recall, SHARE, _macro),
        "precision": Rate(macro_precision, SHARE, _macro),
        "recall": Rate(macro_recall, SHARE, _macro),
        "f1": Rate(macro_f1, RATE, _macro),
        "specificity": Rate(macro_specificity, SHARE, _all),
        "mcc": Rate(matthews, RATE, _all),
    }
)


def smoothed_shares(counts: NDArray[Any], rows: float = SMOOTHING_ROWS) -> Floats:
    """Shares of all cells with a few rows spread over them."""
    cells = counts + rows / counts.size
    return np.asarray(cells / cells.sum(), np.float64)


def measure_rate(rate: Rate, confusion: Counts) -> Measured:
    """A rate of one arm; classes without any row are left out."""
    rows = int(confusion.sum())
    if rows <= 0:
        return Undefined("insufficient_labels", "no labelled rows")
    size = len(confusion)

    def of_flat(shares: NDArray[Any]) -> Any:
        return rate.function(shares.reshape((*shares.shape[:-1], size, size)))

    value = _value(rate.function, confusion)
    if value is None:
        return Undefined("single_class", "the rows of one arm have no class that the metric needs")
    variance = share_variance(of_flat, smoothed_shares(confusion).ravel())
    return ArmMeasure(value, variance, rows, rate.support(confusion), rate.scale)


def _value(function: Function, confusion: Counts) -> float | None:
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(function(confusion.astype(np.float64)))
    return value if np.isfinite(value) else None


# -- means ---------------------------------------------------------------------------------------------


def measure_mean(total: float, squares: float, rows: int, scale: float | None = None) -> Measured:
    """A mean of one arm, from the sums of values and squares."""
    if rows < 2:
        return Undefined("insufficient_labels", f"{rows} rows count, 2 are needed")
    mean = total / rows
    variance = unless_rounding(squares / rows - mean * mean, squares / rows) * rows / (rows - 1)
    return ArmMeasure(mean, variance, rows, rows, scale)


def measure_loss(outcome: Any, name: str) -> Measured:
    """`log_loss` or `brier` of an arm of a classifier."""
    if outcome.score_kind is ScoreKind.MARGIN:
        return Undefined("not_comparable", "scores are margins, not probabilities")
    if outcome.scored <= 0:
        return Undefined("empty", "no labelled row has a score")
    sums = (outcome.log_loss_sum, outcome.log_loss_squares)
    if name == "brier":
        sums = (outcome.brier_sum, outcome.brier_squares)
    return measure_mean(*sums, outcome.scored)


def measure_area(negatives: Counts, positives: Counts) -> Measured:
    """The ROC AUC of one arm with DeLong's variance, from score histograms, (S,), scores ascending.

    Source: DeLong, DeLong & Clarke-Pearson, doi:10.2307/2531595. The variance is at least that of half a
    wrongly ordered row of the rarer class, so that an area of 1 has a width too.
    """
    n, p = int(negatives.sum()), int(positives.sum())
    if min(n, p) < 2:
        return Undefined("single_class", "the ROC AUC needs scores of both classes in each arm")
    below = (np.cumsum(negatives) - negatives / 2) / n
    above = 1 - (np.cumsum(positives) - positives / 2) / p
    value = float(below @ positives) / p
    variance = float((below - value) ** 2 @ positives) / p / (p - 1)
    variance += float((above - value) ** 2 @ negatives) / n / (n - 1)
    least = 0.5 / (min(n, p) + 1) ** 2
    rows = n + p
    return ArmMeasure(value, max(variance, least) * rows, rows, 2 * min(n, p), AREA)


# -- regression ----------------------------------------------------------------------------------------

ONE, ERROR, ABSOLUTE, SQUARED, LABEL, LABEL_SQUARED, PERCENTAGE, SYMMETRIC = range(8)
"""Positions in the profile's moments."""


def measure_regression(outcome: Any, name: str) -> Measured:
    """A metric of one arm of a regressor, from the moments of its profile."""
    n, moments = int(outcome.n), outcome.moments
    if n < 2:
        return Undefined("insufficient_labels", f"{n} labelled rows, 2 are needed")
    if name in _REGRESSION_MEANS:
        place, rows = _REGRESSION_MEANS[name], int(outcome.ape_rows) if name == "mape" else n
        return measure_mean(float(moments[ONE, place]), float(moments[place, place]), rows)
    return _REGRESSION_OTHERS[name](outcome)


def _mean_label(outcome: Any) -> Measured:
    unit, moments = outcome.target_scale, outcome.moments
    measured = measure_mean(float(moments[ONE, LABEL]), float(moments[LABEL, LABEL]), int(outcome.n))
    if isinstance(measured, Undefined):
        return measured
    value = outcome.target_center + unit * measured.value
    return replace(measured, value=value, row_variance=unit**2 * measured.row_variance)


def _means_of(outcome: Any, picked: list[int]) -> tuple[Floats, Floats]:
    """Means of some moments, and of their products."""
    return outcome.moments[ONE, picked] / outcome.n, outcome.moments[np.ix_(picked, picked)] / outcome.n


def _root_mean_square(outcome: Any) -> Measured:
    n = int(outcome.n)
    means, products = _means_of(outcome, [SQUARED])
    if means[0] <= 0:
        return ArmMeasure(0.0, 0.0, n, n)
    return ArmMeasure(float(np.sqrt(means[0])), row_variance(_root, means, products), n, n)


def _determination(outcome: Any) -> Measured:
    n, unit = int(outcome.n), outcome.target_scale**2
    means, products = _means_of(outcome, [SQUARED, LABEL, LABEL_SQUARED])
    if means[2] - means[1] ** 2 <= 1e-12 * max(means[2], 1e-300):
        return Undefined("constant", "all labels of an arm are equal")

    def determination(x: NDArray[Any]) -> Any:
        return 1 - x[..., 0] / unit / (x[..., 2] - x[..., 1] ** 2)

    return ArmMeasure(float(determination(means)), row_variance(determination, means, products), n, n, RATE)


def _root(x: NDArray[Any]) -> Any:
    return np.sqrt(x[..., 0])


_REGRESSION_MEANS = MappingProxyType({"mae": ABSOLUTE, "smape": SYMMETRIC, "mape": PERCENTAGE})
_REGRESSION_OTHERS: Mapping[str, Callable[[Any], Measured]] = MappingProxyType(
    {"rmse": _root_mean_square, "r2": _determination, MEAN_LABEL: _mean_label}
)
REGRESSION_METRICS = (*_REGRESSION_MEANS, *_REGRESSION_OTHERS)
RANKING_METRICS = ("ndcg_at_k", "map_at_k", "mrr")


def measure(outcome: Any, name: str) -> Measured:
    """One metric of one arm.

    Parameters
    ----------
    outcome : outcome of a profile
        Of any task.
    name : str
        Of the catalogue, `conversion` or `mean_label`.
    """
    if name in WITHOUT_VARIANCE:
        return Undefined("not_comparable", WITHOUT_VARIANCE[name])
    known: tuple[str, ...]
    if hasattr(outcome, "moments"):
        known, function = REGRESSION_METRICS, measure_regression
    elif hasattr(outcome, "ranked"):
        known, function = RANKING_METRICS, _measure_ranking
    elif hasattr(outcome, "classes"):
        known, function = (*MULTICLASS_RATES, "log_loss", "brier"), _measure_multiclass
    else:
        known, function = (*BINARY_RATES, "log_loss", "brier", "roc_auc"), _measure_binary
    if name not in known:
        return Undefined("not_comparable", f"{name} of this task is not compared")
    return function(outcome, name)


def _measure_ranking(outcome: Any, name: str) -> Measured:
    place = RANKING_METRICS.index(name)
    return measure_mean(float(outcome.sums[place]), float(outcome.squares[place]), int(outcome.ranked))


def _measure_multiclass(outcome: Any, name: str) -> Measured:
    return (
        measure_loss(outcome, name)
        if name in ("log_loss", "brier")
        else measure_rate(MULTICLASS_RATES[name], outcome.confusion)
    )


def _measure_binary(outcome: Any, name: str) -> Measured:
    if name == "roc_auc":
        negatives, positives = outcome.labelled[:, :, :-1].sum(axis=1)
        return measure_area(negatives, positives)
    return (
        measure_loss(outcome, name)
        if name in ("log_loss", "brier")
        else measure_rate(BINARY_RATES[name], outcome.confusion)
    )


# -- custom metrics ------------------------------------------------------------------------------------


def measure_ratio(sums: Floats) -> Measured:
    """A custom metric of one arm: the ratio of two sums, from [units, A, B, AA, AB, BB]."""
    units, a, b, aa, ab, bb = sums.tolist()
    if units < 2:
        return Undefined("insufficient_labels", f"{units:g} rows count, 2 are needed")
    if b == 0:
        return Undefined("empty", "the denominator of the metric is 0")
    ratio = a / b
    spread = unless_rounding(aa - 2 * ratio * ab + ratio * ratio * bb, aa + ratio * ratio * bb) / units
    return ArmMeasure(ratio, spread / (b / units) ** 2, int(units), int(units))
