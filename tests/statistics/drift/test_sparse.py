from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from exporter.statistics.drift.cells import PairedCounts, paired_counts, pooled
from exporter.statistics.drift.divergence import chi_square, jensen_shannon
from exporter.statistics.drift.nulls import GammaNull
from exporter.statistics.drift.sparse import chi_square_moments, sparse_chi_square


@pytest.mark.parametrize("pool", [[0, 0, 0, 1, 1, 2, 3, 4, 4], [0] * 8 + [1], list(range(9))])
def test_moments_are_those_of_all_tables_with_these_margins(pool):
    """Mean and variance over all 126 ways to deal nine rows, however rare the categories."""
    pool = np.array(pool)
    cells = pool.max() + 1
    values = []
    for chosen in combinations(range(9), 4):
        mask = np.isin(np.arange(9), chosen)
        counts = PairedCounts(
            np.bincount(pool[mask], minlength=cells), np.bincount(pool[~mask], minlength=cells)
        )
        values.append(sparse_chi_square(counts).statistic)
    found = chi_square_moments(np.bincount(pool).astype(float), 4, 5)
    assert found == pytest.approx((np.mean(values), np.var(values)), abs=1e-9)


def test_many_rare_categories_are_counted_one_by_one(categorical_pair):
    """Where pooling would lose most categories, chi-square is SciPy's over all of them, with a gamma null."""
    rng = np.random.default_rng(0)
    names = np.array([f"n{place}" for place in range(300)])
    baseline, current = names[rng.integers(0, 300, 900)], names[rng.integers(0, 300, 300)]
    test = chi_square(*categorical_pair(list(baseline), list(current)))
    seen = sorted({*baseline, *current})
    table = [[(values == name).sum() for name in seen] for values in (baseline, current)]
    assert isinstance(test.null, GammaNull)
    assert test.statistic == pytest.approx(stats.chi2_contingency(table, correction=False).statistic)


def test_sparse_categories_alarm_at_the_stated_rate(categorical_pair):
    """200 categories in 100 rows: 5 % of the windows alarm by chi-square, and drift is found."""
    rng = np.random.default_rng(1)
    names = np.array([f"n{place}" for place in range(200)])
    alarms = 0
    for _ in range(300):
        columns = categorical_pair(
            list(names[rng.integers(0, 200, 1000)]), list(names[rng.integers(0, 200, 100)])
        )
        alarms += chi_square(*columns).p_value <= 0.05
    assert 0.015 <= alarms / 300 <= 0.095
    drifted = categorical_pair(list(names[rng.integers(0, 200, 1000)]), list(names[rng.integers(0, 50, 100)]))
    assert chi_square(*drifted).p_value < 1e-4
    assert jensen_shannon(*drifted).p_value < 1e-3


def test_rare_categories_share_several_cells(categorical_pair):
    """Rare categories are pooled into cells just large enough, in an order that does not know the counts."""
    rng = np.random.default_rng(2)
    names = np.array([f"n{place}" for place in range(200)])
    baseline, current = list(names[rng.integers(0, 200, 1000)]), list(names[rng.integers(0, 200, 100)])
    counts = paired_counts(*categorical_pair(baseline, current))
    expected = (counts.baseline + counts.current) * 100 / 1100
    assert 12 <= len(expected) <= 20
    assert expected.min() >= 5
    assert (counts.baseline.sum(), counts.current.sum()) == (1000, 100)


def test_a_flood_of_new_names_is_seen(categorical_pair):
    """New categories, each rare, differ from the old ones by all methods on cells."""
    baseline = [f"n{place % 100}" for place in range(2000)]
    current = [f"new{place}" for place in range(150)] + baseline[:150]
    columns = categorical_pair(baseline, current)
    assert jensen_shannon(*columns).p_value < 1e-6
    assert chi_square(*columns).p_value < 1e-6


def test_all_rows_stay_when_cells_are_pooled():
    """Whatever the counts, pooling loses no row."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        cells = int(rng.integers(1, 40))
        baseline, current = rng.poisson(rng.exponential(9), cells), rng.poisson(rng.exponential(3), cells)
        if not baseline.sum() or not current.sum():
            continue
        names = [f"n{place}" for place in range(cells - 1)]
        for counts in (pooled(baseline, current), pooled(baseline, current, names)):
            assert counts.baseline.sum() == baseline.sum()
            assert counts.current.sum() == current.sum()
