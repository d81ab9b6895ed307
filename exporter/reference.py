"""The reference pages, written from the catalogue and the configuration model.

`python -m exporter.reference docs` writes `docs/metrics.md`, `docs/configuration.md` and
`docs/configuration-bridge.md`; a test holds the committed pages to what is rendered here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from exporter.alerts.config import BridgeConfig
from exporter.catalog import (
    BUDGET_ORDER,
    DRIFT_METHODS,
    FAMILIES,
    PERFORMANCE_METRICS,
    QUALITY_CHECKS,
    REASONS,
    DriftMethod,
    Family,
)
from exporter.config import ModelConfig
from exporter.settingtables import settings_sections, settings_table, table

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
        "More columns drifted than allowed", "ml_drifted_columns_ratio > ml_drifted_columns_ratio_threshold"
    ),
    Join("Fewer labels than expected", "ml_labeled_ratio < ml_labeled_ratio_threshold"),
    Join(
        "No batch for too long, by the exporter's own clock",
        "ml_exporter_snapshot_timestamp_seconds - on (job, instance) group_right () "
        'ml_last_batch_timestamp_seconds > ignoring (subject) ml_age_threshold_seconds{subject="batch"}',
    ),
    Join(
        "Population stability index of the last day by arrival, from at least 100 rows",
        f"sum without (bin) (({_SHARE} - {_BASELINE_SHARE}) * ln({_SHARE} / {_BASELINE_SHARE})) "
        "and sum without (bin) (increase(ml_column_rows_total[1d])) >= 100",
    ),
    Join("Share of the series budget in use", "ml_exporter_series / ml_exporter_max_series"),
)
"""Each works as it stands, also for several exporters at once; a test runs them with promtool."""


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
    return [f"## {title}", "", *table(["family", "type", "labels", "meaning"], rows)]


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
    lines += table(
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
    lines += table(
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
    lines += table(["reason", "meaning"], ([f"`{name}`", text] for name, text in REASONS.items()))
    lines += ["## Values of `check`", ""]
    lines += table(
        ["check", "default threshold"],
        ([f"`{name}`", f"{value:g}"] for name, value in QUALITY_CHECKS.items()),
    )
    lines += _budget_section()
    lines += ["## Comparing families in PromQL", ""]
    for join in JOINS:
        lines += [f"{join.title}:", "", "```promql", join.expression, "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _effect(value: float | None, method: DriftMethod) -> str:
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
    lines += settings_table(ModelConfig, "", sections)
    lines += settings_sections(sections)
    return "\n".join(lines).rstrip() + "\n"


_BRIDGE_INTRODUCTION = """\
`ml-exporter bridge --config.file bridge.yml` (or `serve --bridge.config.file bridge.yml`) reads YAML with
the keys below; only `channels` is needed. Unknown keys and keys given twice are errors, and
`ml-exporter check-config bridge.yml` lists every problem with its path.

In every value `${NAME}` is replaced by the environment variable, `${NAME:-text}` by `text` where it is not
set, and `$${` stands for `${`. Every key whose type is a secret also exists with `_file` at its end: a path,
whose content without the line's end is the secret. Durations are written as Prometheus writes them: `90s`,
`1h30m`, `1d`, `2w`. Secrets never appear in logs, metrics, errors or answers.

`SIGHUP` or `POST /-/reload` reads the file again. What cannot be used changes nothing, is logged with its
paths, and sets `ml_bridge_config_last_reload_successful` to 0. Queues and open threads stay. What waits for
a channel that is no longer in the file waits a day for it to come back, is shown by `ml_bridge_queue`
meanwhile, and is given up after that."""


def render_bridge_configuration() -> str:
    """The page of every setting of `bridge.yml`."""
    lines = ["# Configuration of the bridge", "", NOTICE, "", *_BRIDGE_INTRODUCTION.splitlines(), ""]
    sections: list[tuple[str, type[BaseModel]]] = []
    lines += ["## The file", "", *settings_table(BridgeConfig, "", sections)]
    lines += settings_sections(sections)
    return "\n".join(lines).rstrip() + "\n"


PAGES = {
    "metrics.md": render_metrics,
    "configuration.md": render_configuration,
    "configuration-bridge.md": render_bridge_configuration,
}


def main() -> None:
    """Write the pages into the directory named on the command line."""
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for name, render in PAGES.items():
        (directory / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
