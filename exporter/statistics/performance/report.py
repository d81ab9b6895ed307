"""Realised performance: all metrics of a task with their bounds, and how far they fell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exporter.catalog import PERFORMANCE_METRICS
from exporter.results import Estimate, MetricResult, PerformanceResults, Undefined
from exporter.statistics.intervals import normal_quantile
from exporter.statistics.performance.binary import BINARY_METRICS, BinaryView
from exporter.statistics.performance.multiclass import MULTICLASS_METRICS, MulticlassView, class_metrics
from exporter.statistics.performance.ranking import RANKING_METRICS, RankingView
from exporter.statistics.performance.regression import REGRESSION_METRICS, RegressionView

Outcome = BinaryView | MulticlassView | RegressionView | RankingView


def metrics_of(outcome: Outcome) -> Mapping[str, Any]:
    """The metric functions of an outcome's task, by name."""
    if hasattr(outcome, "moments"):
        return REGRESSION_METRICS
    if hasattr(outcome, "ranked"):
        return RANKING_METRICS
    return MULTICLASS_METRICS if hasattr(outcome, "classes") else BINARY_METRICS


def labelled_rows(outcome: Outcome) -> int:
    """Rows with a prediction and a label."""
    return int(outcome.labelled_rows)


def performance(
    outcome: Outcome,
    *,
    metrics: Sequence[str] | None = None,
    confidence: float = 0.95,
    minimum_rows: int = 1,
) -> dict[str, Estimate | Undefined]:
    """Metrics by name, each an estimate with bounds or the reason why there is none.

    Parameters
    ----------
    outcome : outcome of a profile
    metrics : sequence of str or None
        Names of the catalogue; None for all of the task. One of another task is `not_comparable`.
    confidence : float
        Of the bounds, in (0, 1).
    minimum_rows : int
        Labelled rows needed; below it everything is `insufficient_labels`.
    """
    functions = metrics_of(outcome)
    rows = labelled_rows(outcome)
    z = normal_quantile(confidence)
    results: dict[str, Estimate | Undefined] = {}
    for name in functions if metrics is None else metrics:
        if name not in functions:
            results[name] = Undefined("not_comparable", f"{name} is not a metric of this task")
        elif rows < max(minimum_rows, 1):
            detail = f"{rows} labelled rows, {max(minimum_rows, 1)} are needed"
            results[name] = Undefined("insufficient_labels", detail)
        else:
            results[name] = functions[name](outcome, z)
    return results


def per_class(
    outcome: MulticlassView, *, confidence: float = 0.95
) -> dict[str, dict[str, Estimate | Undefined]]:
    """Metrics of each class against the rest: those of confusion and, with scores, ROC AUC and PR AUC."""
    return class_metrics(outcome, normal_quantile(confidence))


def drop(metric: str, current: float, baseline: float) -> float | None:
    """Worsening against the baseline, positive = worse.

    A difference for scores, a ratio of the baseline's value for errors. None where a ratio has no meaning:
    a baseline error of 0 that grew, and `bias`, whose baseline is near 0 by design.

    Examples
    --------
    >>> round(drop("accuracy", 0.85, 0.9), 3)
    0.05
    >>> drop("mae", 3.0, 2.0)
    0.5
    """
    entry = PERFORMANCE_METRICS.get(metric)
    if entry is None or entry.higher_is_better:
        return baseline - current
    if metric == "bias" or (baseline <= 0 and current > 0):
        return None
    return (current - baseline) / baseline if baseline > 0 else 0.0


Drop = Callable[[float, float], "float | None"]
"""(current, baseline) -> worsening, positive = worse; None where it has no meaning."""


def _drop(name: str, current: float, baseline: float, drops: Mapping[str, Drop]) -> float | None:
    return drops[name](current, baseline) if name in drops else drop(name, current, baseline)


def compared(
    current: Mapping[str, Estimate | Undefined],
    baseline: Mapping[str, Estimate | Undefined] | None,
    *,
    threshold: float | None,
    rows: int,
    drops: Mapping[str, Drop] | None = None,
) -> PerformanceResults:
    """Metrics of the window beside those of the baseline.

    `threshold` is the drop from which on a metric counts as degraded; None for never. It must be exceeded.
    `drops` says how the worsening of metrics outside the catalogue is measured.
    """
    results = {}
    for name, estimate in current.items():
        before = None if baseline is None else baseline.get(name)
        reference = before.value if isinstance(before, Estimate) else None
        if isinstance(estimate, Undefined):
            results[name] = MetricResult(
                None, baseline=reference, reason=estimate.reason, detail=estimate.detail
            )
            continue
        fall = None if reference is None else _drop(name, estimate.value, reference, drops or {})
        results[name] = MetricResult(
            estimate.value,
            estimate.lower,
            estimate.upper,
            reference,
            fall,
            degraded=fall is not None and threshold is not None and fall > threshold,
            n=estimate.n,
        )
    return PerformanceResults(results, rows, threshold)
