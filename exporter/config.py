"""The exporter's configuration: what each setting means, its default, and what does not fit together.

`load_config` reads a file, `parse_config` a mapping; both report every problem at once, each with its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from math import gcd
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from exporter.catalog import DRIFT_METHODS, PERFORMANCE_METRICS, QUALITY_CHECKS
from exporter.durations import Window, format_duration, parse_duration
from exporter.errors import ConfigurationError
from exporter.schema import Column, Kind, Role, Schema, ScoreKind, Task
from exporter.settings import DurationSeconds, Settings, problems_of, suggestion
from exporter.yamlfile import Problem, expand_environment, path_text, read_file

DAY_SECONDS = 86400.0
NAME_CHARACTERS = 200
"""Longest name of a model, version or segment value."""
MAX_BUCKETS = 100_000
"""Most buckets of `resolution` in the largest window."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_CUSTOM_METRIC = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:([A-Za-z_]\w*)")


def name_problem(name: object) -> str | None:
    """Why `name` cannot name a model, version or segment value, or None."""
    if not isinstance(name, str) or not name or len(name) > NAME_CHARACTERS:
        return f"expected text of 1 to {NAME_CHARACTERS} characters as a name"
    if _CONTROL.search(name):
        return f"the name {name!r} contains control characters"
    return None


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


