"""Metrics of multiclass classifiers from an outcome profile, over all classes and for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np

from exporter.results import Estimate, Undefined
from exporter.statistics.performance import agreement
from exporter.statistics.performance.binary import accuracy, f1_score, precision, recall, specificity
from exporter.statistics.performance.losses import LossView, brier_score, log_loss, not_probabilities
from exporter.statistics.performance.scoring import average_precision, mean_calibration_error, roc_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray


class MulticlassView(LossView, Protocol):
    """Confusion (K, K) and, for each class, score histograms (K, 2, S); see the profiles."""

    @property
    def labelled_rows(self) -> int: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def confusion(self) -> NDArray[np.int64]: ...
    @property
    def scores(self) -> NDArray[np.int64] | None: ...
    @property
    def score_values(self) -> NDArray[np.float64] | None: ...


def one_against_rest(confusion: NDArray[np.int64], index: int) -> NDArray[np.int64]:
    """The 2 x 2 confusion of one class as the positive one."""
    hits = int(confusion[index, index])
    actual, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
    rest = int(confusion.sum()) - actual - predicted + hits
    return np.array([[rest, predicted - hits], [actual - hits, hits]], np.int64)


def _class_histograms(outcome: MulticlassView) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """(class, negatives, positives) of the classes whose score is known for some labelled row."""
    if outcome.scores is None:
        return
    for index, (negatives, positives) in enumerate(outcome.scores[:, :, :-1]):
        if negatives.any() or positives.any():
            yield index, negatives, positives


def _mean_over_classes(parts: list[Estimate | Undefined]) -> Estimate | Undefined:
    """Mean of values and of bounds: as wide as if all errors were perfectly correlated.

    Undefined when any class that has scores is: a mean over fewer classes would be another number.
    """
    if not parts:
        return Undefined("empty", "no labelled row has a score")
    defined: list[Estimate] = []
    for part in parts:
        if isinstance(part, Undefined):
            return part
        defined.append(part)
    value, lower, upper = (
        float(np.mean([getattr(part, name) for part in defined])) for name in ("value", "lower", "upper")
    )
    return Estimate(value, lower, upper, max(part.n for part in defined))


def _roc_auc(outcome: MulticlassView, z: float) -> Estimate | Undefined:
    return _mean_over_classes([roc_auc(no, yes, z) for _, no, yes in _class_histograms(outcome)])


def _pr_auc(outcome: MulticlassView, z: float) -> Estimate | Undefined:
    return _mean_over_classes([average_precision(no, yes, z) for _, no, yes in _class_histograms(outcome)])


def _ece(outcome: MulticlassView, z: float) -> Estimate | Undefined:
    if (margins := not_probabilities(outcome)) is not None:
        return margins
    if outcome.score_values is None:
        return Undefined("empty", "no scores are configured")
    values = outcome.score_values[:-1]
    return mean_calibration_error([(no, yes) for _, no, yes in _class_histograms(outcome)], values, z)


Metric = Callable[[MulticlassView, float], Estimate | Undefined]


def _of_confusion(function: Callable[[NDArray[np.int64], float], Estimate | Undefined]) -> Metric:
    return lambda outcome, z: function(outcome.confusion, z)


MULTICLASS_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": _of_confusion(accuracy),
        "balanced_accuracy": _of_confusion(agreement.balanced_accuracy),
        "precision": _of_confusion(agreement.macro_precision),
        "recall": _of_confusion(agreement.macro_recall),
        "f1": _of_confusion(agreement.macro_f1),
        "specificity": _of_confusion(agreement.macro_specificity),
        "mcc": _of_confusion(agreement.matthews),
        "roc_auc": _roc_auc,
        "pr_auc": _pr_auc,
        "log_loss": log_loss,
        "brier": brier_score,
        "ece": _ece,
    }
)


def class_metrics(outcome: MulticlassView, z: float) -> dict[str, dict[str, Estimate | Undefined]]:
    """Metrics of each class against all others, by class and name."""
    by_class: dict[str, dict[str, Estimate | Undefined]] = {}
    for index, name in enumerate(outcome.classes):
        confusion = one_against_rest(outcome.confusion, index)
        by_class[name] = {
            "precision": precision(confusion, z),
            "recall": recall(confusion, z),
            "f1": f1_score(confusion, z),
            "specificity": specificity(confusion, z),
        }
    for index, negatives, positives in _class_histograms(outcome):
        by_class[outcome.classes[index]]["roc_auc"] = roc_auc(negatives, positives, z)
        by_class[outcome.classes[index]]["pr_auc"] = average_precision(negatives, positives, z)
    return by_class
