"""Calibrators against scikit-learn's isotonic regression, and when calibration is left out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from exporter.statistics.estimation.calibration import fit_calibrator

VALUES = (np.arange(200) + 0.5) / 200


def counts(
    rows: int, truth: np.ndarray, seed: int, values: np.ndarray = VALUES
) -> tuple[np.ndarray, np.ndarray]:
    """Labelled rows by cell: (negatives, positives)."""
    generator = np.random.default_rng(seed)
    cells = generator.integers(0, len(values), rows)
    label = generator.uniform(size=rows) < truth[cells]
    size = len(values)
    return np.bincount(cells[~label], minlength=size), np.bincount(cells[label], minlength=size)


@pytest.mark.parametrize("rows", [40, 300, 5000])
def test_calibration_is_isotonic_regression(rows):
    """Shares agree with scikit-learn's fit on the rows themselves, also between and beyond their scores."""
    negatives, positives = counts(rows, VALUES**3, seed=rows)
    scores = np.concatenate([np.repeat(VALUES, negatives), np.repeat(VALUES, positives)])
    labels = np.repeat([0.0, 1.0], [negatives.sum(), positives.sum()])
    oracle = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    made = fit_calibrator(negatives, positives, VALUES)
    assert made.isotonic
    assert made.share == pytest.approx(oracle.predict(VALUES), abs=1e-9)


def test_calibrated_scores_stay_as_they_are():
    """Where scores come true as often as they say, isotonic regression only adds noise."""
    left_out = [not fit_calibrator(*counts(3000, VALUES, seed=seed), VALUES).isotonic for seed in range(10)]
    assert sum(left_out) >= 8


def test_shares_are_interpolated_between_their_blocks():
    """The blocks and weights that variances are taken with give back the shares."""
    negatives, positives = counts(150, VALUES**2, seed=5)
    made = fit_calibrator(negatives, positives, VALUES)
    rows = made.block_rows
    share = (made.block_share * (rows + 1) - 0.5) / rows
    assert made.isotonic
    assert (1 - made.weight) * share[made.left] + made.weight * share[made.right] == pytest.approx(made.share)


def test_one_baseline_gives_one_calibrator():
    """The split into parts is seeded."""
    cells = counts(500, VALUES**1.2, seed=8)
    first, second = fit_calibrator(*cells, VALUES), fit_calibrator(*cells, VALUES)
    assert first.isotonic == second.isotonic
    assert (first.share == second.share).all()


def test_variance_falls_with_labels_and_is_that_of_a_mean():
    """The baseline's term of a mean over all cells is sigma^2 / m of the labels within their blocks."""
    few, many = (fit_calibrator(*counts(rows, VALUES**3, seed=2), VALUES) for rows in (1000, 16_000))
    slope = np.full(len(VALUES), 1 / len(VALUES))
    assert few.variance(slope) / many.variance(slope) == pytest.approx(16, rel=0.5)
    truth = VALUES**3
    assert many.variance(slope) == pytest.approx((truth * (1 - truth)).mean() / 16_000, rel=0.2)
