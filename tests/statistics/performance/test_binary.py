from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from exporter.results import Estimate, Undefined
from exporter.schema import ScoreKind, Task
from exporter.statistics.performance import performance


def _rows(rng, n, *, prevalence=0.3, separation=1.0):
    label = rng.random(n) < prevalence
    logit = rng.normal(size=n) + np.where(label, separation, -separation)
    score = 1 / (1 + np.exp(-logit))
    return label, score


OF_PREDICTIONS = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "f1": sk.f1_score,
    "specificity": lambda y, p: sk.recall_score(~y, ~p),
    "mcc": sk.matthews_corrcoef,
}
OF_SCORES = {
    "roc_auc": sk.roc_auc_score,
    "pr_auc": sk.average_precision_score,
    "log_loss": sk.log_loss,
    "brier": sk.brier_score_loss,
}
TOLERANCE = {"roc_auc": 6e-4, "pr_auc": 2e-3}


@pytest.mark.parametrize("n", [60, 5000])
@pytest.mark.parametrize("seed", range(3))
def test_binary_metrics_equal_those_of_scikit_learn(outcome, n, seed):
    """Every metric agrees with scikit-learn on the raw rows, ranking ones within the score grid's bound."""
    label, score = _rows(np.random.default_rng(seed), n)
    predicted = score > 0.5
    results = performance(outcome({"p": predicted, "y": label, "s": score}, task=Task.BINARY, score="s"))
    expected = {name: oracle(label, predicted) for name, oracle in OF_PREDICTIONS.items()}
    expected |= {name: oracle(label, score) for name, oracle in OF_SCORES.items()}
    for name, value in expected.items():
        result = results[name]
        assert isinstance(result, Estimate), name
        assert result.value == pytest.approx(value, abs=TOLERANCE.get(name, 1e-9))
        assert result.lower <= result.value <= result.upper
        assert result.lower < result.upper


def test_expected_calibration_error_follows_its_definition(outcome):
    """ECE is the weighted mean over ten bins of |mean score - share of positives|."""
    label, score = _rows(np.random.default_rng(5), 4000, separation=0.4)
    result = performance(outcome({"p": score > 0.5, "y": label, "s": score}, task=Task.BINARY, score="s"))[
        "ece"
    ]
    bins = np.minimum((score * 10).astype(int), 9)
    expected = sum(abs((label[bins == b] - score[bins == b]).sum()) for b in range(10)) / len(score)
    assert result.value == pytest.approx(expected, abs=2e-3)
    assert result.lower <= result.value <= result.upper


def test_delong_variance_agrees_with_the_definition(outcome):
    """The bounds of ROC AUC are DeLong's on the raw scores, symmetric in the logit."""
    label, score = _rows(np.random.default_rng(6), 300)
    result = performance(outcome({"p": score > 0.5, "y": label, "s": score}, task=Task.BINARY, score="s"))[
        "roc_auc"
    ]
    positives, negatives = score[label], score[~label]
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    error = math.sqrt(wins.mean(1).var(ddof=1) / len(positives) + wins.mean(0).var(ddof=1) / len(negatives))
    value = wins.mean()
    half = 1.959964 * error / (value * (1 - value))
    logit = math.log(value / (1 - value))
    assert result.lower == pytest.approx(1 / (1 + math.exp(half - logit)), abs=2e-3)
    assert result.upper == pytest.approx(1 / (1 + math.exp(-half - logit)), abs=2e-3)


def test_wilson_bounds_equal_those_of_scipy(outcome):
    """Accuracy has Wilson's bounds."""
    label, score = _rows(np.random.default_rng(7), 200)
    result = performance(outcome({"p": score > 0.5, "y": label}, task=Task.BINARY))["accuracy"]
    interval = stats.binomtest(round(result.value * 200), 200).proportion_ci(0.95, method="wilson")
    assert (result.lower, result.upper) == pytest.approx((interval.low, interval.high))


def test_margins_rank_but_have_no_losses(outcome):
    """With margins ranking metrics stand, and what needs probabilities is not comparable."""
    label, score = _rows(np.random.default_rng(8), 500)
    margin = np.log(score / (1 - score))
    results = performance(
        outcome(
            {"p": score > 0.5, "y": label, "s": margin},
            task=Task.BINARY,
            score="s",
            score_kind=ScoreKind.MARGIN,
        )
    )
    assert results["roc_auc"].value == pytest.approx(sk.roc_auc_score(label, margin), abs=6e-4)
    for name in ("log_loss", "brier", "ece"):
        assert results[name] == Undefined("not_comparable", results[name].detail)


def test_one_class_has_a_reason_and_not_a_number(outcome):
    """Without negative labels what compares the classes is undefined, the rest stands."""
    n = 50
    results = performance(
        outcome(
            {"p": [True] * n, "y": [True] * n, "s": np.linspace(0.1, 0.9, n)}, task=Task.BINARY, score="s"
        )
    )
    for name in ("roc_auc", "mcc", "balanced_accuracy", "specificity"):
        assert isinstance(results[name], Undefined)
        assert results[name].reason == "single_class"
    assert results["accuracy"].value == 1.0
    assert results["accuracy"].lower < 1.0


def test_perfect_scores_still_have_a_width(outcome):
    """100 % of 40 rows is not certainty."""
    label = np.arange(40) % 2 == 0
    results = performance(
        outcome({"p": label, "y": label, "s": np.where(label, 0.9, 0.1)}, task=Task.BINARY, score="s")
    )
    for name in ("accuracy", "f1", "mcc", "balanced_accuracy", "roc_auc", "pr_auc"):
        assert results[name].value == pytest.approx(1.0)
        assert results[name].lower < 0.98
        assert results[name].upper == pytest.approx(1.0)


def test_no_labels_and_no_scores_have_reasons(outcome):
    """No labels: insufficient_labels everywhere; labels without scores: empty where scores are needed."""
    rows = {"p": [True, False] * 10, "y": pa_nulls(20)}
    assert {r.reason for r in performance(outcome(rows, task=Task.BINARY)).values()} == {
        "insufficient_labels"
    }
    results = performance(outcome({"p": [True, False] * 10, "y": [True, True] * 10}, task=Task.BINARY))
    assert results["log_loss"].reason == results["roc_auc"].reason == "empty"
    assert results["accuracy"].value == 0.5


def pa_nulls(n):
    import pyarrow as pa

    return pa.array([None] * n, pa.bool_())


def test_metrics_of_another_task_are_not_comparable(outcome):
    """Asking a classifier for an error of regression has a reason."""
    results = performance(outcome({"p": [True], "y": [True]}, task=Task.BINARY), metrics=["mae", "accuracy"])
    assert results["mae"].reason == "not_comparable"
    assert list(results) == ["mae", "accuracy"]
