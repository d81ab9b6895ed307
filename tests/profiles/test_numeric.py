"""The counting kernels against the definition of the cells."""

from __future__ import annotations

import math
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from exporter.profiles import NumericGrid
from exporter.profiles import numeric as numeric_module
from exporter.profiles.building import numeric_grid
from exporter.profiles.layout import PartLayout
from exporter.profiles.numeric import Kernel, SmallKernel, read_column
from exporter.profiles.vectors import Counter
from exporter.schema import Kind, Role

FEW = st.sampled_from([-2.0, -0.0, 0.0, 0.1, 0.5, 1.0, 1e-300, 1e300, math.nan, math.inf, -math.inf])
ANY = st.floats(allow_nan=True, allow_infinity=True)


def grid_of(values, max_edges=1001) -> NumericGrid:
    return numeric_grid("x", Kind.NUMERIC, Role.FEATURE, np.asarray(values), max_edges)


def long_column(grid, values, chunk=None):
    """Counted by sorting."""
    counts, sums = np.zeros(grid.width, np.int64), np.zeros(4)
    extremes = Kernel(chunk or max(len(values), 1)).count(grid, values, counts, sums)
    return read_column(grid, counts, sums, *extremes)


def short_column(grid, values):
    """Counted by searching."""
    layout = PartLayout()
    layout.add_column(grid)
    counter, sums = Counter(layout.size), np.zeros(4)
    extremes = np.array([[np.inf], [-np.inf]])
    SmallKernel([grid], layout).count([values], counter, sums, extremes)
    return read_column(grid, counter.total().dense(), sums, *extremes[:, 0].tolist())


def assert_counted(column, grid, values, rows) -> None:
    finite = values[np.isfinite(values)].astype(float)
    np.testing.assert_array_equal(column.cells, rows.cells(grid.edges, values))
    assert column.missing == np.isnan(values).sum()
    assert column.nonfinite == np.isinf(values).sum()
    assert column.n == len(finite)
    if len(finite):
        assert (column.minimum, column.maximum) == (finite.min(), finite.max())
    else:
        assert math.isnan(column.minimum)
        assert math.isnan(column.mean)


@settings(max_examples=150, deadline=None)
@given(
    baseline=arrays(np.float64, st.integers(1, 60), elements=FEW | ANY),
    values=arrays(np.float64, st.integers(1, 60), elements=FEW | ANY),
    chunk=st.integers(1, 70),
    max_edges=st.sampled_from([11, 1001]),
)
def test_both_kernels_count_as_defined(rows: SimpleNamespace, baseline, values, chunk, max_edges):
    """Sorting in chunks and searching give the counts of the definition, whatever the values."""
    grid = grid_of(baseline, max_edges)
    assert_counted(long_column(grid, values, chunk), grid, values, rows)
    assert_counted(short_column(grid, values), grid, values, rows)


@settings(max_examples=100, deadline=None)
@given(
    baseline=arrays(np.float64, st.integers(1, 40), elements=FEW | ANY),
    values=arrays(np.float32, st.integers(1, 40), elements=st.floats(width=32)),
)
def test_single_precision_counts_as_if_widened(rows: SimpleNamespace, baseline, values):
    """A float32 column lies on the grid where its values as float64 lie."""
    grid = grid_of(np.concatenate((baseline, values[:5].astype(np.float64))))
    assert_counted(long_column(grid, values, 16), grid, values, rows)
    assert_counted(short_column(grid, values), grid, values, rows)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("count", [long_column, short_column])
def test_sums_match_exact_arithmetic(count, dtype):
    """Mean, deviation and tail sums agree with exactly rounded sums."""
    rng = np.random.default_rng(1)
    grid = grid_of(rng.normal(1e6, 3, 2000))
    values = rng.normal(1e6 + 2, 6, 5000).astype(dtype)
    column = count(grid, values)
    exact = values.astype(float).tolist()
    mean = math.fsum(exact) / len(exact)
    assert column.mean == pytest.approx(mean, rel=1e-13)
    assert column.std == pytest.approx(
        math.sqrt(math.fsum((v - mean) ** 2 for v in exact) / len(exact)), rel=1e-9
    )
    below = math.fsum(v for v in exact if v < grid.edges[0])
    above = math.fsum(v for v in exact if v > grid.edges[-1])
    assert column.sum_below == pytest.approx(below, rel=1e-12)
    assert column.sum_above == pytest.approx(above, rel=1e-12)


