"""Every name that a user can meet: metric families, performance metrics, drift methods, reasons.

Two people who read this module know every metric there is. It knows nothing else of the package; the
exposition, the statistics, the configuration and the documentation all take their names from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol, TypeVar

FamilyType = Literal["gauge", "counter", "histogram"]

WINDOWED = ("model", "version", "window")
LIFETIME = ("model", "version")
CONTESTED = ("model", "champion", "challenger")
COMPARED = (*CONTESTED, "metric")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family of the exposition.

    Attributes
    ----------
    name : str
        As Prometheus knows it; counters end in `_total`.
    type : {"gauge", "counter", "histogram"}
    labels : tuple of str
        In the order in which samples give their values. A label whose value is empty is left out.
    help : str
    unit : str
        Empty, or a suffix of the name (OpenMetrics demands that), without `_total`.
    produced : bool
        False for families of the contract that no part of the package fills yet.
    """

    name: str
    type: FamilyType
    labels: tuple[str, ...]
    help: str
    unit: str = ""
    produced: bool = True

    @property
    def base(self) -> str:
        """The name in OpenMetrics, where a counter's `_total` belongs to the sample only."""
        return self.name.removesuffix("_total") if self.type == "counter" else self.name


@dataclass(frozen=True, slots=True)
class PerformanceMetric:
    """One realised-performance metric; its name is the label `metric`.

    Attributes
    ----------
    unit : str
        `ratio`, `nat`, or `label`: the unit of the label column.
    higher_is_better : bool
        For `bias` False, and what counts is its distance from zero.
    tasks : tuple of str
    bounded01 : bool
        Always in [0, 1].
    drop : {"difference", "ratio"}
        How worsening against the baseline is measured: a difference for scores, a ratio of the baseline's
        value for errors. Positive is worse in both.
    needs_score : bool
        Whether it is computed from scores, not from predicted classes.
    bounds : str
        Where its 95 % bounds come from.
    """

    name: str
    unit: str
    higher_is_better: bool
    tasks: tuple[str, ...]
    bounded01: bool
    help: str
    drop: Literal["difference", "ratio"] = "difference"
    needs_score: bool = False

    @property
    def bounds(self) -> str:
        return BOUNDS[self.name]


@dataclass(frozen=True, slots=True)
class DriftMethod:
    """One test of a column against its baseline; its name is the label `method`.

    Attributes
    ----------
    unit : str
    kinds : tuple of str
        Column kinds for which it is defined.
    minimum_effect : float or None
        Smallest statistic that may count as drift, in the method's unit; None where there is none.
    scales_with_rows : bool
        The statistic grows with the sample sizes, so `minimum_effect` is multiplied by n*m/(n+m).
    direction : str
        `higher` for every method: a larger statistic is more drift.
    """

    name: str
    unit: str
    kinds: tuple[str, ...]
    minimum_effect: float | None
    help: str
    scales_with_rows: bool = False
    direction: Literal["higher"] = "higher"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_Entry = TypeVar("_Entry", bound=_Named)


def _by_name(entries: Iterable[_Entry]) -> Mapping[str, _Entry]:
    named: dict[str, _Entry] = {}
    for entry in entries:
        if entry.name in named:
            message = f"{entry.name} is in the catalogue twice"
            raise ValueError(message)
        named[entry.name] = entry
    return MappingProxyType(named)


_CLASSIFIERS = ("binary", "multiclass")
_REGRESSION = ("regression",)
_RANKING = ("ranking",)


def _score(name: str, text: str, *, tasks: tuple[str, ...] = _CLASSIFIERS, bounded: bool = True,
           needs_score: bool = False) -> PerformanceMetric:  # fmt: skip
    return PerformanceMetric(name, "ratio", True, tasks, bounded, text, "difference", needs_score)


def _error(name: str, unit: str, text: str, *, tasks: tuple[str, ...] = _REGRESSION, bounded: bool = False,
           needs_score: bool = False) -> PerformanceMetric:  # fmt: skip
    return PerformanceMetric(name, unit, False, tasks, bounded, text, "ratio", needs_score)


