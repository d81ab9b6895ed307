"""From profiles to an evaluation: one window against its baseline, with a reason for all that is missing.

A computation that fails takes nothing else with it: where a metric or a column fails, the others are computed
without it, and it has the reason `error`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeVar

from exporter.custommetrics import Measure, measured
from exporter.evaluation.inspection import inspected
from exporter.evaluation.together import measure_together
from exporter.profiles import (
    BinaryOutcome,
    DelayHistogram,
    Grid,
    MulticlassOutcome,
    Profile,
    RankingOutcome,
)
from exporter.results import (
    ColumnDrift,
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
from exporter.statistics.concept import ErrorStream, concept_column
from exporter.statistics.drift.verdict import BlockEffects, drift_verdicts
from exporter.statistics.multivariate.report import chosen_methods
from exporter.statistics.performance import compared, metrics_of, per_class, performance
from exporter.statistics.performance.summary import ranking_groups, residual_summary
from exporter.statistics.quality import quality_report

log = logging.getLogger(__name__)

Missing = tuple[str, str | None, str]
"""(measure, subject or None, reason), as in `ml_undefined`."""

Reference = Mapping[str, Estimate | Undefined] | None
"""The baseline's metrics by name; None where it has no labels."""

Failed = Callable[[str, str | None, Exception], None]
"""Told of each computation that failed: (measure, subject or None, error)."""

Made = TypeVar("Made")

ERROR_COLUMN = "error"
"""What the losses are called among the columns with drift."""


def log_failure(measure: str, subject: str | None, error: Exception) -> None:
    """Write a failed computation to the log, with its traceback."""
    log.error("%s of %s failed", measure, subject or "a window", exc_info=error)


