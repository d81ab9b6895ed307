from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from exporter.statistics.drift.missingness import hypergeometric_null, missing_values


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 60), st.integers(2, 60), st.data())
def test_small_counts_have_fishers_chance(n, m, data):
    """The p-value sums the hypergeometric chances of all differences at least as large."""
    successes = data.draw(st.integers(1, n + m - 1))
    missing = data.draw(st.integers(max(0, successes - m), min(n, successes)))
    x = np.arange(max(0, successes - m), min(n, successes) + 1)
    chance = stats.hypergeom(n + m, successes, n).pmf(x)
    difference = np.abs(x / n - (successes - x) / m)
    observed = abs(missing / n - (successes - missing) / m)
    expected = chance[difference >= observed - 1e-12].sum()
    assert hypergeometric_null(successes, n, m).p_value(observed) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 200), st.integers(2, 200), st.floats(1e-6, 0.5), st.data())
def test_critical_value_and_p_value_agree(n, m, level, data):
    """Exceeding the critical value of a level is the same as a p-value of at most the level."""
    successes = data.draw(st.integers(1, n + m - 1))
    missing = data.draw(st.integers(max(0, successes - m), min(n, successes)))
    null = hypergeometric_null(successes, n, m)
    observed = abs(missing / n - (successes - missing) / m)
    assert (observed > null.critical_value(level)) == (null.p_value(observed) <= level)


def test_large_counts_equal_the_test_of_two_proportions(numeric_pair):
    """Many missing values: the p-value is that of the uncorrected chi-square test."""
    baseline, current = np.ones(5000), np.ones(2000)
    baseline[:500], current[:260] = np.nan, np.nan
    expected = stats.chi2_contingency([[500, 4500], [260, 1740]], correction=False)
    test = missing_values(*numeric_pair(baseline, current))
    assert test.statistic == pytest.approx(0.03)
    assert test.p_value == pytest.approx(expected.pvalue)


def test_infinite_values_count_as_missing(numeric_pair):
    """A column that turns infinite is told, though its finite values are as before."""
    current = np.ones(300)
    current[:100] = np.inf
    assert missing_values(*numeric_pair(np.ones(300), current)).p_value < 1e-10


def test_nothing_missing_has_nothing_to_tell(categorical_pair):
    """No missing value in either sample: difference 0, p-value 1."""
    test = missing_values(*categorical_pair(["a"] * 10, ["b"] * 10))
    assert (test.statistic, test.p_value) == (0.0, 1.0)
