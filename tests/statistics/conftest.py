"""Columns made from raw values by definition, independently of how the profiles count them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exporter.batch import validate_batch
from exporter.profiles import build_grid, profile_outcomes, profile_rows
from exporter.profiles.categorical import CategoricalColumn
from exporter.profiles.coarse import decile_runs
from exporter.profiles.grid import CategoricalGrid, NumericGrid
from exporter.profiles.numeric import NumericColumn
from exporter.schema import Kind, Role, Schema


def numeric_grid(
    values: Any, *, name: str = "x", role: Role = Role.FEATURE, kind: Kind = Kind.NUMERIC
) -> NumericGrid:
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    distinct = np.unique(values)
    ordered = np.sort(values)
    levels = np.quantile(ordered, np.arange(1001) / 1000, method="inverted_cdf")
    edges = distinct if len(distinct) <= 1001 else np.unique(levels)
    cells = count_cells(edges, values)
    deciles = np.searchsorted(edges, np.quantile(ordered, np.arange(1, 10) / 10, method="inverted_cdf"))
    starts, bins = decile_runs(cells, deciles)
    return NumericGrid(
        name,
        kind,
        role,
        edges,
        float(values.mean()),
        float(np.clip(values - values.mean(), -1e140, 1e140).std()) or 1.0,
        len(distinct) <= 1001,
        starts,
        bins,
    )


def count_cells(edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    left = np.searchsorted(edges, values)
    at = edges[np.minimum(left, len(edges) - 1)] == values
    return np.bincount(2 * left + at, minlength=2 * len(edges) + 1).astype(np.int64)


def numeric_column(grid: NumericGrid, values: Any) -> NumericColumn:
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    deviation = np.clip(finite - grid.center, -1e140, 1e140)
    return NumericColumn(
        grid,
        count_cells(grid.edges, finite),
        int(np.isnan(values).sum()),
        int(np.isinf(values).sum()),
        len(finite),
        float(deviation.sum()),
        float((deviation**2).sum()),
        float(finite.min()) if len(finite) else np.nan,
        float(finite.max()) if len(finite) else np.nan,
        float(finite[finite < grid.edges[0]].sum()),
        float(finite[finite > grid.edges[-1]].sum()),
    )


def categorical_grid(
    values: Any, *, name: str = "c", role: Role = Role.FEATURE, kind: Kind = Kind.CATEGORICAL
) -> CategoricalGrid:
    known = Counter(v for v in values if v is not None)
    return CategoricalGrid(name, kind, role, tuple(sorted(known, key=lambda v: (-known[v], v))))


def categorical_column(grid: CategoricalGrid, values: Any) -> CategoricalColumn:
    counted = Counter(v for v in values if v is not None)
    return CategoricalColumn(
        grid,
        np.array([counted.get(c, 0) for c in grid.categories], np.int64),
        {name: rows for name, rows in counted.items() if name not in grid.categories},
        0,
        sum(v is None for v in values),
        sum(counted.values()),
        len(counted),
    )


@pytest.fixture(scope="session")
def numeric_pair() -> Callable[..., tuple[NumericColumn, NumericColumn]]:
    """Baseline and current values as columns on the baseline's grid."""

    def pair(baseline: Any, current: Any, **named: Any) -> tuple[NumericColumn, NumericColumn]:
        grid = numeric_grid(baseline, **named)
        return numeric_column(grid, baseline), numeric_column(grid, current)

    return pair


@pytest.fixture(scope="session")
def categorical_pair() -> Callable[..., tuple[CategoricalColumn, CategoricalColumn]]:
    """Baseline and current texts (None = missing) as columns on the baseline's grid."""

    def pair(baseline: Any, current: Any, **named: Any) -> tuple[CategoricalColumn, CategoricalColumn]:
        grid = categorical_grid(baseline, **named)
        return categorical_column(grid, baseline), categorical_column(grid, current)

    return pair


def outcome_of(data: dict[str, Any], **schema: Any) -> Any:
    """The outcome profile of rows with the columns p (prediction), y (label) and what `score` names."""
    batch = validate_batch(
        pa.table(data), Schema(model="m", prediction="p", label="y", features=(), **schema), now=0.0
    )
    profile = profile_rows(build_grid(batch), batch)
    profile.add(profile_outcomes(profile.grid, batch.outcomes))
    return profile.outcome()


@pytest.fixture(scope="session")
def outcome() -> Callable[..., Any]:
    """`outcome(data, task=..., score=...)`: the outcome of rows as the exporter profiles them."""
    return outcome_of
