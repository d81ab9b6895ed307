"""Estimates of a window as an evaluation holds them, with a reason for each gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exporter.estimation.estimator import Estimator
from exporter.profiles import Profile
from exporter.results import Estimate, EstimatedMetric, PerformanceResults, Undefined
from exporter.statistics.intervals import normal_quantile
from exporter.statistics.performance import metrics_of

MEASURE = "performance_estimate"
ERROR = "performance_estimate_error"
LEAST_COVERAGE = 0.5
"""Share of a window's rows that must be labelled before estimates are compared with what was realised."""

Missing = tuple[str, str | None, str]
"""(measure, subject or None, reason), as in `ml_undefined`."""

NO_BASELINE = Undefined("no_baseline", "there is no baseline to learn from yet")


@dataclass(frozen=True, slots=True)
class Estimated:
    """What is estimated of one window.

    Attributes
    ----------
    metrics : mapping of metric to EstimatedMetric
    missing : tuple of (measure, subject or None, reason)
    """

    metrics: Mapping[str, EstimatedMetric] = field(default_factory=dict)
    missing: tuple[Missing, ...] = ()


def estimated_performance(
    estimator: Estimator | Undefined | None,
    recent: Profile | None,
    outcomes: Profile | None,
    realised: PerformanceResults,
    *,
    metrics: Sequence[str] | None = None,
    confidence: float = 0.95,
    minimum_rows: int = 100,
    coverage: float = LEAST_COVERAGE,
) -> Estimated:
    """Metrics of the newest window without its labels, and how far off they were where labels have come.

    Parameters
    ----------
    estimator : Estimator, Undefined or None
        None: there is no baseline.
    recent : Profile or None
        Of all rows of the newest window.
    outcomes : Profile or None
        Of the window that ends at the label watermark; the error is the estimate over all its rows minus
        what its labelled rows gave.
    realised : PerformanceResults
        Of `outcomes`.
    metrics : sequence of str or None
        None: all of the task.
    coverage : float
        Share of the rows of `outcomes` that must be labelled.
    """
    estimator = NO_BASELINE if estimator is None else estimator
    if isinstance(estimator, Undefined) or recent is None:
        reason = estimator.reason if isinstance(estimator, Undefined) else "insufficient_rows"
        return Estimated(missing=((MEASURE, None, reason),))
    names = tuple(metrics_of(recent.outcome())) if metrics is None else metrics
    z = normal_quantile(confidence)
    found = estimator.estimate(recent, metrics=names, z=z, minimum_rows=minimum_rows)
    if isinstance(found, Undefined):
        return Estimated(missing=((MEASURE, None, found.reason),))
    before = None
    if outcomes is not None and outcomes.rows and outcomes.labeled_rows >= coverage * outcomes.rows:
        before = estimator.estimate(outcomes, metrics=names, z=z, minimum_rows=minimum_rows)
    errors = {} if before is None or isinstance(before, Undefined) else _errors(before, realised)
    made: dict[str, EstimatedMetric] = {}
    missing: list[Missing] = []
    for name, estimate in found.items():
        if isinstance(estimate, Undefined):
            made[name] = EstimatedMetric(None, reason=estimate.reason, detail=estimate.detail)
            missing.append((MEASURE, name, estimate.reason))
            continue
        error = errors.get(name)
        made[name] = EstimatedMetric(estimate.value, estimate.lower, estimate.upper, estimate.n, error)
        if error is None:
            missing.append((ERROR, name, "insufficient_labels"))
    return Estimated(made, tuple(missing))


def _errors(estimates: Mapping[str, Estimate | Undefined], realised: PerformanceResults) -> dict[str, float]:
    errors = {}
    for name, estimate in estimates.items():
        known = realised.metrics.get(name)
        if isinstance(estimate, Estimate) and known is not None and known.value is not None:
            errors[name] = estimate.value - known.value
    return errors
