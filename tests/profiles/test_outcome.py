"""Outcome profiles against scikit-learn and plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss, roc_auc_score

from exporter.batch import Outcomes
from exporter.profiles import build_grid, profile_outcomes, profile_rows
from exporter.profiles.building import _score_grid
from exporter.profiles.grid import ScoreGrid, logit_edges
from exporter.profiles.scores import count_scores
from exporter.profiles.vectors import Counter
from exporter.schema import ScoreKind, Task

BINARY, MULTICLASS, REGRESSION = Task.BINARY, Task.MULTICLASS, Task.REGRESSION


def whole(batch):
    grid = build_grid(batch)
    return (profile_rows(grid, batch) + profile_outcomes(grid, batch.outcomes)).outcome()


def auc_of(outcome) -> float:
    """ROC AUC off the score cells, ties one half."""
    negatives, positives = outcome.labelled[:, :, :-1].sum(axis=1).astype(float)
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / positives.sum() / negatives.sum())


def binary(score, label, kind=ScoreKind.PROBABILITY):
    return Outcomes(BINARY, (score > 0.5).astype(np.int8), score, label.astype(np.int8))


@pytest.mark.parametrize("n", [300, 20_000])
def test_binary_agrees_with_scikit_learn(rows, n):
    """Confusion, log loss and Brier score are those of the labelled rows."""
    batch = rows.batch(1, n)
    outcome, o = whole(batch), batch.outcomes
    known = o.label >= 0
    np.testing.assert_array_equal(outcome.confusion, confusion_matrix(o.label[known], o.prediction[known]))
    assert outcome.rows == n
    assert outcome.labelled_rows == known.sum()
    assert outcome.all_rows.sum(axis=1).tolist() == np.bincount(o.prediction).tolist()
    assert outcome.all_rows[:, -1].sum() == np.isnan(o.score).sum()
    scored = known & ~np.isnan(o.score)
    assert outcome.scored == scored.sum()
    y, p = o.label[scored], o.score[scored]
    assert outcome.log_loss_sum / outcome.scored == pytest.approx(log_loss(y, p))
    assert outcome.brier_sum / outcome.scored == pytest.approx(brier_score_loss(y, p))
    losses = -np.log(np.where(y == 1, p, 1 - p))
    assert outcome.log_loss_squares == pytest.approx((losses**2).sum())
    assert outcome.brier_squares == pytest.approx(((p - y) ** 4).sum())


def test_certain_scores_that_are_wrong_have_a_finite_loss(rows):
    """Scores of exactly 0 and 1 are kept away from the ends as scikit-learn does."""
    score, label = np.array([0.0, 1.0, 1.0, 0.0]), np.array([1, 0, 1, 0])
    outcome = whole(rows.batch(0, 4, outcomes=binary(score, label)))
    assert outcome.log_loss_sum / 4 == pytest.approx(log_loss(label, score))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rate=st.sampled_from([0.001, 0.05, 0.5]), shift=st.floats(-6, 6))
def test_roc_auc_off_the_cells_is_within_its_bound(rows, seed, rate, shift):
    """The exact AUC lies within the stated bound, also for rare positives and after shifts."""
    score, label = scored(np.random.default_rng(seed), 20_000, rate, shift)
    outcome = profile_outcomes(build_grid(rows.batch(0, 5_000)), binary(score, label)).outcome()
    assert abs(auc_of(outcome) - roc_auc_score(label, score)) <= outcome.roc_auc_bound + 1e-12
    assert outcome.roc_auc_bound <= 3e-3


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5])
@pytest.mark.parametrize("shift", [-6.0, 0.0, 6.0])
def test_roc_auc_off_the_cells_is_within_six_in_ten_thousand(rows, rate, shift):
    """Among 200,000 rows the AUC is at most 6e-4 off, with 200 positives as with 100,000."""
    score, label = scored(np.random.default_rng(1), 200_000, rate, shift)
    outcome = profile_outcomes(build_grid(rows.batch(0, 5_000)), binary(score, label)).outcome()
    assert auc_of(outcome) == pytest.approx(roc_auc_score(label, score), abs=6e-4)


def scored(rng, n, rate, shift):
    """Scores whose logits are normal about the class, and labels with both classes."""
    label = rng.random(n) < rate
    label[:2] = True, False
    return 1 / (1 + np.exp(-(shift + 2 * label + rng.normal(0, 1.5, n)))), label


def test_few_distinct_scores_are_exact(rows):
    """When the baseline's scores are few, each has a cell and the AUC is exact."""
    rng = np.random.default_rng(5)
    score = rng.integers(0, 40, 3000) / 40
    label = rng.random(3000) < score
    outcome = whole(rows.batch(0, 3000, outcomes=binary(score, label)))
    assert outcome.roc_auc_bound == 0
    assert auc_of(outcome) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    held = outcome.score_values[:-1][outcome.all_rows.sum(axis=0)[:-1] > 0]
    assert set(held.tolist()) <= set((np.arange(40) / 40).tolist())


