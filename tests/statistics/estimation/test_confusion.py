"""Metrics of expected confusion matrices against the realised ones and numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.results import Estimate
from exporter.statistics.estimation import confusion
from exporter.statistics.performance.binary import BINARY_METRICS
from exporter.statistics.performance.multiclass import MULTICLASS_METRICS


class _Outcome:
    def __init__(self, counts):
        self.confusion = counts


@pytest.mark.parametrize("name", confusion.MACRO)
@pytest.mark.parametrize("seed", range(4))
def test_whole_counts_give_the_realised_metric(name, seed):
    """On counts of rows both modules agree, binary and multiclass, classes that never occur included."""
    generator = np.random.default_rng(seed)
    for classes, ours, realised in (
        (2, confusion.BINARY, BINARY_METRICS),
        (4, confusion.MACRO, MULTICLASS_METRICS),
    ):
        counts = generator.integers(0, 50, (classes, classes))
        if classes == 4 and seed % 2:
            counts[3] = counts[:, 3] = 0
        known = realised[name](_Outcome(counts), 1.96)
        assert isinstance(known, Estimate)
        assert ours[name](counts.astype(float)) == pytest.approx(known.value, abs=1e-12)


@pytest.mark.parametrize("name", [*confusion.MACRO, "precision", "recall", "f1", "specificity"])
def test_gradients_are_those_of_small_differences(name):
    """The complex step gives the slope that a small real step shows."""
    counts = np.array([[40.0, 11.5], [7.25, 30.0]])
    for metric in {confusion.BINARY[name], confusion.MACRO[name]}:
        _, gradient = confusion.value_and_gradient(metric, counts)
        for cell in np.ndindex(2, 2):
            step = np.zeros((2, 2))
            step[cell] = 1e-4
            slope = (metric(counts + step) - metric(counts - step)) / 2e-4
            assert gradient[cell] == pytest.approx(slope, abs=1e-7)
