"""What is known of a model to samples of the catalogue's families. Pure: nothing is rendered here.

Each function yields (family, label values in the catalogue's order, value); a renderer makes bytes of them.
What is None gives no sample: `ml_undefined` says why, from the evaluation's list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from exporter.catalog import (
    FAMILIES,
    PERFORMANCE_METRICS,
    QUALITY_CHECKS,
    SEGMENTED,
    segment_name,
)
from exporter.config import ModelConfig
from exporter.exposition import Sample
from exporter.results import ColumnDrift, Delays, Evaluation, QualityReport, TestResult
from exporter.results.comparison import Comparison
from exporter.results.findings import VolumeReport

Missing = tuple[str, str | None, str]
"""(measure, subject or None, reason)."""

MAX_UNDEFINED_SUBJECTS = 20
"""Beyond this many subjects of a measure, one series without `subject` says how many there are."""

DEFAULT_COVERAGE = 0.5
"""Of labels, where `min_label_coverage` is `auto`."""

_SEGMENTED = frozenset(SEGMENTED)
_COLUMN_RATIOS = ("completeness", "uniqueness", "type_valid", "in_range", "known_category")
_MISSING = "missing"
_COUNTERS = {
    "rows": "ml_rows_total",
    "labels": "ml_labels_total",
    "batches": "ml_batches_total",
    "rejected": "ml_rejected_rows_total",
}
_TIMES = {
    "last_batch": "ml_last_batch_timestamp_seconds",
    "last_label": "ml_last_label_timestamp_seconds",
    "watermark": "ml_last_event_timestamp_seconds",
    "last_evaluation": "ml_last_evaluation_timestamp_seconds",
    "baseline": "ml_baseline_timestamp_seconds",
}


def evaluation_samples(
    evaluation: Evaluation, *, drift_since: Mapping[str, float] | None = None
) -> Iterator[Sample]:
    """All that one evaluation says, of the whole or of a segment.

    Parameters
    ----------
    evaluation : Evaluation
    drift_since : mapping of column to Unix seconds
        Event time since which a column's verdict stands.
    """
    where: tuple[str, ...] = (evaluation.model, evaluation.version, evaluation.window.name)
    samples = _whole_samples(evaluation, drift_since or {})
    if evaluation.segment is None:
        for name, labels, value in samples:
            yield name, (*where, *labels), value
        yield from undefined_samples("ml_undefined", where, evaluation.undefined)
        return
    where = (*where, *evaluation.segment)
    for name, labels, value in samples:
        if name in _SEGMENTED:
            yield segment_name(name), (*where, *labels), value
    yield from undefined_samples("ml_segment_undefined", where, evaluation.undefined)


def _whole_samples(evaluation: Evaluation, drift_since: Mapping[str, float]) -> Iterator[Sample]:
    """Samples without the labels that say of what."""
    yield from _window_samples(evaluation)
    yield from _performance_samples(evaluation)
    yield from _drift_samples(evaluation, drift_since)
    yield from _quality_samples(evaluation)


def _window_samples(evaluation: Evaluation) -> Iterator[Sample]:
    yield "ml_window_rows", (), evaluation.rows
    yield "ml_window_labeled_rows", (), evaluation.labeled_rows
    if evaluation.window.seconds > 0:  # else it is a batch, which has no place in time
        yield "ml_window_start_timestamp_seconds", (), evaluation.start
        yield "ml_window_end_timestamp_seconds", (), evaluation.end
        yield "ml_window_seconds", (), evaluation.window.seconds
    if evaluation.labeled_ratio is not None:
        yield "ml_labeled_ratio", (), evaluation.labeled_ratio
    yield from _delay_samples("ml_label_delay_seconds", evaluation.label_delay)
    yield from _delay_samples("ml_event_delay_seconds", evaluation.event_delay)


def _delay_samples(name: str, delays: Delays | None) -> Iterator[Sample]:
    if delays is not None:
        yield name, ("p50",), delays.p50
        yield name, ("p95",), delays.p95
        yield name, ("p99",), delays.p99


def _performance_samples(evaluation: Evaluation) -> Iterator[Sample]:
    threshold = evaluation.performance.threshold
    for metric, result in evaluation.performance.metrics.items():
        parts = {
            "ml_performance": result.value,
            "ml_performance_lower": result.lower,
            "ml_performance_upper": result.upper,
            "ml_performance_baseline": result.baseline,
            "ml_performance_drop": result.drop,
            "ml_performance_drop_threshold": threshold,
        }
        for name, value in parts.items():
            if value is not None:
                yield name, (metric,), value
    window = evaluation.performance_window
    if window is not None:
        yield "ml_performance_window_end_timestamp_seconds", (), window.end
        yield "ml_performance_window_rows", (), window.rows
    for of_class, metrics in evaluation.class_performance.items():
        for metric, estimate in metrics.items():
            yield "ml_class_performance", (of_class, metric), estimate.value
    yield from _estimate_samples(evaluation)
    ranking = evaluation.ranking or {}
    for state in ranking.keys() - {"k", "groups"}:
        yield "ml_ranking_groups", (state,), ranking[state]
    for actual, predicted, rows in evaluation.confusion:
        yield "ml_confusion_rows", (actual, predicted), rows


def _estimate_samples(evaluation: Evaluation) -> Iterator[Sample]:
    for metric, result in evaluation.estimates.items():
        parts = {
            "ml_performance_estimate": result.value,
            "ml_performance_estimate_lower": result.lower,
            "ml_performance_estimate_upper": result.upper,
            "ml_performance_estimate_error": result.error,
        }
        for name, value in parts.items():
            if value is not None:
                yield name, (metric,), value


def _drift_samples(evaluation: Evaluation, since: Mapping[str, float]) -> Iterator[Sample]:
    drift = evaluation.drift
    yield "ml_drift_alpha", (), drift.alpha
    if drift.ratio is not None:
        yield "ml_drifted_columns_ratio", (), drift.ratio
    for name, column in drift.columns.items():
        of_column = (name, column.role)
        if column.detected is not None:
            yield "ml_drift_detected", of_column, float(column.detected)
        if column.q_value is not None:
            yield "ml_drift_q_value", of_column, column.q_value
        if column.detected and name in since:
            yield "ml_drift_since_timestamp_seconds", of_column, since[name]
        for method, test in _shown_tests(column):
            yield "ml_drift_statistic", (*of_column, method), test.statistic
            yield "ml_drift_critical_value", (*of_column, method), test.critical_value
            yield "ml_drift_p_value", (*of_column, method), test.p_value
    for method, together in drift.multivariate.methods.items():
        for what in ("statistic", "critical_value", "p_value", "detected"):
            if together[what] is not None:
                yield f"ml_multivariate_drift_{what}", (method,), float(together[what])


def _shown_tests(column: ColumnDrift) -> Iterator[tuple[str, TestResult]]:
    """The tests of a column, without that of missing values where none is missing in either sample."""
    for method, test in column.methods.items():
        nothing_to_find = method == _MISSING and test.q_value is None
        if not nothing_to_find or column.method == _MISSING:
            yield method, test


def _quality_samples(evaluation: Evaluation) -> Iterator[Sample]:
    quality = evaluation.quality
    for check in _COLUMN_RATIOS:
        for column, ratio in getattr(quality, check).items():
            yield f"ml_quality_{check}_ratio", (column,), ratio
    for column, rules in quality.validity.items():
        for rule, ratio in rules.items():
            yield "ml_quality_validity_ratio", (column, rule), ratio
    for rule, ratio in quality.consistency.items():
        yield "ml_quality_consistency_ratio", (rule,), ratio
    if quality.duplicate is not None:
        yield "ml_quality_duplicate_ratio", (), quality.duplicate
    if quality.timeliness is not None:
        yield "ml_quality_timeliness_ratio", (), quality.timeliness
    if quality.score is not None:
        yield "ml_quality_score", (), quality.score
    yield from _finding_samples(quality)


def _finding_samples(quality: QualityReport) -> Iterator[Sample]:
    """What is found beside the ratios; counts where nothing was compared are not there."""
    for column, share in quality.outliers.items():
        yield "ml_quality_outlier_ratio", (column,), share.ratio
    for column, found in quality.categories.items():
        yield "ml_quality_new_categories", (column,), found.new_count
        yield "ml_quality_vanished_categories", (column,), found.vanished_count
    missing = {measure for measure, subject, _ in quality.undefined if subject is None}
    if "quality_schema_changes" not in missing and quality.top_value:
        for change in ("added", "removed", "type"):
            count = sum(one.change == change for one in quality.schema_changes)
            yield "ml_quality_schema_changes", (change,), count
    if "quality_constant_columns" not in missing and quality.top_value:
        for change in ("constant", "varied"):
            count = sum(one.change == change for one in quality.top_value.values())
            yield "ml_quality_constant_columns", (change,), count
    if quality.missing_together is not None and "quality_missing_pair_changes" not in missing:
        yield "ml_quality_missing_pair_changes", (), quality.missing_together.changed_count
    if quality.freshness is not None:
        yield "ml_window_empty_buckets", (), quality.freshness.empty_buckets


def volume_samples(model: str, version: str, report: VolumeReport) -> Iterator[Sample]:
    """Rows of the last complete buckets, what was expected, and whether that is too few or too many."""
    for name, span in report.spans.items():
        where = (model, version, name)
        yield "ml_volume_rows", where, span.rows
        if span.expected is None or span.lower is None or span.upper is None:
            continue
        yield "ml_volume_expected_rows", where, span.expected
        yield "ml_volume_lower_rows", where, span.lower
        yield "ml_volume_upper_rows", where, span.upper
        for direction in ("low", "high"):
            yield "ml_volume_detected", (*where, direction), float(span.detected == direction)


def comparison_samples(comparison: Comparison) -> Iterator[Sample]:
    """All that one challenger's comparison says."""
    where = (comparison.model, comparison.champion, comparison.challenger)
    for name, metric in comparison.metrics.items():
        of_metric = (*where, name)
        yield "ml_comparison_start_timestamp_seconds", of_metric, comparison.start
        yield "ml_comparison_rows", (*of_metric, "champion"), metric.champion_rows
        yield "ml_comparison_rows", (*of_metric, "challenger"), metric.challenger_rows
        if metric.difference is None or metric.lower is None or metric.upper is None:
            continue
        yield "ml_comparison_difference", of_metric, metric.difference
        for family in ("ml_comparison_lower", "ml_comparison_difference_lower"):
            yield family, of_metric, metric.lower
        for family in ("ml_comparison_upper", "ml_comparison_difference_upper"):
            yield family, of_metric, metric.upper
        yield "ml_comparison_decided", of_metric, float(metric.decided)
    if comparison.sample_ratio.p_value is not None:
        yield "ml_comparison_sample_ratio_p_value", where, comparison.sample_ratio.p_value
        yield "ml_comparison_sample_ratio_mismatch", where, float(comparison.sample_ratio.mismatch)


