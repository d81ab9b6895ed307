"""What has changed in the data of a window beside its distributions: the deeper part of a quality report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.profiles import Profile
from exporter.profiles.arrival import USUAL_TYPE
from exporter.profiles.missing_pairs import missing_pairs
from exporter.results import QualityReport
from exporter.results.findings import (
    CategoryChanges,
    MissingTogether,
    OutlierShare,
    SchemaChange,
    TopValue,
)
from exporter.schema import Kind, Role
from exporter.statistics.drift.views import ColumnView, is_categorical, is_numeric
from exporter.statistics.quality.categories import category_changes
from exporter.statistics.quality.constancy import top_value
from exporter.statistics.quality.missing_together import missing_together
from exporter.statistics.quality.outliers import outlier_share
from exporter.statistics.quality.schema_changes import schema_changes

Missing = tuple[str, str | None, str]

OF_BASELINE = (
    "quality_outlier_ratio",
    "quality_new_categories",
    "quality_vanished_categories",
    "quality_schema_changes",
    "quality_constant_columns",
    "quality_missing_pair_changes",
)
"""What needs a baseline on the same grid; without one, it all has one reason."""


@dataclass(slots=True)
class _Found:
    top: dict[str, TopValue] = field(default_factory=dict)
    outliers: dict[str, OutlierShare] = field(default_factory=dict)
    gaps: list[Missing] = field(default_factory=list)


def inspected(
    report: QualityReport,
    current: Profile,
    baseline: Profile | None,
    failed: Callable[[str, str | None, Exception], None],
) -> QualityReport:
    """The report with categories, schema changes, top values, outliers and what goes missing together.

    Whatever fails is left out with the reason `error`, which `failed` is told of.
    """
    if current.rows <= 0:
        return replace(
            report, undefined=(*report.undefined, *((name, None, "empty") for name in OF_BASELINE))
        )
    before = None if baseline is None or baseline.grid.id != current.grid.id else baseline
    found = _Found()
    if before is None:
        found.gaps += [(name, None, "no_baseline") for name in OF_BASELINE]

    def attempt(measure: str, subject: str | None, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except Exception as error:  # noqa: BLE001  # whatever it is, the rest goes on
            failed(measure, subject, error)
            found.gaps.append((measure, subject, "error"))
            return None

    pairs: dict[str, tuple[Any, Any]] = {}
    for name, grid in current.grid.columns.items():
        if grid.role is not Role.LABEL:
            attempt("quality", name, lambda name=name: _column(name, current, before, found, pairs))  # type: ignore[misc]
    categories: Mapping[str, CategoryChanges] | None = attempt(
        "quality_new_categories", None, lambda: category_changes(pairs)
    )
    changes: tuple[SchemaChange, ...] | None = attempt(
        "quality_schema_changes", None, lambda: _schema(current, before)
    )
    together: MissingTogether | None = attempt(
        "quality_missing_pair_changes", None, lambda: _together(current, before)
    )
    return replace(
        report,
        categories=categories or {},
        schema_changes=changes or (),
        top_value=found.top,
        outliers=found.outliers,
        missing_together=together,
        undefined=(*report.undefined, *found.gaps),
    )


def _column(
    name: str, current: Profile, before: Profile | None, found: _Found, pairs: dict[str, tuple[Any, Any]]
) -> None:
    """What is found out about one column."""
    column: ColumnView = current.column(name)
    earlier: ColumnView | None = None if before is None else before.column(name)
    if column.n > 0:
        found.top[name] = top_value(column, earlier)
    if earlier is None:
        return
    defined = column.n > 0 and earlier.n > 0
    if is_categorical(column):
        if defined:
            pairs[name] = earlier, column
        else:
            found.gaps += [
                ("quality_new_categories", name, "empty"),
                ("quality_vanished_categories", name, "empty"),
            ]
    elif is_numeric(column) and is_numeric(earlier) and column.grid.kind is not Kind.DATETIME:
        if defined:
            found.outliers[name] = outlier_share(earlier, column)
        else:
            found.gaps.append(("quality_outlier_ratio", name, "empty"))


def _schema(current: Profile, before: Profile | None) -> tuple[SchemaChange, ...]:
    if before is None:
        return ()
    absent = {key[1] for key in current.tallies if key[0] == "absent"} & current.grid.columns.keys()
    usual = {name: USUAL_TYPE[grid.kind] for name, grid in current.grid.columns.items()}
    rows = max(before.rows, 1)
    return schema_changes(
        current.tallies,
        before.tallies,
        rows=current.rows,
        baseline_rows=before.rows,
        usually_missing={name: int(before.column(name).missing) / rows for name in absent},
        usual_types=usual,
    )


def _together(current: Profile, before: Profile | None) -> MissingTogether:
    names, together = missing_pairs(current.grid, current.features)
    missing = _missing(current, names)
    earlier = None
    if before is not None:
        known, both = missing_pairs(before.grid, before.features)
        earlier = known, _missing(before, known), both, before.rows
    return missing_together(names, missing, together, current.rows, baseline=earlier)


def _missing(profile: Profile, names: tuple[str, ...]) -> NDArray[np.int64]:
    return np.array([int(profile.column(name).missing) for name in names], np.int64)
