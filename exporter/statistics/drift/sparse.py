"""The null of Pearson's chi-square over many rare categories: exact conditional moments.

Given the totals of every category and of both samples, mean and variance of the statistic are known exactly
(Haldane, 1940, doi:10.1093/biomet/31.3-4.346; Dawson, 1954, doi:10.1093/biomet/41.1-2.280), however rare the
categories are. A gamma distribution with these moments replaces the chi-square distribution, which needs five
rows a cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.statistics.drift.nulls import DriftTest, GammaNull, PointNull

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.statistics.drift.cells import PairedCounts

LOST = 0.5
"""Categories are counted one by one, with this null, where pooling would keep a smaller share of them."""


def is_sparse(counts: PairedCounts, pooled: PairedCounts) -> bool:
    """Whether pooling would lose most of the cells."""
    occupied = int(np.count_nonzero(counts.baseline + counts.current))
    return len(pooled.baseline) < LOST * occupied


def sparse_chi_square(counts: PairedCounts) -> DriftTest:
    """Pearson's chi-square over all occupied cells, with the gamma of its conditional moments."""
    everything = counts.baseline + counts.current
    kept = everything > 0
    before = counts.baseline[kept]
    total: NDArray[np.float64] = everything[kept].astype(np.float64)
    m, n = int(counts.baseline.sum()), int(counts.current.sum())
    rows = m + n
    expected = total * (m / rows)
    statistic = float(np.sum((before - expected) ** 2 / expected)) * rows / n
    mean, variance = chi_square_moments(total, m, n)
    if mean <= 0 or variance <= 0:
        return DriftTest(statistic, PointNull())
    return DriftTest(statistic, GammaNull(mean, variance / mean**2))


def chi_square_moments(totals: NDArray[np.float64], m: int, n: int) -> tuple[float, float]:
    """Mean and variance of the chi-square of a 2 x k table given its margins; (0, 0) below four rows."""
    rows, cells = m + n, len(totals)
    if rows < 4 or cells < 2:
        return 0.0, 0.0
    mean = (cells - 1) * rows / (rows - 1)
    samples = (rows * (1 / m + 1 / n) - 4) / (rows - 2)
    categories = (rows * float(np.sum(1 / totals)) - cells**2) / (rows - 2)
    v_samples = (rows - 2) / (rows - 1)
    v_categories = (cells - 1) * (rows - cells) / (rows - 1)
    variance = (
        2 * rows / (rows - 3) * (v_samples - samples) * (v_categories - categories)
        + rows**2 / (rows - 1) * samples * categories
    )
    return mean, variance