PERFORMANCE_METRICS: Mapping[str, PerformanceMetric] = _by_name(
    [
        _score("accuracy", "Share of rows whose prediction equals the label."),
        _score("balanced_accuracy", "Mean over the classes of the recall of each."),
        _score("precision", "Share of positive predictions that are right; macro mean in multiclass."),
        _score("recall", "Share of positive labels that were predicted; macro mean in multiclass."),
        _score("f1", "Harmonic mean of precision and recall; macro mean in multiclass."),
        _score("specificity", "Share of negative labels that were predicted so; macro mean in multiclass."),
        _score("mcc",
               "Matthews correlation coefficient of predictions and labels, in [-1, 1].", bounded=False),
        _score("roc_auc", "Area under the ROC curve; macro one-vs-rest in multiclass.", needs_score=True),
        _score("pr_auc", "Average precision; macro one-vs-rest in multiclass.", needs_score=True),
        _error("log_loss", "nat", "Mean negative log-likelihood of the labels.", tasks=_CLASSIFIERS,
               needs_score=True),
        _error("brier", "ratio", "Mean squared distance of probability and label; in multiclass summed over "
               "the classes, then in [0, 2].", tasks=_CLASSIFIERS, needs_score=True),
        _error("ece", "ratio", "Expected calibration error: mean distance of probability and observed "
               "frequency.", tasks=_CLASSIFIERS, bounded=True, needs_score=True),
        _error("mae", "label", "Mean absolute error."),
        _error("rmse", "label", "Root of the mean squared error."),
        _error("mape", "ratio", "Mean of |error / label| over the rows whose label is not 0."),
        _error("smape", "ratio", "Mean of 2 |error| / (|prediction| + |label|), in [0, 2]."),
        _error("bias", "label", "Mean of prediction minus label; what counts is its distance from 0."),
        _score("r2", "Coefficient of determination, at most 1.", tasks=_REGRESSION, bounded=False),
        _error("median_absolute_error", "label", "Median of the absolute errors, read off an error grid."),
        _error("absolute_error_p90", "label", "The absolute error that nine rows in ten do not exceed."),
        _error("absolute_error_p95", "label", "The absolute error that 95 rows in a hundred do not exceed."),
        _error("absolute_error_p99", "label", "The absolute error that 99 rows in a hundred do not exceed."),
        _score("ndcg_at_k", "Normalised discounted cumulative gain of the first k, mean over the groups.",
               tasks=_RANKING),
        _score("map_at_k", "Mean average precision of the first k.", tasks=_RANKING),
        _score("mrr", "Mean reciprocal rank of the first relevant row.", tasks=_RANKING),
    ]
)  # fmt: skip

BOUNDS: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "Wilson",
        "balanced_accuracy": "MOVER of Wilson bounds; delta method in multiclass",
        "precision": "Wilson; delta method in multiclass",
        "recall": "Wilson; delta method in multiclass",
        "f1": "Wilson of TP / (TP + FP + FN); delta method in multiclass",
        "specificity": "Wilson; delta method in multiclass",
        "mcc": "delta method, Fisher's z",
        "roc_auc": "DeLong, logit; mean of the classes' bounds in multiclass",
        "pr_auc": "delta method or binomial, logit; mean of the classes' bounds in multiclass",
        "log_loss": "Student",
        "brier": "Student",
        "ece": "normal, less the bias of chance; mean of the classes' bounds in multiclass",
        "mae": "Student",
        "rmse": "Student of the squares and of their logarithm",
        "mape": "Student",
        "smape": "Student",
        "bias": "Student",
        "r2": "delta method of moments and of their logarithm",
        "median_absolute_error": "order statistics",
        "ndcg_at_k": "Student between groups, logit",
        "map_at_k": "Student between groups, logit",
        "mrr": "Student between groups, logit",
        "absolute_error_p90": "order statistics",
        "absolute_error_p95": "order statistics",
        "absolute_error_p99": "order statistics",
    }
)
"""Where the 95 % bounds of each performance metric come from; see docs/performance.md."""

_NUMERIC = ("numeric", "datetime")
_CATEGORICAL = ("categorical", "boolean")
_BINNED = (*_NUMERIC, *_CATEGORICAL)
_EMBEDDING = ("embedding",)

