from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from exporter.results import Estimate
from exporter.schema import Task
from exporter.statistics.performance import performance


@pytest.mark.parametrize(("n", "offset"), [(50, 0.0), (4000, 1e6)])
def test_regression_metrics_equal_those_of_scikit_learn(outcome, n, offset):
    """Every metric agrees with scikit-learn on the raw rows, also far from zero; the median within 1.2 %."""
    rng = np.random.default_rng(n)
    label = rng.lognormal(0, 1, n) + offset
    predicted = label + rng.normal(0.1, 0.5, n)
    results = performance(outcome({"p": predicted, "y": label}, task=Task.REGRESSION))
    error = np.abs(predicted - label)
    expected = {
        "mae": error.mean(),
        "rmse": sk.root_mean_squared_error(label, predicted),
        "mape": sk.mean_absolute_percentage_error(label, predicted),
        "smape": (2 * error / (np.abs(label) + np.abs(predicted))).mean(),
        "bias": (predicted - label).mean(),
        "r2": sk.r2_score(label, predicted),
    }
    for name, value in expected.items():
        result = results[name]
        assert isinstance(result, Estimate), name
        assert result.value == pytest.approx(value, rel=1e-8), name
        assert result.lower < result.value < result.upper, name
    median = results["median_absolute_error"]
    assert median.value == pytest.approx(np.median(error), rel=0.05 if n == 50 else 0.02)
    assert median.lower < median.value < median.upper


def test_r2_width_agrees_with_the_bootstrap(outcome):
    """The delta method's width of R2 is the bootstrap's, within a quarter."""
    rng = np.random.default_rng(2)
    label = rng.normal(5, 2, 2000)
    predicted = label + rng.normal(0, 1, 2000)
    result = performance(outcome({"p": predicted, "y": label}, task=Task.REGRESSION))["r2"]
    draws = []
    for _ in range(300):
        take = rng.integers(0, 2000, 2000)
        draws.append(sk.r2_score(label[take], predicted[take]))
    assert (result.upper - result.lower) / 2 / 1.96 == pytest.approx(np.std(draws), rel=0.25)


def test_labels_of_zero_are_left_out_of_percentages(outcome):
    """MAPE speaks of rows whose label is not zero only."""
    results = performance(
        outcome({"p": [1.0, 3.0, 5.0, 2.0], "y": [0.0, 2.0, 4.0, 0.0]}, task=Task.REGRESSION)
    )
    assert results["mape"].value == pytest.approx((0.5 + 0.25) / 2)
    assert results["mape"].n == 2


def test_equal_labels_leave_r2_undefined(outcome):
    """Without variation in the labels R2 has a reason, errors stand."""
    results = performance(outcome({"p": [1.0, 2.0, 3.0], "y": [2.0, 2.0, 2.0]}, task=Task.REGRESSION))
    assert results["r2"].reason == "constant"
    assert results["mae"].value == pytest.approx(2 / 3)


def test_one_label_is_not_enough_for_a_mean(outcome):
    """A mean of one row has no bounds, and says so."""
    results = performance(outcome({"p": [1.0], "y": [2.0]}, task=Task.REGRESSION))
    assert {result.reason for result in results.values()} == {"insufficient_labels"}
