"""Whether the share of missing values has changed: a test of two proportions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from exporter.statistics.drift.nulls import DriftTest, HalfNormalNull, PointNull

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.statistics.drift.views import ColumnView

MISSING = "missing"
"""The method's name: it is tested on every column, and decides beside the method that was chosen."""

LARGEST_EXACT = 50.0
"""Missing (or present) rows expected in the smaller sample up to which the null is the exact one."""


@dataclass(frozen=True, eq=False, slots=True)
class HypergeometricNull:
    """|difference of two proportions| given all the successes: exact.

    `differences` ascend and `survival[i]` is the chance of at least `differences[i]`.
    """

    differences: NDArray[np.float64]
    survival: NDArray[np.float64]

    def p_value(self, statistic: float) -> float:
        position = int(np.searchsorted(self.differences, statistic * (1 - 1e-12)))
        return float(self.survival[position]) if position < len(self.survival) else 0.0

    def critical_value(self, level: float, floor: float = 0.0) -> float:
        """The largest difference that is not significant at `level`: any larger one is."""
        common = np.flatnonzero(self.survival > level)
        return max(floor, float(self.differences[common[-1]]) * (1 + 1e-12) if len(common) else 0.0)


def missing_rows(column: ColumnView) -> tuple[int, int]:
    """(rows without a usable value, all rows); infinities count as missing."""
    missing = int(column.missing) + int(getattr(column, "nonfinite", 0))
    return missing, missing + int(column.n)


def missing_values(baseline: ColumnView, current: ColumnView) -> DriftTest:
    """|difference| of the shares of missing or infinite values, in [0, 1].

    The null is hypergeometric (Fisher's exact test, two-sided by difference) for small counts and normal with
    the pooled share otherwise. Where no value or every value is missing in both samples they cannot differ.
    """
    (missing_m, m), (missing_n, n) = missing_rows(baseline), missing_rows(current)
    successes = missing_m + missing_n
    statistic = abs(missing_n / n - missing_m / m) if n and m else 0.0
    if successes in {0, n + m} or not (n and m):
        return DriftTest(statistic, PointNull())
    share = successes / (n + m)
    if min(share, 1 - share) * min(n, m) > LARGEST_EXACT:
        return DriftTest(statistic, HalfNormalNull(math.sqrt(share * (1 - share) * (1 / n + 1 / m))))
    return DriftTest(statistic, hypergeometric_null(successes, n, m))


def hypergeometric_null(successes: int, n: int, m: int) -> HypergeometricNull:
    """Null of |x / n - (successes - x) / m| where x of the successes fell into the sample of n rows."""
    mean = successes * n / (n + m)
    spread = math.sqrt(mean * (1 - successes / (n + m)) * m / (n + m)) + 1
    reach = 40 * spread
    least, most = max(0, successes - m), min(successes, n)
    x = np.arange(max(least, math.floor(mean - reach)), min(most, math.ceil(mean + reach)) + 1)
    log_chance = _log_choose(successes, x) + _log_choose(n + m - successes, n - x)
    chance = np.exp(log_chance - log_chance.max())
    differences = np.abs(x / n - (successes - x) / m)
    order = np.argsort(differences, kind="stable")
    survival = np.cumsum((chance / chance.sum())[order][::-1])[::-1]
    differences = differences[order]
    # equal differences on both sides must share one chance, whatever their last bits
    first = np.searchsorted(differences, differences * (1 - 1e-12))
    return HypergeometricNull(differences, survival[first])


def _log_choose(total: int, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(
        special.gammaln(total + 1) - special.gammaln(chosen + 1) - special.gammaln(total - chosen + 1),
        np.float64,
    )
