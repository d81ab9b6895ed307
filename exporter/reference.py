"""The reference pages, written from the catalogue and the configuration model.

`python -m exporter.reference docs` writes `docs/metrics.md` and `docs/configuration.md`; a test holds the
committed pages to what is rendered here.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from exporter.catalog import (
    BUDGET_ORDER,
    DRIFT_METHODS,
    FAMILIES,
    PERFORMANCE_METRICS,
    QUALITY_CHECKS,
    REASONS,
    Family,
)
from exporter.config import ModelConfig
from exporter.durations import format_duration, parse_duration
from exporter.results import Window

NOTICE = (
    "<!-- Written by `python -m exporter.reference docs` from the code. Change the code, not this page. -->"
)


@dataclass(frozen=True, slots=True)
class Join:
    """A PromQL expression that compares families, and what it says."""

    title: str
    expression: str


def _below_threshold(check: str, extra: str = "") -> Join:
    name = "ml_quality_score" if check == "score" else f"ml_quality_{check}_ratio"
    sign = ">" if check in {"duplicate", "outlier"} else "<"
    group = " group_left ()" if extra else ""
    labels = f"{extra}, check" if extra else "check"
    return Join(
        f"Quality: {check.replace('_', ' ')} past its threshold",
        f'{name} {sign} ignoring ({labels}){group} ml_quality_threshold{{check="{check}"}}',
    )


_SMOOTHED = "(increase(ml_column_rows_total[1d]) + 0.5)"
_SHARE = f"({_SMOOTHED} / ignoring (bin) group_left () sum without (bin) {_SMOOTHED})"
_BASELINE_SHARE = "clamp_min(ml_baseline_ratio, 1e-4)"

JOINS: tuple[Join, ...] = (
    Join("Performance dropped more than allowed", "ml_performance_drop > ml_performance_drop_threshold"),
    Join("Performance against the baseline", "ml_performance - ml_performance_baseline"),
    Join(
        "Performance that rests on at least 100 labelled rows",
        "ml_performance and ignoring (metric) ml_performance_window_rows >= 100",
    ),
    Join(
        "Performance with the metric's unit as a label",
        "ml_performance * on (job, instance, metric) group_left (unit) ml_metric_info",
    ),
    Join(
        "A segment against the whole",
        "ml_segment_performance - ignoring (segment, value) group_left () ml_performance",
    ),
    Join("A column drifted, by every method", "ml_drift_statistic > ml_drift_critical_value"),
    Join(
        "Strong evidence of drift: q below a hundredth of the false-alarm rate",
        "ml_drift_q_value < ignoring (column, role) group_left () (ml_drift_alpha / 100)",
    ),
    Join(
        "Drift that has stood for a quarter of the window",
        "(ml_window_end_timestamp_seconds - ignoring (column, role) group_right () "
        "ml_drift_since_timestamp_seconds) >= ignoring (column, role) group_left () (ml_window_seconds / 4)",
    ),
    *(
        _below_threshold(check, extra)
        for check, extra in {
            "completeness": "column",
            "uniqueness": "column",
            "type_valid": "column",
            "in_range": "column",
            "known_category": "column",
            "validity": "column, rule",
            "consistency": "rule",
            "timeliness": "",
            "score": "",
            "duplicate": "",
            "outlier": "column",
        }.items()
    ),
    Join("Fewer rows than were to be expected", "ml_volume_rows < ml_volume_lower_rows"),
    Join(
        "Population stability index of the last day by arrival, from at least 100 rows",
        f"sum without (bin) (({_SHARE} - {_BASELINE_SHARE}) * ln({_SHARE} / {_BASELINE_SHARE})) "
        "and sum without (bin) (increase(ml_column_rows_total[1d])) >= 100",
    ),
    Join("Share of the series budget in use", "ml_exporter_series / ml_exporter_max_series"),
)
"""Each works as it stands, also for several exporters at once; a test runs them with promtool."""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return [*lines, ""]


def _code(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _family_section(title: str, families: list[Family]) -> list[str]:
    rows = [
        [
            f"`{family.name}`",
            family.type,
            _code(family.labels),
            family.help + ("" if family.produced else " *(Named, not yet produced.)*"),
        ]
        for family in families
    ]
    return [f"## {title}", "", *_table(["family", "type", "labels", "meaning"], rows)]


def _families(title: str, *prefixes: str, rest: dict[str, Family]) -> list[str]:
    """The section of families whose names begin so; takes them out of `rest`."""
    chosen = [name for name in rest if name.startswith(prefixes)]
    return _family_section(title, [rest.pop(name) for name in chosen])


def render_metrics() -> str:
    """The page of every metric family, performance metric, drift method and reason."""
    rest = dict(FAMILIES)
    lines = [
        "# Metrics",
        "",
        NOTICE,
        "",
        "What `/metrics` exposes, as text 0.0.4 or OpenMetrics 1.0.0. Measures carry `model`, `version` and",
        "`window` (as configured, such as `1d`). A value that is not defined is not exposed: `ml_undefined`",
        "says why. Label values longer than 256 characters are cut, control characters replaced, and then a",
        "hash of the whole is appended, so that different values stay different.",
        "",
        *_families("Performance", "ml_performance", "ml_class_", "ml_confusion", "ml_label", rest=rest),
        *_families("Drift", "ml_drift", "ml_multivariate", "ml_column_rows", "ml_baseline_ratio", rest=rest),
        *_families("Data quality", "ml_quality", "ml_event_delay", rest=rest),
        *_families("Windows", "ml_window", rest=rest),
        *_families("Segments", "ml_segment_", rest=rest),
        *_families("Comparisons of versions", "ml_comparison", rest=rest),
        *_families("The exporter itself", "ml_exporter", "process_", rest=rest),
        *_family_section("Everything else", list(rest.values())),
    ]
    lines += ["## Values of `metric`", ""]
    lines += _table(
        ["metric", "unit", "better", "drop", "tasks", "needs scores", "bounds", "meaning"],
        (
            [
                f"`{m.name}`",
                m.unit,
                "higher" if m.higher_is_better else "lower",
                m.drop,
                ", ".join(m.tasks),
                "yes" if m.needs_score else "no",
                m.bounds,
                m.help,
            ]
            for m in PERFORMANCE_METRICS.values()
        ),
    )
    lines += ["## Values of `method`", "", "A larger statistic is more drift, for every method.", ""]
    lines += _table(
        ["method", "unit", "kinds", "minimum effect", "meaning"],
        (
            [
                f"`{m.name}`",
                m.unit.replace("_", " "),
                ", ".join(m.kinds),
                _effect(m.minimum_effect, m),
                m.help,
            ]
            for m in DRIFT_METHODS.values()
        ),
    )
    lines += ["## Values of `reason`", ""]
    lines += _table(["reason", "meaning"], ([f"`{name}`", text] for name, text in REASONS.items()))
    lines += ["## Values of `check`", ""]
    lines += _table(
        ["check", "default threshold"],
        ([f"`{name}`", f"{value:g}"] for name, value in QUALITY_CHECKS.items()),
    )
    lines += _budget_section()
    lines += ["## Comparing families in PromQL", ""]
    for join in JOINS:
        lines += [f"{join.title}:", "", "```promql", join.expression, "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _effect(value: float | None, method: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" + (" * n*m/(n+m)" if method.scales_with_rows else "")


def _budget_section() -> list[str]:
    lines = [
        "## What goes when `max_series` is reached",
        "",
        "Whole families, in this order, until the rest fits; those of a line go together. Each is named by",
        '`ml_undefined{reason="budget"}` and counted by `ml_exporter_series_dropped_total`. What is not',
        "listed always stays. Of families of segments, the healthiest segments go first, one by one, and",
        "the value of `ml_undefined` is their number; only when all must go do the families go as a whole.",
        "",
    ]
    lines += [f"{number}. {_code(group)}" for number, group in enumerate(BUDGET_ORDER, 1)]
    return [*lines, ""]


_CONFIGURATION_INTRODUCTION = """\
`ml-exporter serve --config.file models.yml` reads YAML with two keys: `models`, a mapping of name to
settings, and `defaults`, settings that every model starts from (mappings are merged, lists replaced).
Unknown keys and keys given twice are errors; `ml-exporter check-config models.yml` lists every problem
with its path. Only `true` and `false` are booleans (`NO` is a string).