@pytest.mark.parametrize("count", [long_column, short_column])
def test_sums_stay_finite_for_the_largest_values(count):
    """Values near the end of what a float holds never make a sum infinite."""
    values = np.array([1.7e308, -1.7e308, 1.0, 1.7e308])
    column = count(grid_of([-1.6e308, 0.0, 1.0]), values)
    assert column.n == 4
    assert math.isfinite(column.sum)
    assert math.isfinite(column.sum_squares)


def test_an_arrow_column_is_read_where_it_lies():
    """Counting a null-free Arrow column takes buffers of a chunk, not a copy of the column."""
    values = pa.array(np.random.default_rng(0).normal(size=1_000_000)).to_numpy(zero_copy_only=True)
    grid = grid_of(values[:10_000])
    kernel = Kernel(len(values))
    tracemalloc.start()
    counts = np.zeros(grid.width, np.int64)
    kernel.count(grid, values, counts, np.zeros(4))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counts.sum() == len(values)
    assert peak < 0.1 * values.nbytes


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(["normal", "atoms", "integers", "shifted"]))
def test_ks_off_the_grid_is_within_its_bound(seed, shape):
    """The KS statistic of the cells is off by at most the largest baseline mass between two edges."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(20, 400)), int(rng.integers(20, 400))
    baseline, current = rng.normal(size=m), rng.normal(size=n)
    if shape == "atoms":
        baseline[rng.random(m) < 0.5] = 0.0
        current[rng.random(n) < 0.5] = -0.1
    elif shape == "integers":
        baseline, current = np.floor(3 * baseline), np.floor(3 * current + 0.4)
    elif shape == "shifted":
        current = current * 0.1 + rng.normal()
    grid = grid_of(baseline, max_edges=21)
    cells = [long_column(grid, values).cells for values in (baseline, current)]
    gridded = np.abs(np.cumsum(cells[0]) / m - np.cumsum(cells[1]) / n).max()
    bound = cells[0][0::2].max() / m
    exact = ks_2samp(baseline, current, method="asymp").statistic
    assert gridded <= exact + 1e-12
    assert exact - gridded <= bound + 1e-12
    if grid.integral_atoms:
        assert bound == 0


def test_quantile_edges_are_those_of_inverted_cdf():
    """With many distinct values the edges are the observed quantiles j/1000, extremes included."""
    values = np.random.default_rng(3).normal(size=12_345)
    grid = grid_of(values)
    np.testing.assert_array_equal(
        grid.edges, np.unique(np.quantile(values, np.arange(1001) / 1000, method="inverted_cdf"))
    )
    assert not grid.integral_atoms
    assert (grid.edges[0], grid.edges[-1]) == (values.min(), values.max())


def test_few_distinct_values_are_all_edges():
    """Up to 1,001 distinct values are edges, negative zero among them as zero."""
    grid = grid_of(np.array([3.0, -0.0, 0.0, 7.5, np.nan, np.inf]))
    assert grid.edges.tolist() == [0.0, 3.0, 7.5]
    assert not np.signbit(grid.edges[0])
    assert grid.integral_atoms


def test_a_column_without_values_gets_a_grid():
    """An empty baseline column has one edge at zero and a positive scale."""
    grid = grid_of(np.array([np.nan, np.inf]))
    assert grid.edges.tolist() == [0.0]
    assert grid.scale == 1.0


def test_short_and_long_meet_at_a_stated_size():
    """The kernels change over where sorting becomes the faster one."""
    assert 100 <= numeric_module.SMALL_ROWS <= 2_000
