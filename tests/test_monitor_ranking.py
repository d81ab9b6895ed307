"""A ranking model monitored from Python."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from exporter import ModelMonitor
from exporter.errors import UnusableBatchError


def ranked(groups: int, size: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Relevance, what rows are ranked by, and their groups."""
    generator = np.random.default_rng(seed)
    relevance = generator.integers(0, 4, (groups, size)).astype(float)
    relevance[:, 0] = 1
    score = relevance + noise * generator.normal(size=relevance.shape)
    return relevance.ravel(), score.ravel(), np.repeat(np.arange(groups), size)


def test_a_ranking_is_checked_against_its_baseline(tmp_path) -> None:
    """NDCG is scikit-learn's, a worse order is a drop, and a saved monitor goes on."""
    monitor = ModelMonitor("search", task="ranking", ranking_k=3)
    truth, score, groups = ranked(200, 6, 1, 0.5)
    monitor.set_baseline(truth, score, {"price": score}, groups=groups)
    monitor.save(tmp_path / "monitor")
    monitor = ModelMonitor.load(tmp_path / "monitor")
    truth, score, groups = ranked(100, 6, 2, 5.0)
    result = monitor.check_performance(truth, score, groups=groups)["ndcg_at_k"]
    assert result.value == pytest.approx(ndcg_score(truth.reshape(-1, 6), score.reshape(-1, 6), k=3))
    assert result.degraded
    assert result.n == 100
    assert not monitor.detect_drift({"price": ranked(200, 6, 3, 0.5)[1]}).detected_columns


def test_a_ranking_needs_groups() -> None:
    """Without them there is nothing to rank, and the error says so."""
    with pytest.raises(UnusableBatchError, match="group"):
        ModelMonitor("search", task="ranking").set_baseline([1.0, 0.0], [0.5, 0.2], {"x": [1.0, 2.0]})
