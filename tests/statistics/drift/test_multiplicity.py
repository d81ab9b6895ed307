from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exporter.statistics.drift.multiplicity import benjamini_hochberg, corrected_level


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_adjusted_p_values_equal_scipys(p_values):
    """q-values are SciPy's, and those up to alpha are the rejections."""
    rejected, q = benjamini_hochberg(p_values, 0.05)
    assert q == pytest.approx(stats.false_discovery_control(p_values))
    assert rejected == pytest.approx((np.asarray(q) <= 0.05).sum(), abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.sampled_from(["bh", "bonferroni", "none"]))
def test_single_level_reproduces_the_correction(p_values, correction):
    """Deciding every test at the corrected level rejects what the adjusted p-values reject."""
    level, q = corrected_level(p_values, 0.05, correction)
    for p, adjusted in zip(p_values, q.tolist(), strict=True):
        if adjusted < 0.05 * (1 - 1e-9):
            assert p <= level * (1 + 1e-9)
        if adjusted > 0.05 * (1 + 1e-9):
            assert p > level * (1 - 1e-9)


def test_no_tests_are_no_rejections():
    """An empty family has a level and no q-values."""
    assert benjamini_hochberg([])[0] == 0
    assert corrected_level([], 0.05, "bh")[0] == 0.05
