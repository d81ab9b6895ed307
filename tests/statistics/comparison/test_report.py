"""Values and bounds of comparisons against scikit-learn, bootstraps and brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from exporter.batch import Outcomes
from exporter.catalog import PERFORMANCE_METRICS
from exporter.schema import Schema, Task
from exporter.statistics.comparison import (
    compare,
    compare_ratios,
    default_metrics,
    half_width,
    pair_count,
    pair_sums,
)
from exporter.statistics.comparison.delta import gradient
from exporter.statistics.comparison.measures import BINARY_RATES, MULTICLASS_RATES, measure

RNG_SEED = 20261124
BINARY = Schema(model="m", task=Task.BINARY, prediction="p", label="y", score="s")
REGRESSION = Schema(model="m", task=Task.REGRESSION, prediction="p", label="y")


def binary_rows(rng: np.random.Generator, n: int, sharpness: float) -> tuple[Any, Any, Any]:
    label = rng.random(n) < 0.3
    logit = sharpness * np.where(label, 1.0, -1.0) + rng.normal(size=n)
    score = 1 / (1 + np.exp(-logit))
    return label, score > 0.5, score


def binary_outcomes(label, predicted, score) -> Outcomes:
    return Outcomes(Task.BINARY, predicted.astype(np.int8), score, label.astype(np.int8))


SK_BINARY = {
    "accuracy": lambda y, p, _s: sk.accuracy_score(y, p),
    "balanced_accuracy": lambda y, p, _s: sk.balanced_accuracy_score(y, p),
    "precision": lambda y, p, _s: sk.precision_score(y, p),
    "recall": lambda y, p, _s: sk.recall_score(y, p),
    "f1": lambda y, p, _s: sk.f1_score(y, p),
    "specificity": lambda y, p, _s: sk.recall_score(~y, ~p),
    "mcc": lambda y, p, _s: sk.matthews_corrcoef(y, p),
    "roc_auc": lambda y, _p, s: sk.roc_auc_score(y, s),
    "log_loss": lambda y, _p, s: sk.log_loss(y, s),
    "brier": lambda y, _p, s: sk.brier_score_loss(y, s),
    "conversion": lambda y, _p, _s: y.mean(),
}


@pytest.mark.parametrize("metric", SK_BINARY)
def test_binary_values_and_variances(outcome, metric):
    """Both values are scikit-learn's, and the variance is that of 150 samples drawn anew."""
    rng = np.random.default_rng(RNG_SEED)
    rows = [binary_rows(rng, 3000, sharpness) for sharpness in (0.8, 1.2)]
    arms = [outcome({"p": p, "y": y, "s": s}, task=Task.BINARY, score="s") for y, p, s in rows]
    found = compare(*arms, [metric])[metric]
    values = [SK_BINARY[metric](*each) for each in rows]
    assert found.champion_value == pytest.approx(values[0], abs=1e-3)
    assert found.challenger_value == pytest.approx(values[1], abs=1e-3)
    sign = -1 if metric in ("log_loss", "brier") else 1
    assert found.difference == pytest.approx(sign * (values[1] - values[0]), abs=2e-3)
    assert found.lower < found.difference < found.upper
    measured = measure(arms[0], metric)
    drawn = [SK_BINARY[metric](*binary_rows(rng, 3000, 0.8)) for _ in range(150)]
    assert math.sqrt(measured.row_variance / measured.rows) == pytest.approx(np.std(drawn), rel=0.3)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "mcc"])
