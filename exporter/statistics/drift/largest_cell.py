"""The null of the largest difference of cell shares: the highest of multinomial cells, in the normal limit.

The differences are independent normal variables given that they add up to 0. The chance that none leaves a
slab is the density at 0 of the sum of as many cut-off normals, by one integral over their characteristic
functions (Levin, doi:10.1214/aos/1176345593, for the multinomial itself). It is exact for any shares; Sidak's
bound, which takes the cells as independent, halves the rate at two cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

STEP = 0.2
"""Of the integral."""

REACH, FEWEST = 12.0, 10
"""How far the integral goes for `FEWEST` cells and more; further for fewer, whose functions fall slowly."""

FAR = 1e-6
"""Smaller chances are summed over the cells: two hardly leave the slab at once."""


@dataclass(frozen=True, slots=True)
class LargestCellNull:
    """Largest |difference of two shares| over cells of these pooled `shares` (at least two, positive, sum 1).

    `unit` is the standard deviation of a difference over sqrt(share * (1 - share)).
    """

    shares: tuple[float, ...]
    unit: float

    def p_value(self, statistic: float) -> float:
        barrier = max(statistic, 0.0) / self.unit
        apart = self._summed(barrier)
        if apart <= FAR or barrier <= 0:
            return min(apart, 1.0)
        if len(self.shares) == 2:
            return apart / 2
        return min(1.0, max(FAR, 1.0 - self._inside(barrier)))

    def critical_value(self, level: float, floor: float = 0.0) -> float:
        variance = max(share * (1 - share) for share in self.shares)
        low = -float(special.ndtri(level / 2)) * math.sqrt(variance)
        high = -float(special.ndtri(level / 2 / len(self.shares))) * math.sqrt(variance)
        target, value = math.log(level), high
        for _ in range(60):
            gap = math.log(max(self.p_value(value * self.unit), 1e-300)) - target
            if abs(gap) < 1e-7 or high - low < 1e-12 * high:
                break
            low, high = (value, high) if gap > 0 else (low, value)
            # the logarithm of the chance falls about as the square of the barrier over twice the variance
            guess = math.sqrt(max(value * value + 2 * variance * gap, 0.0))
            value = guess if low < guess < high else (low + high) / 2
        return max(floor, value * self.unit)

    def _summed(self, barrier: float) -> float:
        shares = np.asarray(self.shares)
        return float(special.erfc(barrier / np.sqrt(2 * shares * (1 - shares))).sum())

    def _inside(self, barrier: float) -> float:
        root = np.sqrt(self.shares)
        reach = REACH * max(1.0, FEWEST / len(root))
        points = np.arange(0.0, reach, STEP)
        turn = points[:, None] * root[None, :]
        cut = np.broadcast_to(barrier / root, turn.shape)
        outside = special.wofz((1j * cut - turn) / math.sqrt(2))
        kept = np.exp(-turn * turn / 2) - (np.exp(-cut * cut / 2 - 1j * cut * turn) * outside).real
        product = kept.prod(axis=1)
        return float(2 * product.sum() - product[0]) * STEP / math.sqrt(2 * math.pi)
