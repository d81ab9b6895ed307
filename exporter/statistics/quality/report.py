"""Quality of the data of one window: shares of rows that are as they should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.results import QualityReport
from exporter.schema import Role
from exporter.statistics.drift.missingness import missing_rows
from exporter.statistics.drift.views import (
    CategoricalView,
    ColumnView,
    NumericView,
    is_categorical,
    is_numeric,
)
from exporter.statistics.quality.score import quality_score
from exporter.statistics.remembered import remembered

if TYPE_CHECKING:
    from collections.abc import Iterable

Tallies = Mapping[tuple[str, ...], int]
Gap = tuple[str, str | None, str]
"""(measure, subject or None, reason) of a ratio that is not defined."""

SCORE_CHECKS = (
    "completeness",
    "uniqueness",
    "type_valid",
    "in_range",
    "known_category",
    "validity",
    "consistency",
    "timeliness",
)
"""Checks that enter the score, each with the mean of its ratios."""


def quality_report(
    columns: Mapping[str, ColumnView],
    tallies: Tallies,
    *,
    rows: int,
    baseline: Mapping[str, ColumnView] | None = None,
    id_column: str | None = None,
    timeliness: bool = False,
    weights: Mapping[str, float] | None = None,
    column_weights: Mapping[str, float] | None = None,
) -> QualityReport:
    """All quality ratios of a window.

    The score knows of uniqueness the id's alone: that the values of a feature repeat is no defect.

    Parameters
    ----------
    columns : mapping of name to column view
        Labels are left out: that they come late is not a defect of the data.
    tallies : mapping
        Additive counts of the profile: ("invalid", column), ("received",), ("duplicate",), ("timely",),
        ("rule", column, rule, "passed" | "checked"), ("consistency", rule, "passed" | "checked").
    rows : int
        Rows of the window.
    baseline : mapping or None
        For `in_range` and `known_category`.
    id_column : str or None
        Whose uniqueness the duplicates tell.
    timeliness : bool
        Whether an agreed time is configured.
    weights : mapping or None
        Check to weight in the score, 1 for those that are not named.
    column_weights : mapping or None
        Column to weight within its checks, 1 for those that are not named.
    """
    if rows <= 0:
        return QualityReport(
            undefined=(
                *((f"quality_{check}_ratio", None, "empty") for check in (*SCORE_CHECKS, "duplicate")),
                ("quality_score", None, "empty"),
            )
        )
    gaps: list[Gap] = []
    features = {name: column for name, column in columns.items() if column.grid.role is not Role.LABEL}
    duplicate = _duplicate_ratio(tallies, rows, by_id=id_column is not None)
    if duplicate is None:
        gaps.append(("quality_duplicate_ratio", None, "not_comparable"))
    unique = {} if id_column is None or duplicate is None else {id_column: 1 - duplicate}
    report: dict[str, Any] = {
        "completeness": {name: _complete(column) for name, column in features.items() if _seen(column)},
        "uniqueness": unique,
        "type_valid": _type_valid(features, tallies, rows),
        "in_range": _in_range(features, baseline, gaps),
        "known_category": _known_category(features, baseline, gaps),
        "validity": _rule_ratios(tallies),
        "consistency": _consistency(tallies),
    }
    timely = min(1.0, tallies.get(("timely",), 0) / rows) if timeliness else None
    score, parts = quality_score(report, timely, weights=weights, column_weights=column_weights)
    if score is None:
        gaps.append(("quality_score", None, "empty"))
    report["uniqueness"] = {**unique, **_distinct_ratios(features, gaps)}
    return QualityReport(
        **report,
        duplicate=duplicate,
        timeliness=timely,
        score=score,
        score_parts=parts,
        rows=rows,
        undefined=tuple(gaps),
    )


def _seen(column: ColumnView) -> bool:
    return missing_rows(column)[1] > 0


def _complete(column: ColumnView) -> float:
    """Share of rows with a value; an infinite one is a value."""
    return 1 - int(column.missing) / missing_rows(column)[1]


def _duplicate_ratio(tallies: Tallies, rows: int, *, by_id: bool) -> float | None:
    """Repeated ids (which are not profiled) among all that came; without ids, repeated rows among the rows.

    None where neither was looked for: rows that came as profiles.
    """
    duplicates = tallies.get(("duplicate",), 0 if by_id else None)
    if duplicates is not None:
        return duplicates / (rows + duplicates)
    repeated = tallies.get(("repeated",))
    return None if repeated is None else min(1.0, repeated / rows)


def _type_valid(columns: Iterable[str], tallies: Tallies, rows: int) -> dict[str, float]:
    """Share of the rows that came whose value had the declared type."""
    received = max(tallies.get(("received",), 0), rows)
    return {name: max(0.0, 1 - tallies.get(("invalid", name), 0) / received) for name in columns}


def _in_range(
    columns: Mapping[str, ColumnView], baseline: Mapping[str, ColumnView] | None, gaps: list[Gap]
) -> dict[str, float]:
    ratios = {}
    for name, column in columns.items():
        if not is_numeric(column):
            continue
        before = None if baseline is None else baseline.get(name)
        if before is not None and column.n + column.nonfinite <= 0:
            gaps.append(("quality_in_range_ratio", name, "empty"))
        elif before is None or not is_numeric(before) or before.n <= 0:
            gaps.append(("quality_in_range_ratio", name, "no_baseline"))
        else:
            ratios[name] = in_range_ratio(before, column)
    return ratios


def in_range_ratio(baseline: NumericView, current: NumericView) -> float:
    """Share of the values between the baseline's minimum and maximum; infinite ones are outside.

    Exact when minimum and maximum are edges, as they are for the baseline that made the grid; otherwise rows
    in the cell that holds the minimum or maximum count as inside, and rows beyond the edges as outside unless
    the current minimum or maximum shows that none is.
    """
    cells = current.cells
    low, high = _extreme_cells(baseline)
    low = 1 if low == 0 and current.minimum < baseline.minimum else low
    high = len(cells) - 2 if high == len(cells) - 1 and current.maximum > baseline.maximum else high
    inside = int(cells[low : high + 1].sum())
    return inside / (int(current.n) + int(current.nonfinite))


@remembered
def _extreme_cells(baseline: NumericView) -> tuple[int, int]:
    """The cells that hold the minimum and the maximum."""
    edges = baseline.grid.edges
    low = 2 * int(np.searchsorted(edges, baseline.minimum)) + int(baseline.minimum in edges)
    high = 2 * int(np.searchsorted(edges, baseline.maximum)) + int(baseline.maximum in edges)
    return low, high


def _known_category(
    columns: Mapping[str, ColumnView], baseline: Mapping[str, ColumnView] | None, gaps: list[Gap]
) -> dict[str, float]:
    ratios = {}
    for name, column in columns.items():
        if not is_categorical(column):
            continue
        before = None if baseline is None else baseline.get(name)
        if before is None or not is_categorical(before) or before.n <= 0:
            gaps.append(("quality_known_category_ratio", name, "no_baseline"))
        elif column.n <= 0:
            gaps.append(("quality_known_category_ratio", name, "empty"))
        else:
            ratios[name] = known_category_ratio(before, column)
    return ratios


def known_category_ratio(baseline: CategoricalView, current: CategoricalView) -> float:
    """Share of the values that the baseline has seen too.

    Values that were not kept by name count as known when the baseline has such values too.
    """
    known = int(current.counts[baseline.counts > 0].sum())
    known += sum(rows for name, rows in current.novel.items() if baseline.novel.get(name, 0) > 0)
    if baseline.other > 0:
        known += int(current.other)
    return known / int(current.n)


def _distinct_ratios(columns: Mapping[str, ColumnView], gaps: list[Gap]) -> dict[str, float]:
    """Different values over values.

    Exact where all different values are counted one by one, else the column's own estimate; numeric columns
    with values between the edges have neither, and are `not_comparable`.
    """
    ratios = {}
    for name, column in columns.items():
        if column.n <= 0:
            gaps.append(("quality_uniqueness_ratio", name, "empty"))
        elif is_categorical(column):
            ratios[name] = min(1.0, _different(column) / int(column.n))
        elif is_numeric(column) and not column.cells[0::2].any():
            ratios[name] = int(np.count_nonzero(column.cells)) / int(column.n)
        else:
            gaps.append(("quality_uniqueness_ratio", name, "not_comparable"))
    return ratios


def _different(column: CategoricalView) -> int:
    if column.other != 0:
        return int(column.distinct)
    return int(np.count_nonzero(column.counts)) + sum(rows > 0 for rows in column.novel.values())


def _rule_ratios(tallies: Tallies) -> dict[str, dict[str, float]]:
    ratios: dict[str, dict[str, float]] = {}
    for key, checked in tallies.items():
        if len(key) == 4 and key[0] == "rule" and key[3] == "checked" and checked > 0:
            _, column, rule, _ = key
            passed = tallies.get(("rule", column, rule, "passed"), 0)
            ratios.setdefault(column, {})[rule] = passed / checked
    return ratios


def _consistency(tallies: Tallies) -> dict[str, float]:
    return {
        key[1]: tallies.get(("consistency", key[1], "passed"), 0) / checked
        for key, checked in tallies.items()
        if len(key) == 3 and key[0] == "consistency" and key[2] == "checked" and checked > 0
    }