DRIFT_METHODS: Mapping[str, DriftMethod] = _by_name(
    [
        DriftMethod("ks", "ratio", _NUMERIC, 0.05,
                    "Kolmogorov-Smirnov: largest distance of the two distribution functions, in [0, 1]."),
        DriftMethod("psi", "nat", _BINNED, 0.02,
                    "Population stability index on deciles or categories, 0.5 added to every cell."),
        DriftMethod("js", "ratio", _BINNED, 0.05, "Jensen-Shannon distance in base 2, in [0, 1]."),
        DriftMethod("wasserstein", "baseline_standard_deviation", _NUMERIC, 0.1,
                    "Wasserstein-1 distance divided by the baseline's standard deviation."),
        DriftMethod("hellinger", "ratio", _BINNED, 0.05, "Hellinger distance, in [0, 1]."),
        DriftMethod("cvm", "none", _NUMERIC, 0.0015,
                    "Two-sample Cramer-von Mises criterion: mean squared distance of the two distribution "
                    "functions, times n m / (n + m).", scales_with_rows=True),
        DriftMethod("anderson", "none", _NUMERIC, 0.0075,
                    "Two-sample Anderson-Darling statistic: as cvm, each square over its variance, so that "
                    "the tails count; about 1 without drift.", scales_with_rows=True),
        DriftMethod("chi2", "none", _BINNED, 0.01, "Chi-square of homogeneity on deciles or categories.",
                    scales_with_rows=True),
        DriftMethod("tv", "ratio", _BINNED, 0.05, "Total variation distance, in [0, 1]."),
        DriftMethod("linf", "ratio", _BINNED, 0.05, "Largest difference of a bin's share, in [0, 1]."),
        DriftMethod("g", "none", _BINNED, 0.01,
                    "G (likelihood ratio) of homogeneity, 0.5 added to every cell.",
                    scales_with_rows=True),
        DriftMethod("mmd", "none", _EMBEDDING, 1e-4,
                    "Squared maximum mean discrepancy of the vectors, Gaussian kernel."),
        DriftMethod("pca", "baseline_standard_deviation", _EMBEDDING, 0.05,
                    "Difference of the mean errors of reconstruction by the baseline's leading components."),
        DriftMethod("missing", "ratio", (*_BINNED, *_EMBEDDING), 0.01,
                    "Difference of the shares of missing values, in [0, 1]."),
    ]
)  # fmt: skip

MULTIVARIATE_METHODS: Mapping[str, DriftMethod] = _by_name(
    [
        DriftMethod("mmd", "none", (), 1e-4,
                    "Squared maximum mean discrepancy of whole rows, Gaussian kernel."),
        DriftMethod("pca", "baseline_standard_deviation", (), 0.05,
                    "Difference of the mean errors of reconstruction by the baseline's leading components."),
        DriftMethod("correlation", "fisher_z", (), 0.05,
                    "Largest change of a correlation of normal scores, as Fisher's z."),
    ]
)  # fmt: skip
"""Tests of all columns together; the values of the label `method` of `ml_multivariate_drift_*`."""

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "insufficient_rows": "The window or the baseline has fewer rows than the measure needs.",
        "insufficient_labels": "Fewer labelled rows than the measure needs.",
        "no_baseline": "There is nothing to compare with yet.",
        "empty": "The column has no value that is neither missing nor infinite.",
        "constant": "The measure needs a scale, and the column does not vary.",
        "single_class": "Only one class occurs among the labels (or predictions), and the measure needs two.",
        "not_comparable": "Window and baseline (or metric and model) do not fit each other.",
        "stale": "No rows arrived for longer than `stale_after`.",
        "budget": "The model's `max_series` is reached; the family is left out.",
        "error": "The computation failed; the log says more.",
    }
)

QUALITY_CHECKS: Mapping[str, float] = MappingProxyType(
    {
        "completeness": 0.9,
        "uniqueness": 0.0,
        "type_valid": 0.99,
        "in_range": 0.95,
        "known_category": 0.95,
        "validity": 0.99,
        "consistency": 0.99,
        "timeliness": 0.95,
        "score": 0.95,
        "duplicate": 0.01,
        "outlier": 0.01,
    }
)
"""The values of the label `check` with their default thresholds: ratios must not fall below theirs, and the
ratios of duplicates and outliers must not exceed theirs. `uniqueness` 0 never alarms: most features
repeat."""