@settings(max_examples=60, deadline=None)
@given(
    atoms=st.lists(st.floats(0, 1), max_size=20),
    scores=st.lists(st.floats(0, 1) | st.just(np.nan), min_size=1, max_size=50),
    kind=st.sampled_from(list(ScoreKind)),
)
def test_score_cells_hold_what_they_stand_for(atoms, scores, kind):
    """Atoms have their own cells, every score is counted once, and values ascend with the cells."""
    grid = ScoreGrid(kind, logit_edges(kind), np.unique(np.array(atoms, float) + 0.0))
    scores = np.array([*scores, *grid.atoms])
    counter = Counter(grid.cells)
    count_scores(grid, scores, np.zeros(len(scores), int), counter, number=1, start=0)
    counts = counter.total().dense()
    assert counts.sum() == len(scores)
    assert counts[-1] == np.isnan(scores).sum()
    assert (np.diff(grid.values[:-1]) >= 0).all()
    for atom in grid.atoms:
        assert counts[np.searchsorted(grid.upper, atom)] == (scores == atom).sum()
    assert grid.atomic.sum() == len(grid.atoms)


def test_the_values_of_cells_are_near_their_scores():
    """A probability is at most 0.0025 from the value that stands for its cell."""
    grid = ScoreGrid(ScoreKind.PROBABILITY, logit_edges(ScoreKind.PROBABILITY), np.empty(0))
    scores = np.random.default_rng(0).random(50_000)
    assert np.abs(grid.values[np.searchsorted(grid.upper, scores)] - scores).max() <= 0.0025


def test_many_scores_count_like_few():
    """Sorting groups and searching single scores give the same histograms."""
    rng = np.random.default_rng(0)
    grid = ScoreGrid(ScoreKind.PROBABILITY, logit_edges(ScoreKind.PROBABILITY), np.array([0.25, 0.5]))
    scores = np.where(rng.random(9_000) < 0.2, rng.choice([0.25, 0.5, np.nan], 9_000), rng.random(9_000))
    groups = rng.integers(-1, 3, 9_000)
    many, few = Counter(3 * grid.cells), Counter(3 * grid.cells)
    count_scores(grid, scores, groups, many, number=3, start=0)
    for part in np.array_split(np.arange(9_000), 5):
        count_scores(grid, scores[part], groups[part], few, number=3, start=0)
    np.testing.assert_array_equal(many.total().dense(), few.total().dense())


def test_margins_are_ranked_and_have_no_losses(rows):
    """Margins are placed by their logit, whatever their size; log loss and Brier score stay out."""
    rng = np.random.default_rng(2)
    margin = np.concatenate((rng.normal(0, 5, 4000), [np.inf, -np.inf, 800.0]))
    label = (rng.random(len(margin)) < 1 / (1 + np.exp(-np.clip(margin, -50, 50)))).astype(np.int8)
    batch = rows.batch(0, len(margin), outcomes=Outcomes(BINARY, (margin > 0).astype(np.int8), margin, label))
    grid = build_grid(
        rows.batch(0, len(margin), outcomes=batch.outcomes, schema=_margin_schema(batch.schema))
    )
    outcome = profile_outcomes(grid, batch.outcomes).outcome()
    assert outcome.score_kind is ScoreKind.MARGIN
    assert outcome.scored == 0
    assert auc_of(outcome) == pytest.approx(roc_auc_score(label, np.clip(margin, -1e3, 1e3)), abs=6e-4)
    assert 0 <= outcome.score_values[0] < outcome.score_values[-2] <= 1


def _margin_schema(schema):
    from dataclasses import replace

    return replace(schema, score_kind=ScoreKind.MARGIN)


def test_binary_without_scores_counts_predictions(rows):
    """No score column: one cell a group."""
    from dataclasses import replace

    batch = rows.batch(3, 500)
    schema = replace(batch.schema, score=None)
    outcomes = replace(batch.outcomes, score=None)
    outcome = whole(rows.batch(3, 500, schema=schema, outcomes=outcomes))
    known = outcomes.label >= 0
    np.testing.assert_array_equal(
        outcome.confusion, confusion_matrix(outcomes.label[known], outcomes.prediction[known])
    )
    assert outcome.all_rows.shape == (2, 1)
    assert outcome.roc_auc_bound is None


