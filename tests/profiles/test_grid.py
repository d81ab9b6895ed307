"""Grids: frozen, named by their content, and the same after a round trip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import UnreadableError
from exporter.profiles import CategoricalGrid, Grid, NumericGrid, build_grid, encode, profile_rows
from exporter.schema import Kind, Role, Task

TASKS = [Task.BINARY, Task.MULTICLASS, Task.REGRESSION]


@pytest.mark.parametrize("task", TASKS)
def test_a_grid_comes_back_the_same(rows, task):
    """Bytes and JSON give back a grid of the same id on which profiles are the same bytes."""
    batch = rows.batch(0, 3_000, task)
    grid = build_grid(batch)
    for back in (
        Grid.from_bytes(grid.to_bytes()),
        Grid.from_dict(orjson.loads(orjson.dumps(grid.to_dict()))),
    ):
        assert back == grid
        assert hash(back) == hash(grid)
        assert back.schema == grid.schema
        assert encode(profile_rows(back, batch)) == encode(profile_rows(grid, batch))


def test_the_id_is_the_hash_of_what_decides_counting(rows):
    """Same rows, same id; other edges, another id; names that do not matter do not."""
    batch = rows.batch(0, 500)
    grid = build_grid(batch)
    assert build_grid(batch).id == grid.id
    assert build_grid(rows.batch(1, 500)).id != grid.id
    assert build_grid(batch, category_cap=10).id != grid.id
    assert build_grid(replace(batch, schema=replace(batch.schema, segments=("colour",)))).id == grid.id
    assert build_grid(replace(batch, schema=replace(batch.schema, positive_label="yes"))).id != grid.id


def test_edges_are_frozen(rows):
    """Edges cannot be written to."""
    column = build_grid(rows.batch(0, 500)).columns["amount"]
    with pytest.raises(ValueError, match="read-only"):
        column.edges[0] = 1.0


def test_columns_have_their_kinds_and_roles(rows):
    """Features, prediction, score and label are all on the grid."""
    binary = build_grid(rows.batch(0, 500)).columns
    assert {name: column.role for name, column in binary.items()} == {
        "amount": Role.FEATURE,
        "single": Role.FEATURE,
        "count": Role.FEATURE,
        "colour": Role.FEATURE,
        "flag": Role.FEATURE,
        "when": Role.FEATURE,
        "vector": Role.EMBEDDING,
        "predicted": Role.PREDICTION,
        "actual": Role.LABEL,
        "p": Role.SCORE,
    }
    assert binary["actual"].categories == ("false", "true")
    multiclass = build_grid(rows.batch(0, 500, Task.MULTICLASS)).columns
    assert multiclass["actual"].categories == multiclass["predicted"].categories
    regression = build_grid(rows.batch(0, 500, Task.REGRESSION)).columns
    assert isinstance(regression["actual"], NumericGrid)
    assert isinstance(binary["colour"], CategoricalGrid)
    assert binary["when"].kind is Kind.DATETIME


def test_regression_without_labels_takes_the_predictions(rows):
    """The label's grid, center and scale come from the predictions while no label is known."""
    batch = rows.batch(0, 500, Task.REGRESSION)
    grid = build_grid(replace(batch, outcomes=replace(batch.outcomes, label=None)))
    np.testing.assert_array_equal(grid.columns["actual"].edges, grid.columns["predicted"].edges)
    assert grid.target_scale == grid.columns["predicted"].scale


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_grids_are_refused(rows, data):
    """A changed byte anywhere is an UnreadableError."""
    good = build_grid(rows.batch(0, 50)).to_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    with pytest.raises(UnreadableError):
        Grid.from_bytes(bad)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0" * 16},
        {"version": 99},
        {"columns": [1]},
        {"columns": "x"},
        {"score": {}},
        {"classes": None},
        {"target_scale": "x"},
        {"schema": {}},
        {"schema": None},
    ],
)
def test_documents_that_are_no_grid_are_refused(rows, change):
    """JSON of another shape, or whose id is not its content's, is an UnreadableError."""
    document = build_grid(rows.batch(0, 50)).to_dict()
    with pytest.raises(UnreadableError):
        Grid.from_dict(document | change)


@pytest.mark.parametrize(
    "change",
    [
        {"edges": [2.0, 1.0]},
        {"edges": [1.0, 1.0]},
        {"edges": []},
        {"edges": [float("nan")]},
        {"edges": [[1.0]]},
        {"scale": 0.0},
        {"coarse_starts": [1]},
        {"coarse_bins": [-1]},
        {"coarse_starts": [0, 10**9], "coarse_bins": [0, 1]},
        {"kind": "none"},
    ],
)
def test_columns_that_do_not_fit_together_are_refused(rows, change):
    """Edges ascend, and runs of cells lie among them."""
    document = build_grid(rows.batch(0, 50)).to_dict()
    document["columns"][0] |= change
    with pytest.raises(UnreadableError):
        Grid.from_dict(document)
