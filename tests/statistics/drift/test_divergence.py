from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from exporter.statistics.drift.cells import joined, pooled
from exporter.statistics.drift.divergence import (
    absolute_covariance,
    chi_square,
    g_test,
    hellinger,
    jensen_shannon,
    largest_difference,
    population_stability_index,
    total_variation,
)


@pytest.fixture
def texts():
    rng = np.random.default_rng(0)
    names = np.array(list("abcdef"))
    return list(rng.choice(names, 3000)), list(rng.choice(names, 800, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1]))


def _shares(baseline, current, *, extra):
    names = sorted({*baseline, *current})
    counts = [np.array([values.count(name) for name in names]) + extra for values in (baseline, current)]
    return tuple(c / c.sum() for c in counts), counts


def test_chi_square_equals_scipys_contingency_test(texts, categorical_pair):
    """Statistic and p-value are those of SciPy's test of homogeneity."""
    _, counts = _shares(*texts, extra=0)
    expected = stats.chi2_contingency(counts, correction=False)
    test = chi_square(*categorical_pair(*texts))
    assert (test.statistic, test.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_g_equals_scipys_likelihood_ratio(texts, categorical_pair):
    """With half a row added to every cell G is twice the sum of counts times log ratios."""
    (p, q), _ = _shares(*texts, extra=0.5)
    middle = (3000 * p + 800 * q) / 3800
    expected = 2 * (3000 * stats.entropy(p, middle) + 800 * stats.entropy(q, middle))
    assert g_test(*categorical_pair(*texts)).statistic == pytest.approx(expected)


def test_distances_follow_their_definitions(texts, categorical_pair):
    """JS is SciPy's base-2 distance, PSI the symmetrised entropy, all with half a row added to every cell."""
    (p, q), _ = _shares(*texts, extra=0.5)
    columns = categorical_pair(*texts)
    assert jensen_shannon(*columns).statistic == pytest.approx(jensenshannon(p, q, base=2))
    assert population_stability_index(*columns).statistic == pytest.approx(
        stats.entropy(p, q) + stats.entropy(q, p)
    )
    assert hellinger(*columns).statistic == pytest.approx(
        np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2)
    )
    (p, q), _ = _shares(*texts, extra=0)
    assert total_variation(*columns).statistic == pytest.approx(np.abs(p - q).sum() / 2)
    assert largest_difference(*columns).statistic == pytest.approx(np.abs(p - q).max())


def test_numeric_columns_are_compared_in_baseline_deciles(numeric_pair):
    """Numeric columns use the baseline's deciles with open ends."""
    rng = np.random.default_rng(1)
    baseline, current = rng.normal(size=10_000), rng.normal(0.1, 1.2, size=2000)
    cuts = np.quantile(baseline, np.arange(1, 10) / 10, method="inverted_cdf")
    counts = [np.bincount(np.searchsorted(cuts, values), minlength=10) for values in (baseline, current)]
    expected = stats.chi2_contingency(counts, correction=False)
    test = chi_square(*numeric_pair(baseline, current))
    assert (test.statistic, test.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_novel_categories_are_cells_of_their_own(categorical_pair):
    """A category that the baseline never saw adds to the distance."""
    baseline = ["a"] * 500 + ["b"] * 500
    columns = categorical_pair(baseline, ["a"] * 100 + ["b"] * 100 + ["new"] * 50)
    assert jensen_shannon(*columns).statistic > 0.3
    assert jensen_shannon(*columns).p_value < 1e-10


def test_rare_cells_are_pooled_by_both_samples():
    """Cells in which fewer than five rows of the smaller sample are expected share one cell."""
    counts = pooled(np.array([900, 50, 30, 20]), np.array([90, 0, 5, 5]))
    assert counts.baseline.tolist() == [900, 100]
    assert counts.current.tolist() == [90, 10]


def test_pooled_rows_that_are_still_too_few_join_the_smallest_cell():
    """Nothing is left in a cell too small for the null."""
    counts = pooled(np.array([600, 397, 3]), np.array([60, 39, 1]))
    assert counts.baseline.tolist() == [600, 400]
    assert counts.current.tolist() == [60, 40]


def test_rare_bins_are_joined_with_their_neighbours():
    """Bins of a numeric column are joined in order until five rows of the smaller sample are expected."""
    counts = joined(np.array([100] * 10), np.array([5, 3, 6, 5, 6, 5, 3, 6, 5, 6]))
    assert counts.baseline.tolist() == [100, 200, 100, 100, 100, 200, 100, 100]
    assert counts.current.tolist() == [5, 9, 5, 6, 5, 9, 5, 6]
    assert joined(np.array([30, 940, 30]), np.array([3, 94, 3])).baseline.tolist() == [940, 60]


@pytest.mark.parametrize("statistic", [chi_square, total_variation, largest_difference, jensen_shannon])
def test_windows_of_fifty_rows_alarm_at_the_stated_rate(numeric_pair, statistic):
    """Deciles of which half are rare: 5 % of the windows alarm, not the 20 to 70 % of gathered rare bins."""
    rng = np.random.default_rng(0)
    alarms = sum(
        statistic(*numeric_pair(rng.normal(size=1000), rng.normal(size=50))).p_value <= 0.05
        for _ in range(300)
    )
    assert alarms / 300 <= 0.095


def test_one_cell_cannot_differ(categorical_pair):
    """One category in both samples: distance 0, p-value 1."""
    test = jensen_shannon(*categorical_pair(["a"] * 30, ["a"] * 20))
    assert (test.statistic, test.p_value) == (0.0, 1.0)


def test_covariance_of_absolute_normals_agrees_with_simulation():
    """The closed form of Cov(|X|, |Y|) is what simulation gives."""
    draws = np.abs(np.random.default_rng(0).multivariate_normal([0, 0], [[1, -0.6], [-0.6, 1]], 400_000))
    assert absolute_covariance(np.array([-0.6]))[0] == pytest.approx(np.cov(draws.T)[0, 1], abs=0.005)
