"""Phi coefficients against NumPy, their variance against simulation, groups and changes."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.statistics.quality.missing_together import (
    missing_together,
    phi_coefficients,
    phi_variance,
)


def counts(mask):
    """(missing, together, rows) of a mask (rows, columns)."""
    whole = mask.astype(np.int64)
    together = whole.T @ whole
    missing = np.diag(together).copy()
    np.fill_diagonal(together, 0)
    return missing, together, len(mask)


def measured(mask, baseline=None):
    names = [f"x{place}" for place in range(mask.shape[1])]
    before = None
    if baseline is not None:
        missing, together, rows = counts(baseline)
        before = names[::-1], missing[::-1], together[::-1, ::-1], rows
    missing, together, rows = counts(mask)
    return missing_together(names, missing, together, rows, baseline=before)


def linked(generator, rows, *, phi_like):
    """Three columns of which the first two go missing together in a share of the cases."""
    mask = generator.random((rows, 3)) < 0.1
    same = generator.random(rows) < phi_like
    mask[:, 1] = np.where(same, mask[:, 0], mask[:, 1])
    return mask


def test_phi_is_the_correlation_of_the_indicators():
    """The oracle is NumPy's correlation of the missing masks; a constant mask has none."""
    mask = np.random.default_rng(1).random((500, 6)) < [0.1, 0.5, 0.9, 0.02, 0.3, 0.0]
    mask[:, 1] |= mask[:, 0]
    phi = phi_coefficients(*counts(mask))
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.corrcoef(mask.T)
    assert np.allclose(phi[:5, :5], expected[:5, :5])
    assert np.isnan(phi[5, :5]).all()


def test_variance_of_phi_is_that_of_repeated_samples():
    """First-order variance against 4,000 samples of 2,000 rows."""
    generator = np.random.default_rng(2)
    cells = np.array([0.75, 0.05, 0.08, 0.12])
    drawn = generator.multinomial(2000, cells, size=4000) / 2000
    first, second = drawn[:, 2] + drawn[:, 3], drawn[:, 1] + drawn[:, 3]
    phi = (drawn[:, 3] - first * second) / np.sqrt(first * (1 - first) * second * (1 - second))
    p, q = cells[2] + cells[3], cells[1] + cells[3]
    true = (cells[3] - p * q) / np.sqrt(p * (1 - p) * q * (1 - q))
    expected = phi_variance(np.array([true]), np.array([p]), np.array([q]), 2000)[0]
    assert phi.var() == pytest.approx(expected, rel=0.1)


def test_columns_that_go_missing_together_are_a_group():
    """Two pairs and one on its own; the strongest pairs come first."""
    generator = np.random.default_rng(3)
    mask = generator.random((2000, 5)) < [0.1, 0.1, 0.05, 0.05, 0.2]
    mask[:, 1], mask[:, 3] = mask[:, 0], mask[:, 2]
    found = measured(mask)
    assert found.groups == (("x0", "x1"), ("x2", "x3"))
    assert {pair.columns for pair in found.pairs[:2]} == {("x0", "x1"), ("x2", "x3")}
    assert found.pairs[0].phi == pytest.approx(1.0)
    assert found.changed_count == 0


def test_a_new_link_is_a_change_and_an_old_one_is_not():
    """What went missing together in the baseline too has not changed; a new link, and a lost one, has."""
    generator = np.random.default_rng(4)
    apart, together = (linked(generator, 4000, phi_like=share) for share in (0.0, 0.8))
    again = linked(generator, 4000, phi_like=0.8)
    assert measured(together, apart).changed_count == 1
    assert measured(together, apart).pairs[0].changed
    assert measured(apart, together).changed_count == 1
    assert measured(again, together).changed_count == 0


def test_unchanged_pairs_seldom_alarm():
    """Of 200 windows without a change at most a few have a changed pair."""
    generator = np.random.default_rng(5)
    alarms = 0
    for _ in range(200):
        both = [linked(generator, rows, phi_like=0.4) for rows in (3000, 500)]
        alarms += measured(both[1], both[0]).changed_count > 0
    assert alarms <= 8


def test_nothing_missing_is_no_group():
    """Without two columns to compare there is nothing to say."""
    assert measured(np.zeros((10, 1), bool)).pairs == ()
    assert measured(np.zeros((10, 2), bool)).pairs == ()
