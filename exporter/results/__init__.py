"""What evaluations return: frozen records that are also mappings.

Every record can be read as attributes (`result.value`), as a mapping (`result["value"]`) and as plain JSON
types (`result.to_dict()`). A value that is not defined is a record with a `reason`, never NaN and never an
exception. Reasons are those of the exported family `ml_undefined`: `insufficient_rows`,
`insufficient_labels`, `no_baseline`, `empty`, `constant`, `single_class`, `not_comparable`, `stale`,
`budget`, `error`.

Times are seconds since the Unix epoch. Nothing here knows the rest of the package but
:mod:`exporter.results.records`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from exporter.results.findings import (
    CategoryChanges,
    Freshness,
    MissingTogether,
    OutlierShare,
    SchemaChange,
    ScorePart,
    TopValue,
    VolumeReport,
)
from exporter.results.records import Record


@dataclass(frozen=True, slots=True)
class Estimate(Record):
    """A value with its confidence bounds and the number of rows it rests on."""

    value: float
    lower: float
    upper: float
    n: int


@dataclass(frozen=True, slots=True)
class Undefined(Record):
    """Why a value does not exist; `detail` is a sentence for people."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MetricResult(Record):
    """One performance metric against its baseline.

    `drop` is the worsening against the baseline, positive = worse: a difference for scores in [0, 1], a
    ratio of the baseline's value for errors. `degraded` is true when the drop exceeds the threshold in
    force. When `value` is None, `reason` says why; when only `baseline` or `drop` is None there is nothing
    to compare with.
    """

    value: float | None
    lower: float | None = None
    upper: float | None = None
    baseline: float | None = None
    drop: float | None = None
    degraded: bool = False
    n: int = 0
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EstimatedMetric(Record):
    """One performance metric estimated without labels.

    `rows` is what the estimate rests on. `error` is the estimate minus the realised value over the
    performance window, None until enough labels have come. When `value` is None, `reason` says why.
    """

    value: float | None
    lower: float | None = None
    upper: float | None = None
    rows: int = 0
    error: float | None = None
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PerformanceResults(Record):
    """Metrics by name: `results["accuracy"].value`; iterating gives the names of metrics."""

    metrics: Mapping[str, MetricResult] = field(default_factory=dict)
    rows: int = 0
    threshold: float | None = None
    """`alert_threshold` in force."""

    def __getitem__(self, key: str) -> MetricResult:
        return self.metrics[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)

    @property
    def degraded(self) -> list[str]:
        """Names of the metrics whose drop exceeds the threshold."""
        return [name for name, metric in self.metrics.items() if metric.degraded]


@dataclass(frozen=True, slots=True)
class TestResult(Record):
    """One test of homogeneity on one column; `statistic > critical_value` exactly when `detected`.

    `critical_value` includes the correction for the number of columns and the minimum effect. `q_value` is
    None for methods that only inform, because these belong to no family.
    """

    __test__: ClassVar[bool] = False  # not a test case, whatever pytest thinks of the name

    method: str
    statistic: float
    critical_value: float
    p_value: float
    detected: bool
    minimum_effect: float = 0.0
    q_value: float | None = None


@dataclass(frozen=True, slots=True)
class ColumnDrift(Record):
    """The verdict on one column.

    `method`, `statistic`, `critical_value`, `p_value` and `q_value` are those of the test that decided:
    the column's deciding method, or `missing` when only the share of missing values has changed. Without
    a verdict `detected` is None and `reason` says why. `methods` holds every test that was defined,
    `undefined` the others.
    """

    column: str
    role: str
    method: str | None = None
    detected: bool | None = None
    statistic: float | None = None
    critical_value: float | None = None
    p_value: float | None = None
    q_value: float | None = None
    methods: Mapping[str, TestResult] = field(default_factory=dict)
    undefined: Mapping[str, Undefined] = field(default_factory=dict)
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Contribution(Record):
    """How much of a multivariate change comes from a column, or from a pair of them.

    `value` is a share of the change; for the correlation of a pair, its change in standard deviations. Where
    they are known, `baseline` and `current` are the correlations, or the columns' reconstruction errors.
    """

    columns: tuple[str, ...]
    value: float
    baseline: float | None = None
    current: float | None = None


@dataclass(frozen=True, slots=True)
class MultivariateTest(Record):
    """One test of all columns together; `statistic > critical_value` exactly when `detected`.

    `critical_value` includes the correction for the number of these tests and the minimum effect. Without a
    verdict `detected` is None and `reason` says why. `contributions` lists the columns that contribute most,
    first the largest, whether drift was detected or not.
    """

    method: str
    detected: bool | None = None
    statistic: float | None = None
    critical_value: float | None = None
    p_value: float | None = None
    q_value: float | None = None
    minimum_effect: float = 0.0
    contributions: tuple[Contribution, ...] = ()
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MultivariateReport(Record):
    """Tests by method: `report["mmd"].detected`; iterating gives the names of methods.

    `rows` and `baseline_rows` were measured together, on the first `columns` numeric features.
    """

    methods: Mapping[str, MultivariateTest] = field(default_factory=dict)
    alpha: float = 0.05
    rows: int = 0
    baseline_rows: int = 0
    columns: int = 0

    def __getitem__(self, key: str) -> MultivariateTest:
        return self.methods[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.methods)

    def __len__(self) -> int:
        return len(self.methods)

    @property
    def detected(self) -> list[str]:
        """Names of the methods that found drift."""
        return [name for name, test in self.methods.items() if test.detected]


