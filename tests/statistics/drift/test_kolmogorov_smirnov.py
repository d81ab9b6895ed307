from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special, stats

from exporter.statistics.drift.bridge import bridge_exceedance, bridge_quantile, path_of
from exporter.statistics.drift.kolmogorov_smirnov import kolmogorov_smirnov
from exporter.statistics.drift.redealing import RedealtNull


@pytest.mark.parametrize("seed", range(4))
def test_statistic_is_exact_when_all_values_are_edges(numeric_pair, seed):
    """With few distinct values the statistic equals SciPy's, wherever the current values lie."""
    rng = np.random.default_rng(seed)
    baseline, current = rng.poisson(3, 700), rng.poisson(3.4, 300) - 1.5 * (seed == 3)
    columns = numeric_pair(baseline, current)
    assert kolmogorov_smirnov(*columns).statistic == pytest.approx(
        stats.ks_2samp(baseline, current).statistic, abs=1e-12 if seed < 3 else 1.0
    )


@pytest.mark.parametrize("seed", range(4))
def test_statistic_is_within_the_grid_bound(numeric_pair, seed):
    """On 1,001 edges the statistic differs from SciPy's by at most the largest mass between two edges."""
    rng = np.random.default_rng(seed)
    baseline = rng.lognormal(size=20_000)
    current = rng.lognormal(0.02 * seed, 1 + 0.05 * seed, size=3000)
    columns = numeric_pair(baseline, current)
    bound = columns[0].cells[0::2].max() / len(baseline)
    exact = stats.ks_2samp(baseline, current, method="asymp").statistic
    assert exact - bound <= kolmogorov_smirnov(*columns).statistic <= exact + 1e-12
    assert bound <= 0.001


def test_p_value_of_continuous_values_is_kolmogorovs(numeric_pair):
    """Where no value is frequent the p-value is close to SciPy's asymptotic one."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        baseline, current = rng.normal(size=5000), rng.normal(size=2000)
        test = kolmogorov_smirnov(*numeric_pair(baseline, current))
        root = np.sqrt(5000 * 2000 / 7000)
        assert test.p_value == pytest.approx(float(special.kolmogorov(root * test.statistic)), abs=0.06)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_rare_value_in_a_window_of_few_rows(numeric_pair, rows):
    """Where nearly all ways to deal the rows give one statistic, every level still has its critical value."""
    baseline, current = np.zeros(700), np.zeros(rows)
    baseline[0], current[0] = 1.0, 2.0
    test = kolmogorov_smirnov(*numeric_pair(baseline, current))
    assert 0 < test.p_value < 0.05
    levels = (0.3, 0.05, 1e-3, 1e-6)
    critical = [test.null.critical_value(level) for level in levels]
    assert critical == sorted(critical)
    for level, value in zip(levels, critical, strict=True):
        assert (test.statistic > value) == (test.p_value < level)
        assert test.null.p_value(value * 1.0001) <= level


def test_bridge_at_one_point_is_normal():
    """Two values make a test of two proportions: a normal variable."""
    path = path_of(np.array([0.3, 0.7]))
    for barrier in (0.2, 0.5, 0.9, 1.5):
        expected = 2 * stats.norm.sf(barrier / np.sqrt(0.21))
        assert bridge_exceedance(path, barrier) == pytest.approx(expected, rel=1e-4, abs=1e-12)


def test_bridge_at_two_points_is_a_normal_rectangle():
    """Three values: the chance equals that of SciPy's bivariate normal distribution."""
    path = path_of(np.array([0.2, 0.5, 0.3]))
    covariance = [[0.16, 0.06], [0.06, 0.21]]
    for barrier in (0.4, 0.8, 1.1):
        inside = stats.multivariate_normal([0, 0], covariance).cdf(
            [barrier, barrier], lower_limit=[-barrier, -barrier]
        )
        assert bridge_exceedance(path, barrier) == pytest.approx(1 - inside, abs=2e-5)


def test_bridge_of_many_values_is_kolmogorovs_distribution():
    """The finer the values, the closer to Kolmogorov's distribution, from below."""
    for barrier in (0.8, 1.2, 1.6):
        limit = float(special.kolmogorov(barrier))
        fine = bridge_exceedance(path_of(np.full(100_000, 1e-5)), barrier)
        coarse = bridge_exceedance(path_of(np.full(200, 1 / 200)), barrier)
        assert coarse < fine < limit
        assert fine == pytest.approx(limit, abs=0.005)


