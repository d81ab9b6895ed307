from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from exporter.statistics.drift.quadratic_form import (
    QuadraticFormNull,
    exceedance,
    upper_quantile,
    weights_of,
)


@pytest.mark.parametrize("freedom", [1, 2, 5, 40])
@pytest.mark.parametrize("ratio", [0.01, 0.5, 3.0, 20.0, 35.9, 36.1, 60.0, 300.0])
def test_equal_weights_give_the_chi_square_distribution(freedom, ratio):
    """A sum of equal weights is a chi-square variable, from the body to 1e-60."""
    expected = stats.chi2.sf(ratio, freedom)
    assert exceedance((2.0,) * freedom, 2.0 * ratio) == pytest.approx(expected, rel=1e-4, abs=1e-13)


def test_unequal_weights_agree_with_simulation():
    """Chances of an uneven sum are those of a million draws."""
    weights = (1.0, 0.5, 0.2, 0.01)
    draws = np.random.default_rng(0).chisquare(1, (1_000_000, 4)) @ np.array(weights)
    for value in (0.3, 1.0, 3.0, 8.0):
        assert exceedance(weights, value) == pytest.approx((draws > value).mean(), rel=0.03)


def test_two_pairs_have_a_closed_form():
    """Pairs of equal weights are exponential variables, whose sum is known far into the tail."""
    for value in (0.1, 2.0, 30.0, 50.0, 71.0, 400.0):
        slow, fast = np.exp(-value / 2), np.exp(-value / 1)
        expected = (1.0 * slow - 0.5 * fast) / 0.5
        assert exceedance((1.0, 1.0, 0.5, 0.5), value) == pytest.approx(expected, rel=1e-5, abs=1e-14)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1e-3, 10.0), min_size=1, max_size=12), st.floats(1e-12, 0.999))
def test_quantile_and_chance_are_inverse(weights, level):
    """The chance of exceeding the quantile of a level is the level."""
    ordered = tuple(sorted(weights, reverse=True))
    value = upper_quantile(ordered, level)
    assert exceedance(ordered, value) == pytest.approx(level, rel=1e-4)


def test_weights_are_the_eigenvalues():
    """Eigenvalues come largest first; those of a thousandth are left out."""
    assert weights_of(np.diag([1e-5, 2.0, 0.5])) == pytest.approx((2.0, 0.5))
    assert weights_of(np.zeros((2, 2))) == ()


def test_scale_and_shift_apply_to_both_directions():
    """p-value and critical value belong together; the floor holds."""
    null = QuadraticFormNull((1.0, 0.3), scale=2.0, shift=0.1)
    assert null.p_value(null.critical_value(0.01)) == pytest.approx(0.01, rel=1e-6)
    assert null.critical_value(0.01, floor=99.0) == 99.0
    assert null.p_value(0.0) == 1.0