def _gauge(name: str, labels: tuple[str, ...], text: str, unit: str = "", *, produced: bool = True) -> Family:
    return Family(name, "gauge", labels, text, unit, produced)


def _counter(
    name: str, labels: tuple[str, ...], text: str, unit: str = "", *, produced: bool = True
) -> Family:
    return Family(name, "counter", labels, text, unit, produced)


_METRIC = (*WINDOWED, "metric")
_COLUMN = (*WINDOWED, "column")
_TESTED = (*WINDOWED, "column", "role", "method")
_VERDICT = (*WINDOWED, "column", "role")
_SPANNED = (*LIFETIME, "span")

_MODEL_FAMILIES = [
    _gauge("ml_model_info", (*LIFETIME, "task", "baseline"),
           "Always 1: a version that sent rows, its task and the id of its active baseline."),
    _gauge("ml_metric_info", ("metric", "unit", "higher_is_better"),
           "Always 1: unit and direction of every performance metric."),
    _gauge("ml_undefined", (*WINDOWED, "measure", "subject", "reason"),
           "Why a measure is not exported. 1, or without subject the number of subjects summed up."),
    # performance
    _gauge("ml_performance", _METRIC, "Realised performance over the labelled rows of the window."),
    _gauge("ml_performance_lower", _METRIC, "Lower 95 % confidence bound of ml_performance."),
    _gauge("ml_performance_upper", _METRIC, "Upper 95 % confidence bound of ml_performance."),
    _gauge("ml_performance_baseline", _METRIC, "The active baseline's value of the metric."),
    _gauge("ml_performance_drop", _METRIC,
           "Worsening against the baseline, positive is worse: difference for scores, ratio for errors."),
    _gauge("ml_performance_drop_threshold", _METRIC, "The drop that alerts: alert_threshold in force."),
    _gauge("ml_performance_window_end_timestamp_seconds", WINDOWED,
           "Event time at which the performance window ends: the label watermark.", "seconds"),
    _gauge("ml_performance_window_rows", WINDOWED, "Labelled rows in the performance window."),
    _gauge("ml_class_performance", (*WINDOWED, "class", "metric"), "Realised performance of one class."),
    _gauge("ml_ranking_groups", (*WINDOWED, "state"),
           "Groups of rows: ranked, incomplete (some rows lack a label), irrelevant (no relevant row)."),
    _gauge("ml_confusion_rows", (*WINDOWED, "actual", "predicted"),
           "Rows of the performance window by label and prediction."),
    _gauge("ml_labeled_ratio", WINDOWED, "Share of the window's rows whose label is known.", "ratio"),
    _gauge("ml_labeled_ratio_threshold", WINDOWED,
           "Share of labelled rows below which the rules alert: alerts.labeled_ratio in force."),
    _gauge("ml_label_delay_seconds", (*WINDOWED, "q"),
           "Quantiles of the time from an event to the arrival of its label.", "seconds"),
    _gauge("ml_performance_estimate", _METRIC,
           "Performance over all rows of the window, estimated without their labels."),
    _gauge("ml_performance_estimate_lower", _METRIC,
           "Lower 95 % bound of the estimate for the chance in window and baseline; a regressor's does not "
           "cover how wrong the estimate gets when rows change."),
    _gauge("ml_performance_estimate_upper", _METRIC,
           "Upper 95 % bound of the estimate for the chance in window and baseline; a regressor's does not "
           "cover how wrong the estimate gets when rows change."),
    _gauge("ml_performance_estimate_error", _METRIC,
           "Estimate minus realised over the performance window, once labels cover it."),
    # drift
    _gauge("ml_drift_detected", _VERDICT,
           "Verdict of the deciding method: 1 when the column drifted, else 0."),
    _gauge("ml_drift_statistic", _TESTED, "Drift statistic of the column; larger is more drift."),
    _gauge("ml_drift_critical_value", _TESTED,
           "What the statistic must exceed at these row counts, after correction and minimum effect."),
    _gauge("ml_drift_p_value", _TESTED, "P-value of the statistic when nothing drifts."),
    _gauge("ml_drift_q_value", _VERDICT, "Adjusted p-value of the deciding method."),
    _gauge("ml_drift_since_timestamp_seconds", _VERDICT, "Event time since which the drift verdict stands.",
           "seconds"),
    _gauge("ml_drift_alpha", WINDOWED, "False-alarm rate of the verdict: drift_threshold in force."),
    _gauge("ml_drifted_columns_ratio", WINDOWED, "Share of the tested feature columns with drift.", "ratio"),
    _gauge("ml_drifted_columns_ratio_threshold", WINDOWED,
           "Share of drifted columns that alerts: alerts.drifted_columns in force."),
    _gauge("ml_multivariate_drift_statistic", (*WINDOWED, "method"), "Drift statistic over all columns."),
    _gauge("ml_multivariate_drift_critical_value", (*WINDOWED, "method"),
           "What the multivariate statistic must exceed, after correction and minimum effect."),
    _gauge("ml_multivariate_drift_p_value", (*WINDOWED, "method"),
           "P-value of the multivariate statistic when nothing drifts."),
    _gauge("ml_multivariate_drift_detected", (*WINDOWED, "method"), "1 when that test found drift, else 0."),
    # quality
    _gauge("ml_quality_completeness_ratio", _COLUMN, "Share of rows with a value.", "ratio"),
    _gauge("ml_quality_uniqueness_ratio", _COLUMN,
           "Distinct values per row with a value: exact, or estimated for texts of many values.", "ratio"),
    _gauge("ml_quality_type_valid_ratio", _COLUMN, "Share of values of the declared type.", "ratio"),
    _gauge("ml_quality_in_range_ratio", _COLUMN, "Share of values inside the baseline's range.", "ratio"),
    _gauge("ml_quality_known_category_ratio", _COLUMN, "Share of values that the baseline knows.", "ratio"),
    _gauge("ml_quality_validity_ratio", (*_COLUMN, "rule"),
           "Share of rows that pass a validation rule.", "ratio"),
    _gauge("ml_quality_consistency_ratio", (*WINDOWED, "rule"),
           "Share of rows that pass a rule across columns.", "ratio"),
    _gauge("ml_quality_duplicate_ratio", WINDOWED,
           "Share of rows whose id came before; without ids, of rows that repeat one of their batch.",
           "ratio"),
    _gauge("ml_quality_timeliness_ratio", WINDOWED,
           "Share of rows that came within the agreed time.", "ratio"),
    _gauge("ml_quality_score", WINDOWED, "Weighted mean of the quality ratios; 1 is good."),
    _gauge("ml_quality_outlier_ratio", _COLUMN, "Share of values beyond the baseline's fences.", "ratio"),
    _gauge("ml_quality_new_categories", _COLUMN, "Different values that the baseline never had."),
    _gauge("ml_quality_vanished_categories", _COLUMN,
           "Categories of the baseline that no longer come, though they should have."),
    _gauge("ml_quality_schema_changes", (*WINDOWED, "change"),
           "Columns that came (added), went (removed) or arrive as another type (type); the API names them."),
    _gauge("ml_quality_constant_columns", (*WINDOWED, "change"),
           "Columns that became nearly constant (constant) or no longer are (varied); the API names them."),
    _gauge("ml_quality_missing_pair_changes", WINDOWED,
           "Pairs of columns that go missing together more, or less, than in the baseline."),
    _gauge("ml_quality_threshold", (*WINDOWED, "check"), "What the alerting rules compare the ratios with."),
    _gauge("ml_event_delay_seconds", (*WINDOWED, "q"),
           "Quantiles of the time from an event to the arrival of its row.", "seconds"),
    # what a value speaks of
    _gauge("ml_window_rows", WINDOWED, "Rows in the window."),
    _gauge("ml_window_labeled_rows", WINDOWED, "Rows in the window whose label is known."),
    _gauge("ml_window_start_timestamp_seconds", WINDOWED,
           "Event time at which the window starts.", "seconds"),
    _gauge("ml_window_end_timestamp_seconds", WINDOWED, "Event time at which the window ends.", "seconds"),
    _gauge("ml_window_empty_buckets", WINDOWED, "Time buckets of the window without a row."),
    _gauge("ml_window_seconds", WINDOWED, "Length of the window.", "seconds"),
    # comparisons
    _gauge("ml_comparison_difference", COMPARED,
           "Challenger minus champion, oriented so that positive is better."),
    _gauge("ml_comparison_lower", COMPARED, "Always-valid lower bound of ml_comparison_difference."),
    _gauge("ml_comparison_upper", COMPARED, "Always-valid upper bound of ml_comparison_difference."),
    _gauge("ml_comparison_difference_lower", COMPARED, "Another name of ml_comparison_lower."),
    _gauge("ml_comparison_difference_upper", COMPARED, "Another name of ml_comparison_upper."),
    _gauge("ml_comparison_decided", COMPARED, "1 when the bounds exclude 0, else 0."),
    _gauge("ml_comparison_rows", (*COMPARED, "arm"),
           "Labelled rows that an arm's value rests on; arm is champion or challenger."),
    _gauge("ml_comparison_start_timestamp_seconds", COMPARED, "Event time since which arms are compared.",
           "seconds"),
    _gauge("ml_comparison_sample_ratio_p_value", CONTESTED,
           "Always-valid p-value of the arms' row counts against the configured split."),
    _gauge("ml_comparison_sample_ratio_mismatch", CONTESTED,
           "1 when rows do not come to the arms in the configured shares (p-value below 0.01), else 0."),
    # lifetime
    _counter("ml_rows_total", LIFETIME, "Rows accepted."),
    _counter("ml_labels_total", LIFETIME, "Labels joined to a prediction."),
    _counter("ml_batches_total", LIFETIME, "Batches accepted."),
    _counter("ml_rejected_rows_total", (*LIFETIME, "reason"), "Rows rejected or dropped, by reason."),
    _counter("ml_column_rows_total", (*LIFETIME, "column", "grid", "bin"),
             "Rows by coarse bin on frozen edges, by arrival time; the API names the edges."),
    _gauge("ml_baseline_ratio", (*LIFETIME, "column", "grid", "bin"), "The baseline's share of a coarse bin.",
           "ratio"),
    _gauge("ml_volume_rows", _SPANNED, "Rows of the newest complete time buckets."),
    _gauge("ml_volume_expected_rows", _SPANNED, "What was to be expected of these buckets."),
    _gauge("ml_volume_lower_rows", _SPANNED, "Fewer rows than this are too few."),
    _gauge("ml_volume_upper_rows", _SPANNED, "More rows than this are too many."),
    _gauge("ml_volume_detected", (*_SPANNED, "direction"),
           "1 when too few (low) or too many (high) rows came, else 0."),
    _gauge("ml_last_batch_timestamp_seconds", LIFETIME, "When the last batch arrived.", "seconds"),
    _gauge("ml_last_label_timestamp_seconds", LIFETIME, "When the last label arrived.", "seconds"),
    _gauge("ml_last_event_timestamp_seconds", LIFETIME,
           "The newest event time seen: the watermark.", "seconds"),
    _gauge("ml_last_evaluation_timestamp_seconds", LIFETIME, "When the model was last evaluated.", "seconds"),
    _gauge("ml_baseline_refresh_blocked", LIFETIME,
           "1 while a refresh of the baseline is due and no healthy window is there for it, else 0."),
    _gauge("ml_baseline_timestamp_seconds", LIFETIME, "When the active baseline was made.", "seconds"),
    _gauge("ml_baseline_rows", LIFETIME, "Rows of the active baseline."),
    _gauge("ml_age_threshold_seconds", (*LIFETIME, "subject"),
           "Age that alerts; subject is batch, label, evaluation or baseline.", "seconds"),
    _gauge("ml_rejected_ratio_threshold", LIFETIME,
           "Share of rejected rows that alerts: alerts.rejected_rows in force."),
]  # fmt: skip

