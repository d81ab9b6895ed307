from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from exporter.results import Estimate, Undefined
from exporter.schema import Task
from exporter.statistics.performance import per_class, performance

CLASSES = ("ape", "bee", "cat")
SCORES = tuple((name, f"s_{name}") for name in CLASSES)


def _rows(rng, n):
    label = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(n, 3)) + 1.2 * np.eye(3)[label]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return label, scores.argmax(axis=1), scores


@pytest.fixture
def rows(outcome):
    label, predicted, scores = _rows(np.random.default_rng(1), 3000)
    names = np.array(CLASSES)
    data = {"p": names[predicted], "y": names[label]} | {
        f"s_{name}": scores[:, k] for k, name in enumerate(CLASSES)
    }
    return outcome(data, task=Task.MULTICLASS, score=SCORES), label, predicted, scores


def test_multiclass_metrics_equal_those_of_scikit_learn(rows):
    """Macro metrics agree with scikit-learn on the raw rows, ranking ones within the score grid's bound."""
    view, label, predicted, scores = rows
    truth = np.eye(3)[label]
    expected = {
        "accuracy": sk.accuracy_score(label, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(label, predicted),
        "precision": sk.precision_score(label, predicted, average="macro"),
        "recall": sk.recall_score(label, predicted, average="macro"),
        "f1": sk.f1_score(label, predicted, average="macro"),
        "specificity": np.mean([sk.recall_score(label != k, predicted != k) for k in range(3)]),
        "mcc": sk.matthews_corrcoef(label, predicted),
        "roc_auc": sk.roc_auc_score(label, scores, multi_class="ovr"),
        "pr_auc": sk.average_precision_score(truth, scores, average="macro"),
        "log_loss": sk.log_loss(label, scores),
        "brier": ((scores - truth) ** 2).sum(axis=1).mean(),
    }
    results = performance(view)
    for name, value in expected.items():
        result = results[name]
        assert isinstance(result, Estimate), name
        assert result.value == pytest.approx(value, abs=2e-3 if name in {"roc_auc", "pr_auc"} else 1e-9), name
        assert result.lower < result.value < result.upper, name


def test_class_metrics_treat_each_class_as_the_positive_one(rows):
    """Precision, recall, F1 and ROC AUC of a class are those of one against the rest."""
    view, label, predicted, scores = rows
    by_class = per_class(view)
    for k, name in enumerate(CLASSES):
        assert by_class[name]["precision"].value == pytest.approx(
            sk.precision_score(label == k, predicted == k)
        )
        assert by_class[name]["recall"].value == pytest.approx(sk.recall_score(label == k, predicted == k))
        assert by_class[name]["f1"].value == pytest.approx(sk.f1_score(label == k, predicted == k))
        assert by_class[name]["roc_auc"].value == pytest.approx(
            sk.roc_auc_score(label == k, scores[:, k]), abs=1e-3
        )


def test_classes_that_occur_on_one_side_only_count_as_in_scikit_learn(outcome):
    """A class that was never predicted, or never true, counts 0 in macro scores."""
    label = np.array(["a", "a", "b", "b", "c", "a"] * 20)
    predicted = np.array(["a", "b", "b", "d", "a", "a"] * 20)
    results = performance(outcome({"p": predicted, "y": label}, task=Task.MULTICLASS))
    for name, oracle in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        expected = oracle(label, predicted, average="macro", zero_division=0)
        assert results[name].value == pytest.approx(expected), name
    expected = np.mean([(predicted[label == c] == c).mean() for c in "abc"])
    assert results["balanced_accuracy"].value == pytest.approx(expected)


def test_delta_method_agrees_with_the_bootstrap(rows):
    """The width of macro bounds is that of 300 resamples of the confusion matrix, within a fifth."""
    view, label, predicted, _ = rows
    rng = np.random.default_rng(0)
    results = performance(view)
    draws = {"f1": [], "mcc": [], "precision": [], "specificity": [], "balanced_accuracy": []}
    for _ in range(300):
        take = rng.integers(0, 400, 400)
        y, p = label[take], predicted[take]
        matrix = sk.confusion_matrix(y, p, labels=[0, 1, 2])
        recall, precision = np.diag(matrix) / matrix.sum(1), np.diag(matrix) / matrix.sum(0)
        draws["f1"].append((2 * np.diag(matrix) / (matrix.sum(0) + matrix.sum(1))).mean())
        draws["precision"].append(precision.mean())
        draws["balanced_accuracy"].append(recall.mean())
        off = 400 - matrix.sum(1)
        draws["specificity"].append(((off - matrix.sum(0) + np.diag(matrix)) / off).mean())
        draws["mcc"].append(sk.matthews_corrcoef(y, p))
    for name, values in draws.items():
        width = (results[name].upper - results[name].lower) / 2 / 1.96
        assert width == pytest.approx(np.std(values) * np.sqrt(400 / 3000), rel=0.2), name


def test_one_class_has_a_reason(outcome):
    """With one class everywhere accuracy stands and what compares classes does not."""
    results = performance(outcome({"p": ["a"] * 30, "y": ["a"] * 30}, task=Task.MULTICLASS))
    assert results["accuracy"].value == 1.0
    assert isinstance(results["mcc"], Undefined)
    assert results["mcc"].reason == results["balanced_accuracy"].reason == "single_class"
