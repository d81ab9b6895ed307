"""Rows that lack two columns, counted against brute force; counts merge, and complete data cost nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from exporter.batch import Batch, validate_batch
from exporter.profiles import Profile, build_grid, decode, encode, profile_rows
from exporter.profiles.missing_pairs import MOST_COLUMNS, missing_pairs
from exporter.schema import Column, Kind, Schema, Task

KINDS = (Kind.NUMERIC, Kind.CATEGORICAL, Kind.DATETIME)


def schema_of(columns: int) -> Schema:
    features = tuple(Column(f"x{place}", KINDS[place % 3]) for place in range(columns))
    return Schema("m", Task.REGRESSION, "p", "y", features=features)


def batch_of(schema: Schema, mask: np.ndarray, seed: int = 0) -> Batch:
    """Rows whose values are missing where the mask (rows, columns) says so."""
    generator = np.random.default_rng(seed)
    data: dict[str, pa.Array] = {"p": pa.array(generator.normal(size=len(mask)))}
    for place, column in enumerate(schema.features or ()):
        values = generator.integers(0, 5, len(mask))
        texts = values.astype(str) if column.kind is Kind.CATEGORICAL else values.astype(float)
        data[column.name] = pa.array(texts, mask=mask[:, place])
    return validate_batch(pa.table(data), schema, now=0.0)


def brute_force(mask: np.ndarray) -> np.ndarray:
    together = mask[:, :MOST_COLUMNS].T.astype(np.int64) @ mask[:, :MOST_COLUMNS].astype(np.int64)
    np.fill_diagonal(together, 0)
    return together


def whole(profile: Profile, columns: int) -> np.ndarray:
    """The pair counts of all counted columns."""
    names, together = missing_pairs(profile.grid, profile.features)
    places = [int(name[1:]) for name in names]
    full = np.zeros((min(columns, MOST_COLUMNS),) * 2, np.int64)
    full[np.ix_(places, places)] = together
    return full


@pytest.mark.parametrize(("rows", "columns"), [(1, 4), (7, 3), (400, 40), (3000, 70), (200, 150)])
def test_pairs_equal_brute_force(rows, columns):
    """Short and long batches, few and many columns: the counts of the first 128 columns are exact."""
    schema = schema_of(columns)
    complete = np.zeros((50, columns), bool)
    grid = build_grid(batch_of(schema, complete))
    mask = np.random.default_rng(rows).random((rows, columns)) < 0.3
    profile = profile_rows(grid, batch_of(schema, mask))
    assert (whole(profile, columns) == brute_force(mask)).all()
    again = decode(encode(profile), grid)
    assert (whole(again, columns) == brute_force(mask)).all()


def test_pairs_merge_as_rows_do():
    """The profile of all rows is the sum of the profiles of its parts, in any order."""
    schema = schema_of(35)
    generator = np.random.default_rng(5)
    mask = generator.random((900, 35)) < generator.random(35) * 0.2
    grid = build_grid(batch_of(schema, np.zeros((50, 35), bool)))
    parts = [profile_rows(grid, batch_of(schema, mask[rows])) for rows in np.split(np.arange(900), (3, 250))]
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = Profile.empty(grid)
        for place in order:
            merged.add(parts[place])
        assert (whole(merged, 35) == brute_force(mask)).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_rows_that_lack_at_most_one_value_write_nothing(share):
    """Complete rows, and rows of which each lacks one value, have no pairs to keep."""
    schema = schema_of(6)
    mask = np.zeros((60, 6), bool)
    if share:
        mask[np.arange(60), np.arange(60) % 6] = True
    profile = profile_rows(build_grid(batch_of(schema, np.zeros((50, 6), bool))), batch_of(schema, mask))
    assert not profile.features.totals
    assert not missing_pairs(profile.grid, profile.features)[1].any()


def test_an_absent_column_is_missing_in_every_row():
    """A column that did not come is missing together with whatever else is."""
    schema = schema_of(3)
    grid = build_grid(batch_of(schema, np.zeros((50, 3), bool)))
    batch = batch_of(schema, np.array([[0, 1, 0], [0, 0, 0]], bool))
    table = batch.table.drop_columns(["x0"])
    names, together = missing_pairs(grid, profile_rows(grid, validate_batch(table, schema, now=0.0)).features)
    assert names == ("x0", "x1")
    assert together[0, 1] == 1