SEGMENTED = (
    "ml_performance",
    "ml_performance_lower",
    "ml_performance_upper",
    "ml_performance_baseline",
    "ml_performance_drop",
    "ml_performance_window_end_timestamp_seconds",
    "ml_performance_window_rows",
    "ml_labeled_ratio",
    "ml_drift_detected",
    "ml_drift_statistic",
    "ml_drift_critical_value",
    "ml_drift_q_value",
    "ml_drifted_columns_ratio",
    "ml_quality_completeness_ratio",
    "ml_quality_timeliness_ratio",
    "ml_quality_score",
    "ml_undefined",
    "ml_window_rows",
    "ml_window_labeled_rows",
    "ml_window_end_timestamp_seconds",
)
"""Families that exist for segments too, with `segment` and `value` after the labels of the window."""


def segment_name(name: str) -> str:
    """The family that holds a segment's part of `name`: `ml_performance` -> `ml_segment_performance`."""
    return "ml_segment_" + name.removeprefix("ml_")


def _segment_family(whole: Family) -> Family:
    labels = (*WINDOWED, "segment", "value", *whole.labels[len(WINDOWED) :])
    return Family(segment_name(whole.name), whole.type, labels, f"In one segment: {whole.help}", whole.unit)


_EXPORTER_FAMILIES = [
    _gauge("ml_exporter_build_info", ("version", "python"),
           "Always 1: version of the exporter and of Python."),
    _gauge("ml_exporter_start_timestamp_seconds", (), "When the exporter started.", "seconds"),
    _gauge("ml_exporter_ready", (), "1 once the store is recovered and work is taken, else 0."),
    Family("ml_exporter_ingest_seconds", "histogram", ("model", "endpoint"),
           "Time from a body's last byte until its rows are durable.", "seconds"),
    Family("ml_exporter_evaluation_seconds", "histogram", ("model",),
           "Time to evaluate all windows of a model.", "seconds"),
    Family("ml_exporter_render_seconds", "histogram", (),
           "Time to render a snapshot of all series.", "seconds"),
    Family("ml_exporter_http_request_seconds", "histogram", ("method", "route"),
           "Time to answer a request.", "seconds"),
    _counter("ml_exporter_http_requests_total", ("method", "route", "status"), "Requests answered."),
    _counter("ml_exporter_errors_total", ("model", "operation"), "Failures that were caught and logged."),
    _gauge("ml_exporter_series", ("model",), "Series exposed of a model."),
    _gauge("ml_exporter_max_series", ("model",), "The model's series budget: max_series."),
    _counter("ml_exporter_series_dropped_total", ("model", "family"),
             "Series left out of a rendered snapshot because the budget was reached."),
    _gauge("ml_exporter_snapshot_timestamp_seconds", (),
           "When the exposed snapshot was rendered.", "seconds"),
    _gauge("ml_exporter_last_commit_timestamp_seconds", (), "When the store last committed.", "seconds"),
    _gauge("ml_exporter_store_bytes", (), "Size of the store on disk.", "bytes"),
    _gauge("ml_exporter_evaluation_queue", (), "Models that wait for an evaluation."),
    _gauge("ml_exporter_pending_predictions", ("model",), "Predictions that wait for a label."),
    _gauge("ml_exporter_held_labels", ("model",), "Labels that wait for their prediction."),
    _gauge("ml_exporter_prediction_index_bytes", ("model",),
           "Memory of the index of pending predictions.", "bytes"),
]  # fmt: skip

