"""Sums of calibrated probabilities against estimates computed row by row, and the merge law."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from exporter.results import Estimate
from exporter.statistics.estimation.multiclass import Layout, accumulate, estimate

CELLS = 128


def drawn(rows: int, classes: int, seed: int):
    """Probabilities, answers, labels and coarse cells by quantiles of each class's score."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (rows, classes))
    chance = np.exp(logits)
    chance /= chance.sum(axis=1, keepdims=True)
    label = (generator.uniform(size=(rows, 1)) > np.cumsum(chance, axis=1)[:, :-1]).sum(axis=1)
    edges = np.quantile(chance, np.arange(1, CELLS) / CELLS, axis=0)
    cells = np.stack([np.searchsorted(edges[:, k], chance[:, k]) for k in range(classes)])
    return chance, chance.argmax(axis=1), label, cells


METRICS = ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "specificity", "mcc",
           "roc_auc", "pr_auc", "log_loss", "brier"]  # fmt: skip


def row_wise(chance, answer):
    """Metrics of rows that each stand once for every class, weighted by its probability."""
    rows, classes = chance.shape
    truth, said = np.tile(np.arange(classes), rows), np.repeat(answer, classes)
    weight, scores = chance.ravel(), np.repeat(chance, classes, axis=0)
    average = {"sample_weight": weight, "average": "macro"}
    hot = np.eye(classes)[truth]
    one = {"sample_weight": weight}
    return {
        "accuracy": sklearn_metrics.accuracy_score(truth, said, **one),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, said, **one),
        "precision": sklearn_metrics.precision_score(truth, said, **average),
        "recall": sklearn_metrics.recall_score(truth, said, **average),
        "f1": sklearn_metrics.f1_score(truth, said, **average),
        "mcc": sklearn_metrics.matthews_corrcoef(truth, said, **one),
        "roc_auc": np.mean(
            [sklearn_metrics.roc_auc_score(hot[:, k], scores[:, k], **one) for k in range(classes)]
        ),
        "pr_auc": np.mean(
            [sklearn_metrics.average_precision_score(hot[:, k], scores[:, k], **one) for k in range(classes)]
        ),
        "log_loss": sklearn_metrics.log_loss(truth, scores, **one),
        "brier": (weight * ((scores - hot) ** 2).sum(axis=1)).sum() / weight.sum(),
    }


def test_sums_agree_with_rows():
    """Confusion metrics and losses are exact; ranking loses the order inside 128 cells only."""
    chance, answer, _, cells = drawn(5000, 4, 1)
    layout = Layout(4, 4, CELLS)
    sums = accumulate(layout, chance, answer, chance, cells)
    found = estimate(layout, sums, labels=5000, metrics=METRICS, z=1.96)
    for name, value in row_wise(chance, answer).items():
        result = found[name]
        assert isinstance(result, Estimate)
        tolerance = {"roc_auc": 5e-4, "pr_auc": 1e-3}.get(name, 1e-9)
        assert result.value == pytest.approx(value, abs=tolerance), name


@pytest.mark.parametrize("classes", [3, 14])
def test_sums_merge(classes):
    """Sums of two parts added up are the sums of all rows."""
    chance, answer, _, cells = drawn(900, classes, 2)
    layout = Layout(classes, classes, CELLS)
    parts = [slice(0, 311), slice(311, None)]
    added = sum(accumulate(layout, chance[p], answer[p], chance[p], cells[:, p]) for p in parts)
    assert added == pytest.approx(accumulate(layout, chance, answer, chance, cells))
    assert len(added) == layout.size


@pytest.mark.parametrize("classes", [3, 14])
def test_bounds_cover_what_labels_will_say(classes):
    """With ample labels in the baseline the bounds hold the realised accuracy and F1 as often as they say."""
    layout = Layout(classes, classes, CELLS)
    hits = np.zeros(2)
    for seed in range(60):
        chance, answer, label, cells = drawn(800, classes, 100 + seed)
        found = estimate(
            layout,
            accumulate(layout, chance, answer, chance, cells),
            labels=10**9,
            metrics=["accuracy", "f1"],
            z=1.96,
        )
        realised = (answer == label).mean(), sklearn_metrics.f1_score(label, answer, average="macro")
        for place, (name, value) in enumerate(zip(("accuracy", "f1"), realised, strict=True)):
            result = found[name]
            assert isinstance(result, Estimate)
            hits[place] += result.lower <= value <= result.upper
    assert hits.min() >= 50


def test_a_class_without_a_score_is_expected_by_none():
    """Classes beyond those with a score take part in confusion only."""
    chance, _, _, cells = drawn(300, 3, 4)
    layout = Layout(4, 3, CELLS)
    wide = np.column_stack([chance, np.zeros(300)])
    scores = np.column_stack([chance, np.full(300, np.nan)])
    sums = accumulate(layout, wide, np.full(300, 3), scores, cells)
    read = layout.read(sums)
    assert read.confusion[:3, 3].sum() == pytest.approx(300)
    assert read.confusion[3].sum() == 0
    assert np.isfinite(read.losses).all()
