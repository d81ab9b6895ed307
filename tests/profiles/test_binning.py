"""The index of coarse bins counts as each column's own bins do."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from exporter.batch import validate_batch
from exporter.profiles import BinIndex, build_grid, profile_rows
from exporter.schema import Column, Kind, Schema, Task


def test_bins_are_those_of_each_column() -> None:
    """Zeros, tails, missing and new categories fall into the same bins as by `coarse_counts`."""
    generator = np.random.default_rng(5)
    features = (Column("a", Kind.NUMERIC), Column("b", Kind.NUMERIC), Column("c", Kind.CATEGORICAL))
    schema = Schema("m", Task.BINARY, "answer", "truth", score="score", features=features)

    def table(shift: float, names: list[str]) -> pa.Table:
        numbers = generator.normal(size=3000) + shift
        numbers[::50] = np.nan
        return pa.table(
            {
                "a": pa.array(numbers, from_pandas=True),
                "b": np.where(generator.uniform(size=3000) < 0.5, 0.0, generator.integers(1, 9, 3000)),
                "c": generator.choice(names, 3000),
                "answer": generator.uniform(size=3000) < 0.5,
                "score": generator.uniform(size=3000),
            }
        )

    baseline = validate_batch(table(0, ["x", "y"]), schema, now=0.0)
    grid = build_grid(baseline)
    current = profile_rows(grid, validate_batch(table(3, ["x", "z"]), schema, now=0.0))
    index = BinIndex(grid)
    columns = list(dict.fromkeys(name for name, _ in index.bins))
    assert set(columns) == {"a", "b", "c", "answer", "score"}
    expected = np.concatenate([current.coarse_counts(name) for name in columns])
    assert index.count(current).tolist() == expected.tolist()
    assert [name for name, _ in index.bins].count("a") == len(grid.columns["a"].coarse)