_BRIDGE_FAMILIES = [
    _gauge("ml_bridge_ready", (), "1 once the bridge takes webhooks and delivers, else 0."),
    _gauge("ml_bridge_start_timestamp_seconds", (), "When the bridge started.", "seconds"),
    _counter("ml_bridge_webhooks_total", ("outcome",),
             "Webhooks by outcome: accepted, duplicate, rejected (a wrong payload) or failed (not kept)."),
    _gauge("ml_bridge_last_webhook_timestamp_seconds", (), "When the last webhook was accepted.", "seconds"),
    _gauge("ml_bridge_last_heartbeat_timestamp_seconds", (),
           "When the alert that always fires was last heard of.", "seconds"),
    _counter("ml_bridge_alerts_total", ("severity", "change"),
             "Changes of alerts taken in; change is firing or resolved."),
    _counter("ml_bridge_unrouted_alerts_total", (), "Alerts that no route took; they are in the history."),
    _counter("ml_bridge_reconciled_alerts_total", ("finding",),
             "What Alertmanager knew and the bridge did not: missed (it fires) or ended (it is resolved)."),
    _gauge("ml_bridge_firing_alerts", ("model", "severity", "state"),
           "Alerts that fire now; state is firing, silenced or inhibited."),
    _gauge("ml_bridge_pending_groups", (), "Groups whose aggregation window is open."),
    _counter("ml_bridge_notifications_total", ("channel", "outcome"),
             "Attempts by outcome: delivered, delivered_plain, retried or dead."),
    _gauge("ml_bridge_queue", ("channel",), "Notifications that wait for a channel."),
    _gauge("ml_bridge_oldest_seconds", ("channel",),
           "Age of the oldest notification that waits for a channel; 0 when none does.", "seconds"),
    _gauge("ml_bridge_dead", ("channel",), "Notifications that were given up and not sent again since."),
    _counter("ml_bridge_throttled_total", ("channel",), "Times a channel told us to come again later."),
    _gauge("ml_bridge_last_delivery_timestamp_seconds", ("channel",),
           "When a channel last took a notification.", "seconds"),
    Family("ml_bridge_delivery_seconds", "histogram", ("channel",), "Time of one attempt.", "seconds"),
    _counter("ml_bridge_template_failures_total", ("template",),
             "Times a template failed and the built-in one was used."),
    _counter("ml_bridge_errors_total", ("operation",), "Failures that were caught and logged."),
    _gauge("ml_bridge_store_bytes", (), "Size of the bridge's store on disk.", "bytes"),
    _counter("ml_bridge_http_requests_total", ("method", "route", "status"),
             "HTTP requests of a bridge that runs alone."),
    Family("ml_bridge_http_request_seconds", "histogram", ("method", "route"),
           "Time from a request's header to its response, of a bridge that runs alone.", "seconds"),
    _gauge("ml_bridge_config_last_reload_successful", (), "1 when the last reload took effect, else 0."),
]  # fmt: skip

