"""Sample ratios tested as often as one likes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from exporter.statistics.comparison.sample_ratio import log_bayes_factor, sample_ratio_p_value


@pytest.mark.parametrize(("counts", "share"), [((60, 40), 0.5), ((180, 25), 0.1), ((5, 9), 0.3)])
def test_evidence_is_the_integral_over_other_shares(counts, share):
    """For two arms it is the beta mixture of binomial likelihoods, relative to that of the shares."""
    concentration = 80.0
    prior = stats.beta(concentration * share, concentration * (1 - share))
    second, first = counts[1], counts[0]
    mixture, _ = integrate.quad(
        lambda p: prior.pdf(p) * (p / share) ** second * ((1 - p) / (1 - share)) ** first, 0, 1, limit=200
    )
    found = log_bayes_factor((first, second), (1 - share, share), concentration=concentration)
    assert found == pytest.approx(math.log(mixture), abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=20))
def test_p_value_never_rises(steps):
    """However rows come, the p-value stays in (0, 1] and only falls."""
    first = second = 0
    p_value = 1.0
    for one, other in steps:
        first, second = first + one, second + other
        after = sample_ratio_p_value((first, second), (0.5, 0.5), before=p_value)
        assert 0 <= after <= p_value
        p_value = after


def test_mismatches_are_found_and_right_splits_are_not():
    """Of 300 even splits at most 1 % (and chance) are ever called; 52 to 48 is found in 20,000 rows."""
    rng = np.random.default_rng(4)
    looks, false = 100, 0
    for _ in range(300):
        seconds = np.cumsum(rng.binomial(200, 0.5, looks))
        totals = 200 * np.arange(1, looks + 1)
        p_value = 1.0
        for total, second in zip(totals.tolist(), seconds.tolist(), strict=True):
            p_value = sample_ratio_p_value((total - second, second), (0.5, 0.5), before=p_value)
        false += p_value < 0.01
    assert false <= 8
    assert sample_ratio_p_value((9_600, 10_400), (0.5, 0.5)) < 0.01
