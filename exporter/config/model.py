"""What each setting of a model means, and its default."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from math import gcd
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from exporter.catalog import DRIFT_METHODS, PERFORMANCE_METRICS, QUALITY_CHECKS
from exporter.config.alerting import Alerts
from exporter.config.comparison import Comparison
from exporter.config.custom import FUNCTION, CustomMetric
from exporter.config.segments import SegmentSearch
from exporter.durations import parse_duration
from exporter.results import Window
from exporter.schema import Column, Kind, Role, Schema, ScoreKind, Task
from exporter.settings import DurationSeconds, Settings, suggestion

DAY_SECONDS = 86400.0
NAME_CHARACTERS = 200
"""Longest name of a model, version or segment value."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


def name_problem(name: object) -> str | None:
    """Why `name` cannot name a model, version or segment value, or None."""
    if not isinstance(name, str) or not name or len(name) > NAME_CHARACTERS:
        return f"expected text of 1 to {NAME_CHARACTERS} characters as a name"
    if _CONTROL.search(name):
        return f"the name {name!r} contains control characters"
    return None


def parse_window(text: Any) -> Window:
    """A sliding window of that length, named as it was written (the label `window`).

    Raises
    ------
    ValueError
        The length is not a whole number of seconds, at least one.
    """
    if isinstance(text, Window):
        return text
    seconds = parse_duration(text)
    if seconds < 1 or not seconds.is_integer():
        message = f"expected a whole number of seconds, at least 1s, got {text!r}"
        raise ValueError(message)
    return Window(str(text), seconds)


def class_text(value: object) -> object:
    """A class as text: `true`, `1` for 1.0; what is no scalar stays as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (int, float)) else value


def _class_columns(value: object) -> object:
    return {class_text(key): column for key, column in value.items()} if isinstance(value, dict) else value


def _kind_only(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def _zone(value: object) -> str:
    try:
        return ZoneInfo(str(value)).key
    except (KeyError, ValueError, OSError) as error:  # an unknown zone is a KeyError
        message = f"expected a name such as Europe/Paris, got {value!r}"
        raise ValueError(message) from error


def _or_word(word: str, value: object, *, what: str) -> object:
    """`value`, unless it is a string other than `word`."""
    if isinstance(value, str) and value != word:
        message = f"expected {word} or {what}, got {value!r}"
        raise ValueError(message)
    return value


def _metric(value: object) -> object:
    if isinstance(value, str) and value not in PERFORMANCE_METRICS and not FUNCTION.fullmatch(value):
        if ":" in value:
            message = f"expected package.module:function, got {value!r}"
        else:
            message = f"unknown metric {value!r}" + suggestion(value, list(PERFORMANCE_METRICS))
        raise ValueError(message)
    return value


def _method(value: object) -> object:
    if isinstance(value, str) and value not in DRIFT_METHODS:
        message = f"unknown method {value!r}" + suggestion(value, list(DRIFT_METHODS))
        raise ValueError(message)
    return value


def _check(value: object) -> object:
    if isinstance(value, str) and value not in QUALITY_CHECKS:
        message = f"unknown check {value!r}" + suggestion(value, list(QUALITY_CHECKS))
        raise ValueError(message)
    return value


ColumnName = Annotated[str, Field(min_length=1)]
Metric = Annotated[str, BeforeValidator(_metric)]
AnyMetric = Annotated[str | CustomMetric, BeforeValidator(_metric)]
Method = Annotated[str, BeforeValidator(_method)]
Check = Annotated[str, BeforeValidator(_check)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Scalar = bool | int | float | str | date | datetime


class Columns(Settings):
    """Which columns have a role other than feature."""

    id: ColumnName | None = Field(
        default=None, description="Identifies a prediction; labels that come later name it."
    )
    timestamp: ColumnName | None = Field(
        default=None, description="Event time. Without it, rows count when they arrive."
    )
    prediction: ColumnName = Field(default="prediction", description="The model's answer.")
    score: Annotated[ColumnName | dict[str, ColumnName] | None, BeforeValidator(_class_columns)] = Field(
        default=None,
        description="Probability or margin: a column, or in multiclass a mapping of class to column.",
    )
    label: ColumnName = Field(default="label", description="The truth, with the row or later.")
    group: ColumnName | None = Field(default=None, description="What is ranked together (ranking only).")


class Feature(Settings):
    """A feature's kind; for an embedding also how many elements it has."""

    type: Kind = Field(description="numeric, categorical, boolean, datetime or embedding.")
    size: int | None = Field(default=None, ge=1, le=4096, description="Elements of an embedding.")

    @model_validator(mode="after")
    def _size_fits(self) -> Feature:
        if (self.type is Kind.EMBEDDING) != (self.size is not None):
            message = "an embedding needs a size, and nothing else has one"
            raise ValueError(message)
        return self


