"""Two rows of counts: PSI, Jensen-Shannon, Hellinger, chi-square, G, total variation, L-infinity.

All of them test homogeneity: baseline and current are both random samples. Numeric columns are taken in
the grid's coarse bins, categorical ones by category, rare cells pooled
(:mod:`exporter.statistics.drift.cells`). With N = 1/n + 1/m and B cells left after pooling, the nulls are
of the chi-square family to first order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.statistics.drift.cells import PairedCounts, category_counts, paired_counts
from exporter.statistics.drift.largest_cell import LargestCellNull
from exporter.statistics.drift.nulls import (
    ChiNull,
    DriftTest,
    Null,
    PointNull,
    ScaledChiSquareNull,
)
from exporter.statistics.drift.sparse import is_sparse, sparse_chi_square
from exporter.statistics.drift.views import is_categorical

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.statistics.drift.views import ColumnView


def population_stability_index(baseline: ColumnView, current: ColumnView) -> DriftTest:
    """Sum of (p - q) ln(p / q) over cells, in nats, 0 = equal; null N * chi-square (B - 1).

    0.5 is added to every cell of both samples. Source: Yurdakul, "Statistical properties of population
    stability index" (2018).
    """
    counts = paired_counts(baseline, current)
    p, q = counts.smoothed()
    value = float(np.sum((p - q) * np.log(p / q)))
    return DriftTest(value, _chi_square(counts, scale=counts.inverse_rows))


def jensen_shannon(baseline: ColumnView, current: ColumnView) -> DriftTest:
    """Base-2 Jensen-Shannon distance in [0, 1], 0 = equal; 8 ln 2 JS^2 / N ~ chi-square (B - 1).

    0.5 is added to every cell of both samples. Source: Endres & Schindelin, doi:10.1109/TIT.2003.813506;
    its null: Menendez et al., doi:10.1016/S0016-0032(96)00063-4.
    """
    counts = paired_counts(baseline, current)
    p, q = counts.smoothed()
    middle = (p + q) / 2
    divergence = float(np.sum(p * np.log2(p / middle)) + np.sum(q * np.log2(q / middle))) / 2
    scale = counts.inverse_rows / (8 * np.log(2))
    return DriftTest(max(divergence, 0.0) ** 0.5, _chi_square(counts, scale=float(scale), power=0.5))


def hellinger(baseline: ColumnView, current: ColumnView) -> DriftTest:
    """Hellinger distance in [0, 1], 0 = equal; 8 H^2 / N ~ chi-square (B - 1); 0.5 added to every cell."""
    counts = paired_counts(baseline, current)
    p, q = counts.smoothed()
    squared = float(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2)) / 2
    return DriftTest(squared**0.5, _chi_square(counts, scale=counts.inverse_rows / 8, power=0.5))


def chi_square(baseline: ColumnView, current: ColumnView) -> DriftTest:
    """Pearson's chi-square of homogeneity, >= 0, no unit, grows with the rows; chi-square (B - 1).

    Where pooling would lose most of the categories they are taken one by one, and the null is a gamma
    distribution with the exact moments (:mod:`exporter.statistics.drift.sparse`).
    """
    counts = paired_counts(baseline, current)
    if is_categorical(baseline) and is_categorical(current):
        single = category_counts(baseline, current)
        if is_sparse(single, counts):
            return sparse_chi_square(single)
    n, m = int(counts.baseline.sum()), int(counts.current.sum())
    pool = counts.baseline + counts.current
    present = pool > 0
    expected = pool[present] * (n / (n + m))
    residual = (counts.baseline[present] - expected) ** 2
    value = float(np.sum(residual / expected) + np.sum(residual / (pool[present] * (m / (n + m)))))
    return DriftTest(value, _chi_square(counts))


def g_test(baseline: ColumnView, current: ColumnView) -> DriftTest:
    """Likelihood-ratio chi-square of homogeneity, >= 0; chi-square (B - 1); 0.5 added to every cell."""
    counts = paired_counts(baseline, current)
    p, q = counts.smoothed()
    n, m = int(counts.baseline.sum()), int(counts.current.sum())
    middle = (n * p + m * q) / (n + m)
    value = 2 * float(np.sum(n * p * np.log(p / middle)) + np.sum(m * q * np.log(q / middle)))
    return DriftTest(max(value, 0.0), _chi_square(counts))


def total_variation(baseline: ColumnView, current: ColumnView) -> DriftTest:
    """Half the sum of |p - q| over cells, in [0, 1]; chi with mean and variance of the normal limit."""
    counts = paired_counts(baseline, current)
    p, q = _shares(counts)
    value = float(np.abs(p - q).sum()) / 2
    pool = _pool(counts)
    deviation = np.sqrt(pool * (1 - pool) * counts.inverse_rows)
    if len(pool) < 2 or not deviation.any():
        return DriftTest(value, PointNull())
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = -np.outer(pool, pool) * counts.inverse_rows / np.outer(deviation, deviation)
    correlation = np.nan_to_num(np.clip(correlation, -1, 1))
    np.fill_diagonal(correlation, 1.0)
    covariance = absolute_covariance(correlation) * np.outer(deviation, deviation)
    mean = float(np.sqrt(2 / np.pi)) * float(deviation.sum()) / 2
    return DriftTest(value, ChiNull.fitted(mean, float(covariance.sum()) / 4 / mean**2))


def largest_difference(baseline: ColumnView, current: ColumnView) -> DriftTest:
    """L-infinity: the largest |p - q| over cells, in [0, 1]; null exact in the normal limit."""
    counts = paired_counts(baseline, current)
    p, q = _shares(counts)
    pool = _pool(counts)
    pool = pool[pool > 0]
    unit = float(np.sqrt(counts.inverse_rows))
    null: Null = LargestCellNull(tuple(pool.tolist()), unit) if len(pool) > 1 else PointNull()
    return DriftTest(float(np.abs(p - q).max()), null)


def absolute_covariance(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of |X| and |Y| for standard normal X, Y with the given correlations, elementwise."""
    return (2 / np.pi) * (np.sqrt(1 - correlation**2) + correlation * np.arcsin(correlation) - 1)


def _chi_square(counts: PairedCounts, *, scale: float = 1.0, power: float = 1.0) -> Null:
    return ScaledChiSquareNull(len(counts.baseline) - 1, scale, power)


def _shares(counts: PairedCounts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return counts.baseline / int(counts.baseline.sum()), counts.current / int(counts.current.sum())


def _pool(counts: PairedCounts) -> NDArray[np.float64]:
    pool = counts.baseline + counts.current
    return pool / int(pool.sum())
