"""Cramer-von Mises and Anderson-Darling on the grid."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from exporter.statistics.drift import anderson_darling as anderson
from exporter.statistics.drift import cramer_von_mises as cramer
from exporter.statistics.drift.anderson_darling import anderson_darling
from exporter.statistics.drift.cramer_von_mises import cramer_von_mises
from exporter.statistics.drift.rank_quadratic import merged

STATISTICS = [cramer_von_mises, anderson_darling]


@pytest.fixture
def edged(numeric_pair):
    """Two samples as columns on a grid of which all their values are edges."""

    def columns(baseline, current):
        everything = np.concatenate([baseline, current])
        return numeric_pair(everything, baseline)[1], numeric_pair(everything, current)[1]

    return columns


def scholz_stephens(*samples):
    """The midrank statistic by its definition."""
    pool = np.concatenate(samples)
    total, rows = 0.0, len(pool)
    for value in np.unique(pool):
        tied = (pool == value).sum()
        below = (pool < value).sum() + tied / 2
        variance = below * (rows - below) - rows * tied / 4
        for sample in samples:
            own = (sample < value).sum() + (sample == value).sum() / 2
            total += tied / rows * (rows * own - len(sample) * below) ** 2 / variance / len(sample)
    return total * (rows - 1) / rows


@pytest.mark.parametrize("seed", range(5))
def test_criterion_without_ties_is_scipys(edged, seed):
    """Cramer-von Mises and its p-value agree with SciPy's where no value repeats."""
    rng = np.random.default_rng(seed)
    baseline, current = rng.normal(size=300), rng.normal(0.1 * seed, 1, size=80)
    test, expected = (
        cramer_von_mises(*edged(baseline, current)),
        stats.cramervonmises_2samp(baseline, current, method="asymptotic"),
    )
    assert test.statistic == pytest.approx(expected.statistic, abs=1e-10)
    assert test.p_value == pytest.approx(expected.pvalue, rel=0.01, abs=1e-5)


@pytest.mark.parametrize(("m", "n"), [(6, 7), (10, 8)])
def test_small_samples_are_close_to_the_exact_p_value(edged, m, n):
    """The exact mean and variance bring even a dozen rows within a few thousandths of the exact p-value."""
    rng = np.random.default_rng(m)
    for _ in range(10):
        baseline, current = rng.normal(size=m), rng.normal(0.5, 1, size=n)
        expected = stats.cramervonmises_2samp(baseline, current, method="exact").pvalue
        assert cramer_von_mises(*edged(baseline, current)).p_value == pytest.approx(expected, abs=0.04)


def test_criterion_with_ties_is_the_mean_of_both_sides(edged):
    """Among ties the squared distance is the mean of those before and after the tied rows."""
    rng = np.random.default_rng(0)
    baseline, current = rng.poisson(2, 400), rng.poisson(2.4, 90)
    pool = np.concatenate([baseline, current])
    after = [(s[:, None] <= pool).mean(axis=0) for s in (baseline, current)]
    before = [(s[:, None] < pool).mean(axis=0) for s in (baseline, current)]
    squares = ((after[0] - after[1]) ** 2 + (before[0] - before[1]) ** 2) / 2
    expected = 400 * 90 / 490**2 * squares.sum()
    assert cramer_von_mises(*edged(baseline, current)).statistic == pytest.approx(expected)
    mirrored = cramer_von_mises(*edged(-baseline, -current))
    assert mirrored.statistic == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_anderson_darling_is_scipys_midrank_statistic(edged, seed):
    """With and without ties it is the statistic of Scholz & Stephens; SciPy's is a linear function of it."""
    rng = np.random.default_rng(seed)
    found, scipys = [], []
    for shift in (0.0, 0.4, 1.0):
        draws = rng.normal(size=120), rng.normal(shift, 1, size=70)
        if seed:
            draws = tuple(np.round(2 * sample) for sample in draws)
        found.append(anderson_darling(*edged(*draws)).statistic)
        assert found[-1] == pytest.approx(scholz_stephens(*draws))
        variant = stats.PermutationMethod(n_resamples=1, rng=np.random.default_rng(0))
        scipys.append(stats.anderson_ksamp(draws, variant="midrank", method=variant).statistic)
    slopes = [(a - 1) / b for a, b in zip(found, scipys, strict=True)]
    assert slopes == pytest.approx([slopes[0]] * 3, rel=1e-6)


