from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from exporter.batch import Outcomes
from exporter.schema import Task
from exporter.statistics.concept import ERRORS, error_sums


def test_classifiers_lose_one_a_mistake():
    """Rows without a prediction or a label are left out."""
    outcomes = Outcomes(
        Task.BINARY,
        prediction=np.array([0, 1, 1, -1, 0], np.int8),
        label=np.array([0, 0, 1, 1, -1], np.int8),
    )
    assert error_sums(outcomes)[ERRORS].tolist() == [3, 1, 1, 1]


def test_classes_are_compared_by_name():
    """Two dictionaries need not list their classes in the same order."""
    outcomes = Outcomes(
        Task.MULTICLASS,
        prediction=pa.array(["a", "b", "c", None]).dictionary_encode(),
        label=pa.array(["c", "b", "c", "a"]).dictionary_encode(),
    )
    assert error_sums(outcomes)[ERRORS].tolist() == [3, 1, 1, 1]


def test_regression_loses_the_absolute_error():
    """What is not a number, or too large to be squared, is left out."""
    outcomes = Outcomes(
        Task.REGRESSION,
        prediction=np.array([1.0, 2.0, np.nan, 1e300]),
        label=np.array([3.0, 1.0, 1.0, 0.0]),
    )
    assert error_sums(outcomes)[ERRORS] == pytest.approx([2, 3, 5, 9])


def test_nothing_is_measured_without_labels():
    """No labels, no totals."""
    assert not error_sums(Outcomes(Task.BINARY, prediction=np.array([0, 1], np.int8)))