_PROCESS_FAMILIES = [
    _counter("process_cpu_seconds_total", (), "Processor time used, user and system.", "seconds"),
    _gauge("process_resident_memory_bytes", (), "Resident memory.", "bytes"),
    _gauge("process_virtual_memory_bytes", (), "Virtual memory.", "bytes"),
    _gauge("process_start_time_seconds", (), "When the process started, since the Unix epoch.", "seconds"),
    _gauge("process_open_fds", (), "Open file descriptors."),
    _gauge("process_max_fds", (), "Largest number of file descriptors."),
]

_WHOLE = _by_name(_MODEL_FAMILIES)

FAMILIES: Mapping[str, Family] = _by_name(
    [
        *_MODEL_FAMILIES,
        *(_segment_family(_WHOLE[name]) for name in SEGMENTED),
        *_EXPORTER_FAMILIES,
        *_BRIDGE_FAMILIES,
        *_PROCESS_FAMILIES,
    ]
)
"""Every family, in the order in which it is exposed."""

BUDGET_ORDER: tuple[tuple[str, ...], ...] = (
    tuple(segment_name(name) for name in SEGMENTED if "_quality_" in name),
    tuple(segment_name(name) for name in SEGMENTED if "_drift" in name),
    ("ml_column_rows_total", "ml_baseline_ratio"),
    ("ml_comparison_difference_lower", "ml_comparison_difference_upper"),
    ("ml_class_performance",),
    ("ml_confusion_rows",),
    ("ml_drift_p_value", "ml_multivariate_drift_p_value"),
    ("ml_quality_uniqueness_ratio",),
    ("ml_quality_new_categories", "ml_quality_vanished_categories"),
    ("ml_quality_outlier_ratio",),
    ("ml_quality_type_valid_ratio", "ml_quality_in_range_ratio", "ml_quality_known_category_ratio"),
    tuple(segment_name(name) for name in SEGMENTED if "_quality_" not in name and "_drift" not in name),
    ("ml_quality_validity_ratio",),
    ("ml_drift_since_timestamp_seconds", "ml_drift_q_value"),
    ("ml_drift_statistic", "ml_drift_critical_value"),
    ("ml_quality_completeness_ratio",),
    ("ml_performance_estimate", "ml_performance_estimate_lower", "ml_performance_estimate_upper",
     "ml_performance_estimate_error"),
    ("ml_performance_lower", "ml_performance_upper"),
    ("ml_drift_detected",),
)  # fmt: skip
"""What goes when a model's series budget is reached, first to last; the families of one group go together,
since one is of no use without the other. Families that are not named here always stay."""
