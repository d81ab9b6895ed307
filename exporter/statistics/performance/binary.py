"""Metrics of binary classifiers from an outcome profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np

from exporter.results import Estimate, Undefined
from exporter.statistics.intervals import Bounds, enclose, mean_of_two, wilson
from exporter.statistics.performance.agreement import matthews
from exporter.statistics.performance.losses import LossView, brier_score, log_loss, not_probabilities
from exporter.statistics.performance.scoring import average_precision, calibration_error, roc_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BinaryView(LossView, Protocol):
    """Labelled rows by actual class, prediction and score cell, (2, 2, S); see the profiles."""

    @property
    def labelled_rows(self) -> int: ...
    @property
    def labelled(self) -> NDArray[np.int64]: ...
    @property
    def confusion(self) -> NDArray[np.int64]: ...
    @property
    def score_values(self) -> NDArray[np.float64]: ...


def proportion(successes: int, n: int, z: float, nothing: str) -> Estimate | Undefined:
    """A share with Wilson's bounds; `single_class` with the detail `nothing` when n is 0."""
    if n <= 0:
        return Undefined("single_class", nothing)
    return Estimate(successes / n, *wilson(successes, n, z), n)


def accuracy(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Share of rows whose prediction equals the label, in [0, 1]; any number of classes."""
    return proportion(int(np.trace(confusion)), int(confusion.sum()), z, "no labelled rows")


def precision(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Share of positive predictions that are right, in [0, 1]."""
    (_, false_positives), (_, true_positives) = confusion.tolist()
    return proportion(true_positives, true_positives + false_positives, z, "no positive prediction")


def recall(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Share of positive labels that were predicted, in [0, 1]."""
    _, (false_negatives, true_positives) = confusion.tolist()
    return proportion(true_positives, true_positives + false_negatives, z, "no positive label")


def specificity(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Share of negative labels that were predicted so, in [0, 1]."""
    (true_negatives, false_positives), _ = confusion.tolist()
    return proportion(true_negatives, true_negatives + false_positives, z, "no negative label")


def f1_score(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Harmonic mean of precision and recall, in [0, 1].

    F1 = 2 J / (1 + J) with J = TP / (TP + FP + FN), a proportion, so that Wilson's bounds of J carry over.
    """
    (true_negatives, false_positives), (false_negatives, true_positives) = confusion.tolist()
    involved = true_positives + false_positives + false_negatives
    if involved <= 0:
        return Undefined("single_class", "no positive label and no positive prediction")
    lower, upper = (2 * bound / (1 + bound) for bound in wilson(true_positives, involved, z))
    value = 2 * true_positives / (true_positives + involved)
    return Estimate(value, *enclose(value, (lower, upper)), involved + true_negatives)


def balanced_accuracy(confusion: NDArray[np.int64], z: float) -> Estimate | Undefined:
    """Mean of recall and specificity, in [0, 1], 0.5 = chance."""
    parts = recall(confusion, z), specificity(confusion, z)
    for part in parts:
        if isinstance(part, Undefined):
            return part
    first, second = ((part.value, (part.lower, part.upper)) for part in parts if isinstance(part, Estimate))
    bounds: Bounds = mean_of_two(first, second)
    value = (first[0] + second[0]) / 2
    return Estimate(value, *enclose(value, bounds, least=0.0, most=1.0), int(confusion.sum()))


def _histograms(outcome: BinaryView) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    by_actual = outcome.labelled[:, :, :-1].sum(axis=1)
    return by_actual[0], by_actual[1]


def _roc_auc(outcome: BinaryView, z: float) -> Estimate | Undefined:
    return roc_auc(*_histograms(outcome), z)


def _pr_auc(outcome: BinaryView, z: float) -> Estimate | Undefined:
    return average_precision(*_histograms(outcome), z)


def _ece(outcome: BinaryView, z: float) -> Estimate | Undefined:
    margins = not_probabilities(outcome)
    return margins or calibration_error(*_histograms(outcome), outcome.score_values[:-1], z)


Metric = Callable[[BinaryView, float], Estimate | Undefined]


def _of_confusion(function: Callable[[NDArray[np.int64], float], Estimate | Undefined]) -> Metric:
    return lambda outcome, z: function(outcome.confusion, z)


BINARY_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": _of_confusion(accuracy),
        "balanced_accuracy": _of_confusion(balanced_accuracy),
        "precision": _of_confusion(precision),
        "recall": _of_confusion(recall),
        "f1": _of_confusion(f1_score),
        "specificity": _of_confusion(specificity),
        "mcc": _of_confusion(matthews),
        "roc_auc": _roc_auc,
        "pr_auc": _pr_auc,
        "log_loss": log_loss,
        "brier": brier_score,
        "ece": _ece,
    }
)
