from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exporter.statistics.drift.wasserstein import wasserstein_distance


def test_distance_is_exact_when_all_values_are_edges(numeric_pair):
    """With few distinct values the distance equals SciPy's over the baseline's deviation."""
    rng = np.random.default_rng(0)
    baseline = rng.poisson(4, 3000)
    current = np.minimum(rng.poisson(5, 500), baseline.max())
    expected = stats.wasserstein_distance(baseline, current) / baseline.std()
    assert wasserstein_distance(*numeric_pair(baseline, current)).statistic == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 0.3, 50.0, -50.0])
def test_distance_is_close_on_the_grid(numeric_pair, shift):
    """On 1,001 edges the distance agrees with SciPy's, and far shifts keep their size by the tail sums."""
    rng = np.random.default_rng(1)
    baseline, current = rng.normal(size=20_000), rng.normal(size=2000) + shift
    expected = stats.wasserstein_distance(baseline, current) / baseline.std()
    distance = wasserstein_distance(*numeric_pair(baseline, current)).statistic
    assert distance == pytest.approx(expected, rel=1e-3, abs=2e-3)


def test_null_agrees_with_permutation(numeric_pair):
    """The null has the quantiles of permuted samples."""
    rng = np.random.default_rng(2)
    baseline, current = rng.lognormal(size=2000), rng.lognormal(size=400)
    null = wasserstein_distance(*numeric_pair(baseline, current)).null
    pool = np.concatenate([baseline, current])
    draws = []
    for _ in range(500):
        rng.shuffle(pool)
        draws.append(stats.wasserstein_distance(pool[:2000], pool[2000:]) / baseline.std())
    for level in (0.2, 0.05, 0.02):
        assert null.critical_value(level) == pytest.approx(np.quantile(draws, 1 - level), rel=0.15)
