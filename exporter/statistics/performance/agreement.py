"""Scores of whole confusion matrices with bounds by the delta method.

`confusion` is int64 (K, K), rows by actual and predicted class. Macro scores are means over the classes that
occur among labels or predictions, and a class without the rows it needs counts 0, as in scikit-learn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from exporter.results import Estimate, Undefined
from exporter.statistics.intervals import enclose, fisher_bounds, logit_bounds, multinomial_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Score = Callable[[Floats], tuple[float, Floats]]

SMOOTHING_ROWS = 2.0
"""Rows spread evenly over the cells before the standard error is taken, so that 100 % has a width too."""


def matthews(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Matthews correlation coefficient in [-1, 1], 0 = chance; Gorodkin's R_K for more than two classes.

    Source: Gorodkin, doi:10.1016/j.compbiolchem.2004.09.006.
    """
    n = int(confusion.sum())
    if (confusion.sum(axis=0) > 0).sum() < 2 or (confusion.sum(axis=1) > 0).sum() < 2:
        return Undefined("single_class", "labels or predictions have only one class")
    value, _ = _matthews(confusion / n)
    smooth, error = _smoothed(_matthews, confusion)
    return Estimate(value, *enclose(value, fisher_bounds(smooth, error, z), least=-1.0, most=1.0), n)


def macro_recall(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Mean over the classes of the share of a class's labels that were predicted."""
    return _macro(_recall, confusion, z)


def balanced_accuracy(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Mean recall over the classes that occur among the labels."""
    if (confusion.sum(axis=1) > 0).sum() < 2:
        return Undefined("single_class", "labels have only one class")
    occurs = confusion.sum(axis=1) > 0
    counted = occurs[occurs | (confusion.sum(axis=0) > 0)]
    return _macro(lambda shares: _recall(shares, counted), confusion, z)


def macro_precision(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Mean over the classes of the share of a class's predictions that are right."""
    return _macro(_precision, confusion, z)


def macro_f1(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Mean over the classes of the harmonic mean of precision and recall."""
    return _macro(_f1, confusion, z)


def macro_specificity(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Mean over the classes of the share of other classes' labels that were not predicted as it."""
    return _macro(_specificity, confusion, z)


def _macro(score: Score, confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    present = (confusion.sum(axis=0) > 0) | (confusion.sum(axis=1) > 0)
    if present.sum() < 2:
        return Undefined("single_class", "labels and predictions have only one class")
    confusion = confusion[np.ix_(present, present)]
    n = int(confusion.sum())
    value, _ = score(confusion / n)
    smooth, error = _smoothed(score, confusion)
    return Estimate(value, *enclose(value, logit_bounds(smooth, error, z), least=0.0, most=1.0), n)


def _smoothed(score: Score, confusion: NDArray[np.int64]) -> tuple[float, float]:
    """The score and its standard error with a few rows spread over all cells."""
    counts = confusion + SMOOTHING_ROWS / confusion.size
    total = float(counts.sum())
    shares = np.asarray(counts / total, np.float64)
    value, gradient = score(shares)
    return value, multinomial_error(shares, gradient, total)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _recall(shares: Floats, counted: NDArray[np.bool_] | None = None) -> tuple[float, Floats]:
    """Mean recall of the counted classes (all) and its gradient."""
    hits, actual = np.diag(shares), shares.sum(axis=1)
    gradient = np.repeat(-_ratio(hits, actual**2)[:, None], len(hits), axis=1)
    gradient[np.diag_indices_from(gradient)] += _ratio(np.ones_like(hits), actual)
    weight = np.full(len(hits), 1 / len(hits)) if counted is None else counted / int(counted.sum())
    return float(_ratio(hits, actual) @ weight), gradient * weight[:, None]


def _precision(shares: Floats) -> tuple[float, Floats]:
    value, gradient = _recall(shares.T)
    return value, gradient.T


def _f1(shares: Floats) -> tuple[float, Floats]:
    hits, both = np.diag(shares), shares.sum(axis=0) + shares.sum(axis=1)
    slope = _ratio(2 * hits, both**2)
    gradient = -(slope[:, None] + slope[None, :])
    gradient[np.diag_indices_from(gradient)] += _ratio(np.full_like(hits, 2.0), both)
    return float(_ratio(2 * hits, both).mean()), gradient / len(hits)


def _specificity(shares: Floats) -> tuple[float, Floats]:
    hits, actual, predicted = np.diag(shares), shares.sum(axis=1), shares.sum(axis=0)
    others = 1 - actual
    quiet = others - predicted + hits
    unit = _ratio(np.ones_like(others), others)
    gradient = (_ratio(quiet, others**2) - unit)[:, None] - unit[None, :]
    gradient[np.diag_indices_from(gradient)] += unit
    return float(_ratio(quiet, others).mean()), gradient / len(hits)


def _matthews(shares: Floats) -> tuple[float, Floats]:
    actual, predicted = shares.sum(axis=1), shares.sum(axis=0)
    actual_spread, predicted_spread = 1 - float(actual @ actual), 1 - float(predicted @ predicted)
    root = math.sqrt(actual_spread * predicted_spread)
    value = (float(np.trace(shares)) - float(actual @ predicted)) / root
    gradient = -(predicted[:, None] + actual[None, :])
    gradient[np.diag_indices_from(gradient)] += 1
    gradient = gradient / root + value * (
        predicted[None, :] / predicted_spread + actual[:, None] / actual_spread
    )
    return value, gradient