def _attempt(
    make: Callable[[], Made], measure: str, subject: str | None = None, failed: Failed | None = None
) -> Made | None:
    """What `make` makes; None when it fails, which `failed` is told of."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001  # whatever it is, the rest of the evaluation goes on
        if failed is not None:
            failed(measure, subject, error)
        return None


@dataclass(frozen=True, slots=True)
class Settings:
    """What an evaluation depends on beside the rows."""

    drift_threshold: float = 0.05
    alert_threshold: float = 0.1
    metrics: Sequence[str] | None = None
    custom: Sequence[Measure] = ()
    methods: Literal["auto"] | Sequence[str] = "auto"
    correction: Literal["bh", "bonferroni", "none"] = "bh"
    minimum_effect: Any = "auto"
    minimum_rows: int = 100
    quality_weights: Mapping[str, float] = field(default_factory=dict)
    column_weights: Mapping[str, float] = field(default_factory=dict)
    timeliness: bool = False
    """Whether an agreed time from event to arrival is configured."""
    id_column: str | None = None
    multivariate: Literal["auto"] | Sequence[str] = "auto"
    """Tests of all columns together; segments have none."""
    untested: Sequence[str] = ()
    """Columns whose drift is not tested: a segment's own has one value only."""


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
    labeled_rows: int | None = None,
    errors: ErrorStream | None = None,
    seasonal: Profile | None = None,
    block_nulls: BlockEffects | None = None,
    failed: Failed = log_failure,
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
    labeled_rows : int or None
        Rows of `current` whose label is known. None: `outcomes` is of the same window.
    errors : ErrorStream or None
        The model's losses until `outcome_span` ends, for concept drift; None where they are not tested.
    seasonal : Profile or None
        The part of the baseline that drift is measured against; None for all of it. The drift of a segment is
        `not_comparable` where there is one.
    block_nulls : mapping or None
        How far blocks of the baseline lie apart (`drift: {null: blocks}`); None takes rows as independent.
    failed : callable
        Told of each computation that failed.
    """
    labeled = outcomes.labeled_rows if outcomes is not None else 0
    known = labeled if labeled_rows is None else labeled_rows
    missing: list[Missing] = []

    def part(measure: str, make: Callable[[], Made]) -> Made | None:
        made = _attempt(make, measure, None, failed)
        if made is None:
            missing.append((measure, None, "error"))
        return made

    measured = part("performance", lambda: measure_performance(outcomes, reference, settings, failed))
    held, tested, within = baseline if seasonal is None else seasonal, settings, subject.segment
    if within is not None:
        held, tested = baseline, replace(settings, multivariate=(), untested=within[:1])
    drifted = (
        part("drift", lambda: measure_drift(current, outcomes, held, tested, failed, block_nulls=block_nulls))
        if within is None or seasonal is None or baseline is None
        else _untested(current, settings)
    )
    if errors is not None and outcome_span is not None and drifted is not None:
        since = outcome_span[0]
        concept = part("concept_drift", lambda: measure_concept(errors, since, current.grid, settings))
        drifted = drifted if concept is None else _with_column(*drifted, concept)
    quality = part("quality", lambda: _sound_quality(current, baseline, settings, failed))
    if quality is not None and subject.segment is None:
        quality = inspected(quality, current, baseline, failed)
    details = part("confusion_rows", lambda: outcome_details(outcomes))
    label_delay = (
        None if outcomes is None else part("label_delay_seconds", lambda: [delays(outcomes.label_delay())])
    )
    event_delay = part("event_delay_seconds", lambda: [delays(current.event_delay())])
    for found in (measured, drifted):
        missing += found[1] if found is not None else []
    return Evaluation(
        model=subject.model,
        version=subject.version,
        window=subject.window,
        segment=subject.segment,
        start=subject.start,
        end=subject.end,
        rows=current.rows,
        labeled_rows=known,
        made_at=subject.made_at,
        performance=PerformanceResults(threshold=settings.alert_threshold)
        if measured is None
        else measured[0],
        performance_window=PerformanceWindow(*outcome_span, rows=labeled) if outcome_span else None,
        drift=DriftReport(alpha=settings.drift_threshold, rows=current.rows)
        if drifted is None
        else drifted[0],
        quality=QualityReport() if quality is None else quality,
        labeled_ratio=known / current.rows if labeled_rows is not None and current.rows else None,
        label_delay=None if label_delay is None else label_delay[0],
        event_delay=None if event_delay is None else event_delay[0],
        **({} if details is None else details),
        undefined=(*missing, *(quality.undefined if quality is not None else ())),
    )


def measure_performance(
    outcomes: Profile | None, reference: Reference, settings: Settings, failed: Failed = log_failure
) -> tuple[PerformanceResults, list[Missing]]:
    """Every metric of the window against the same metric of the baseline."""
    if outcomes is None or not outcomes.labeled_rows:
        nothing = PerformanceResults(threshold=settings.alert_threshold)
        return nothing, [("performance", None, "insufficient_labels")]
    results = compared(
        _sound_performance(outcomes, settings, failed),
        reference,
        threshold=settings.alert_threshold,
        rows=outcomes.labeled_rows,
        drops={measure.name: measure.drop for measure in settings.custom},
    )
    missing: list[Missing] = []
    for name, metric in results.metrics.items():
        if metric.reason is not None:
            missing.append(("performance", name, metric.reason))
        elif metric.drop is None:
            reason = "no_baseline" if metric.baseline is None else "not_comparable"
            missing.append(("performance_drop", name, reason))
    return results, missing


def reference_performance(
    baseline: Profile | None, settings: Settings, failed: Failed = log_failure
) -> Reference:
    """The baseline's own metrics; None without labels to compute them from."""
    if baseline is None or not baseline.labeled_rows:
        return None
    return _sound_performance(baseline, settings, failed)


