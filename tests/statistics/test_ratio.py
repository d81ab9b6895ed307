"""Means, ratios and totals from sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exporter.results import Estimate, Undefined
from exporter.statistics.intervals import normal_quantile, wilson
from exporter.statistics.ratio import ratio_of_sums, total_of_sums

Z = normal_quantile(0.95)


def sums_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([a.size, a.sum(), b.sum(), a @ a, a @ b, b @ b])


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def test_mean_has_students_bounds(generator):
    """With a denominator of 1 the ratio is SciPy's mean and its interval."""
    a = generator.exponential(3, 50)
    result = ratio_of_sums(sums_of(a, np.ones(50)), Z)
    low, high = stats.t.interval(0.95, 49, a.mean(), stats.sem(a))
    assert (result.value, result.lower, result.upper) == pytest.approx((a.mean(), low, high))


def test_ratio_has_the_linearised_error(generator):
    """The standard error is that of the mean of the residuals over the mean of the denominators."""
    b = generator.uniform(1, 9, 400)
    a = 0.3 * b + generator.normal(size=400)
    result = ratio_of_sums(sums_of(a, b), Z)
    residuals = a - result.value * b
    half = stats.t.ppf(0.975, 399) * residuals.std(ddof=1) / np.sqrt(400) / b.mean()
    assert result.value == pytest.approx(a.sum() / b.sum())
    assert result.upper - result.value == pytest.approx(half, rel=1e-6)


def test_values_that_are_all_0_or_1_have_wilsons_bounds():
    """Fifty of fifty has a width, as a share of the catalogue does."""
    result = ratio_of_sums(sums_of(np.ones(50), np.ones(50)), Z)
    assert (result.lower, result.upper) == wilson(50, 50, Z)


@pytest.mark.parametrize(
    ("sums", "reason"),
    [
        ([0, 0, 0, 0, 0, 0], "empty"),
        ([5, 3, 0, 9, 0, 0], "empty"),
        ([1, 3, 1, 9, 3, 1], "insufficient_labels"),
    ],
)
def test_what_has_no_value_has_a_reason(sums, reason):
    """No unit, no denominator and a single unit give no value."""
    assert ratio_of_sums(np.array(sums, float), Z).reason == reason


def test_total_has_the_bounds_of_a_sum(generator):
    """The half-width of a total is that of the mean times the rows."""
    a = generator.normal(5, 2, 80)
    result = total_of_sums(sums_of(a, np.zeros(80)), Z)
    low, high = stats.t.interval(0.95, 79, a.mean(), stats.sem(a))
    assert (result.value, result.lower, result.upper) == pytest.approx((a.sum(), 80 * low, 80 * high))
    assert total_of_sums(np.array([1.0, 2, 0, 4, 0, 0]), Z).reason == "insufficient_labels"


def test_bounds_cover_the_ratio_of_a_population(generator):
    """At 60 rows of skewed amounts nominal 95 % bounds hold nearly as often as they say."""
    hits = 0
    for _ in range(2_000):
        b = generator.exponential(size=60) + 0.2
        a = b * (generator.uniform(size=60) < 0.4)
        result = ratio_of_sums(sums_of(a, b), Z)
        hits += result.lower <= 0.4 <= result.upper
    assert 0.91 < hits / 2_000 < 0.97


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0.5, 1e3)), min_size=2, max_size=40),
    st.integers(1, 39),
)
def test_parts_add_up_to_the_whole(pairs, cut):
    """Sums of two parts give what the rows give together."""
    a, b = np.array(pairs).T
    whole = ratio_of_sums(sums_of(a, b), Z)
    cut = min(cut, a.size)
    merged = ratio_of_sums(sums_of(a[:cut], b[:cut]) + sums_of(a[cut:], b[cut:]), Z)
    assert isinstance(whole, Undefined) == isinstance(merged, Undefined)
    if isinstance(whole, Estimate) and isinstance(merged, Estimate):
        scale = np.abs(a).sum() / b.sum() + 1e-9
        assert merged.value == pytest.approx(whole.value, abs=1e-9 * scale)
        assert merged.lower <= merged.value <= merged.upper