class Drift(Settings):
    """How drift of columns is tested."""

    methods: Annotated[
        Literal["auto"] | Annotated[tuple[Method, ...], Field(min_length=1)],
        BeforeValidator(partial(_or_word, "auto", what="a list of methods")),
    ] = Field(
        default="auto",
        description="`auto` (one method a column, by its kind alone) or a list: each is computed where it is "
        "defined for the column's kind, the first of them decides.",
    )
    multivariate: Annotated[
        Literal["auto"] | tuple[Literal["mmd", "pca", "correlation"], ...],
        BeforeValidator(partial(_or_word, "auto", what="a list of methods")),
    ] = Field(
        default="auto",
        description="Tests of all columns together: `auto` (all of them, with at least two numeric features) "
        "or a list of `mmd`, `pca` and `correlation`; `[]` tests nothing together, and a grid made then "
        "counts nothing for it.",
    )
    correction: Literal["bh", "bonferroni", "none"] = Field(
        default="bh", description="For testing many columns at once: Benjamini-Hochberg, Bonferroni or none."
    )
    minimum_effect: Annotated[
        Literal["auto"] | Annotated[float, Field(ge=0)] | dict[Method, Annotated[float, Field(ge=0)]],
        BeforeValidator(partial(_or_word, "auto", what="a number or a mapping of method to number")),
    ] = Field(
        default="auto",
        description="Smallest statistic that may be called drift: `auto` (the catalogue's), one "
        "number, or a mapping of method to number.",
    )
    minimum_rows: int = Field(default=100, ge=2, description="Rows below which a window gets no verdict.")
    null: Literal["independent", "blocks"] = Field(
        default="independent",
        description="What chance alone may do: what it does to `independent` rows, or `blocks`: as much as "
        "the baseline's own stretches of about the window's length differ, by the hour of day for example.",
    )


class Refresh(Settings):
    """When the baseline is replaced by a recent window."""

    every: DurationSeconds = Field(default=30 * DAY_SECONDS, gt=0, description="How often.")
    only_if: Literal["healthy", "always"] = Field(
        default="healthy",
        description="`healthy`: only from a window without drift, performance drop or poor quality.",
    )
    window: str | None = Field(
        default=None, description="Name of the window that is promoted; default the largest."
    )
    on_new_version: bool = Field(
        default=False,
        description="Give a version that appears a baseline of its own, from its first `baseline.rows` rows.",
    )
    keep: int = Field(default=10, ge=1, description="Earlier baselines of this kind that are kept.")


class Baseline(Settings):
    """Where the baseline comes from until one is pushed."""

    source: Literal["first_rows", "pushed"] = Field(
        default="first_rows",
        description="`first_rows`: the first `rows` become a provisional baseline; `pushed`: wait.",
    )
    rows: int = Field(default=10_000, ge=2, description="How many first rows make the provisional baseline.")
    season: Literal["none", "hour", "weekday"] = Field(
        default="none",
        description="Compare windows with the same hours of the baseline only: `hour` of the day (windows "
        "shorter than a day), or `weekday` and hour (shorter than a week).",
    )
    refresh: Refresh | None = Field(
        default=None, description="Replace the baseline regularly; off by default."
    )


