"""Categories counted one by one, and new ones kept by hash."""

from __future__ import annotations

from collections import Counter as Tally

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.profiles import CategoricalGrid
from exporter.profiles import categorical as categorical_module
from exporter.profiles.building import MOST_CATEGORIES, categorical_grid
from exporter.profiles.categorical import add_novel, canonical_name, count_categorical, read_column
from exporter.profiles.vectors import Counter
from exporter.schema import Kind, Role

KEY = "0123456789abcdef"
NAMES = st.sampled_from([*"abcdefghij", "", "é", "x" * 300, "x" * 301, None])


def grid_of(*categories: str) -> CategoricalGrid:
    return CategoricalGrid("c", Kind.CATEGORICAL, Role.FEATURE, categories)


def counted(grid, values, cap=200, column=None):
    column = pa.array(values, pa.string()).dictionary_encode() if column is None else column
    counter = Counter(grid.width)
    novel = count_categorical(grid, column, 0, counter, cap=cap, key=KEY)
    return counter.total().dense().astype(np.int64), novel


@settings(max_examples=100, deadline=None)
@given(values=st.lists(NAMES, max_size=60), large=st.booleans())
def test_counts_are_exact_under_the_cap(values, large):
    """Every category, known or new, is counted exactly, by the way for small and for large dictionaries."""
    grid = grid_of("a", "b", "", canonical_name("x" * 301))
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(categorical_module, "PYTHON_DICTIONARY", -1)
        counts, novel = counted(grid, values)
    column = read_column(grid, counts, novel, 200, KEY)
    truth = Tally(canonical_name(value) for value in values if value is not None)
    assert column.counts.tolist() == [truth[name] for name in grid.categories]
    assert dict(column.novel) == {name: rows for name, rows in truth.items() if name not in grid.categories}
    assert (column.n, column.missing, column.other) == (sum(truth.values()), values.count(None), 0)
    assert column.distinct == len(truth)


@settings(max_examples=100, deadline=None)
@given(
    parts=st.lists(st.lists(st.integers(0, 40), max_size=40), min_size=1, max_size=6), seed=st.integers(0, 99)
)
def test_kept_names_do_not_depend_on_the_order(parts, seed):
    """In any order of merges the same names are kept, with the counts of a single pass."""
    grid, cap = grid_of("0", "1"), 5
    together = counted(grid, [str(v) for part in parts for v in part], cap)
    order = np.random.default_rng(seed).permutation(len(parts))
    novel: dict[str, int] = {}
    for place in order:
        _, more = counted(grid, [str(v) for v in parts[place]], cap)
        novel = add_novel(novel, more, cap, KEY)
    assert novel == together[1]
    truth = Tally(str(v) for part in parts for v in part)
    assert all(rows == truth[name] for name, rows in novel.items())


def test_names_taken_back_keep_their_place():
    """A name whose rows were all taken back still holds its place, so that later counts stay exact."""
    cap = 3
    novel = add_novel({}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, cap, KEY)
    gone = next(iter(novel))
    novel = add_novel(novel, {gone: -novel[gone]}, cap, KEY)
    assert novel[gone] == 0
    column = read_column(grid_of(), np.array([10, 0]), novel, cap, KEY)
    assert gone not in column.novel
    assert column.other == 10 - sum(novel.values())


def test_distinct_is_estimated_beyond_the_cap():
    """20,000 new names are told from 200 kept ones within a quarter."""
    grid = grid_of("known")
    counts, novel = counted(grid, [f"name {number}" for number in range(20_000)] + ["known"])
    column = read_column(grid, counts, novel, 200, KEY)
    assert len(novel) == 200
    assert column.other == 19_800
    assert column.distinct == pytest.approx(20_001, rel=0.25)


def test_a_null_in_the_dictionary_is_missing():
    """Codes that point at a null entry, null codes, and entries without rows are told apart."""
    column = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, None, 1, 2], pa.int32()), pa.array(["a", None, "n", "unused"])
    )
    for limit in (512, -1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(categorical_module, "PYTHON_DICTIONARY", limit)
            counts, novel = counted(grid_of("a"), [], column=column)
        assert counts.tolist() == [1, 1, 3]
        assert novel == {"n": 1}


def test_long_columns_count_like_short_ones():
    """Rows counted as a block and rows counted one by one give the same."""
    values = [None if k % 7 == 0 else "abcn"[k % 4] for k in range(50)]
    grid = grid_of("a", "b", "c")
    counts, novel = counted(grid, values)
    repeated, many = counted(grid, values * 10)
    assert repeated.tolist() == (10 * counts).tolist()
    assert many == {name: 10 * rows for name, rows in novel.items()}


def test_the_grid_ranks_categories():
    """Most frequent first, ties by name; beyond the limit the grid says that it is not complete."""
    column = pa.array(["b", "a", "c", "c", None]).dictionary_encode()
    assert categorical_grid("c", Kind.CATEGORICAL, Role.FEATURE, column).categories == ("c", "a", "b")
    wide = pa.array([str(number) for number in range(MOST_CATEGORIES + 1)]).dictionary_encode()
    grid = categorical_grid("c", Kind.CATEGORICAL, Role.FEATURE, wide)
    assert (len(grid.categories), grid.complete) == (MOST_CATEGORIES, False)


def test_long_names_are_bounded_and_told_apart():
    """Two long names that begin alike stay two categories of bounded length."""
    one, other = canonical_name("x" * 10_000 + "1"), canonical_name("x" * 10_000 + "2")
    assert one != other
    assert len(one) < 210
