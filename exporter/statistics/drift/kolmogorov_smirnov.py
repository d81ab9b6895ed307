"""The Kolmogorov-Smirnov distance of two numeric columns, read off the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from exporter.statistics.drift.bridge import Path, bridge_exceedance, bridge_quantile, path_of
from exporter.statistics.drift.nulls import DriftTest, PointNull
from exporter.statistics.drift.permutation import PermutationNull
from exporter.statistics.drift.redealing import redealt_maximum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.statistics.drift.views import NumericView

FEW_ROWS = 120
"""Rows of both samples together up to which the null is exact; beyond, the limit is good enough."""

FEW_DIFFERENT, NEAR = 5.0, 0.2
"""Rows are dealt anew up to this p-value where one value holds nearly all of them: the largest variance of a
count of the smaller sample is so small that it is not normal."""


@dataclass(frozen=True, slots=True)
class KolmogorovNull:
    """sqrt(effective rows) * D is the largest excursion of a Brownian bridge along `path`.

    `effective_rows` is n m / (n + m).
    """

    effective_rows: float
    path: Path

    def p_value(self, statistic: float) -> float:
        return bridge_exceedance(self.path, self._barrier(statistic))

    def critical_value(self, level: float, floor: float = 0.0) -> float:
        root = math.sqrt(self.effective_rows)
        highest = float(special.kolmogi(level)) / root
        if highest <= floor:  # no path strays further than the whole bridge
            return floor
        return max(floor, self._distance(bridge_quantile(self.path, level)))

    def _barrier(self, statistic: float) -> float:
        return math.sqrt(self.effective_rows) * statistic

    def _distance(self, barrier: float) -> float:
        return barrier / math.sqrt(self.effective_rows)


def kolmogorov_smirnov(baseline: NumericView, current: NumericView) -> DriftTest:
    """Largest distance of the two distribution functions, in [0, 1].

    Differs from the exact statistic by at most the largest share of rows strictly between two edges (about
    1/1000 of the baseline), and by nothing when all values are edges. Its null depends on the pooled shares:
    Kolmogorov's distribution where they are all small, the bridge at the atoms where there are few values,
    and for few rows, or few that differ from one frequent value, the ways to deal them.
    """
    m, n = int(baseline.n), int(current.n)
    distance = float(np.abs(_distribution(baseline.cells) - _distribution(current.cells)).max())
    pool = (baseline.cells + current.cells) / (m + n)
    path = path_of(pool)
    if path.deviation <= 0:
        return DriftTest(distance, PointNull())
    if m + n <= FEW_ROWS:
        return DriftTest(distance, PermutationNull(baseline.cells + current.cells, m, n))
    null = KolmogorovNull(m * n / (m + n), path)
    if path.deviation**2 * min(m, n) < FEW_DIFFERENT and null.p_value(distance) < NEAR:
        below = np.cumsum(baseline.cells + current.cells)[:-1]
        return DriftTest(
            distance, redealt_maximum(null, np.unique(below[(below > 0) & (below < m + n)]), m, n)
        )
    return DriftTest(distance, null)


def _distribution(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    cumulative = np.cumsum(cells)
    share: NDArray[np.float64] = cumulative / int(cumulative[-1])
    return share
