"""Bounds that hold at all times together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from exporter.statistics.comparison import half_width


@pytest.mark.parametrize("variance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_half_width_is_where_the_mixture_reaches_its_evidence(variance, alpha):
    """At the bound, the likelihood ratio integrated over N(0, t2) differences is 1 / alpha."""
    scale = 0.03
    bound = half_width(variance, scale**2, alpha)
    spread = math.sqrt(variance)
    peak = bound * scale**2 / (variance + scale**2)
    width = math.sqrt(variance * scale**2 / (variance + scale**2))
    mixture, _ = integrate.quad(
        lambda x: stats.norm.pdf(bound, x, spread) * stats.norm.pdf(x, 0, scale),
        peak - 12 * width,
        peak + 12 * width,
    )
    assert mixture / stats.norm.pdf(bound, 0, spread) == pytest.approx(1 / alpha, rel=1e-6)


def test_bounds_are_wider_than_those_of_one_look_and_shrink_with_rows():
    """Looking all the time costs less than twice the width, and the width goes to 0."""
    widths = [half_width(0.5 / rows, 0.03**2, 0.05) for rows in (1_000, 10_000, 100_000, 10**7)]
    assert widths == sorted(widths, reverse=True)
    for rows, width in zip((1_000, 10_000, 100_000), widths, strict=False):
        assert 1 < width / (1.96 * math.sqrt(0.5 / rows)) < 2
    assert half_width(0.0, 0.03**2, 0.05) == 0.0


def test_false_decisions_stay_at_the_nominal_rate_however_often_one_looks():
    """Of 400 pairs of equal arms, at most 5 % (and chance) are ever decided in 200 looks; by 1.96 SE many."""
    rng = np.random.default_rng(8)
    rows = np.arange(100, 20_001, 100)
    hits = np.cumsum(rng.binomial(100, 0.9, (2, 400, 200)), axis=2)
    gap = np.abs(hits[0] - hits[1]) / rows
    smooth = (hits + 1) / (rows + 2)
    variance = (smooth * (1 - smooth) / rows).sum(axis=0)
    ever = np.array([[half_width(v, 0.03**2, 0.05) for v in row] for row in variance]) < gap
    assert ever.any(axis=1).mean() <= 0.07
    assert (gap > 1.96 * np.sqrt(variance)).any(axis=1).mean() > 0.25