def undefined_samples(family: str, where: tuple[str, ...], missing: Iterable[Missing]) -> Iterator[Sample]:
    """What is missing and why; many subjects of one measure and reason are summed up in one series."""
    subjects: dict[str, dict[tuple[str, str], None]] = {}
    for measure, subject, reason in missing:
        subjects.setdefault(measure.removeprefix("ml_"), {})[subject or "", reason] = None
    for measure, entries in subjects.items():
        summed = len(entries) > MAX_UNDEFINED_SUBJECTS
        counts: dict[str, int] = {}
        for subject, reason in entries:
            if summed or not subject:
                counts[reason] = counts.get(reason, 0) + 1
            else:
                yield family, (*where, measure, subject, reason), 1
        for reason, count in counts.items():
            yield family, (*where, measure, "", reason), count


def threshold_samples(model: str, version: str, config: ModelConfig) -> Iterator[Sample]:
    """What the alerting rules compare ratios of every window with."""
    coverage = config.alerts.labeled_ratio
    if coverage is None:
        given = config.min_label_coverage
        coverage = DEFAULT_COVERAGE if isinstance(given, str) else given
    for window in config.windows:
        where = (model, version, window.name)
        yield "ml_drifted_columns_ratio_threshold", where, config.alerts.drifted_columns
        yield "ml_labeled_ratio_threshold", where, coverage
        for check in QUALITY_CHECKS:
            yield (
                "ml_quality_threshold",
                (model, version, window.name, check),
                config.quality.threshold(check),
            )


