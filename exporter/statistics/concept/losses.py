"""The loss of each labelled row, whose mean over time shows concept drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from exporter.schema import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from exporter.batch import Outcomes

ERRORS = ("errors",)
"""Name of the totals: labelled rows, the sums of their losses, of their squares and of their cubes."""


def error_sums(outcomes: Outcomes) -> Mapping[tuple[str, ...], NDArray[np.float64]]:
    """The meter of labelled rows: 0 or 1 for classifiers, the absolute error for regression.

    Rows without a prediction, and errors that are not finite, are left out; ranking has no loss of a row.
    """
    losses = _losses(outcomes)
    if losses is None or not len(losses):
        return {}
    squares = losses * losses
    return {ERRORS: np.array([len(losses), losses.sum(), squares.sum(), (squares * losses).sum()])}


def _losses(outcomes: Outcomes) -> NDArray[np.float64] | None:
    label: Any = outcomes.label
    prediction: Any = outcomes.prediction
    if label is None or outcomes.task is Task.RANKING:
        return None
    if outcomes.task is Task.MULTICLASS:
        return _differs(prediction, label)
    label, prediction = np.asarray(label, np.float64), np.asarray(prediction, np.float64)
    if outcomes.task is Task.BINARY:
        known = (label >= 0) & (prediction >= 0)
        return np.asarray(label[known] != prediction[known], np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(prediction - label)
        return np.asarray(error[error < LARGEST], np.float64)


LARGEST = 1e90
"""Larger errors are left out, so that their cubes are finite."""


def _differs(prediction: pa.DictionaryArray, label: pa.DictionaryArray) -> NDArray[np.float64]:
    """1 where the two name different classes; rows that lack one are left out."""
    same = pc.equal(prediction.dictionary_decode(), label.dictionary_decode()).drop_null()
    return 1.0 - np.asarray(same.cast("int8").to_numpy(zero_copy_only=False), np.float64)