@dataclass(frozen=True, slots=True)
class DriftReport(Record):
    """Verdicts by column: `drift["distance"].detected`; iterating gives the names of columns."""

    columns: Mapping[str, ColumnDrift] = field(default_factory=dict)
    alpha: float = 0.05
    correction: str = "bh"
    rows: int = 0
    baseline_rows: int = 0
    multivariate: MultivariateReport = field(default_factory=MultivariateReport)

    def __getitem__(self, key: str) -> ColumnDrift:
        return self.columns[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def detected_columns(self) -> list[str]:
        """Names of the columns with drift, of every role."""
        return [name for name, column in self.columns.items() if column.detected]

    @property
    def ratio(self) -> float | None:
        """Share of the feature columns with a verdict that have drifted; None when there is no verdict."""
        verdicts = [
            column.detected
            for column in self.columns.values()
            if column.role == "feature" and column.detected is not None
        ]
        return sum(verdicts) / len(verdicts) if verdicts else None

    def to_dict(self) -> dict[str, Any]:
        return {
            **super(DriftReport, self).to_dict(),
            "detected_columns": self.detected_columns,
            "ratio": self.ratio,
        }


@dataclass(frozen=True, slots=True)
class QualityReport(Record):
    """Ratios in [0, 1], 1 is good; only `duplicate` counts what is bad.

    `completeness`, `uniqueness`, `type_valid`, `in_range` and `known_category` map columns to ratios,
    `validity` maps columns to rules to ratios, `consistency` maps rules to ratios. `timeliness`,
    `duplicate` and `score` are None when there was nothing to measure. `undefined` lists
    (measure, subject or None, reason). `score_parts` maps checks to what they add to the score. What follows
    is of the whole of a window only, `missing_together`, `freshness` and `volume` where they were measured.
    """

    completeness: Mapping[str, float] = field(default_factory=dict)
    uniqueness: Mapping[str, float] = field(default_factory=dict)
    type_valid: Mapping[str, float] = field(default_factory=dict)
    in_range: Mapping[str, float] = field(default_factory=dict)
    known_category: Mapping[str, float] = field(default_factory=dict)
    validity: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    consistency: Mapping[str, float] = field(default_factory=dict)
    duplicate: float | None = None
    timeliness: float | None = None
    score: float | None = None
    rows: int = 0
    undefined: tuple[tuple[str, str | None, str], ...] = ()
    score_parts: Mapping[str, ScorePart] = field(default_factory=dict)
    categories: Mapping[str, CategoryChanges] = field(default_factory=dict)
    schema_changes: tuple[SchemaChange, ...] = ()
    top_value: Mapping[str, TopValue] = field(default_factory=dict)
    outliers: Mapping[str, OutlierShare] = field(default_factory=dict)
    missing_together: MissingTogether | None = None
    freshness: Freshness | None = None
    volume: VolumeReport | None = None


@dataclass(frozen=True, slots=True)
class Window(Record):
    """A sliding window as configured: the text that is exported and its length."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PerformanceWindow(Record):
    """The rows that performance speaks of: labelled rows between `start` and `end`."""

    start: float
    end: float
    rows: int


@dataclass(frozen=True, slots=True)
class Delays(Record):
    """Quantiles of a delay, in seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Evaluation(Record):
    """Everything measured for one model, version, window and segment at one moment.

    `segment` is (column, value), None for the whole. `start` and `end` bound the window by event time;
    `made_at` is when it was evaluated. `confusion` lists (actual, predicted, rows). `undefined` lists
    (measure, subject or None, reason) for all that is missing.
    """

    model: str
    version: str
    window: Window
    segment: tuple[str, str] | None
    start: float
    end: float
    rows: int
    labeled_rows: int
    made_at: float
    performance: PerformanceResults = field(default_factory=PerformanceResults)
    performance_window: PerformanceWindow | None = None
    drift: DriftReport = field(default_factory=DriftReport)
    quality: QualityReport = field(default_factory=QualityReport)
    labeled_ratio: float | None = None
    label_delay: Delays | None = None
    event_delay: Delays | None = None
    confusion: tuple[tuple[str, str, int], ...] = ()
    class_performance: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    ranking: Mapping[str, int] | None = None
    """Rankings: `k`, and how many groups came, were ranked, lack labels, or have no relevant row."""
    residuals: Mapping[str, Any] | None = None
    """Regression: rows, mean and spread of the residuals, and quantiles of their sizes."""
    estimates: Mapping[str, EstimatedMetric] = field(default_factory=dict)
    """What `performance` is estimated to be over all rows of the window, by metric."""
    undefined: tuple[tuple[str, str | None, str], ...] = ()

    @property
    def multivariate(self) -> MultivariateReport:
        """The tests of all columns together, which belong to `drift`."""
        return self.drift.multivariate
