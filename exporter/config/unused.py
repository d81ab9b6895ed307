"""Settings that nothing would act on, since another one is missing: more likely a slip than a wish."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.config.model import DAY_SECONDS, ModelConfig
from exporter.durations import format_duration
from exporter.schema import Kind
from exporter.settings import suggestion
from exporter.yamlfile import Problem


def unused(model: ModelConfig) -> Iterator[Problem]:
    """What is set in vain."""
    yield from _of_time(model)
    yield from _of_columns(model)
    if model.champion is None and model.comparison.model_fields_set:
        yield ("comparison",), "nothing is compared without a champion; name its version in champion"


def _of_time(model: ModelConfig) -> Iterator[Problem]:
    baseline, history = model.baseline, model.history
    names = [window.name for window in model.windows]
    refresh = baseline.refresh
    if refresh is not None and refresh.window is not None and refresh.window not in names:
        at = ("baseline", "refresh", "window")
        yield at, f"there is no window {refresh.window!r}" + suggestion(refresh.window, names)
    if history.full_resolution > history.retention:
        given = "full_resolution" if "full_resolution" in history.model_fields_set else "retention"
        lengths = [format_duration(length) for length in (history.full_resolution, history.retention)]
        yield ("history", given), "full_resolution ({}) is longer than retention ({})".format(*lengths)
    if model.columns.timestamp is None:
        if baseline.season != "none":
            yield ("baseline", "season"), "seasons need columns.timestamp"
        if model.drift.null == "blocks":
            yield ("drift", "null"), "blocks of time need columns.timestamp"
        return
    season = {"hour": ("a day", DAY_SECONDS), "weekday": ("a week", 7 * DAY_SECONDS)}.get(baseline.season)
    if season is not None and min(window.seconds for window in model.windows) >= season[1]:
        yield ("baseline", "season"), f"no window is shorter than {season[0]}, so that none has a season"


def _of_columns(model: ModelConfig) -> Iterator[Problem]:
    if model.features is None:
        return
    schema = model.schema("")
    known = [*model.features, *schema.reserved, *schema.extra_columns]
    for column in model.quality.column_weights:
        if column not in known:
            at = ("quality", "column_weights", column)
            yield at, f"there is no column {column!r}" + suggestion(column, known)
    numbers = sum(feature.type is Kind.NUMERIC for feature in model.features.values())
    if model.drift.multivariate not in ("auto", ()) and numbers < 2:
        yield ("drift", "multivariate"), "columns are tested together from two numeric features on"