class Ranking(Settings):
    """What is measured of rankings (ranking only)."""

    k: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="How many of a group's first rows `ndcg_at_k` and `map_at_k` look at. A model keeps the "
        "`k` of its grid: another one counts from the next first baseline or `?regrid=true` on.",
    )


class Bins(Settings):
    """Which columns get per-bin counters, for drift in PromQL."""

    features: int = Field(default=20, ge=0, description="How many features, beside prediction and score.")


class ValidationRule(Settings):
    """What every value of a column must satisfy; missing values fail `not_null` only."""

    min: float | date | datetime | None = Field(default=None, description="Smallest value.")
    max: float | date | datetime | None = Field(default=None, description="Largest value.")
    not_null: bool | None = Field(default=None, description="Whether a value must be there.")
    allowed: tuple[Scalar, ...] | None = Field(default=None, description="The values that may occur.")
    regex: str | None = Field(
        default=None, description="RE2 expression that must match somewhere in the text."
    )
    type: Literal["numeric", "integer", "string", "boolean", "datetime"] | None = Field(
        default=None, description="What the value must be readable as."
    )
    unique: bool | None = Field(default=None, description="Whether a value may occur only once in a batch.")
    length: Annotated[int, Field(ge=0)] | dict[Literal["min", "max"], Annotated[int, Field(ge=0)]] | None = (
        Field(default=None, description="Characters of the text: a number, or `{min: 1, max: 80}`.")
    )

    def checks(self) -> dict[str, Any]:
        """Rule name -> parameter, for what was given (`not_null: false` is nothing)."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if value is not None and value is not False}

    @model_validator(mode="after")
    def _is_satisfiable(self) -> ValidationRule:
        if not self.checks():
            message = "expected at least one of " + ", ".join(type(self).model_fields)
            raise ValueError(message)
        low, high = self.min, self.max
        if low is not None and high is not None and type(low) is type(high) and low > high:  # type: ignore[operator]
            message = f"min {low} is above max {high}"
            raise ValueError(message)
        return self


class Quality(Settings):
    """What good data look like."""

    timeliness: DurationSeconds | None = Field(
        default=None,
        gt=0,
        description="Agreed time from event to arrival; without it there is no timeliness ratio.",
    )
    validation_rules: dict[ColumnName, ValidationRule] = Field(default={}, description="Rules by column.")
    consistency_rules: dict[ColumnName, Annotated[str, Field(min_length=1, max_length=4000)]] = Field(
        default={}, description="Rules across columns: a SQL boolean expression by rule name."
    )
    thresholds: dict[Check, Ratio] = Field(
        default={}, description="What the alerting rules compare with, by check."
    )
    weights: dict[Check, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="Weight of each check in the quality score; 1 unless given."
    )
    column_weights: dict[ColumnName, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="Weight of each column within its checks; 1 unless given."
    )

    def threshold(self, check: str) -> float:
        return self.thresholds.get(check, QUALITY_CHECKS[check])


class History(Settings):
    """How long what evaluations said is kept."""

    retention: DurationSeconds = Field(
        default=400 * DAY_SECONDS,
        gt=0,
        description="How long before the newest event windows may end whose evaluations are kept.",
    )
    full_resolution: DurationSeconds = Field(
        default=7 * DAY_SECONDS,
        ge=0,
        description="How far back every evaluation is kept; of older ones the last of each `thinned_to`.",
    )
    thinned_to: DurationSeconds = Field(
        default=DAY_SECONDS, ge=1, description="Of so long a time one evaluation is kept in the long run."
    )


class ModelConfig(Settings):
    """One model. Derived defaults (resolution, lateness, ...) are filled in."""

    task: Task = Field(description="binary, multiclass, regression or ranking.")
    columns: Columns = Field(default=Columns(), description="Columns with a role other than feature.")
    positive_label: Scalar = Field(
        default=True, description="The value of prediction and label that is positive (binary)."
    )
    features: dict[ColumnName, Annotated[Feature, BeforeValidator(_kind_only)]] | None = Field(
        default=None,
        description="Kind by feature column (`distance: numeric`, or the mapping below); left out, columns "
        "and kinds are inferred from the baseline.",
    )
    score_kind: ScoreKind = Field(
        default=ScoreKind.PROBABILITY,
        description="`margin` gives ranking metrics only (no log loss, Brier, ECE).",
    )
    metrics: tuple[AnyMetric, ...] | None = Field(
        default=None,
        min_length=1,
        description="Names from the catalogue, `package.module:function`, or a mapping that defines a metric "
        "(below); default all that fit the task and the columns.",
    )
    windows: tuple[Annotated[Window, BeforeValidator(parse_window)], ...] = Field(
        default=(Window("1d", DAY_SECONDS), Window("7d", 7 * DAY_SECONDS)),
        min_length=1,
        max_length=20,
        description="Sliding windows by event time, ending at the newest event seen.",
    )
    resolution: DurationSeconds = Field(
        default=0.0,
        gt=0,
        description="Width of a time bucket; every window is a whole number of them. "
        "Default: a 24th of the smallest window.",
    )
    evaluation_interval: DurationSeconds = Field(
        default=2.0, gt=0, description="Evaluate at most this often, soon after new rows."
    )
    segments: tuple[ColumnName, ...] = Field(
        default=(), description="Columns whose values are measured one by one too."
    )
    max_segment_values: int = Field(
        default=20,
        ge=1,
        description="Values measured of a segment column: the most frequent of the baseline where the column "
        "is a feature, else those that come first. Rows of other values count in the whole only.",
    )
    segment_minimum_rows: int = Field(
        default=100, ge=1, description="Rows of a window below which a segment is not measured."
    )
    segment_search: SegmentSearch | None = Field(
        default=None, description="Search for weak segments; off by default."
    )
    drift_threshold: float = Field(
        default=0.05, gt=0, lt=1, description="False-alarm rate of the drift verdict."
    )
    alert_threshold: float = Field(default=0.1, gt=0, description="Performance drop that alerts.")
    alerts: Alerts = Field(default=Alerts(), description="What else the alerting rules compare with.")
    drift: Drift = Field(default=Drift(), description="How drift is tested.")
    lateness: DurationSeconds = Field(
        default=0.0,
        ge=0,
        description="Rows older than the watermark by more are dropped and counted. "
        "Default: the largest window.",
    )
    future_tolerance: DurationSeconds = Field(
        default=300.0,
        ge=0,
        description="Rows later than the wall clock by more are rejected (reason `future`).",
    )
    label_horizon: DurationSeconds = Field(
        default=30 * DAY_SECONDS, gt=0, description="How long a prediction waits for its label."
    )
    min_label_coverage: Annotated[
        Literal["auto"] | Ratio, BeforeValidator(partial(_or_word, "auto", what="a ratio"))
    ] = Field(
        default="auto",
        description="Coverage from which a bucket counts as labelled: a ratio, or `auto` (half the "
        "median coverage of the labelled buckets).",
    )
    stale_after: DurationSeconds = Field(
        default=0.0,
        gt=0,
        description="Without arrivals this long, windowed series go. Default: twice the largest window.",
    )
    max_series: int = Field(default=5000, ge=10, description="Series budget of the model.")
    max_versions: int = Field(
        default=4, ge=1, description="Versions exported; those with the newest rows stay."
    )
    bins: Bins = Field(default=Bins(), description="Per-bin counters.")
    ranking: Ranking = Field(default=Ranking(), description="What is measured of rankings.")
    classes: int = Field(
        default=20, ge=2, le=1000, description="Classes exported one by one; the rest is `other`."
    )
    baseline: Baseline = Field(default=Baseline(), description="What the model is compared with.")
    quality: Quality = Field(default=Quality(), description="What good data look like.")
    history: History = Field(default=History(), description="How long evaluations are kept.")
    estimation: Literal["auto", "off"] = Field(
        default="auto",
        description="Performance without labels, estimated with what the baseline's labels teach: `auto` "
        "where task and scores allow it, or `off`.",
    )
    champion: str | None = Field(
        default=None,
        description="The version that every other one is compared with; without it nothing is compared.",
    )
    comparison: Comparison = Field(default=Comparison(), description="Comparison of versions.")
    timezone: Annotated[str, BeforeValidator(_zone)] = Field(
        default="UTC", description="IANA zone of event times that name none."
    )
    counter_warmup: DurationSeconds = Field(
        default=60.0, ge=0, description="How long a new per-bin counter shows 0 before its first increment."
    )
    idempotency_retention: DurationSeconds = Field(
        default=0.0,
        description="How long an Idempotency-Key is remembered, at least 24h. "
        "Default: `lateness`, at least 24h.",
    )

    @model_validator(mode="after")
    def _derive(self) -> ModelConfig:
        largest = max(window.seconds for window in self.windows)
        lateness = self.lateness if "lateness" in self.model_fields_set else largest
        derived = {
            "resolution": default_resolution(self.windows),
            "lateness": largest,
            "stale_after": 2 * largest,
            "idempotency_retention": max(lateness, DAY_SECONDS),
        }
        for name, value in derived.items():
            if name not in self.model_fields_set:
                object.__setattr__(self, name, value)  # the model is frozen for everyone else
        return self

    def schema(self, name: str) -> Schema:  # type: ignore[override]  # pydantic's own is long deprecated
        """The columns of this model, which the file calls `name`."""
        columns = self.columns
        score = tuple(columns.score.items()) if isinstance(columns.score, dict) else columns.score
        features = (
            None
            if self.features is None
            else tuple(
                Column(
                    column,
                    feature.type,
                    Role.EMBEDDING if feature.type is Kind.EMBEDDING else Role.FEATURE,
                    feature.size,
                )
                for column, feature in self.features.items()
            )
        )
        extra = [column for column in self.quality.validation_rules if column not in (self.features or ())]
        schema = Schema(
            model=name,
            task=self.task,
            prediction=columns.prediction,
            label=columns.label,
            id=columns.id,
            timestamp=columns.timestamp,
            score=None if self.task is Task.RANKING and score == columns.prediction else score,
            score_kind=self.score_kind,
            positive_label=self.positive_label,
            group=columns.group,
            ranking_k=self.ranking.k,
            timezone=self.timezone,
            features=features,
            segments=self.segments,
            kept=() if self.segment_search is None else self.segment_search.columns,
        )
        return replace(schema, extra_columns=tuple(c for c in extra if c not in schema.reserved))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Catalogue metrics to compute: those listed, or all that fit the task and the score column."""
        if self.metrics is not None:
            return tuple(
                name for name in self.metrics if isinstance(name, str) and name in PERFORMANCE_METRICS
            )
        return tuple(
            name
            for name, metric in PERFORMANCE_METRICS.items()
            if self.task in metric.tasks and (self.columns.score is not None or not metric.needs_score)
        )

    @property
    def custom_metrics(self) -> tuple[CustomMetric, ...]:
        """Metrics of the model's own, in the order of the file."""
        return tuple(
            metric
            if isinstance(metric, CustomMetric)
            else CustomMetric(name=metric.rpartition(":")[2], function=metric)
            for metric in self.metrics or ()
            if isinstance(metric, CustomMetric) or metric not in PERFORMANCE_METRICS
        )


def default_resolution(windows: tuple[Window, ...]) -> float:
    """Seconds nearest to a 24th of the smallest window of which every window is a whole number."""
    common = gcd(*(int(window.seconds) for window in windows))
    wanted = min(window.seconds for window in windows) / 24
    divisors = {d for k in range(1, int(common**0.5) + 1) if common % k == 0 for d in (k, common // k)}
    return float(min(divisors, key=lambda divisor: (abs(divisor - wanted), divisor)))
