from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from exporter.schema import Task
from exporter.statistics.performance import performance

pytestmark = pytest.mark.slow


def _classifier(rng, n):
    label = rng.random(n) < 0.3
    logit = 1.2 * rng.normal(size=n) + np.where(label, 0.8, -1.2)
    score = 1 / (1 + np.exp(-logit))
    return label, score > 0.5, score


def test_bounds_of_binary_metrics_cover_the_truth(outcome):
    """Over 400 windows of 400 rows, 95 % bounds hold the value of 400,000 rows in at least 92 % of them."""
    label, predicted, score = _classifier(np.random.default_rng(0), 400_000)
    truth = {
        "accuracy": sk.accuracy_score(label, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(label, predicted),
        "precision": sk.precision_score(label, predicted),
        "recall": sk.recall_score(label, predicted),
        "f1": sk.f1_score(label, predicted),
        "specificity": sk.recall_score(~label, ~predicted),
        "mcc": sk.matthews_corrcoef(label, predicted),
        "roc_auc": sk.roc_auc_score(label, score),
        "pr_auc": sk.average_precision_score(label, score),
        "log_loss": sk.log_loss(label, score),
        "brier": sk.brier_score_loss(label, score),
    }
    hits = dict.fromkeys(truth, 0)
    rng = np.random.default_rng(1)
    for _ in range(400):
        label, predicted, score = _classifier(rng, 400)
        results = performance(outcome({"p": predicted, "y": label, "s": score}, task=Task.BINARY, score="s"))
        for name, value in truth.items():
            hits[name] += results[name].lower <= value <= results[name].upper
    coverage = {name: count / 400 for name, count in hits.items()}
    assert min(coverage.values()) >= 0.92, coverage


@pytest.mark.parametrize("miscalibration", [0.0, 0.15])
def test_bounds_of_calibration_error_cover_the_truth(outcome, miscalibration):
    """The bounds hold the true calibration error, also when it is 0 and the estimate never is."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        score = rng.uniform(0.05, 0.8, 500)
        label = rng.random(500) < score + miscalibration
        result = performance(
            outcome({"p": score > 0.5, "y": label, "s": score}, task=Task.BINARY, score="s")
        )["ece"]
        hits += result.lower <= miscalibration <= result.upper
    assert hits / 300 >= 0.92


def test_bounds_of_regression_metrics_cover_the_truth(outcome):
    """Over 400 windows of 300 rows, 95 % bounds hold the value of 400,000 rows in at least 91 % of them."""

    def rows(rng, n):
        label = rng.normal(10, 2, n)
        return label, label + 0.2 + rng.normal(0, 1, n)

    label, predicted = rows(np.random.default_rng(0), 400_000)
    error = np.abs(predicted - label)
    truth = {
        "mae": error.mean(),
        "rmse": np.sqrt((error**2).mean()),
        "bias": 0.2,
        "r2": sk.r2_score(label, predicted),
        "median_absolute_error": np.median(error),
        "mape": (error / np.abs(label)).mean(),
    }
    hits = dict.fromkeys(truth, 0)
    rng = np.random.default_rng(1)
    for _ in range(400):
        label, predicted = rows(rng, 300)
        results = performance(outcome({"p": predicted, "y": label}, task=Task.REGRESSION))
        for name, value in truth.items():
            hits[name] += results[name].lower <= value <= results[name].upper
    coverage = {name: count / 400 for name, count in hits.items()}
    assert min(coverage.values()) >= 0.91, coverage


def test_bounds_of_multiclass_metrics_cover_the_truth(outcome):
    """Over 300 windows of 400 rows, the bounds of macro metrics hold the value of 300,000 rows."""
    names = np.array(list("abc"))

    def rows(rng, n):
        logits = np.log([0.6, 0.3, 0.1]) + 1.2 * rng.normal(size=(n, 3))
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        label = (rng.random((n, 1)) > scores.cumsum(axis=1)[:, :-1]).sum(axis=1)
        columns = {name: scores[:, place] for place, name in enumerate("abc")}
        return {"p": names[scores.argmax(axis=1)], "y": names[label], **columns}

    settings = {"task": Task.MULTICLASS, "score": tuple((name, name) for name in "abc")}
    truth = performance(outcome(rows(np.random.default_rng(0), 300_000), **settings))
    hits = dict.fromkeys(truth, 0)
    rng = np.random.default_rng(1)
    for _ in range(300):
        for name, result in performance(outcome(rows(rng, 400), **settings)).items():
            hits[name] += result.lower <= truth[name].value <= result.upper
    coverage = {name: count / 300 for name, count in hits.items()}
    assert min(coverage.values()) >= 0.91, coverage


def test_bounds_of_error_quantiles_cover_the_truth(outcome):
    """Order statistics hold the quantiles of the error, up to the edges of the grid that they are read at."""
    rng = np.random.default_rng(3)
    names = ("absolute_error_p90", "absolute_error_p95", "absolute_error_p99")
    truth = dict(zip(names, (1.6449, 1.9600, 2.5758), strict=True))
    hits = dict.fromkeys(names, 0)
    for _ in range(300):
        label = rng.normal(10, 2, 500)
        made = outcome({"p": label + rng.normal(size=500), "y": label}, task=Task.REGRESSION)
        for name, result in performance(made, metrics=names).items():
            hits[name] += result.lower <= truth[name] <= result.upper
    assert min(hits.values()) / 300 >= 0.93, hits


def test_bounds_of_rankings_cover_the_truth(outcome):
    """Over 300 windows of 150 groups, the bounds hold the means of 30,000 groups."""

    def rows(rng, groups):
        grade = np.minimum(rng.geometric(0.6, (groups, 8)) - 1, 3).astype(float)
        grade[:, 0] = 1.0
        score = grade + 2.0 * rng.normal(size=grade.shape)
        return {"p": score.ravel(), "y": grade.ravel(), "g": np.repeat(np.arange(groups), 8)}

    truth = performance(outcome(rows(np.random.default_rng(0), 30_000), task=Task.RANKING, group="g"))
    hits = dict.fromkeys(truth, 0)
    rng = np.random.default_rng(1)
    for _ in range(300):
        for name, result in performance(outcome(rows(rng, 150), task=Task.RANKING, group="g")).items():
            hits[name] += result.lower <= truth[name].value <= result.upper
    coverage = {name: count / 300 for name, count in hits.items()}
    assert min(coverage.values()) >= 0.92, coverage
