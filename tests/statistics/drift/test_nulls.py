from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from exporter.statistics.drift.largest_cell import LargestCellNull
from exporter.statistics.drift.nulls import AreaNull, ChiNull, chi_freedom
from exporter.statistics.drift.redealing import redealt_area

LEVELS = (0.3, 0.05, 1e-3, 1e-6)


@pytest.mark.parametrize("freedom", [0.3, 1.0, 2.8, 40.0])
def test_chi_is_fitted_by_its_moments(freedom):
    """Degrees of freedom follow from the coefficient of variation, chances are SciPy's."""
    exact = stats.chi(freedom)
    relative = exact.var() / exact.mean() ** 2
    assert chi_freedom(relative) == pytest.approx(freedom, rel=1e-5)
    null = ChiNull.fitted(3 * exact.mean(), relative)
    assert null.p_value(3 * 1.7) == pytest.approx(exact.sf(1.7), rel=1e-4)
    for level in LEVELS:
        assert null.p_value(null.critical_value(level)) == pytest.approx(level, rel=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.0, 5.0), st.floats(1e-9, 0.9), st.floats(1e-3, 1e3))
def test_chance_and_quantile_of_an_area_are_inverse(excess, level, deviation):
    """The p-value of the critical value of a level is the level."""
    null = AreaNull(deviation, excess)
    critical = null.critical_value(level)
    assert null.p_value(critical) == pytest.approx(level, rel=1e-6)


def test_area_under_a_bridge_has_the_simulated_quantiles():
    """The integral of |bridge| over uniform values: within 8 % of the chance from 20 % to 1 %."""
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(40_000, 200)) / np.sqrt(200), axis=1)
    areas = np.abs(walk - walk[:, -1:] * np.arange(1, 201) / 200).mean(axis=1)
    null = AreaNull(np.sqrt(1 / 12), 0.4)
    for level in (0.2, 0.1, 0.05, 0.01):
        assert null.p_value(np.quantile(areas, 1 - level)) == pytest.approx(level, rel=0.15)


@pytest.mark.parametrize(
    "shares", [[0.5, 0.5], [0.2, 0.3, 0.5], [0.9, 0.05, 0.05], [0.1] * 10, [0.5, *[0.01] * 50]]
)
def test_largest_cell_has_the_simulated_quantiles(shares):
    """Chances of the largest difference are those of simulated multinomial bridges, and invert."""
    rng = np.random.default_rng(1)
    shares = np.array(shares)
    draws = rng.normal(size=(40_000, len(shares))) * np.sqrt(shares)
    largest = np.abs(draws - shares * draws.sum(axis=1, keepdims=True)).max(axis=1)
    null = LargestCellNull(tuple(shares.tolist()), 0.1)
    for level in (0.3, 0.05, 0.01):
        assert null.p_value(0.1 * np.quantile(largest, 1 - level)) == pytest.approx(level, rel=0.15)
    for level in LEVELS:
        assert null.p_value(null.critical_value(level)) == pytest.approx(level, rel=1e-4)


def test_dealing_anew_gives_the_chance_of_the_rare_row():
    """One extreme row decides: the chance that it falls into the small sample is found."""
    share, width = np.array([0.5, 1099 / 1100]), np.array([1.0, 2000.0])
    limit = AreaNull(1.0, 0.1)
    null = redealt_area(limit, share, width, 1000, 100)
    moderate = 2000 / 1000 + 0.2  # the row fell into the large sample
    assert null.p_value(moderate) == pytest.approx(100 / 1100, abs=0.05)
    again = redealt_area(limit, share, width, 1000, 100)
    assert again.critical_value(0.03) == null.critical_value(0.03)
    for level in (0.5, 0.06, 0.01, 1e-6):
        assert null.p_value(null.critical_value(level)) == pytest.approx(level, rel=1e-3)


def test_dealing_many_rows_anew_agrees_with_the_limit():
    """With many rows on either side dealing gives what the limit gives."""
    share = np.arange(1, 200) / 200
    width = np.full(199, 1 / 200)
    deviation = np.sqrt((1 / 20_000 + 1 / 5_000) / 12)
    limit = AreaNull(deviation, 0.4)
    null = redealt_area(limit, share, width, 20_000, 5_000)
    assert null.critical_value(0.05) == pytest.approx(limit.critical_value(0.05), rel=0.15)
    assert null.critical_value(1e-4) == pytest.approx(limit.critical_value(1e-4), rel=0.25)