def test_multiclass_agrees_with_scikit_learn(rows):
    """Confusion and losses are those of the labelled rows; classes beyond the scores have no loss."""
    batch = rows.batch(4, 3000, MULTICLASS)
    outcome, o = whole(batch), batch.outcomes
    label, predicted = np.array(o.label.to_pylist(), object), np.array(o.prediction.to_pylist(), object)
    known = np.array([value is not None for value in label])
    names = list(outcome.classes[:-1])
    expected = confusion_matrix(label[known], predicted[known], labels=names)
    np.testing.assert_array_equal(outcome.confusion[:-1, :-1], expected)
    assert outcome.labelled_rows == known.sum()
    assert outcome.rows == 3000
    order = ["cat", "dog", "emu"]
    scored = np.isin(label, order) & known
    assert outcome.scored == scored.sum()
    truth = log_loss(label[scored].tolist(), o.score[scored], labels=order)
    assert outcome.log_loss_sum / outcome.scored == pytest.approx(truth)
    hot = label[scored][:, None] == np.array(order, object)
    assert outcome.brier_sum == pytest.approx(((o.score[scored] - hot) ** 2).sum())
    cat = outcome.scores[outcome.classes.index("cat")]
    assert cat.sum(axis=1).tolist() == [(label[known] != "cat").sum(), (label[known] == "cat").sum()]
    assert outcome.scores[outcome.classes.index("yak")].sum() == 0


def test_classes_beyond_the_cap_are_other(rows):
    """With a cap of two classes the rest shares one row and column."""
    batch = rows.batch(4, 500, MULTICLASS)
    grid = build_grid(batch, class_cap=2)
    assert len(grid.classes) == 3
    assert grid.classes[-1] == "other"
    outcome = profile_outcomes(grid, batch.outcomes).outcome()
    assert outcome.confusion.sum() == sum(value is not None for value in batch.outcomes.label.to_pylist())
    assert outcome.confusion[-1].sum() > 0


def test_regression_agrees_with_definitions(rows):
    """Moments, percentage errors and quantiles of absolute errors are those of the labelled rows."""
    batch = rows.batch(5, 4000, REGRESSION)
    outcome, o = whole(batch), batch.outcomes
    known = ~np.isnan(o.label)
    y, p = o.label[known], o.prediction[known]
    e = p - y
    scaled = (y - outcome.target_center) / outcome.target_scale
    ape = np.divide(np.abs(e), np.abs(y), out=np.zeros_like(e), where=y != 0)
    smape = 2 * np.abs(e) / (np.abs(y) + np.abs(p))
    v = np.stack((np.ones_like(e), e, np.abs(e), e**2, scaled, scaled**2, ape, smape))
    np.testing.assert_allclose(outcome.moments, v @ v.T, rtol=1e-9)
    assert (outcome.n, outcome.rows, outcome.ape_rows) == (known.sum(), 4000, (y != 0).sum())
    for q in (0.01, 0.5, 0.9, 1.0):
        exact = np.quantile(np.abs(e), q, method="inverted_cdf")
        assert outcome.abs_error_quantile(q) == pytest.approx(exact, rel=0.012)


def test_exact_predictions_have_no_error(rows):
    """Where prediction and label are equal, zeros included, every error is zero."""
    values = np.array([0.0, 1.0, -2.0])
    outcome = whole(rows.batch(0, 3, REGRESSION, outcomes=Outcomes(REGRESSION, values, None, values)))
    assert outcome.moments[2, 0] == outcome.moments[6, 0] == outcome.moments[7, 0] == 0
    assert outcome.abs_error_quantile(0.5) == 0.0
    assert outcome.ape_rows == 2


def test_enormous_errors_stay_finite(rows):
    """Values near the end of what a float holds never make a moment infinite."""
    label, prediction = np.array([1e308, -1e308, 0.0, 1e-320]), np.array([-1e308, 1e308, 1e300, 1.0])
    outcome = whole(rows.batch(0, 4, REGRESSION, outcomes=Outcomes(REGRESSION, prediction, None, label)))
    assert np.isfinite(outcome.moments).all()
    assert outcome.n == 4


def test_no_labels_give_an_empty_outcome(rows):
    """Without labels nothing is undefined by accident: counts are zero and quantiles None."""
    for task in (BINARY, MULTICLASS, REGRESSION):
        batch = rows.batch(6, 50, task)
        grid = build_grid(batch)
        from dataclasses import replace

        profile = profile_outcomes(grid, replace(batch.outcomes, label=None))
        assert profile.labeled_rows == 0
        assert profile.outcome().labelled_rows == 0
    assert profile.outcome().abs_error_quantile(0.5) is None
    assert profile.label_delay().quantile(0.5) is None


def test_only_scored_tasks_have_a_score_grid(rows):
    """Regression has none; too many distinct scores leave the logit edges alone."""
    regression = rows.batch(0, 10, REGRESSION)
    assert _score_grid(regression.schema, regression.outcomes) is None
    many = rows.batch(0, 5000)
    assert len(_score_grid(many.schema, many.outcomes).atoms) == 0
    assert len(_score_grid(many.schema, many.outcomes).edges) == 2047