def test_multiclass_values(outcome, metric):
    """Macro values are scikit-learn's over the classes that occur in either arm."""
    rng = np.random.default_rng(RNG_SEED)
    names = np.array(["a", "b", "c", "d"])
    arms, values = [], []
    for noise in (0.4, 0.2):
        label = rng.integers(0, 4, 4000)
        predicted = np.where(rng.random(4000) < noise, rng.integers(0, 4, 4000), label)
        arms.append(outcome({"p": names[predicted], "y": names[label]}, task=Task.MULTICLASS))
        values.append(
            {
                "accuracy": sk.accuracy_score,
                "balanced_accuracy": sk.balanced_accuracy_score,
                "precision": lambda y, p: sk.precision_score(y, p, average="macro"),
                "recall": lambda y, p: sk.recall_score(y, p, average="macro"),
                "f1": lambda y, p: sk.f1_score(y, p, average="macro"),
                "mcc": sk.matthews_corrcoef,
            }[metric](label, predicted)
        )
    found = compare(*arms, [metric])[metric]
    assert found.champion_value == pytest.approx(values[0])
    assert found.difference == pytest.approx(values[1] - values[0])
    assert found.decided


@pytest.mark.parametrize("metric", ["mae", "rmse", "mape", "smape", "r2", "mean_label"])
def test_regression_values_and_variances(outcome, metric):
    """Values are those of the rows, and the variance is that of samples drawn anew."""
    functions = {
        "mae": sk.mean_absolute_error,
        "rmse": lambda y, p: math.sqrt(sk.mean_squared_error(y, p)),
        "mape": sk.mean_absolute_percentage_error,
        "smape": lambda y, p: np.mean(2 * np.abs(p - y) / (np.abs(p) + np.abs(y))),
        "r2": sk.r2_score,
        "mean_label": lambda y, _p: y.mean(),
    }
    rng = np.random.default_rng(RNG_SEED)

    def rows(spread: float) -> tuple[Any, Any]:
        label = rng.normal(20, 4, 2000)
        return label, label + rng.normal(0, spread, 2000)

    drawn = [rows(3.0), rows(2.0)]
    arms = [outcome({"p": p, "y": y}, task=Task.REGRESSION) for y, p in drawn]
    found = compare(*arms, [metric])[metric]
    assert found.champion_value == pytest.approx(functions[metric](*drawn[0]), rel=1e-6)
    better = metric in ("r2", "mean_label")
    gap = functions[metric](*drawn[1]) - functions[metric](*drawn[0])
    assert found.difference == pytest.approx(gap if better else -gap, rel=1e-6)
    measured = measure(arms[0], metric)
    again = [functions[metric](*rows(3.0)) for _ in range(150)]
    assert math.sqrt(measured.row_variance / measured.rows) == pytest.approx(np.std(again), rel=0.3)


@pytest.mark.parametrize("metric", [m for m in SK_BINARY if m not in ("roc_auc", "conversion")])
def test_paired_binary_differences(outcome, metric):
    """Within pairs the difference is that of both versions, its variance that of pairs drawn anew."""
    rng = np.random.default_rng(RNG_SEED)

    def draw(n: int) -> tuple[Any, ...]:
        label = rng.random(n) < 0.3
        common = 0.8 * np.where(label, 1.0, -1.0) + rng.normal(size=n)
        scores = [1 / (1 + np.exp(-(common + spread * rng.normal(size=n)))) for spread in (0.6, 0.3)]
        return label, [(score > 0.5, score) for score in scores]

    label, answers = draw(3000)
    arms = [outcome({"p": p, "y": label, "s": s}, task=Task.BINARY, score="s") for p, s in answers]
    sums = pair_sums(BINARY, *(binary_outcomes(label, p, s) for p, s in answers))
    assert pair_count(sums) == 3000
    found = compare(*arms, [metric], pairs=sums)[metric]
    alone = compare(*arms, [metric])[metric]
    assert found.paired
    assert not alone.paired
    assert found.difference == pytest.approx(alone.difference, abs=1e-6)
    assert found.upper - found.lower < alone.upper - alone.lower

    def gap() -> float:
        label, answers = draw(3000)
        values = [SK_BINARY[metric](label, p, s) for p, s in answers]
        return values[1] - values[0]

    spread = np.std([gap() for _ in range(150)])
    t = BINARY_RATES[metric].scale if metric in BINARY_RATES else None
    if t is not None:
        expected = half_width(spread**2, t**2, 0.05)
        assert (found.upper - found.lower) / 2 == pytest.approx(expected, rel=0.3)