def limit_samples(model: str, version: str, config: ModelConfig) -> Iterator[Sample]:
    """What the alerting rules compare ages and shares with that are of no window."""
    ages = config.alerts.ages(
        config.windows, stale_after=config.stale_after, evaluation_interval=config.evaluation_interval
    )
    for subject, seconds in ages.items():
        yield "ml_age_threshold_seconds", (model, version, subject), seconds
    yield "ml_rejected_ratio_threshold", (model, version), config.alerts.rejected_rows


def model_samples(model: str, version: str, *, task: str, baseline: str | None) -> Iterator[Sample]:
    """That a version is there; `baseline` is the id of its active one, None when it has none."""
    yield "ml_model_info", (model, version, task, baseline or "none"), 1


def refresh_samples(model: str, version: str, *, blocked: bool) -> Iterator[Sample]:
    """Whether a refresh of the baseline that a version is compared with waits for a healthy window."""
    yield "ml_baseline_refresh_blocked", (model, version), float(blocked)


def time_samples(model: str, times: Mapping[tuple[str, ...], float | None]) -> Iterator[Sample]:
    """Unix seconds by (what, version): watermark, last_batch, last_label, last_evaluation or baseline."""
    for (what, *rest), seconds in times.items():
        family = _TIMES.get(what)
        if family is not None and seconds is not None and len(rest) == 1:
            yield family, (model, rest[0]), seconds