def _sound_performance(
    profile: Profile, settings: Settings, failed: Failed
) -> dict[str, Estimate | Undefined]:
    """Metrics by name; one that fails is `error`, and the others are computed without it."""
    outcome = profile.outcome()
    custom = measured(profile.outcomes.totals, settings.custom)
    together = _attempt(lambda: performance(outcome, metrics=settings.metrics), "performance")
    if together is not None:
        return together | custom
    names = metrics_of(outcome) if settings.metrics is None else settings.metrics
    results: dict[str, Estimate | Undefined] = {}
    for name in names:
        alone = _attempt(partial(performance, outcome, metrics=[name]), "performance", name, failed)
        results[name] = (
            Undefined("error", "the computation failed; see the log") if alone is None else alone[name]
        )
    return results | custom


def measure_drift(
    current: Profile,
    outcomes: Profile | None,
    baseline: Profile | None,
    settings: Settings,
    failed: Failed = log_failure,
    *,
    block_nulls: BlockEffects | None = None,
) -> tuple[DriftReport, list[Missing]]:
    """Every profiled column against the baseline's; the label is read off the labelled rows."""
    empty = DriftReport(alpha=settings.drift_threshold, rows=current.rows)
    if baseline is None or current.grid.id != baseline.grid.id:
        why = "no_baseline" if baseline is None else "not_comparable"
        several = bool(chosen_methods(settings.multivariate))
        return empty, [("drift", None, why), *([("multivariate_drift", None, why)] if several else ())]
    broken: dict[str, ColumnDrift] = {}

    def breaks(measure: str, subject: str | None, error: Exception) -> None:
        failed(measure, subject, error)
        if subject is not None:
            role = str(current.grid.columns[subject].role)
            broken[subject] = ColumnDrift(subject, role, reason="error", detail="see the log")

    names = [name for name in current.grid.columns if name not in settings.untested]
    before = drift_columns(baseline, baseline, breaks, names)
    now = drift_columns(current, outcomes, breaks, names)

    def verdicts(names: Sequence[str]) -> DriftReport:
        return drift_verdicts(
            before,
            {name: now[name] for name in names},
            methods=settings.methods,
            alpha=settings.drift_threshold,
            correction=settings.correction,
            minimum_effect=settings.minimum_effect,
            minimum_rows=settings.minimum_rows,
            block_nulls=block_nulls,
        )

    sound = [name for name in now if name not in broken]
    report = _attempt(lambda: verdicts(sound), "drift")
    if report is None:
        for name in sound:
            _attempt(partial(verdicts, [name]), "drift", name, breaks)
        report = verdicts([name for name in sound if name not in broken])
    report = replace(report, columns={**report.columns, **broken})
    report = replace(report, rows=current.rows, baseline_rows=baseline.rows)
    missing: list[Missing] = [
        ("drift", name, column.reason) for name, column in report.columns.items() if column.reason is not None
    ]
    together = measure_together(
        current,
        baseline,
        methods=settings.multivariate,
        alpha=settings.drift_threshold,
        correction=settings.correction,
        minimum_rows=settings.minimum_rows,
        failed=partial(failed, "multivariate_drift", None),
        independent=block_nulls is None,
    )
    if not together and chosen_methods(settings.multivariate):
        missing.append(("multivariate_drift", None, "not_comparable"))
    missing += [("multivariate_drift", name, test.reason) for name, test in together.items() if test.reason]
    return replace(report, multivariate=together), missing


def _untested(current: Profile, settings: Settings) -> tuple[DriftReport, list[Missing]]:
    """No verdicts: of a segment's part of the baseline it is not known what came in which season."""
    return DriftReport(alpha=settings.drift_threshold, rows=current.rows), [("drift", None, "not_comparable")]


def measure_concept(errors: ErrorStream, since: float, grid: Grid, settings: Settings) -> ColumnDrift:
    """Whether the losses changed within the performance window, as a column of role `error`."""
    return concept_column(
        errors,
        since=since,
        alpha=settings.drift_threshold,
        minimum_rows=settings.minimum_rows,
        name=ERROR_COLUMN if ERROR_COLUMN not in grid.columns else f"prediction_{ERROR_COLUMN}",
    )