@pytest.mark.parametrize("metric", ["mae", "rmse", "mape", "smape"])
def test_paired_regression_differences(outcome, metric):
    """Errors on the same rows are compared within them, which tells smaller differences apart."""
    rng = np.random.default_rng(RNG_SEED)
    label = rng.normal(20, 4, 3000)
    common = rng.normal(0, 2, 3000)
    answers = [label + common + rng.normal(0, spread, 3000) for spread in (0.8, 0.3)]
    arms = [outcome({"p": p, "y": label}, task=Task.REGRESSION) for p in answers]
    sums = pair_sums(REGRESSION, *(Outcomes(Task.REGRESSION, p, None, label) for p in answers))
    found, alone = (compare(*arms, [metric], pairs=pairs)[metric] for pairs in (sums, None))
    assert found.difference == pytest.approx(alone.difference, rel=1e-6)
    assert found.upper - found.lower < 0.7 * (alone.upper - alone.lower)
    assert compare(*arms, ["mean_label"], pairs=sums)["mean_label"].reason == "not_comparable"
    taken_back = sums - sums
    assert pair_count(taken_back) == 0
    assert not compare(*arms, [metric], pairs=taken_back)[metric].paired


def test_pair_sums_merge():
    """The sums of two sets of pairs are those of both together."""
    rng = np.random.default_rng(1)
    label, predicted, score = binary_rows(rng, 400, 1.0)
    one, two = binary_outcomes(label, predicted, score), binary_outcomes(label, ~predicted, 1 - score)
    half = np.arange(200)
    parts = [pair_sums(BINARY, one.take(rows), two.take(rows)) for rows in (half, half + 200)]
    np.testing.assert_allclose(parts[0] + parts[1], pair_sums(BINARY, one, two))


def test_what_cannot_be_compared_has_a_reason(outcome):
    """Few rows, few positives, metrics without a variance and equal losses are reasons, never NaN."""
    rng = np.random.default_rng(2)

    def arm(n: int, positive: float = 0.5) -> Any:
        label = rng.random(n) < positive
        label[:2] = True, False
        return outcome({"p": label, "y": label, "s": np.where(label, 0.9, 0.1)}, task=Task.BINARY, score="s")

    small = compare(arm(99), arm(500), ["accuracy", "ece", "pr_auc", "mae"])
    assert small["accuracy"].reason == "insufficient_labels"
    assert small["accuracy"].champion_value == 1.0
    assert {small[name].reason for name in ("ece", "pr_auc", "mae")} == {"not_comparable"}
    rare = compare(arm(1000, 0.02), arm(1000, 0.02), ["f1", "roc_auc", "recall", "accuracy", "log_loss"])
    assert {rare[name].reason for name in ("f1", "roc_auc", "recall")} == {"insufficient_labels"}
    assert rare["accuracy"].difference == 0
    assert rare["accuracy"].lower < 0 < rare["accuracy"].upper
    assert rare["log_loss"].reason == "constant"
    perfect = compare(arm(500), arm(500), ["roc_auc", "accuracy"])
    assert not any(metric.decided for metric in perfect.values())


def test_a_custom_metric_is_a_ratio_of_sums():
    """Its bounds are those of the delta method on numerator and denominator."""
    rng = np.random.default_rng(3)

    def sums(mean: float) -> Any:
        a, b = rng.normal(mean, 1, 2000), rng.uniform(1, 2, 2000)
        return np.array([2000, a.sum(), b.sum(), a @ a, a @ b, b @ b])

    first, second = sums(1.0), sums(1.5)
    found = compare_ratios(first, second, better=False)
    assert found.difference == pytest.approx(first[1] / first[2] - second[1] / second[2])
    assert found.decided
    assert compare_ratios(first, None, better=True).reason == "empty"