In every value `${NAME}` is replaced by the environment variable, `${NAME:-text}` by `text` where it is not
set, and `$${` stands for `${`. Durations are written as Prometheus writes them: `90s`, `1h30m`, `1d`, `2w`.
Names of models, versions and segment values are any text of up to 200 characters without control
characters."""


def render_configuration() -> str:
    """The page of every setting of `models.yml`."""
    lines = [
        "# Configuration",
        "",
        NOTICE,
        "",
        *_CONFIGURATION_INTRODUCTION.splitlines(),
        "",
        "## A model",
        "",
    ]
    sections: list[tuple[str, type[BaseModel]]] = []
    lines += _settings_table(ModelConfig, "", sections)
    while sections:
        path, settings = sections.pop(0)
        lines += [f"## `{path}`", "", (settings.__doc__ or "").strip().splitlines()[0], ""]
        lines += _settings_table(settings, path, sections)
    return "\n".join(lines).rstrip() + "\n"


def _settings_table(
    settings: type[BaseModel], path: str, sections: list[tuple[str, type[BaseModel]]]
) -> list[str]:
    rows = []
    for name, field in settings.model_fields.items():
        rows.append(
            [
                f"`{name}`",
                _type_text(field.annotation, field.metadata),
                _default(field),
                field.description or "",
            ]
        )
        inner = _settings_inside(field.annotation)
        if inner is not None:
            step = ".<name>" if get_origin(_without_none(field.annotation)) is dict else ""
            sections.append((f"{path}.{name}{step}".removeprefix("."), inner))
    return _table(["key", "type", "default", "meaning"], rows)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [argument for argument in get_args(annotation) if argument is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _settings_inside(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [inner for argument in get_args(annotation) if (inner := _settings_inside(argument)) is not None]
    return found[0] if found else None


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "needed"
    if isinstance(value, BaseModel):
        return ""
    if "Default:" in (field.description or ""):
        return "see there"
    return f"`{_value_text(value, field.metadata)}`" if value not in (None, {}, ()) else ""


def _value_text(value: Any, metadata: list[Any]) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if _is_duration(metadata):
        return format_duration(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_value_text(item, []) for item in value) + "]"
    if isinstance(value, Window):
        return value.name
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _is_duration(metadata: Iterable[Any]) -> bool:
    return any(isinstance(item, BeforeValidator) and item.func is parse_duration for item in metadata)


_NAMES: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    date: "date",
    datetime: "time",
    Window: "duration",
}


def _type_text(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type as people say it."""
    if _is_duration(metadata):
        return "duration"
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _type_text(arguments[0], arguments[1:])
    return _composed(get_origin(annotation), arguments) if arguments else _simple(annotation)


def _composed(origin: Any, arguments: tuple[Any, ...]) -> str:
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {_plural(_type_text(arguments[0]))}"
    if origin is dict:
        return f"mapping of {_type_text(arguments[0])} to {_type_text(arguments[1])}"
    parts = [_type_text(argument) for argument in arguments if argument is not type(None)]
    return "value" if len(parts) > 4 else " or ".join(dict.fromkeys(parts))


def _simple(annotation: Any) -> str:
    if issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    return "mapping" if issubclass(annotation, BaseModel) else _NAMES[annotation]


def _plural(text: str) -> str:
    return text if text == "text" or " " in text else f"{text}s"


PAGES = {"metrics.md": render_metrics, "configuration.md": render_configuration}


def main() -> None:
    """Write the pages into the directory named on the command line."""
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for name, render in PAGES.items():
        (directory / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
