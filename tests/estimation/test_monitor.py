"""Performance without labels from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from exporter import ModelMonitor


def scores(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are probabilities, and labels."""
    generator = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-generator.normal(shift, 2, count)))
    return score, (generator.uniform(size=count) < score).astype(int)


def test_a_classifier_is_estimated_from_its_scores():
    """Bounds hold what the labels say; what cannot be estimated has a reason; the registry shows it."""
    monitor = ModelMonitor("m")
    score, truth = scores(5000, 1)
    monitor.set_baseline(truth, score > 0.5, y_score=score)
    score, truth = scores(3000, 2, shift=1.0)
    estimates = monitor.estimate_performance(score > 0.5, y_score=score)
    accuracy = estimates["accuracy"]
    assert accuracy.lower < ((score > 0.5) == truth).mean() < accuracy.upper
    assert estimates["ece"].reason == "not_comparable"
    registry = CollectorRegistry()
    monitor.register(registry)
    assert b"ml_performance_estimate_lower{" in generate_latest(registry)
    monitor.check_performance(truth, score > 0.5, y_score=score)
    undefined = monitor.evaluation().undefined
    assert ("performance_estimate", "ece", "not_comparable") in undefined


def test_without_scores_there_is_a_reason():
    """Predicted classes alone tell nothing of their errors."""
    monitor = ModelMonitor("m")
    _, truth = scores(500, 1)
    monitor.set_baseline(truth, truth)
    assert monitor.estimate_performance(truth) == {}
    assert monitor.evaluation().undefined == (("performance_estimate", None, "not_comparable"),)


def test_a_regressor_is_estimated_from_its_features(tmp_path: Path):
    """What the baseline's rows taught survives saving and loading."""

    def rows(count, seed, shift=0.0):
        generator = np.random.default_rng(seed)
        features = pd.DataFrame({"x": generator.normal(shift, 1, count)})
        answer = 10 * features["x"].to_numpy()
        return answer + np.exp(features["x"]) * generator.normal(size=count), answer, features

    monitor = ModelMonitor("m", metrics=["mae"])
    monitor.set_baseline(*rows(3000, 1))
    truth, answer, features = rows(3000, 2, shift=0.5)
    estimate = monitor.estimate_performance(answer, features=features)["mae"]
    assert estimate.value == pytest.approx(np.abs(truth - answer).mean(), rel=0.15)
    monitor.save(tmp_path / "monitor")
    again = ModelMonitor.load(tmp_path / "monitor")
    assert again.estimate_performance(answer, features=features)["mae"] == estimate