@pytest.mark.parametrize(("statistic", "module"), [(cramer_von_mises, cramer), (anderson_darling, anderson)])
@pytest.mark.parametrize("pool", [[1, 1, 2, 3, 1, 2, 2, 5, 6], [0, 0, 0, 0, 0, 0, 1, 1, 7], range(9)])
def test_mean_and_variance_are_those_of_all_deals(edged, statistic, module, pool):
    """Mean and variance over all 126 ways to deal nine rows are exactly what the null is fitted to."""
    pool = np.array(pool, float)
    values = []
    for chosen in combinations(range(9), 4):
        mask = np.isin(np.arange(9), chosen)
        values.append(statistic(*edged(pool[mask], pool[~mask])).statistic)
    shares = np.unique(pool, return_counts=True)[1] / 9
    assert module._form(shares, 4, 5).moments(4, 5) == pytest.approx((np.mean(values), np.var(values)))


@pytest.mark.parametrize("seed", range(4))
def test_criterion_is_within_the_grid_bound(numeric_pair, seed):
    """On 1,001 edges Cramer-von Mises differs from SciPy's by no more than the documented bound."""
    rng = np.random.default_rng(seed)
    baseline, current = rng.lognormal(size=20_000), rng.lognormal(0.05 * seed, 1, size=3000)
    columns = numeric_pair(baseline, current)
    exact = stats.cramervonmises_2samp(baseline, current, method="asymptotic").statistic
    before, now = (column.cells / column.n for column in columns)
    gaps = np.arange(len(before)) % 2 == 0
    widest = np.maximum(before, now)
    largest = np.abs(np.cumsum(before) - np.cumsum(now)).max()
    share = (20 * before + 3 * now) / 23
    bound = 60_000 / 23 * float((share * (2 * largest + widest) * widest)[gaps].sum())
    found = cramer_von_mises(*columns).statistic
    assert abs(found - exact) <= bound + 1e-9
    assert abs(found - exact) <= 0.02


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("kind", ["continuous", "few values", "mostly zero", "two values"])
def test_p_values_agree_with_permutation(edged, statistic, kind):
    """The chance of exceeding the 5 % and 1 % critical values over random deals is 5 % and 1 %."""
    rng = np.random.default_rng(5)
    draw = {
        "continuous": lambda size: rng.normal(size=size),
        "few values": lambda size: rng.poisson(1, size).astype(float),
        "mostly zero": lambda size: np.where(rng.random(size) < 0.8, 0.0, rng.normal(size=size)),
        "two values": lambda size: (rng.random(size) < 0.4).astype(float),
    }[kind]
    pool = draw(900)
    null = statistic(*edged(pool[:700], pool[700:])).null
    values = []
    for _ in range(600):
        rng.shuffle(pool)
        values.append(statistic(*edged(pool[:700], pool[700:])).statistic)
    for level in (0.2, 0.05):
        error = np.sqrt(level * (1 - level) / 600)
        slack = 0.03 if kind == "two values" else 0.0
        assert np.mean(np.array(values) > null.critical_value(level)) == pytest.approx(
            level, abs=3.5 * error + slack
        )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=400))
def test_merging_keeps_the_order_and_the_rows(weights):
    """Strips add up to 1, are few, and leave large atoms alone."""
    shares = np.array(weights) / sum(weights)
    strips = merged(shares)
    assert strips.sum() == pytest.approx(1.0)
    assert len(strips) <= 3 * 64 + 2
    large = shares[shares >= 1 / 64]
    assert np.isin(large, strips).all()


@pytest.mark.parametrize("statistic", STATISTICS)
def test_one_value_cannot_differ(edged, statistic):
    """All rows equal: statistic 0, p-value 1."""
    test = statistic(*edged(np.ones(50), np.ones(30)))
    assert (test.statistic, test.p_value) == (0.0, 1.0)
