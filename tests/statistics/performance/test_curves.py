from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from exporter.results import Undefined
from exporter.statistics.performance.curves import (
    CURVES,
    gain_curve,
    precision_recall_curve,
    reliability_curve,
    roc_curve,
    shown_scores,
    threshold_table,
)

Z = 1.96


def histograms(n=500, seed=3, distinct=40):
    """Negatives, positives and values of cells, with the rows themselves."""
    rng = np.random.default_rng(seed)
    values = np.sort(rng.choice(np.arange(1, 1000) / 1000, distinct, replace=False))
    cell = rng.integers(0, distinct, n)
    label = rng.random(n) < values[cell]
    count = [np.bincount(cell[label == truth], minlength=distinct) for truth in (False, True)]
    return (*count, values), label, values[cell]


def column(points, name):
    return np.array([point[name] for point in points], float)


def test_roc_curve_is_that_of_scikit_learn():
    """Every threshold is a point when there are few, and the ends are (0, 0) and (1, 1)."""
    cells, label, score = histograms()
    points = roc_curve(*cells, Z)
    false, true, threshold = sk.roc_curve(label, score, drop_intermediate=False)
    assert column(points, "false_positive_rate") == pytest.approx(false)
    assert column(points, "true_positive_rate") == pytest.approx(true)
    assert column(points[1:], "threshold") == pytest.approx(threshold[1:])
    assert points[0]["threshold"] is None


def test_precision_recall_curve_is_that_of_scikit_learn():
    """From (0, 1) to a recall of 1."""
    cells, label, score = histograms()
    points = precision_recall_curve(*cells, Z)
    precision, recall, threshold = sk.precision_recall_curve(label, score)
    size = len(points)
    assert column(points, "recall") == pytest.approx(recall[::-1][:size])
    assert column(points, "precision") == pytest.approx(precision[::-1][:size])
    assert column(points[1:], "threshold") == pytest.approx(threshold[::-1][: size - 1])
    assert points[-1]["recall"] == 1.0


def test_reliability_curve_is_that_of_scikit_learn():
    """Ten bins of equal width, with the mean score and the share of positives of each."""
    cells, label, score = histograms(n=5000)
    points = [point for point in reliability_curve(*cells, Z) if point["rows"]]
    observed, mean = calibration_curve(label, score, n_bins=10)
    assert column(points, "observed") == pytest.approx(observed)
    assert column(points, "mean_score") == pytest.approx(mean)
    assert all(point["lower"] <= point["observed"] <= point["upper"] for point in points)


def test_gain_reaches_all_positives_and_lift_falls_to_one():
    """The rows of the highest scores hold more than their share of the positives."""
    points = gain_curve(*histograms()[0], Z)
    assert (points[0]["rows_ratio"], points[0]["gain"]) == (0, 0)
    assert (points[-1]["rows_ratio"], points[-1]["gain"], points[-1]["lift"]) == (1, 1, 1)
    assert points[3]["lift"] > 1.5


def test_table_of_thresholds_agrees_with_scikit_learn():
    """Precision, recall and F1 of the rows at or above each threshold."""
    cells, label, score = histograms()
    for row in threshold_table(*cells, Z):
        predicted = score >= row["threshold"] - 1e-12
        assert row["precision"] == pytest.approx(sk.precision_score(label, predicted))
        assert row["recall"] == pytest.approx(sk.recall_score(label, predicted))
        assert row["f1"] == pytest.approx(sk.f1_score(label, predicted))
        assert row["predicted_ratio"] == pytest.approx(predicted.mean())


def test_a_long_curve_is_thinned_and_keeps_its_area():
    """200 points of 2,000 have the same ends, and an area within a thousandth."""
    cells, label, score = histograms(n=50_000, distinct=990)
    points = roc_curve(*cells, Z)
    assert len(points) <= 200
    assert (points[0]["true_positive_rate"], points[-1]["false_positive_rate"]) == (0, 1)
    area = np.trapezoid(column(points, "true_positive_rate"), column(points, "false_positive_rate"))
    assert area == pytest.approx(sk.roc_auc_score(label, score), abs=1e-3)
    assert len(precision_recall_curve(*cells, Z)) <= 200
    assert len(gain_curve(*cells, Z)) <= 200


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=50))
def test_points_of_every_curve_are_finite_or_there_is_a_reason(cells):
    """Whatever the counts, a curve has ratios in [0, 1] or a reason."""
    negatives, positives = np.array(cells).T
    values = (np.arange(len(cells)) + 0.5) / len(cells)
    for curve in CURVES.values():
        made = curve(negatives, positives, values, Z)
        if isinstance(made, Undefined):
            assert made.reason in ("empty", "single_class")
            continue
        for point in made:
            ratios = [v for k, v in point.items() if v is not None and k not in ("rows", "lift")]
            assert all(0 <= ratio <= 1 for ratio in ratios), point


def test_margins_are_shown_in_their_own_unit():
    """A cell holds the sigmoid of a margin."""
    margins = np.array([-3.0, 0.0, 2.5])
    assert shown_scores(1 / (1 + np.exp(-margins)), margins=True) == pytest.approx(margins)