def _with_column(
    report: DriftReport, missing: list[Missing], column: ColumnDrift
) -> tuple[DriftReport, list[Missing]]:
    more: list[Missing] = [] if column.reason is None else [("drift", column.column, column.reason)]
    return replace(report, columns={**report.columns, column.column: column}), [*missing, *more]


def measure_quality(
    current: Profile, baseline: Profile | None, settings: Settings, names: Sequence[str] | None = None
) -> QualityReport:
    """Every quality ratio of the rows of a profile; of some of its columns where `names` are given."""
    comparable = baseline is not None and baseline.grid.id == current.grid.id
    return quality_report(
        drift_columns(current, None, names=names),
        current.tallies,
        rows=current.rows,
        baseline=drift_columns(baseline, None, names=names) if baseline is not None and comparable else None,
        id_column=settings.id_column,
        timeliness=settings.timeliness,
        weights=settings.quality_weights,
        column_weights=settings.column_weights,
    )


def _sound_quality(
    current: Profile, baseline: Profile | None, settings: Settings, failed: Failed
) -> QualityReport:
    """The quality of the rows; a column that fails is left out, with the reason."""
    together = _attempt(lambda: measure_quality(current, baseline, settings), "quality")
    if together is not None:
        return together
    names = [name for name, grid in current.grid.columns.items() if grid.role is not Role.LABEL]
    sound = [
        name
        for name in names
        if _attempt(partial(measure_quality, current, baseline, settings, [name]), "quality", name, failed)
        is not None
    ]
    report = measure_quality(current, baseline, settings, sound)
    gaps: list[Missing] = [("quality", name, "error") for name in names if name not in sound]
    return replace(report, undefined=(*report.undefined, *gaps))


def drift_columns(
    features: Profile,
    outcomes: Profile | None,
    failed: Failed | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The columns of a profile that drift is tested on, by name.

    With `failed`, one that cannot be read is left out instead of raised; `names` chooses among them.
    """
    columns: dict[str, Any] = {}
    for name, grid in features.grid.columns.items():
        of = outcomes if grid.role is Role.LABEL else features
        if of is None or (names is not None and name not in names):
            continue
        if grid.role is Role.LABEL and not of.labeled_rows:
            continue
        column = (
            of.column(name) if failed is None else _attempt(partial(of.column, name), "drift", name, failed)
        )
        if column is not None:
            columns[name] = column
    return columns


def outcome_details(outcomes: Profile | None) -> dict[str, Any]:
    """The fields of an evaluation that tell of outcomes beside the metrics."""
    if outcomes is None or not outcomes.labeled_rows:
        return {}
    outcome = outcomes.outcome()
    if isinstance(outcome, BinaryOutcome):
        return {"confusion": _confusion(("negative", "positive"), outcome)}
    if isinstance(outcome, MulticlassOutcome):
        classes = {
            name: {metric: value for metric, value in metrics.items() if isinstance(value, Estimate)}
            for name, metrics in per_class(outcome).items()
        }
        return {"confusion": _confusion(outcome.classes, outcome), "class_performance": classes}
    if isinstance(outcome, RankingOutcome):
        return {"ranking": ranking_groups(outcome)}
    return {"residuals": residual_summary(outcome)}


def _confusion(
    names: Sequence[str], outcome: BinaryOutcome | MulticlassOutcome
) -> tuple[tuple[str, str, int], ...]:
    """(actual, predicted, rows) of every pair of classes."""
    return tuple(
        (actual, predicted, int(outcome.confusion[row, column]))
        for row, actual in enumerate(names)
        for column, predicted in enumerate(names)
    )


def delays(histogram: DelayHistogram) -> Delays | None:
    """Median and tail of a delay; None where none was measured."""
    quantiles = [histogram.quantile(q) for q in (0.5, 0.95, 0.99)]
    known = [float(value) for value in quantiles if value is not None]
    return Delays(*known) if len(known) == len(quantiles) else None