def test_bridge_with_one_large_value_agrees_with_simulation():
    """70 % zeros and the rest continuous: the chance is that of simulated bridges."""
    rng = np.random.default_rng(3)
    masses = np.concatenate([np.full(75, 0.002), [0.7], np.full(75, 0.002)])
    path = path_of(masses)
    steps = rng.normal(size=(40_000, len(masses))) * np.sqrt(masses)
    walk = np.cumsum(steps, axis=1)
    largest = np.abs(walk - walk[:, -1:] * np.cumsum(masses)).max(axis=1)
    for level in (0.3, 0.1, 0.05, 0.01):
        barrier = bridge_quantile(path, level)
        assert (largest > barrier).mean() == pytest.approx(level, rel=0.2, abs=0.002)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 1000), min_size=2, max_size=40),
    st.floats(1e-6, 0.5),
)
@example([4, 104, 1, 259], 0.001953125)  # a short step between two long ones needs more nodes
def test_quantile_and_chance_are_inverse(weights, level):
    """The chance of exceeding the quantile of a level is the level, whatever the values' shares."""
    masses = np.array(weights) / sum(weights)
    path = path_of(masses)
    barrier = bridge_quantile(path, level)
    assert bridge_exceedance(path, barrier) == pytest.approx(level, rel=2e-3, abs=1e-9)
    assert barrier <= float(special.kolmogi(level)) * (1 + 1e-9)


def test_a_column_that_was_constant_and_now_varies_is_told(numeric_pair):
    """Constant before and varying now, or the reverse, is a large distance with a small p-value."""
    rng = np.random.default_rng(0)
    for baseline, current in ((np.zeros(500), rng.normal(size=500)), (rng.normal(size=500), np.zeros(500))):
        test = kolmogorov_smirnov(*numeric_pair(baseline, current))
        assert test.statistic >= 0.45
        assert test.p_value < 1e-10


def test_a_column_that_stays_constant_has_nothing_to_tell(numeric_pair):
    """Constant before and now: no distance, p-value 1."""
    test = kolmogorov_smirnov(*numeric_pair(np.ones(50), np.ones(70)))
    assert (test.statistic, test.p_value) == (0.0, 1.0)


@pytest.mark.parametrize(("m", "n"), [(5, 7), (20, 20), (60, 30)])
def test_few_rows_have_the_exact_p_value(numeric_pair, m, n):
    """Without ties the p-value is SciPy's exact one."""
    rng = np.random.default_rng(m)
    for _ in range(5):
        baseline, current = rng.normal(size=m), rng.normal(0.5, 1, n)
        merged = np.concatenate([baseline, current])  # all values are edges, so that the grid loses nothing
        test = kolmogorov_smirnov(*numeric_pair(merged, baseline)[1:], numeric_pair(merged, current)[1])
        expected = stats.ks_2samp(baseline, current, method="exact")
        assert test.statistic == pytest.approx(expected.statistic)
        assert test.p_value == pytest.approx(expected.pvalue, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-4, 0.5))
def test_few_rows_with_ties_have_consistent_critical_values(numeric_pair, seed, level):
    """Exceeding the critical value of a level is the same as a p-value of at most the level."""
    rng = np.random.default_rng(seed)
    test = kolmogorov_smirnov(*numeric_pair(rng.integers(0, 5, 30), rng.integers(0, 6, 20)))
    assert (test.statistic > test.null.critical_value(level)) == (test.p_value <= level)


def test_nearly_constant_columns_are_dealt_anew(numeric_pair):
    """98 % zeros in 50 rows: chances near the threshold are those of dealing the rows, not of a bridge."""
    rng = np.random.default_rng(0)
    pool = np.where(rng.random(1050) < 0.02, rng.normal(size=1050), 0.0)
    current = np.concatenate([np.zeros(46), [1.0, 2.0, 3.0, 4.0]])
    pool[1000:] = current
    test = kolmogorov_smirnov(*numeric_pair(pool[:1000], current))
    assert isinstance(test.null, RedealtNull)
    alike = []
    for _ in range(400):
        rng.shuffle(pool)
        alike.append(kolmogorov_smirnov(*numeric_pair(pool[:1000], pool[1000:])).statistic)
    assert test.p_value == pytest.approx(np.mean(np.array(alike) >= test.statistic - 1e-9), abs=0.06)
    for level in (0.1, 0.05, 1e-4):
        assert test.null.p_value(test.null.critical_value(level)) == pytest.approx(level, rel=0.01)
