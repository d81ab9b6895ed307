"""How losses are counted by the levels of columns: levels, losses, merging."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.batch import Outcomes
from exporter.config import SegmentSearch
from exporter.profiles.building import categorical_grid, numeric_grid
from exporter.schema import Kind, Role, Task
from exporter.service.ingestion.slices import MISSING, OTHER, Axis, SliceMeter, axes_of, losses

SEARCH = SegmentSearch(columns=("a", "b"), values=2)


class OneGrid:
    """As much of a grid as the search looks at."""

    def __init__(self, *columns) -> None:
        self.columns = {column.name: column for column in columns}


def test_categories_are_the_most_frequent_ones_then_others_and_missing():
    """A value that the baseline hardly knew is one of the others, null is missing; numbers are texts."""
    values = pa.array(["x"] * 5 + ["y"] * 3 + ["z"]).dictionary_encode()
    (axis,) = axes_of(OneGrid(categorical_grid("a", Kind.CATEGORICAL, Role.FEATURE, values)), SEARCH)
    assert axis.levels == ("x", "y", OTHER, MISSING)
    assert axis.codes(pa.array(["y", "z", None, "x", "new"]), 5).tolist() == [1, 2, 3, 0, 2]
    assert axis.codes(pa.nulls(2), 2).tolist() == [3, 3]
    assert axis.codes(None, 1).tolist() == [3]
    truths = Axis("t", ("true", "false", OTHER, MISSING))
    assert truths.codes(pa.array([True, None, False]), 3).tolist() == [0, 3, 1]


@pytest.mark.parametrize("rows", [7, 50, 5_000])
def test_numbers_are_cut_at_the_quintiles_of_the_baseline(rows):
    """Each level holds about a fifth of the baseline; NaN is missing, infinities lie at the ends."""
    values = np.random.default_rng(rows).normal(size=rows)
    (axis,) = axes_of(OneGrid(numeric_grid("a", Kind.NUMERIC, Role.FEATURE, values)), SEARCH)
    counts = np.bincount(axis.codes(pa.array(values), rows), minlength=len(axis.levels))
    assert counts[-1] == 0
    assert len(axis.levels) == 6
    assert counts[:-1] / rows == pytest.approx(0.2, abs=0.11 if rows < 100 else 0.02)
    special = axis.codes(pa.array([np.nan, -np.inf, np.inf, None]), 4)
    assert special.tolist() == [5, 0, 4, 5]


def test_a_column_of_few_numbers_keeps_them_apart():
    """Up to five distinct numbers are a level each; a constant has one level for all values."""
    few = numeric_grid("a", Kind.NUMERIC, Role.FEATURE, np.repeat([0.0, 1.0, 2.0], [700, 200, 100]))
    constant = numeric_grid("b", Kind.NUMERIC, Role.FEATURE, np.ones(50))
    first, second = axes_of(OneGrid(few, constant), SEARCH)
    assert first.codes(pa.array([0.0, 1.0, 2.0]), 3).tolist() == [0, 1, 2]
    assert len(set(second.codes(pa.array([1.0, 1.0]), 2).tolist())) == 1


def test_losses_by_task():
    """0 or 1 for classes, absolute errors for numbers, NaN where there is none."""
    binary = Outcomes(Task.BINARY, np.array([1, 0], np.int8), label=np.array([1, 1], np.int8))
    assert losses(binary).tolist() == [0.0, 1.0]
    texts = [pa.array(values).dictionary_encode() for values in (["a", "b", "c"], ["a", "c", "b"])]
    assert losses(Outcomes(Task.MULTICLASS, texts[0], label=texts[1])).tolist() == [0.0, 1.0, 1.0]
    numbers = Outcomes(Task.REGRESSION, np.array([1.0, np.nan, np.inf]), label=np.array([3.0, 1.0, 1.0]))
    assert losses(numbers)[0] == 2.0
    assert not np.isfinite(losses(numbers)[1:]).any()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=40), st.integers(0, 40)
)
def test_parts_add_up_to_the_whole(rows, cut):
    """Tables of two parts give those of all rows; marginals are those of the rows."""
    names = ["x", "y", "z", None]
    axes = (Axis("a", ("x", "y", OTHER, MISSING)), Axis("b", ("y", "z", OTHER, MISSING)))
    meter = SliceMeter(axes, SEARCH)

    def measured(some):
        wrong = np.array([bad for *_, bad in some], np.int8)
        kept = {
            name: pa.array([names[row[place]] for row in some], pa.string())
            for place, name in enumerate(("a", "b"))
        }
        return meter(Outcomes(Task.BINARY, wrong, label=wrong * 0, kept=kept))

    whole, first, second = measured(rows), measured(rows[:cut]), measured(rows[cut:])
    (key,) = whole
    assert {key: whole[key].size} == meter.sizes
    assert (first[key] + second[key]).tolist() == whole[key].tolist()
    table = meter.tables(whole)["a", "b"]
    assert table[..., 0].sum() == len(rows)
    assert table[0, :, 1].sum() == sum(bad for a, _, bad in rows if a == 0)
    assert meter.tables({key: whole[key][1:]}) == {}
