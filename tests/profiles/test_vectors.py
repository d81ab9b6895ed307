"""Sparse and dense vectors add alike."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.profiles.vectors import Counter, Counts

SIZE = 64
CELLS = st.lists(st.integers(0, SIZE - 1), max_size=20)


def counts_of(cells, *, dense: bool, sign: int = 1, dtype=np.int64) -> Counts:
    full = sign * np.bincount(np.array(cells, np.int64), minlength=SIZE)
    if dense:
        return Counts(SIZE, dense=full.astype(dtype))
    index = np.flatnonzero(full)
    return Counts(SIZE, index=index, value=full[index])


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.tuples(CELLS, st.booleans(), st.sampled_from([1, -1])), min_size=1, max_size=6))
def test_any_mix_of_sparse_and_dense_adds_up(parts):
    """Adding vectors of either form, with either sign, gives the sum; the parts stay as they were."""
    total = Counts(SIZE)
    made = [counts_of(cells, dense=dense, sign=sign, dtype=np.int8) for cells, dense, sign in parts]
    before = [vector.dense().copy() for vector in made]
    for vector in made:
        total.add(vector)
    expected = np.sum(before, axis=0)
    np.testing.assert_array_equal(total.dense(), expected)
    np.testing.assert_array_equal(total.block(slice(5, 40)), expected[5:40])
    index, value = total.nonzero()
    np.testing.assert_array_equal(index, np.flatnonzero(expected))
    np.testing.assert_array_equal(value, expected[index])
    total.copy().add(made[0])
    np.testing.assert_array_equal(total.dense(), expected)
    for vector, was in zip(made, before, strict=True):
        np.testing.assert_array_equal(vector.dense(), was)


@settings(max_examples=100, deadline=None)
@given(
    cells=st.lists(CELLS, max_size=4),
    block=st.lists(st.integers(0, 9), max_size=30),
    sign=st.sampled_from([1, -1]),
)
def test_cells_and_blocks_are_counted_together(cells, block, sign):
    """Single cells and whole blocks add up, in a small vector and in one where they are few."""
    for size in (SIZE, 100 * SIZE):
        counter = Counter(size)
        expected = np.zeros(size, np.int64)
        for some in cells:
            counter.cells(np.array(some, np.int64))
            np.add.at(expected, some, 1)
        counter.block(30, block)
        expected[30 : 30 + len(block)] += np.array(block, np.int64)
        np.testing.assert_array_equal(counter.total(sign).dense(), sign * expected)


def test_a_vector_grows_dense():
    """Many different cells make a vector dense; what it was given stays untouched."""
    total = Counts(SIZE)
    first = counts_of([1], dense=False)
    total.add(first)
    assert not total.is_dense
    total.add(counts_of(range(40), dense=False))
    assert total.is_dense
    assert first.dense().sum() == 1
    assert Counts(SIZE).is_empty
