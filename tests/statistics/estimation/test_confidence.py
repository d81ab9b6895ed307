"""Confidence-based estimates read off cells against the same computed row by row."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.isotonic import IsotonicRegression

from exporter.profiles.grid import ScoreGrid, logit_edges
from exporter.results import Estimate, Undefined
from exporter.schema import ScoreKind
from exporter.statistics.estimation.calibration import fit_calibrator
from exporter.statistics.estimation.confidence import METRICS, estimate

GRID = ScoreGrid(ScoreKind.PROBABILITY, logit_edges(ScoreKind.PROBABILITY), np.array([]))
VALUES = GRID.values[:-1]
CELLS = len(VALUES)
TOLERANCE = {"accuracy": 7e-4, "roc_auc": 7e-4, "mcc": 2e-3, "pr_auc": 2e-3}
"""How far cells may be from rows: 9e-4 unless named here, twice as far where one row in ten is positive.

Most of it is not lost in the cells: isotonic regression on rows also fits the order of rows that the cells
hold for equal, which is chance.
"""


def drawn(rows: int, seed: int, *, shift: float = 0.0, slope: float = 0.7, offset: float = -0.3):
    """Scores, answers and labels of a model whose scores are too bold by `slope`."""
    generator = np.random.default_rng(seed)
    margin = generator.normal(shift, 1.5, rows)
    score = 1 / (1 + np.exp(-margin))
    truth = 1 / (1 + np.exp(-(slope * margin + offset)))
    return score, (score > 0.55).astype(int), (generator.uniform(size=rows) < truth).astype(int)


def by_cell(score, group, groups):
    """Rows by group and score cell, (groups, S)."""
    cells = np.searchsorted(GRID.upper, score)
    return np.bincount(group * CELLS + cells, minlength=groups * CELLS).reshape(groups, CELLS)


def row_wise(score, answer, chance):
    """The same estimates written plainly over rows with their calibrated probabilities."""
    tp, fp = (chance * answer).sum(), ((1 - chance) * answer).sum()
    fn, tn = (chance * (1 - answer)).sum(), ((1 - chance) * (1 - answer)).sum()
    weights = np.concatenate([chance, 1 - chance])
    truth = np.repeat([1, 0], len(score))
    both = np.concatenate([score, score])
    recall, specificity = tp / (tp + fn), tn / (tn + fp)
    return {
        "accuracy": (tp + tn) / len(score),
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": tp / (tp + fp),
        "recall": recall,
        "f1": 2 * tp / (2 * tp + fp + fn),
        "specificity": specificity,
        "mcc": (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
        "roc_auc": sklearn_metrics.roc_auc_score(truth, both, sample_weight=weights),
        "pr_auc": sklearn_metrics.average_precision_score(truth, both, sample_weight=weights),
        "log_loss": sklearn_metrics.log_loss(truth, both, sample_weight=weights),
        "brier": (chance * (1 - score) ** 2 + (1 - chance) * score**2).mean(),
    }


@pytest.mark.parametrize(("shift", "offset", "factor"), [(0.0, -0.3, 1), (1.0, 0.0, 1), (-1.5, -2.0, 2)])
def test_cells_agree_with_rows(shift, offset, factor):
    """Every metric, with and without a shift of the scores, is the row-wise one to the documented error."""
    score, answer, label = drawn(20_000, 1, offset=offset)
    calibrator = fit_calibrator(*by_cell(score, label, 2), VALUES)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(score, label)
    assert calibrator.isotonic
    score, answer, _ = drawn(20_000, 2, shift=shift, offset=offset)
    found = estimate(calibrator, by_cell(score, answer, 2), VALUES, metrics=list(METRICS), z=1.96)
    expected = row_wise(score, answer, oracle.predict(score))
    for name, value in expected.items():
        result = found[name]
        assert isinstance(result, Estimate)
        assert result.lower < result.value < result.upper
        assert result.value == pytest.approx(value, abs=factor * TOLERANCE.get(name, 9e-4)), name


def test_estimates_follow_a_shift_of_the_scores():
    """Where rows become harder the estimate falls as the labels would have shown, within its bounds."""
    score, _, label = drawn(20_000, 3)
    calibrator = fit_calibrator(*by_cell(score, label, 2), VALUES)
    score, answer, label = drawn(50_000, 4, shift=0.6)
    accuracy = estimate(calibrator, by_cell(score, answer, 2), VALUES, metrics=["accuracy"], z=3.0)[
        "accuracy"
    ]
    assert isinstance(accuracy, Estimate)
    assert accuracy.lower < (answer == label).mean() < accuracy.upper


@pytest.mark.parametrize("name", METRICS)
def test_slopes_are_those_of_small_differences(name):
    """What bounds are made of: how a metric changes when rows of one cell turn positive."""
    from exporter.statistics.estimation.confidence import Expected

    score, answer, _ = drawn(400, 5)
    rows = by_cell(score, answer, 2).astype(float)
    positives = rows * VALUES**0.8
    _, gradient = METRICS[name](Expected(rows, positives, VALUES))
    gradient = np.broadcast_to(gradient, rows.shape)
    for cell in list(zip(*np.nonzero(rows), strict=True))[::37]:
        ends = []
        for sign in (1, -1):
            moved = positives.copy()
            moved[cell] += sign * 1e-4
            ends.append(METRICS[name](Expected(rows, moved, VALUES))[0])
        assert gradient[cell] == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4, abs=1e-9)


def test_what_is_not_expected_has_a_reason():
    """Only one class expected, no positive answer, or a metric that calibration cannot give."""
    score, _, label = drawn(2000, 6)
    calibrator = fit_calibrator(*by_cell(score, label, 2), VALUES)
    rows = by_cell(score, np.zeros(2000, int), 2)
    found = estimate(calibrator, rows, VALUES, metrics=["precision", "mcc", "ece", "accuracy"], z=1.96)
    assert isinstance(found["accuracy"], Estimate)
    reasons = {name: result.reason for name, result in found.items() if isinstance(result, Undefined)}
    assert reasons == {"precision": "single_class", "mcc": "single_class", "ece": "not_comparable"}


@pytest.mark.slow
@pytest.mark.parametrize(("labels", "rows", "shift"), [(1000, 100_000, 0.0), (2000, 2000, 0.5)])
def test_bounds_cover_what_labels_will_say(labels, rows, shift):
    """The realised accuracy and ROC AUC lie within the bounds in 95 of 100 baselines, give or take chance."""
    hits = {"accuracy": 0, "roc_auc": 0}
    for seed in range(100):
        score, _, label = drawn(labels, 2 * seed + 100)
        calibrator = fit_calibrator(*by_cell(score, label, 2), VALUES)
        score, answer, label = drawn(rows, 2 * seed + 101, shift=shift)
        found = estimate(calibrator, by_cell(score, answer, 2), VALUES, metrics=list(hits), z=1.96)
        realised = {
            "accuracy": (answer == label).mean(),
            "roc_auc": sklearn_metrics.roc_auc_score(label, score),
        }
        for name, value in realised.items():
            result = found[name]
            assert isinstance(result, Estimate)
            hits[name] += result.lower <= value <= result.upper
    assert min(hits.values()) >= 86
