"""Coarse bins: deciles, single heavy values, and what lies elsewhere."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from exporter.profiles.building import numeric_grid
from exporter.profiles.coarse import category_bins, ordinals
from exporter.schema import Kind, Role


def grid_of(values):
    return numeric_grid("x", Kind.NUMERIC, Role.FEATURE, np.asarray(values, float))


def reduced(grid, values, rows):
    return grid.coarse.reduce(rows.cells(grid.edges, np.asarray(values, float))).tolist()


@settings(max_examples=100, deadline=None)
@given(
    baseline=arrays(
        np.float64, st.integers(1, 80), elements=st.sampled_from([0.0, 1.0, 2.5]) | st.floats(-9, 9)
    ),
    values=arrays(
        np.float64, st.integers(0, 80), elements=st.sampled_from([0.0, 1.0, 2.5]) | st.floats(-20, 20)
    ),
)
def test_every_row_is_in_one_bin(rows, baseline, values):
    """Counts by bin add up to the rows, and each own bin holds some of the baseline."""
    grid = grid_of(baseline)
    assert sum(reduced(grid, values, rows)) == len(values)
    held = np.array(reduced(grid, baseline, rows))
    own = ~np.isnan(grid.coarse.upper)
    assert (held[own] > 0).all()
    assert (held[~own] == 0).all()
    assert list(grid.coarse.names) == sorted(grid.coarse.names)
    assert len(grid.coarse.names) == len(grid.coarse.titles) == len(set(grid.coarse.titles))


def test_a_continuous_column_has_deciles_closed_on_the_right(rows):
    """Ten bins (lower, upper] with open ends; each holds a tenth of the baseline."""
    values = np.random.default_rng(0).normal(size=5000)
    grid = grid_of(values)
    assert reduced(grid, values, rows) == [500] * 10
    deciles = np.quantile(values, np.arange(1, 10) / 10, method="inverted_cdf")
    np.testing.assert_array_equal(grid.coarse.upper, [*deciles, np.inf])
    assert reduced(grid, [deciles[0], np.nextafter(deciles[0], 9), -99, 99], rows) == [
        2,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        1,
    ]


def test_a_heavy_value_is_a_bin_of_its_own(rows):
    """On a column of 70 % zeros a shift from 0 to -1 changes the bins."""
    rng = np.random.default_rng(0)
    values = np.where(rng.random(2000) < 0.7, 0.0, rng.gamma(2, 2, 2000))
    grid = grid_of(values)
    moved = np.where(values == 0, -1.0, values)
    assert "0" in grid.coarse.titles
    assert grid.coarse.titles[-1] == "elsewhere"
    zero = grid.coarse.titles.index("0")
    assert reduced(grid, values, rows)[zero] == (values == 0).sum()
    assert reduced(grid, moved, rows)[zero] == 0
    assert reduced(grid, moved, rows)[-1] == (values == 0).sum()


def test_a_constant_column_has_its_value_and_elsewhere(rows):
    """A constant baseline tells its value from all others."""
    grid = grid_of([4.0] * 10)
    assert grid.coarse.titles == ("4", "elsewhere")
    assert reduced(grid, [4.0, 4.0, 3.9, 5.0], rows) == [2, 2]


def test_an_empty_column_has_one_bin(rows):
    """Where the baseline had no value there is nothing to cut."""
    grid = grid_of([np.nan])
    assert len(grid.coarse) == 1 or sum(reduced(grid, [1.0, 2.0], rows)) == 2


def test_categories_beyond_the_top_share_a_bin():
    """The ten most frequent categories have bins, all others one."""
    bins = category_bins([f"c{number}" for number in range(14)])
    assert bins.titles == (*[f"c{number}" for number in range(10)], "other")
    assert bins.reduce(np.arange(15)).tolist() == [*range(10), 10 + 11 + 12 + 13 + 14]
    assert category_bins([]).reduce(np.array([3])).tolist() == [3]


def test_ordinals_sort_as_they_count():
    """Names of bins are padded to one width."""
    assert ordinals(3) == ("00", "01", "02")
    assert ordinals(101)[-1] == "100"
    assert ordinals(101)[0] == "000"