def _instant(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        message = f"expected a date or time such as 2026-01-31, got {value!r}"
        raise ValueError(message)  # noqa: TRY004  pydantic collects ValueErrors
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _or_word(word: str, value: object, *, what: str) -> object:
    """`value`, unless it is a string other than `word`."""
    if isinstance(value, str) and value != word:
        message = f"expected {word} or {what}, got {value!r}"
        raise ValueError(message)
    return value


def _metric(value: object) -> object:
    if isinstance(value, str) and value not in PERFORMANCE_METRICS and not _CUSTOM_METRIC.fullmatch(value):
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
Method = Annotated[str, BeforeValidator(_method)]
Check = Annotated[str, BeforeValidator(_check)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Scalar = bool | int | float | str | date | datetime


class Columns(Settings):
    """Which columns have a role other than feature."""

    id: ColumnName | None = Field(None, description="Identifies a prediction; labels that come later name it.")
    timestamp: ColumnName | None = Field(None, description="Event time. Without it, rows count when they arrive.")
    prediction: ColumnName = Field("prediction", description="The model's answer.")
    score: Annotated[ColumnName | dict[str, ColumnName] | None, BeforeValidator(_class_columns)] = Field(
        None, description="Probability or margin: a column, or in multiclass a mapping of class to column."
    )
    label: ColumnName = Field("label", description="The truth, with the row or later.")
    group: ColumnName | None = Field(None, description="What is ranked together (ranking only).")


class Feature(Settings):
    """A feature's kind; for an embedding also how many elements it has."""

    type: Kind = Field(description="numeric, categorical, boolean, datetime or embedding.")
    size: int | None = Field(None, ge=1, le=65536, description="Elements of an embedding.")

    @model_validator(mode="after")
    def _size_fits(self) -> Feature:
        if (self.type is Kind.EMBEDDING) != (self.size is not None):
            message = "an embedding needs a size, and nothing else has one"
            raise ValueError(message)
        return self


class Drift(Settings):
    """How drift of columns is tested."""

    methods: Annotated[
        Literal["auto"] | tuple[Method, ...], BeforeValidator(partial(_or_word, "auto", what="a list of methods"))
    ] = Field("auto", description="`auto` (one method a column, by kind and row count) or a list; the first that "
              "is defined for a column decides.")  # fmt: skip
    correction: Literal["bh", "bonferroni", "none"] = Field(
        "bh", description="For testing many columns at once: Benjamini-Hochberg, Bonferroni or none."
    )
    minimum_effect: Annotated[
        Literal["auto"] | Annotated[float, Field(ge=0)] | dict[Method, Annotated[float, Field(ge=0)]],
        BeforeValidator(partial(_or_word, "auto", what="a number or a mapping of method to number")),
    ] = Field("auto", description="Smallest statistic that may be called drift: `auto` (the catalogue's), one "
              "number, or a mapping of method to number.")  # fmt: skip
    minimum_rows: int = Field(100, ge=2, description="Rows below which a window gets no verdict.")


class Refresh(Settings):
    """When the baseline is replaced by a recent window."""

    every: DurationSeconds = Field(30 * DAY_SECONDS, gt=0, description="How often.")
    only_if: Literal["healthy", "always"] = Field(
        "healthy", description="`healthy`: only from a window without drift and without a performance alert."
    )


class Baseline(Settings):
    """Where the baseline comes from until one is pushed."""

    source: Literal["first_rows", "pushed"] = Field(
        "first_rows", description="`first_rows`: the first `rows` become a provisional baseline; `pushed`: wait."
    )
    rows: int = Field(10_000, ge=2, description="How many first rows make the provisional baseline.")
    refresh: Refresh | None = Field(None, description="Replace the baseline regularly; off by default.")


class Bins(Settings):
    """Which columns get per-bin counters, for drift in PromQL."""

    features: int = Field(20, ge=0, description="How many features, beside prediction and score.")


class ValidationRule(Settings):
    """What every value of a column must satisfy; missing values fail `not_null` only."""

    min: float | date | datetime | None = Field(None, description="Smallest value.")
    max: float | date | datetime | None = Field(None, description="Largest value.")
    not_null: bool | None = Field(None, description="Whether a value must be there.")
    allowed: tuple[Scalar, ...] | None = Field(None, description="The values that may occur.")
    regex: str | None = Field(None, description="RE2 expression that must match somewhere in the text.")
    type: Literal["numeric", "integer", "string", "boolean", "datetime"] | None = Field(
        None, description="What the value must be readable as."
    )
    unique: bool | None = Field(None, description="Whether a value may occur only once in a batch.")
    length: Annotated[int, Field(ge=0)] | dict[Literal["min", "max"], Annotated[int, Field(ge=0)]] | None = Field(
        None, description="Characters of the text: a number, or `{min: 1, max: 80}`."
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
        None, gt=0, description="Agreed time from event to arrival; without it there is no timeliness ratio."
    )
    validation_rules: dict[ColumnName, ValidationRule] = Field({}, description="Rules by column.")
    consistency_rules: dict[ColumnName, Annotated[str, Field(min_length=1, max_length=4000)]] = Field(
        {}, description="Rules across columns: a SQL boolean expression by rule name."
    )
    thresholds: dict[Check, Ratio] = Field({}, description="What the alerting rules compare with, by check.")
    weights: dict[Check, Annotated[float, Field(ge=0)]] = Field(
        {}, description="Weight of each ratio in the quality score; 1 unless given."
    )

    def threshold(self, check: str) -> float:
        return self.thresholds.get(check, QUALITY_CHECKS[check])


class Comparison(Settings):
    """Comparison of versions (A/B)."""

    since: Annotated[datetime, BeforeValidator(_instant)] | None = Field(
        None, description="Event time from which rows count; default the first row of the younger arm."
    )
    metrics: tuple[Metric, ...] | None = Field(None, description="What is compared; default the model's metrics.")


class ModelConfig(Settings):
    """One model. Derived defaults (resolution, lateness, ...) are filled in."""

    task: Task = Field(description="binary, multiclass, regression or ranking.")
    columns: Columns = Field(Columns(), description="Columns with a role other than feature.")
    positive_label: Scalar = Field(True, description="The value of prediction and label that is positive (binary).")
    features: dict[ColumnName, Annotated[Feature, BeforeValidator(_kind_only)]] | None = Field(
        None, description="Kind by feature column; left out, columns and kinds are inferred from the baseline."
    )
    score_kind: ScoreKind = Field(
        ScoreKind.PROBABILITY, description="`margin` gives ranking metrics only (no log loss, Brier, ECE)."
    )
    metrics: tuple[Metric, ...] | None = Field(
        None, min_length=1, description="Names from the catalogue or `package.module:function`; default all that "
        "fit the task and the columns.",
    )  # fmt: skip
    windows: tuple[Annotated[Window, BeforeValidator(Window.parse)], ...] = Field(
        (Window("1d", DAY_SECONDS), Window("7d", 7 * DAY_SECONDS)),
        min_length=1, max_length=20, description="Sliding windows by event time, ending at the newest event seen.",
    )  # fmt: skip
    resolution: DurationSeconds = Field(
        0.0, gt=0, description="Width of a time bucket; every window is a whole number of them. "
        "Default: a 24th of the smallest window.",
    )  # fmt: skip
    evaluation_interval: DurationSeconds = Field(
        2.0, gt=0, description="Evaluate at most this often, soon after new rows."
    )
    segments: tuple[ColumnName, ...] = Field((), description="Columns whose values are measured one by one too.")
    max_segment_values: int = Field(
        20, ge=1, description="Values measured of a segment column, the most frequent of the baseline first."
    )
    drift_threshold: float = Field(0.05, gt=0, lt=1, description="False-alarm rate of the drift verdict.")
    alert_threshold: float = Field(0.1, gt=0, description="Performance drop that alerts.")
    drift: Drift = Field(Drift(), description="How drift is tested.")
    lateness: DurationSeconds = Field(
        0.0, ge=0, description="Rows older than the watermark by more are dropped and counted. "
        "Default: the largest window.",
    )  # fmt: skip
    future_tolerance: DurationSeconds = Field(
        300.0, ge=0, description="Rows later than the wall clock by more are rejected (reason `future`)."
    )
    label_horizon: DurationSeconds = Field(
        30 * DAY_SECONDS, gt=0, description="How long a prediction waits for its label."
    )
    min_label_coverage: Annotated[
        Literal["auto"] | Ratio, BeforeValidator(partial(_or_word, "auto", what="a ratio"))
    ] = Field("auto", description="Coverage from which a bucket counts as labelled: a ratio, or `auto` (half the "
              "median coverage of the labelled buckets).")  # fmt: skip
    stale_after: DurationSeconds = Field(
        0.0, gt=0, description="Without arrivals this long, windowed series go. Default: twice the largest window."
    )
    max_series: int = Field(5000, ge=10, description="Series budget of the model.")
    max_versions: int = Field(4, ge=1, description="Versions exported; those with the newest rows stay.")
    bins: Bins = Field(Bins(), description="Per-bin counters.")
    classes: int = Field(20, ge=2, le=1000, description="Classes exported one by one; the rest is `other`.")
    baseline: Baseline = Field(Baseline(), description="What the model is compared with.")
    quality: Quality = Field(Quality(), description="What good data look like.")
    champion: str | None = Field(None, description="The version that others are compared with.")
    comparison: Comparison = Field(Comparison(), description="Comparison of versions.")
    timezone: Annotated[str, BeforeValidator(_zone)] = Field(
        "UTC", description="IANA zone of event times that name none."
    )
    counter_warmup: DurationSeconds = Field(
        60.0, ge=0, description="How long a new per-bin counter shows 0 before its first increment."
    )
    idempotency_retention: DurationSeconds = Field(
        0.0, ge=DAY_SECONDS, description="How long an Idempotency-Key is remembered, at least 24h. "
        "Default: `lateness`, at least 24h.",
    )  # fmt: skip

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
        features = None if self.features is None else tuple(
            Column(
                column,
                feature.type,
                Role.EMBEDDING if feature.type is Kind.EMBEDDING else Role.FEATURE,
                feature.size,
            )
            for column, feature in self.features.items()
        )  # fmt: skip
        extra = [column for column in self.quality.validation_rules if column not in (self.features or ())]
        schema = Schema(
            model=name, task=self.task, prediction=columns.prediction, label=columns.label, id=columns.id,
            timestamp=columns.timestamp, score=score, score_kind=self.score_kind,
            positive_label=self.positive_label, group=columns.group, timezone=self.timezone,
            features=features, segments=self.segments,
        )  # fmt: skip
        return replace(schema, extra_columns=tuple(c for c in extra if c not in schema.reserved))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Catalogue metrics to compute: those listed, or all that fit the task and the score column."""
        if self.metrics is not None:
            return tuple(name for name in self.metrics if name in PERFORMANCE_METRICS)
        return tuple(
            name for name, metric in PERFORMANCE_METRICS.items()
            if self.task in metric.tasks and (self.columns.score is not None or not metric.needs_score)
        )  # fmt: skip

    @property
    def custom_metrics(self) -> dict[str, str]:
        """Label -> `package.module:function` of the custom metrics."""
        given = self.metrics or ()
        return {metric.rpartition(":")[2]: metric for metric in given if metric not in PERFORMANCE_METRICS}


def default_resolution(windows: tuple[Window, ...]) -> float:
    """Seconds nearest to a 24th of the smallest window of which every window is a whole number."""
    common = gcd(*(int(window.seconds) for window in windows))
    wanted = min(window.seconds for window in windows) / 24
    divisors = {d for k in range(1, int(common**0.5) + 1) if common % k == 0 for d in (k, common // k)}
    return float(min(divisors, key=lambda divisor: (abs(divisor - wanted), divisor)))


class Config(Settings):
    """The whole file."""

    models: dict[str, ModelConfig]


def load_config(path: str | Path, environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in a YAML file.

    Raises
    ------
    ConfigurationError
        `problems` lists every (path, message) found.
    """
    return parse_config(read_file(path), environment)


def parse_config(mapping: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in a mapping, `defaults` merged into each model; raises ConfigurationError.

    Examples
    --------
    >>> parse_config({"models": {"m": {"task": "binary", "windows": ["1h"]}}}).models["m"].resolution
    150.0
    """
    given, problems = expand_environment(dict(mapping), environment)
    for key in given:
        if key not in ("models", "defaults"):
            problems.append(((str(key),), "unknown key" + suggestion(str(key), ["models", "defaults"])))
    defaults = given.get("defaults") or {}
    if not isinstance(defaults, dict):
        problems.append((("defaults",), "expected a mapping"))
        defaults = {}
    known = list(ModelConfig.model_fields)
    for key in defaults:
        if key not in known:
            problems.append((("defaults", str(key)), "unknown key" + suggestion(str(key), known)))
    models = given.get("models")
    if not isinstance(models, dict) or not models:
        problems.append((("models",), "expected a mapping of at least one model"))
        models = {}
    usable_defaults = {key: value for key, value in defaults.items() if key in known}
    parsed = {}
    for name, settings in models.items():
        model, found = _parse_model(name, settings, usable_defaults)
        problems.extend(found)
        if model is not None:
            parsed[name] = model
    if problems:
        raise _configuration_error(problems)
    return Config(models=parsed)


def _configuration_error(problems: list[Problem]) -> ConfigurationError:
    pairs = list(dict.fromkeys((path_text(location), message) for location, message in problems))
    first = ": ".join(part for part in pairs[0] if part)
    message = first if len(pairs) == 1 else f"{len(pairs)} problems; the first is {first}"
    return ConfigurationError(message, pairs)


def _parse_model(name: object, settings: object, defaults: dict[str, Any]) -> tuple[ModelConfig | None, list[Problem]]:
    at = ("models", str(name))
    wrong_name = name_problem(name)
    problems: list[Problem] = [(at, wrong_name)] if wrong_name else []
    if not isinstance(settings, dict):
        return None, [*problems, (at, "expected a mapping of settings")]
    merged = _merge(defaults, settings)
    try:
        model: ModelConfig | None = ModelConfig.model_validate(merged)
    except ValidationError as error:
        found = problems_of(error, ModelConfig)
        problems += [(_origin(at, location, settings, defaults), text) for location, text in found]
        wrong = {location[0] for location, _ in found if location}
        model = _without(merged, wrong)
        if model is not None:
            mixed = [problem for problem in _misfits(model) if problem[0][0] not in wrong]
            problems += [(_origin(at, location, settings, defaults), text) for location, text in mixed]
        return None, problems
    problems += [(_origin(at, location, settings, defaults), text) for location, text in _misfits(model)]
    return model, problems


def _without(merged: dict[str, Any], wrong: set[str | int]) -> ModelConfig | None:
    """The model without its wrong settings, so that what remains can be checked against each other."""
    try:
        return ModelConfig.model_validate({key: value for key, value in merged.items() if key not in wrong})
    except ValidationError:
        return None


def _merge(defaults: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for key, value in settings.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _origin(at: tuple[str, str], location: tuple[str | int, ...], settings: Any, defaults: Any) -> tuple[str | int, ...]:
    """Where a setting was written: in the model, or else in `defaults`."""
    if _has(defaults, location) and not _has(settings, location):
        return ("defaults", *location)
    return (*at, *location)


def _has(value: Any, location: tuple[str | int, ...]) -> bool:
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    return bool(location)


def _misfits(model: ModelConfig) -> Iterator[Problem]:
    """What is right alone and wrong together."""
    yield from _window_misfits(model)
    yield from _column_misfits(model)
    yield from _metric_misfits(model)
    yield from _rule_misfits(model)
    if model.champion is not None and (wrong := name_problem(model.champion)):
        yield ("champion",), wrong


def _window_misfits(model: ModelConfig) -> Iterator[Problem]:
    resolution = model.resolution
    seen: dict[float, str] = {}
    for index, window in enumerate(model.windows):
        if window.seconds in seen:
            yield ("windows", index), f"{window.name} is as long as {seen[window.seconds]}"
        seen.setdefault(window.seconds, window.name)
        if resolution < 1 or not resolution.is_integer():
            continue
        if window.seconds % resolution:
            text = f"{window.name} is no whole number of buckets of {format_duration(resolution)} (resolution)"
            yield ("windows", index), text
        elif window.seconds / resolution > MAX_BUCKETS:
            text = (
                f"{window.name} has more than {MAX_BUCKETS:,} buckets of {format_duration(resolution)}; "
                "give a larger resolution"
            )
            yield ("windows", index), text
    if resolution < 1 or not resolution.is_integer():
        yield ("resolution",), "expected a whole number of seconds"


def _column_misfits(model: ModelConfig) -> Iterator[Problem]:
    columns = model.columns
    yield from _role_misfits(model)
    if model.task is Task.MULTICLASS and isinstance(columns.score, str):
        yield ("columns", "score"), "multiclass needs a mapping of class to column"
    elif model.task in (Task.BINARY, Task.RANKING) and isinstance(columns.score, dict):
        yield ("columns", "score"), f"{model.task} needs the name of one column"
    elif model.task is Task.REGRESSION and columns.score is not None:
        yield ("columns", "score"), "regression has no score"
    if model.task is Task.RANKING and columns.group is None:
        yield ("columns", "group"), "ranking needs the column that says what is ranked together"
    elif model.task is not Task.RANKING and columns.group is not None:
        yield ("columns", "group"), f"{model.task} has no group"
    reserved = model.schema("").reserved
    for name in model.features or ():
        if name in reserved:
            yield ("features", name), "this column has another role already (columns)"
    unusable = {columns.id, columns.timestamp, *_score_columns(model)}
    for index, name in enumerate(model.segments):
        if name in unusable:
            yield ("segments", index), f"{name} is the id, the timestamp or a score and makes no segments"
        if name in model.segments[:index]:
            yield ("segments", index), f"{name} is named twice"
        feature = (model.features or {}).get(name)
        if feature and feature.type in (Kind.EMBEDDING, Kind.DATETIME):
            yield ("segments", index), f"{name} is {feature.type} and makes no segments"


def _score_columns(model: ModelConfig) -> list[str]:
    score = model.columns.score
    return list(score.values()) if isinstance(score, dict) else [score] if score else []


def _role_misfits(model: ModelConfig) -> Iterator[Problem]:
    columns = model.columns
    roles: list[tuple[tuple[str, ...], str | None]] = [
        ((role,), getattr(columns, role)) for role in ("id", "timestamp", "prediction", "label", "group")
    ]
    if isinstance(columns.score, dict):
        roles += [(("score", name), column) for name, column in columns.score.items()]
    elif model.task is not Task.RANKING:  # where the score may be the prediction itself
        roles.append((("score",), columns.score))
    seen: dict[str, str] = {}
    for role, column in roles:
        if column is None:
            continue
        if column in seen:
            yield ("columns", *role), f"{column} is the {seen[column]} already"
        seen.setdefault(column, role[0])


def _metric_misfits(model: ModelConfig) -> Iterator[Problem]:
    labels: set[str] = set()
    for place, metrics in ((("metrics",), model.metrics), (("comparison", "metrics"), model.comparison.metrics)):
        labels.clear()
        for index, name in enumerate(metrics or ()):
            label = name.rpartition(":")[2]
            metric = PERFORMANCE_METRICS.get(name)
            if label in labels or (metric is None and label in PERFORMANCE_METRICS):
                yield (*place, index), f"there is another metric called {label}"
            labels.add(label)
            if metric is None:
                continue
            if model.task not in metric.tasks:
                fitting = ", ".join(n for n, m in PERFORMANCE_METRICS.items() if model.task in m.tasks)
                yield (*place, index), f"{name} does not fit the task {model.task}; these do: {fitting}"
            elif metric.needs_score and model.columns.score is None:
                yield (*place, index), f"{name} needs a score; name its column in columns.score"


_TEXT_RULES = ("regex", "length")
_ORDER_RULES = ("min", "max")


def _rule_misfits(model: ModelConfig) -> Iterator[Problem]:
    for column, rule in model.quality.validation_rules.items():
        feature = (model.features or {}).get(column)
        if feature is None:
            continue
        for name in rule.checks():
            wrong = (
                (name in _TEXT_RULES and feature.type is not Kind.CATEGORICAL)
                or (name in _ORDER_RULES and feature.type not in (Kind.NUMERIC, Kind.DATETIME))
                or (name not in ("not_null", *_TEXT_RULES, *_ORDER_RULES) and feature.type is Kind.EMBEDDING)
            )
            if wrong:
                yield ("quality", "validation_rules", column, name), f"{name} does not fit a {feature.type} column"
    if model.quality.timeliness is not None and model.columns.timestamp is None:
        yield ("quality", "timeliness"), "timeliness needs columns.timestamp"
