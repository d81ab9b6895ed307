"""Delays in cells of equal ratio."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.profiles.delays import CELLS, DelayHistogram, count_delays, delay_edges
from exporter.profiles.vectors import Counter


def histogram_of(delays) -> DelayHistogram:
    counter = Counter(CELLS)
    count_delays(np.asarray(delays, float), 0, counter)
    return DelayHistogram(counter.total().dense(), delay_edges())


@settings(max_examples=60, deadline=None)
@given(delays=st.lists(st.floats(1.001e-3, 1e8), min_size=1, max_size=200), q=st.floats(0, 1))
def test_quantiles_are_within_their_error(delays, q):
    """Any quantile is at most 3.7 % off the observed one."""
    exact = np.quantile(delays, q, method="inverted_cdf")
    assert histogram_of(delays).quantile(q) == pytest.approx(exact, rel=0.037)


def test_odd_delays_are_counted():
    """Negative and infinite delays are counted at the ends, unknown ones not at all."""
    delays = histogram_of([-5.0, 0.0, np.nan, np.inf, 1e12])
    assert delays.n == 4
    assert delays.quantile(0.5) == 0.0
    assert delays.quantile(1.0) == pytest.approx(1e8)
    assert histogram_of([]).quantile(0.5) is None


def test_many_delays_count_like_few():
    """Sorting many and searching few give the same."""
    delays = np.random.default_rng(0).lognormal(5, 3, 10_000)
    parts = sum(histogram_of(part).counts for part in np.array_split(delays, 7))
    np.testing.assert_array_equal(histogram_of(delays).counts, parts)
