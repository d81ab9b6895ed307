"""Confidence-based estimates of a binary classifier's performance: what calibrated scores expect of labels.

A row whose calibrated score is p is expected to be positive p times. Every metric is read off the cells of
the profile with their expected positives in place of the labels. It holds while scores mean what they meant
in the baseline: under a change of the features (covariate shift), not of what the features say of the label
(concept drift).

Bounds are those of the metric that the labels will give, by the delta method: the labels of the window vary
about their probabilities, and these are known from the baseline's finite number of labels only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.results import Estimate, Undefined
from exporter.statistics.estimation import confusion
from exporter.statistics.intervals import enclose, fisher_bounds, logit_bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.statistics.estimation.calibration import Calibrator

    Floats = NDArray[np.float64]

PROBABILITY_FLOOR = float(np.finfo(np.float64).eps)
"""As in the realised log loss."""

LEAST_EXPECTED = 1e-9
"""Expected rows of a class below which it does not occur."""


@dataclass(frozen=True, eq=False)
class Expected:
    """Rows by prediction and score cell, and how many of them are expected to be positive.

    Attributes
    ----------
    rows : float64 (2, S)
        Rows with a score by prediction and score cell, ascending.
    positives : float64 (2, S)
    values : float64 (S,)
        The probability that stands for each cell, as the model gave it.
    """

    rows: Floats
    positives: Floats
    values: Floats

    @property
    def confusion(self) -> Floats:
        """Expected rows by actual class and prediction, (2, 2)."""
        positives = self.positives.sum(axis=1)
        return np.array([self.rows.sum(axis=1) - positives, positives])


Slope = tuple[float, "Floats"]
"""A metric, and its change when one row of a prediction and score cell turns positive, (2, S) or (S,)."""


def roc_auc(expected: Expected) -> Slope | str:
    """Sorted by the scores as they are; ties, and rows in one cell, count half."""
    positives = expected.positives.sum(axis=0)
    negatives = expected.rows.sum(axis=0) - positives
    yes, no = float(positives.sum()), float(negatives.sum())
    if min(yes, no) < LEAST_EXPECTED:
        return "only one class is expected"
    below = np.cumsum(negatives) - negatives / 2
    above = yes - np.cumsum(positives) + positives / 2
    value = float(below @ positives) / (yes * no)
    return value, (below - above - value * (no - yes)) / (yes * no)


def average_precision(expected: Expected) -> Slope | str:
    """Sorted by the scores as they are, highest first."""
    positives = expected.positives.sum(axis=0)[::-1]
    rows = np.cumsum(expected.rows.sum(axis=0)[::-1])
    total = float(positives.sum())
    if total < LEAST_EXPECTED:
        return "no positive label is expected"
    safe = np.maximum(rows, 1.0)
    precision = np.cumsum(positives) / safe
    value = float(precision @ positives) / total
    onward = np.cumsum((positives / safe)[::-1])[::-1]
    return value, ((precision + onward - value) / total)[::-1]


def log_loss(expected: Expected) -> Slope:
    inside = np.clip(expected.values, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return _mean_loss(expected, -np.log1p(-inside), -np.log(inside))


def brier_score(expected: Expected) -> Slope:
    return _mean_loss(expected, expected.values**2, (1 - expected.values) ** 2)


def _mean_loss(expected: Expected, negative: Floats, positive: Floats) -> Slope:
    total = float(expected.rows.sum())
    rows, positives = expected.rows.sum(axis=0), expected.positives.sum(axis=0)
    return float((rows - positives) @ negative + positives @ positive) / total, (positive - negative) / total


def _of_confusion(name: str, expected: Expected) -> Slope | str:
    counts = expected.confusion
    counts[counts < LEAST_EXPECTED] = 0.0
    if (nothing := confusion.why_undefined(name, counts, binary=True)) is not None:
        return nothing
    value, gradient = confusion.value_and_gradient(confusion.BINARY[name], counts)
    return value, np.repeat((gradient[1] - gradient[0])[:, None], len(expected.values), axis=1)


METRICS: Mapping[str, Callable[[Expected], Slope | str]] = MappingProxyType(
    {
        **{name: partial(_of_confusion, name) for name in confusion.BINARY},
        "roc_auc": roc_auc,
        "pr_auc": average_precision,
        "log_loss": log_loss,
        "brier": brier_score,
    }
)
"""What calibrated scores can be asked. The calibration error is not among them: that scores are calibrated is
what the estimate rests on, so it would be the baseline's own error whatever happened since."""

NO_CALIBRATION_ERROR = "estimates rest on calibration, so they cannot tell how calibrated the scores are"


def estimate(
    calibrator: Calibrator,
    rows: NDArray[np.integer[Any]],
    values: Floats,
    *,
    metrics: Sequence[str],
    z: float,
) -> dict[str, Estimate | Undefined]:
    """Metrics by name.

    Parameters
    ----------
    rows : integers (2, S)
        Rows with a score by prediction and score cell.
    values : float64 (S,)
        The probability that stands for each cell.
    metrics : sequence of str
        One that cannot be estimated is `not_comparable`.
    z : float
        Normal quantile of the bounds.
    """
    counts = rows.astype(np.float64)
    expected = Expected(counts, counts * calibrator.share, values)
    results: dict[str, Estimate | Undefined] = {}
    for name in metrics:
        if name not in METRICS:
            detail = NO_CALIBRATION_ERROR if name == "ece" else f"{name} is not estimated for this task"
            results[name] = Undefined("not_comparable", detail)
            continue
        slope = METRICS[name](expected)
        if isinstance(slope, str):
            results[name] = Undefined("single_class", slope)
            continue
        value, gradient = slope
        gradient = np.broadcast_to(gradient, counts.shape)
        labels = float((counts * gradient**2 * calibrator.spread).sum())
        known = calibrator.variance((counts * gradient).sum(axis=0))
        results[name] = bounded(name, value, math.sqrt(labels + known), z, int(counts.sum()))
    return results


def bounded(name: str, value: float, error: float, z: float, rows: int) -> Estimate:
    """An estimate with bounds inside the metric's range; symmetric in the logit for scores in (0, 1)."""
    if name in {"log_loss", "brier"}:
        bounds = enclose(value, (value - z * error, value + z * error), least=0.0)
    elif name == "mcc":
        inside = min(max(value, -1 + 1e-9), 1 - 1e-9)
        bounds = enclose(value, fisher_bounds(inside, error, z), least=-1.0, most=1.0)
    else:
        inside = min(max(value, 1e-9), 1 - 1e-9)
        bounds = enclose(value, logit_bounds(inside, error, z), least=0.0, most=1.0)
    return Estimate(value, *bounds, rows)
