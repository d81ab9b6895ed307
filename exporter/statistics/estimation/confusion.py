"""Metrics of confusion matrices as smooth functions, with gradients, of expected counts.

`counts` is float64 or complex128 (..., K, K), rows by actual and predicted class, not necessarily whole
numbers. The macro scores agree with those of :mod:`exporter.statistics.performance`: means over the classes
that occur, where a class without the rows it needs counts 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Counts = Any
"""float64 or complex128: complex steps give the gradients."""

STEP = 1e-100
"""Imaginary step in units of the total: far below rounding, as complex steps lose no digits."""


def _ratio(part: Counts, whole: Counts) -> Counts:
    defined = np.real(whole) > 0
    return np.where(defined, part / np.where(defined, whole, 1.0), 0.0)


def _parts(counts: Counts) -> tuple[Counts, Counts, Counts]:
    """Hits, rows by actual class, rows by predicted class, each (..., K)."""
    return np.einsum("...kk->...k", counts), counts.sum(axis=-1), counts.sum(axis=-2)


def _mean(by_class: Counts, counts: Counts) -> Counts:
    _, actual, predicted = _parts(counts)
    present = (np.real(actual) > 0) | (np.real(predicted) > 0)
    return (by_class * present).sum(axis=-1) / present.sum(axis=-1)


def accuracy(counts: Counts) -> Counts:
    return _parts(counts)[0].sum(axis=-1) / counts.sum(axis=(-2, -1))


def balanced_accuracy(counts: Counts) -> Counts:
    hits, actual, _ = _parts(counts)
    return _ratio(hits, actual).sum(axis=-1) / (np.real(actual) > 0).sum(axis=-1)


def macro_precision(counts: Counts) -> Counts:
    hits, _, predicted = _parts(counts)
    return _mean(_ratio(hits, predicted), counts)


def macro_recall(counts: Counts) -> Counts:
    hits, actual, _ = _parts(counts)
    return _mean(_ratio(hits, actual), counts)


def macro_f1(counts: Counts) -> Counts:
    hits, actual, predicted = _parts(counts)
    return _mean(_ratio(2 * hits, actual + predicted), counts)


def macro_specificity(counts: Counts) -> Counts:
    hits, actual, predicted = _parts(counts)
    others = counts.sum(axis=(-2, -1))[..., None] - actual
    return _mean(_ratio(others - predicted + hits, others), counts)


def matthews(counts: Counts) -> Counts:
    """Gorodkin's R_K; the two-class coefficient for K = 2."""
    hits, actual, predicted = _parts(counts)
    total = counts.sum(axis=(-2, -1))
    covariance = hits.sum(axis=-1) * total - (actual * predicted).sum(axis=-1)
    spreads = (total**2 - (actual**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(spreads))


def precision(counts: Counts) -> Counts:
    return _ratio(counts[..., 1, 1], counts[..., :, 1].sum(axis=-1))


def recall(counts: Counts) -> Counts:
    return _ratio(counts[..., 1, 1], counts[..., 1, :].sum(axis=-1))


def specificity(counts: Counts) -> Counts:
    return _ratio(counts[..., 0, 0], counts[..., 0, :].sum(axis=-1))


def f1(counts: Counts) -> Counts:
    hits = 2 * counts[..., 1, 1]
    return _ratio(hits, hits + counts[..., 0, 1] + counts[..., 1, 0])


Metric = Callable[[Counts], Counts]

MACRO: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "precision": macro_precision,
        "recall": macro_recall,
        "f1": macro_f1,
        "specificity": macro_specificity,
        "mcc": matthews,
    }
)

BINARY: Mapping[str, Metric] = MappingProxyType(
    {**MACRO, "precision": precision, "recall": recall, "f1": f1, "specificity": specificity}
)


def why_undefined(name: str, counts: NDArray[np.float64], *, binary: bool) -> str | None:
    """Why a metric has no value at these expected counts, as a sentence; None where it has one."""
    _, actual, predicted = _parts(counts)
    if binary and name == "precision" and predicted[1] <= 0:
        return "no positive prediction"
    if binary and name == "specificity" and actual[0] <= 0:
        return "no negative label is expected"
    if binary and name in {"recall", "f1"} and actual[1] <= 0:
        return "no positive label is expected"
    one_class = (actual > 0).sum() < 2 or (name == "mcc" and (predicted > 0).sum() < 2)
    if name in {"balanced_accuracy", "mcc"} and one_class:
        return "labels or predictions are expected to have only one class"
    return None


def value_and_gradient(metric: Metric, counts: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The metric, and its change for one more row in each cell, (K, K).

    Source: Squire & Trapp (1998), complex steps, doi:10.1137/S003614459631241X: exact to rounding.
    """
    size = counts.shape[0]
    step = STEP * float(counts.sum())
    moved = np.repeat(counts.astype(np.complex128)[None], size * size, axis=0).reshape(size * size, -1)
    moved[np.arange(size * size), np.arange(size * size)] += 1j * step
    gradient = np.imag(metric(moved.reshape(-1, size, size))) / step
    return float(np.real(metric(counts))), gradient.reshape(size, size)