@pytest.mark.parametrize("name", [*BINARY_RATES])
def test_derivatives_are_those_of_finite_differences(name):
    """The complex step gives what small differences give."""
    shares = np.array([0.5, 0.1, 0.15, 0.25])

    def function(cells):
        return BINARY_RATES[name].function(cells.reshape((*cells.shape[:-1], 2, 2)))

    steps = 1e-6 * np.eye(4)
    finite = (function(shares + steps) - function(shares - steps)) / 2e-6
    np.testing.assert_allclose(gradient(function, shares), finite, atol=1e-7)


def test_macro_rates_of_two_classes_have_no_row_too_many():
    """A class that nobody predicts counts 0 and divides nothing by 0."""
    confusion = np.array([[50.0, 0, 0], [10, 0, 0], [0, 0, 40]])
    for name in ("precision", "recall", "f1", "specificity"):
        assert np.isfinite(MULTICLASS_RATES[name].function(confusion))


def test_metrics_without_a_variance_are_not_compared_by_default(outcome):
    """What a regression compares by default has bounds: quantiles of the error are not among it."""
    rng = np.random.default_rng(RNG_SEED)
    label = rng.normal(size=(2, 500))
    arms = [outcome({"p": y + rng.normal(size=500), "y": y}, task=Task.REGRESSION) for y in label]
    of_task = [name for name, entry in PERFORMANCE_METRICS.items() if Task.REGRESSION in entry.tasks]
    names = default_metrics(arms[0], of_task)
    found = compare(*arms, names)
    assert {"mae", "rmse", "mean_label"} <= set(names)
    assert {name: each.reason for name, each in found.items() if each.reason is not None} == {}


@pytest.mark.parametrize(("rare", "reason"), [(24, "insufficient_labels"), (25, None), (0, None)])
def test_macro_rates_wait_for_the_rarest_class(outcome, rare, reason):
    """Of four classes each needs a quarter of the 100 rows, in each arm, if either arm has it at all."""
    label = np.repeat(["a", "b", "c", "d"], [300, 300, 300, rare])
    arms = []
    for shift in (1, 2):
        predicted = np.where(np.arange(len(label)) % 4 == 0, np.roll(label, 300 * shift), label)
        arms.append(outcome({"p": predicted, "y": label}, task=Task.MULTICLASS))
    found = compare(*arms, ["accuracy", "balanced_accuracy", "precision", "recall", "f1"])
    assert found.pop("accuracy").reason is None
    assert {each.reason for each in found.values()} == {reason}


def test_a_class_that_only_one_arm_has_is_waited_for(outcome):
    """An arm without a label of a class that the other arm has does not look exact."""
    label = np.repeat(["a", "b", "c"], 200)
    wrong = np.arange(600) % 5 == 0
    predicted = np.where(wrong, np.roll(label, 200), label)
    whole = outcome({"p": predicted, "y": label}, task=Task.MULTICLASS)
    part = outcome({"p": predicted[:400], "y": label[:400]}, task=Task.MULTICLASS)
    assert compare(whole, part, ["f1"])["f1"].reason == "insufficient_labels"


def test_losses_that_are_equal_in_every_row_are_constant(outcome):
    """What sums of equal losses leave to rounding is no variance."""
    label = np.arange(3000) % 3 == 0
    score = np.where(label, 0.7, 0.3)
    arms = [outcome({"p": label, "y": label, "s": score}, task=Task.BINARY, score="s") for _ in range(2)]
    found = compare(*arms, ["log_loss", "brier"])
    assert {each.reason for each in found.values()} == {"constant"}


def test_equal_errors_are_constant(outcome):
    """Errors of one size in every row leave nothing to compare; nor do ratios that never vary."""
    label = np.random.default_rng(RNG_SEED).normal(size=1000)
    arms = [outcome({"p": label + 0.1, "y": label}, task=Task.REGRESSION) for _ in range(2)]
    found = compare(*arms, ["mae", "rmse", "mean_label"])
    assert [found[name].reason for name in ("mae", "rmse", "mean_label")] == ["constant", "constant", None]
    pairs = compare_ratios(
        np.array([1000.0, 100, 1000, 10, 100, 1000]),
        np.array([1000.0, 100, 1000, 10, 100, 1000]),
        better=True,
    )
    assert pairs.reason == "constant"