def counter_samples(model: str, counters: Mapping[tuple[str, ...], float]) -> Iterator[Sample]:
    """Lifetime totals by ("rows" | "labels" | "batches", version) or ("rejected", version, reason).

    The counters of bins, ("bins", version, grid, column, bin), are given in the order of their labels.
    Keys of another kind are left out: the store may count more than is exported.
    """
    for (what, *rest), count in counters.items():
        if what == "bins" and len(rest) == 4:
            version, grid, column, number = rest
            yield "ml_column_rows_total", (model, version, column, grid, number), count
        elif (family := _COUNTERS.get(what)) is not None and len(rest) + 1 == len(FAMILIES[family].labels):
            yield family, (model, *rest), count


def baseline_ratio_samples(
    model: str, version: str, grid: str, column: str, counts: Mapping[str, int]
) -> Iterator[Sample]:
    """The baseline's share of each coarse bin, from its rows by bin; nothing for an empty baseline."""
    total = sum(counts.values())
    for name, count in counts.items():
        if total:
            yield "ml_baseline_ratio", (model, version, column, grid, name), count / total


def metric_info_samples(custom: Iterable[tuple[str, str, bool]] = ()) -> Iterator[Sample]:
    """Unit and direction of every performance metric; once for the whole exporter.

    `custom` adds (name, unit, higher is better) of metrics outside the catalogue; models may share them.
    """
    known = [(metric.name, metric.unit, metric.higher_is_better) for metric in PERFORMANCE_METRICS.values()]
    for name, unit, better in dict.fromkeys((*known, *custom)):
        yield "ml_metric_info", (name, unit, str(better).lower()), 1
