"""From profiles to an evaluation: one window against its baseline, with a reason for all that is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from exporter.profiles import (
    BinaryOutcome,
    DelayHistogram,
    MulticlassOutcome,
    Profile,
)
from exporter.results import (
    Delays,
    DriftReport,
    Estimate,
    Evaluation,
    PerformanceResults,
    PerformanceWindow,
    QualityReport,
    Undefined,
    Window,
)
from exporter.schema import Role
from exporter.statistics.performance import compared, per_class, performance
from exporter.statistics.quality import quality_report
from exporter.statistics.verdict import drift_verdicts

Missing = tuple[str, str | None, str]
"""(measure, subject or None, reason), as in `ml_undefined`."""

Reference = Mapping[str, Estimate | Undefined] | None
"""The baseline's metrics by name; None where it has no labels."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an evaluation depends on beside the rows."""

    drift_threshold: float = 0.05
    alert_threshold: float = 0.1
    metrics: Sequence[str] | None = None
    methods: Literal["auto"] | Sequence[str] = "auto"
    correction: Literal["bh", "bonferroni", "none"] = "bh"
    minimum_effect: Any = "auto"
    minimum_rows: int = 100
    quality_weights: Mapping[str, float] = field(default_factory=dict)
    timeliness: bool = False
    """Whether an agreed time from event to arrival is configured."""
    id_column: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated: which model, version, window and segment, and when."""

    model: str
    version: str
    window: Window
    segment: tuple[str, str] | None
    start: float
    end: float
    made_at: float


def evaluate(
    subject: Subject,
    current: Profile,
    *,
    outcomes: Profile | None,
    outcome_span: tuple[float, float] | None,
    baseline: Profile | None,
    reference: Reference,
    settings: Settings,
) -> Evaluation:
    """Performance, drift and quality of one window.

    Parameters
    ----------
    current : Profile
        What came in the window.
    outcomes : Profile or None
        What the labels say, of the window that ends at the label watermark; None before there are labels.
    outcome_span : (start, end) or None
        Of `outcomes`, in seconds since the epoch.
    baseline : Profile or None
    reference : mapping or None
        The baseline's metrics, from :func:`reference_performance`; they change with the baseline only.
    """
    measured, performance_missing = measure_performance(outcomes, reference, settings)
    drift, drift_missing = measure_drift(current, outcomes, baseline, settings)
    quality = measure_quality(current, baseline, settings)
    labeled = outcomes.labeled_rows if outcomes is not None else 0
    classes, confusion = outcome_details(outcomes)
    return Evaluation(
        model=subject.model,
        version=subject.version,
        window=subject.window,
        segment=subject.segment,
        start=subject.start,
        end=subject.end,
        rows=current.rows,
        labeled_rows=labeled,
        made_at=subject.made_at,
        performance=measured,
        performance_window=PerformanceWindow(*outcome_span, rows=labeled) if outcome_span else None,
        drift=drift,
        quality=quality,
        labeled_ratio=None,
        label_delay=delays(outcomes.label_delay()) if outcomes is not None else None,
        event_delay=delays(current.event_delay()),
        confusion=confusion,
        class_performance=classes,
        undefined=(*performance_missing, *drift_missing, *quality.undefined),
    )


def measure_performance(
    outcomes: Profile | None, reference: Reference, settings: Settings
) -> tuple[PerformanceResults, list[Missing]]:
    """Every metric of the window against the same metric of the baseline."""
    if outcomes is None or not outcomes.labeled_rows:
        nothing = PerformanceResults(threshold=settings.alert_threshold)
        return nothing, [("performance", None, "insufficient_labels")]
    results = compared(
        performance(outcomes.outcome(), metrics=settings.metrics),
        reference,
        threshold=settings.alert_threshold,
        rows=outcomes.labeled_rows,
    )
    missing: list[Missing] = []
    for name, metric in results.metrics.items():
        if metric.reason is not None:
            missing.append(("performance", name, metric.reason))
        elif metric.drop is None:
            reason = "no_baseline" if metric.baseline is None else "not_comparable"
            missing.append(("performance_drop", name, reason))
    return results, missing


def reference_performance(baseline: Profile | None, settings: Settings) -> Reference:
    """The baseline's own metrics; None without labels to compute them from."""
    if baseline is None or not baseline.labeled_rows:
        return None
    return performance(baseline.outcome(), metrics=settings.metrics)


def measure_drift(
    current: Profile, outcomes: Profile | None, baseline: Profile | None, settings: Settings
) -> tuple[DriftReport, list[Missing]]:
    """Every profiled column against the baseline's; the label is read off the labelled rows."""
    empty = DriftReport(alpha=settings.drift_threshold, rows=current.rows)
    if baseline is None:
        return empty, [("drift", None, "no_baseline")]
    if current.grid.id != baseline.grid.id:
        return empty, [("drift", None, "not_comparable")]
    report = drift_verdicts(
        drift_columns(baseline, baseline),
        drift_columns(current, outcomes),
        methods=settings.methods,
        alpha=settings.drift_threshold,
        correction=settings.correction,
        minimum_effect=settings.minimum_effect,
        minimum_rows=settings.minimum_rows,
    )
    report = replace(report, rows=current.rows, baseline_rows=baseline.rows)
    missing: list[Missing] = [
        ("drift", name, column.reason) for name, column in report.columns.items() if column.reason is not None
    ]
    return report, missing


def measure_quality(current: Profile, baseline: Profile | None, settings: Settings) -> QualityReport:
    """Every quality ratio of the rows of a profile."""
    comparable = baseline is not None and baseline.grid.id == current.grid.id
    return quality_report(
        drift_columns(current, None),
        current.tallies,
        rows=current.rows,
        baseline=drift_columns(baseline, None) if baseline is not None and comparable else None,
        id_column=settings.id_column,
        timeliness=settings.timeliness,
        weights=settings.quality_weights,
    )


def drift_columns(features: Profile, outcomes: Profile | None) -> dict[str, Any]:
    """The columns of a profile that drift is tested on, by name."""
    columns = {}
    for name, grid in features.grid.columns.items():
        if grid.role is Role.LABEL:
            if outcomes is not None and outcomes.labeled_rows:
                columns[name] = outcomes.column(name)
        else:
            columns[name] = features.column(name)
    return columns


def outcome_details(
    outcomes: Profile | None,
) -> tuple[Mapping[str, Mapping[str, Estimate]], tuple[tuple[str, str, int], ...]]:
    """Per-class performance, and the confusion matrix as (actual, predicted, rows)."""
    if outcomes is None or not outcomes.labeled_rows:
        return {}, ()
    outcome = outcomes.outcome()
    if isinstance(outcome, BinaryOutcome):
        names: Sequence[str] = ("negative", "positive")
        classes: Mapping[str, Mapping[str, Estimate]] = {}
    elif isinstance(outcome, MulticlassOutcome):
        names = outcome.classes
        classes = {
            name: {metric: value for metric, value in metrics.items() if isinstance(value, Estimate)}
            for name, metrics in per_class(outcome).items()
        }
    else:
        return {}, ()
    confusion = tuple(
        (actual, predicted, int(outcome.confusion[row, column]))
        for row, actual in enumerate(names)
        for column, predicted in enumerate(names)
    )
    return classes, confusion


def delays(histogram: DelayHistogram) -> Delays | None:
    """Median and tail of a delay; None where none was measured."""
    quantiles = [histogram.quantile(q) for q in (0.5, 0.95, 0.99)]
    known = [float(value) for value in quantiles if value is not None]
    return Delays(*known) if len(known) == len(quantiles) else None
