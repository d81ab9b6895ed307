"""Outlier shares against values counted one by one, on usual, skewed and degenerate columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.statistics.quality.outliers import TAIL, outlier_share
from tests.statistics.conftest import numeric_column, numeric_grid


def pair(baseline, current):
    grid = numeric_grid(baseline)
    return numeric_column(grid, baseline), numeric_column(grid, current)


@pytest.mark.parametrize("name", ["normal", "lognormal", "zeros", "integers", "uniform", "constant"])
def test_share_counts_values_beyond_the_fences(name):
    """Values beyond the fences that are reported, one by one; the baseline's own share is small always."""
    generator = np.random.default_rng(3)
    baseline = {
        "normal": generator.normal(size=20_000),
        "lognormal": generator.lognormal(0, 1.5, 20_000),
        "zeros": np.where(generator.random(20_000) < 0.9, 0.0, generator.exponential(size=20_000)),
        "integers": generator.poisson(3, 20_000).astype(float),
        "uniform": generator.uniform(size=20_000),
        "constant": np.full(500, 7.0),
    }[name]
    current = np.concatenate((baseline[:5000], [1e6] * 50, [-1e6] * 25))
    share = outlier_share(*pair(baseline, current))
    assert share.above == np.count_nonzero(current > share.upper) >= 50
    assert share.below == np.count_nonzero(current < share.lower) >= 25
    assert share.ratio == (share.above + share.below) / len(current)
    assert share.baseline_ratio <= 2 * TAIL
    own = outlier_share(*pair(baseline, baseline))
    assert own.ratio == own.baseline_ratio == share.baseline_ratio


def test_fences_are_tukeys_to_a_cell_of_the_grid():
    """Where the tails are short, a fence inside the data is Tukey's: at an edge at most one cell nearer."""
    generator = np.random.default_rng(4)
    baseline = np.concatenate((generator.normal(size=100_000), [50.0, -50.0] * 500))
    grid = numeric_grid(baseline)
    share = outlier_share(numeric_column(grid, baseline), numeric_column(grid, baseline), reach=3.0)
    first, third = np.quantile(baseline, [0.25, 0.75], method="inverted_cdf")
    exact = third + 3 * (third - first)
    assert share.upper <= max(exact, np.quantile(baseline, 1 - TAIL, method="inverted_cdf"))


def test_a_long_tail_is_no_outlier_but_a_longer_one_is():
    """A skewed column as it always was has no more outliers than its baseline; doubled, it has many more."""
    generator = np.random.default_rng(5)
    baseline = generator.lognormal(0, 1.5, 50_000)
    usual = outlier_share(*pair(baseline, generator.lognormal(0, 1.5, 50_000)))
    longer = outlier_share(*pair(baseline, 3 * generator.lognormal(0, 1.5, 50_000)))
    assert usual.ratio < 0.003
    assert longer.ratio > 0.008


def test_values_beyond_the_extreme_but_inside_the_fence_are_none():
    """A new maximum that is not beyond the fence is no outlier; one beyond it is."""
    baseline = np.linspace(0, 1, 1001)
    assert outlier_share(*pair(baseline, [0.5, 1.5])).ratio == 0
    assert outlier_share(*pair(baseline, [0.5, 9.0])).ratio == 0.5


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=200),
    st.lists(st.integers(-500, 500), min_size=1, max_size=200),
)
def test_share_is_a_ratio_and_grows_with_the_reach(baseline, current):
    """Whatever the values: in [0, 1], and a farther fence never has more beyond it."""
    shares = [outlier_share(*pair(baseline, current), reach=reach).ratio for reach in (0.5, 1.5, 3.0)]
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares, reverse=True)


def test_fences_are_of_the_baseline_that_is_given():
    """What was computed for one baseline is used for no other, nor is one reach for another."""
    generator = np.random.default_rng(5)
    grid = numeric_grid(generator.normal(size=5_000))
    narrow, wide = (numeric_column(grid, generator.normal(size=5_000) * scale) for scale in (0.3, 1.0))
    current = numeric_column(grid, generator.normal(size=5_000))
    first = outlier_share(narrow, current)
    assert outlier_share(wide, current).upper > first.upper
    assert outlier_share(narrow, current, reach=0.5).upper < first.upper
    assert outlier_share(narrow, current) == first
