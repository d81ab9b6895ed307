"""Settings of a model that are right alone and wrong together."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.catalog import PERFORMANCE_METRICS
from exporter.config.comparison import OF_LABELS
from exporter.config.model import DAY_SECONDS, ModelConfig, name_problem
from exporter.config.unused import unused
from exporter.durations import format_duration
from exporter.schema import Kind, Task
from exporter.settings import suggestion
from exporter.yamlfile import Problem

MAX_BUCKETS = 100_000
"""Most buckets of `resolution` in the largest window."""


def misfits(model: ModelConfig) -> Iterator[Problem]:
    """What is right alone and wrong together."""
    yield from _window_misfits(model)
    yield from _column_misfits(model)
    yield from _metric_misfits(model)
    yield from _search_misfits(model)
    yield from _rule_misfits(model)
    yield from _drift_misfits(model)
    yield from unused(model)
    if model.idempotency_retention < DAY_SECONDS:
        yield ("idempotency_retention",), "expected at least 24h"
    if model.champion is not None and (wrong := name_problem(model.champion)):
        yield ("champion",), wrong
    split = model.comparison.split
    if isinstance(split, dict) and model.champion not in split:
        yield ("comparison", "split"), f"the champion {model.champion!r} has no share"


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
            text = (
                f"{window.name} is no whole number of buckets of {format_duration(resolution)} (resolution)"
            )
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
    yield from _role_misfits(model)
    score, group = model.columns.score, model.columns.group
    if model.task is Task.MULTICLASS and isinstance(score, str):
        yield ("columns", "score"), "multiclass needs a mapping of class to column"
    elif model.task in (Task.BINARY, Task.RANKING) and isinstance(score, dict):
        yield ("columns", "score"), f"{model.task} needs the name of one column"
    elif model.task is Task.REGRESSION and score is not None:
        yield ("columns", "score"), "regression has no score"
    if model.task is Task.RANKING and group is None:
        yield ("columns", "group"), "ranking needs the column that says what is ranked together"
    elif model.task is not Task.RANKING and group is not None:
        yield ("columns", "group"), f"{model.task} has no group"
    if model.task is not Task.RANKING and "ranking" in model.model_fields_set:
        yield ("ranking",), f"{model.task} ranks nothing"
    yield from _feature_misfits(model)


def _feature_misfits(model: ModelConfig) -> Iterator[Problem]:
    columns = model.columns
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


def _search_misfits(model: ModelConfig) -> Iterator[Problem]:
    search = model.segment_search
    if search is not None and model.task is Task.RANKING:
        yield ("segment_search",), "ranking has no loss by row to search for"
    for index, name in enumerate(search.columns if search is not None else ()):
        at = ("segment_search", "columns", index)
        feature = (model.features or {}).get(name)
        if model.features is not None and feature is None:
            yield at, f"{name} is no feature"
        if feature is not None and feature.type in (Kind.EMBEDDING, Kind.DATETIME):
            yield at, f"{name} is {feature.type}; numeric, categorical and boolean features are searched"
        if search is not None and name in search.columns[:index]:
            yield at, f"{name} is named twice"


def _drift_misfits(model: ModelConfig) -> Iterator[Problem]:
    for setting in ("methods", "multivariate"):
        named = getattr(model.drift, setting)
        for index, method in enumerate(() if named == "auto" else named):
            if method in named[:index]:
                yield ("drift", setting, index), f"{method} is named twice"


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
    known = {metric.name for metric in model.custom_metrics}
    for index, name in enumerate(model.comparison.metrics or ()):
        label = name.rpartition(":")[2]
        if name not in PERFORMANCE_METRICS and name not in OF_LABELS and label not in known:
            choices = [*PERFORMANCE_METRICS, *OF_LABELS, *known]
            yield ("comparison", "metrics", index), f"unknown metric {name!r}" + suggestion(name, choices)
        elif name in OF_LABELS and model.task is not OF_LABELS[name]:
            yield ("comparison", "metrics", index), f"{name} does not fit the task {model.task}"
    for place, metrics in (
        (("metrics",), model.metrics),
        (("comparison", "metrics"), model.comparison.metrics),
    ):
        labels.clear()
        for index, given in enumerate(metrics or ()):
            name = given if isinstance(given, str) else given.name
            label = name.rpartition(":")[2]
            metric = PERFORMANCE_METRICS.get(name) if isinstance(given, str) else None
            taken = {**PERFORMANCE_METRICS, **(OF_LABELS if place == ("metrics",) else {})}
            if label in labels or (metric is None and label in taken):
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
                at = ("quality", "validation_rules", column, name)
                yield at, f"{name} does not fit a {feature.type} column"
    if model.quality.timeliness is not None and model.columns.timestamp is None:
        yield ("quality", "timeliness"), "timeliness needs columns.timestamp"
