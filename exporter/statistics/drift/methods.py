"""The drift methods by name: what each is defined for, what it computes, and its smallest effect.

Names, units, kinds and minimum effects are the catalogue's; this module binds them to functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from exporter.catalog import DRIFT_METHODS, DriftMethod
from exporter.results import Undefined
from exporter.schema import Kind
from exporter.statistics.drift.anderson_darling import anderson_darling
from exporter.statistics.drift.cramer_von_mises import cramer_von_mises
from exporter.statistics.drift.divergence import (
    chi_square,
    g_test,
    hellinger,
    jensen_shannon,
    largest_difference,
    population_stability_index,
    total_variation,
)
from exporter.statistics.drift.kolmogorov_smirnov import kolmogorov_smirnov
from exporter.statistics.drift.missingness import MISSING, missing_rows, missing_values
from exporter.statistics.drift.nulls import DriftTest
from exporter.statistics.drift.vectors import vectors_discrepancy, vectors_error
from exporter.statistics.drift.views import ColumnView, is_categorical, is_numeric
from exporter.statistics.drift.wasserstein import wasserstein_distance

Statistic = Callable[[Any, Any], DriftTest | Undefined]
Methods = Literal["auto"] | Sequence[str]


@dataclass(frozen=True, slots=True)
class Method:
    """A catalogued method and the function (baseline, current) -> DriftTest behind it."""

    entry: DriftMethod
    function: Statistic
    needs_scale: bool = False

    @property
    def power_to_square(self) -> float:
        """What makes the statistic a squared distance of the distributions: 1 where it is one already."""
        return 1.0 if self.name in SQUARED else 2.0

    @property
    def name(self) -> str:
        return self.entry.name

    def defined_for(self, kind: Kind) -> bool:
        return kind.value in self.entry.kinds

    def unobstructed(self, baseline: ColumnView) -> bool:
        """Whether this baseline gives the method what it needs, whatever the window will hold."""
        return not (self.needs_scale and baseline.n > 0 and not _varies(baseline))

    def minimum_effect(self, baseline_rows: int, current_rows: int) -> float:
        """Smallest statistic that may count as drift, in the method's unit, at these sample sizes."""
        return self.scaled_effect(self.entry.minimum_effect or 0.0, baseline_rows, current_rows)

    def scaled_effect(self, effect: float, baseline_rows: int, current_rows: int) -> float:
        """`effect`, times n m / (n + m) for statistics that grow with the rows."""
        if self.entry.scales_with_rows and baseline_rows and current_rows:
            return effect * baseline_rows * current_rows / (baseline_rows + current_rows)
        return effect


_FUNCTIONS: Mapping[str, Statistic] = {
    "ks": kolmogorov_smirnov,
    "psi": population_stability_index,
    "js": jensen_shannon,
    "wasserstein": wasserstein_distance,
    "hellinger": hellinger,
    "cvm": cramer_von_mises,
    "anderson": anderson_darling,
    "chi2": chi_square,
    "g": g_test,
    "tv": total_variation,
    "linf": largest_difference,
    "mmd": vectors_discrepancy,
    "pca": vectors_error,
    MISSING: missing_values,
}

SQUARED = frozenset({"psi", "chi2", "g", "cvm", "anderson", "mmd"})
"""Methods whose statistic grows as the square of the distance of the distributions."""

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        name: Method(DRIFT_METHODS[name], function, needs_scale=name == "wasserstein")
        for name, function in _FUNCTIONS.items()
    }
)


AUTOMATIC: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.NUMERIC: "ks",
        Kind.DATETIME: "ks",
        Kind.CATEGORICAL: "js",
        Kind.BOOLEAN: "js",
        Kind.EMBEDDING: "mmd",
    }
)
"""The method that decides when none is configured, by the column's kind alone."""


def automatic_method(kind: Kind) -> str | None:
    """The method that decides when none is configured; None for kinds that are not tested one by one."""
    return AUTOMATIC.get(kind)


def methods_for(column: ColumnView, methods: Methods) -> list[str]:
    """The methods of a column: those listed that are defined for its kind, or the automatic one."""
    kind = column.grid.kind
    if methods == "auto":
        automatic = automatic_method(kind)
        return [automatic] if automatic else []
    return [name for name in methods if METHODS[name].defined_for(kind)]


def drift_test(
    method: str, baseline: ColumnView | None, current: ColumnView, *, minimum_rows: int = 1
) -> DriftTest | Undefined:
    """Run one method, or say why it is not defined.

    Parameters
    ----------
    method : str
        A name of `METHODS`.
    baseline, current : columns on one grid
    minimum_rows : int
        Rows with a value that both need; for `missing`, rows.

    Raises
    ------
    KeyError
        There is no such method.
    """
    chosen = METHODS[method]
    if baseline is None:
        return Undefined("no_baseline", "the baseline does not have this column")
    obstacle = _obstacle(chosen, baseline, current, minimum_rows)
    if obstacle is not None:
        return obstacle
    test = chosen.function(baseline, current)
    if isinstance(test, Undefined):
        return test
    if not math.isfinite(test.statistic):
        return Undefined("not_comparable", "the values are too large for floating-point arithmetic")
    return test


def _obstacle(
    method: Method, baseline: ColumnView, current: ColumnView, minimum_rows: int
) -> Undefined | None:
    """Why the method is not defined for these columns."""
    kind = current.grid.kind
    if not method.defined_for(kind):
        return Undefined("not_comparable", f"{method.name} is not defined for {kind.value} columns")
    if not _same_cells(baseline, current):
        return Undefined("not_comparable", "baseline and window are on different grids")
    counted = _all_rows if method.name == MISSING else _rows_with_values
    too_few = _too_few(counted(baseline), counted(current), minimum_rows)
    if too_few is None and method.needs_scale and not _varies(baseline):
        return Undefined("constant", "the baseline does not vary, so it gives no unit of distance")
    return too_few


def _rows_with_values(column: ColumnView) -> int:
    return int(column.n)


def _all_rows(column: ColumnView) -> int:
    return missing_rows(column)[1]


def _too_few(baseline_rows: int, current_rows: int, minimum_rows: int) -> Undefined | None:
    for name, rows in (("baseline", baseline_rows), ("window", current_rows)):
        if rows <= 0:
            return Undefined("empty", f"the {name} has no value in this column")
    for name, rows in (("baseline", baseline_rows), ("window", current_rows)):
        if rows < minimum_rows:
            detail = f"the {name} has {rows} rows with a value, {minimum_rows} are needed"
            return Undefined("insufficient_rows", detail)
    return None


def _same_cells(baseline: ColumnView, current: ColumnView) -> bool:
    """Whether both are counted alike; views of other kinds than counts must share their grid or equal it."""
    if baseline.grid is current.grid:
        return True
    if is_numeric(baseline) and is_numeric(current):
        return np.array_equal(baseline.grid.edges, current.grid.edges)
    if is_categorical(baseline) and is_categorical(current):
        return baseline.grid.categories == current.grid.categories
    return bool(baseline.grid == current.grid)


def _varies(column: ColumnView) -> bool:
    return is_numeric(column) and bool(column.minimum < column.maximum and column.std > 0)
