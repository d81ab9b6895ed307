"""The null of the largest difference of cell shares: the highest of multinomial cells, in the normal limit.

The differences are independent normal variables given that they add up to 0. The chance that none leaves a
slab is the density at 0 of the sum of as many cut-off normals, by one integral over their characteristic
functions (Levin, doi:10.1214/aos/1176345593, for the multinomial itself). It is exact for any shares; Sidak's
bound, which takes the cells as independent, halves the rate at two cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = 0.2
"""Of the integral."""

REACH, FEWEST = 12.0, 10
"""How far the integral goes for `FEWEST` cells and more; further for fewer, whose functions fall slowly."""

MOST_ALIKE = 24
"""Cells of nearly the same share are taken together until so many different shares are left."""

PRECISE = 1e-4
"""How well, relative to its chance, a critical value is found."""

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
        alone = -float(special.ndtri(level / 2)) * math.sqrt(variance)
        most = -float(special.ndtri(level / 2 / len(self.shares))) * math.sqrt(variance)
        # first as if no two cells left the slab at once, which is close and cheap
        summed = _barrier(self._summed, level, alone, most, most)
        exact = _barrier(lambda barrier: self.p_value(barrier * self.unit), level, alone, summed, summed)
        return max(floor, exact * self.unit)

    def _summed(self, barrier: float) -> float:
        shares = np.asarray(self.shares)
        return float(special.erfc(barrier / np.sqrt(2 * shares * (1 - shares))).sum())

    def _inside(self, barrier: float) -> float:
        share, cells = _alike(np.sort(np.asarray(self.shares)))
        root = np.sqrt(share)
        reach = REACH * max(1.0, FEWEST / len(self.shares))
        points = np.arange(0.0, reach, STEP)
        turn = points[:, None] * root[None, :]
        cut = np.broadcast_to(barrier / root, turn.shape)
        outside = special.wofz((1j * cut - turn) / math.sqrt(2))
        kept = np.exp(-turn * turn / 2) - (np.exp(-cut * cut / 2 - 1j * cut * turn) * outside).real
        product = (kept**cells).prod(axis=1)
        return float(2 * product.sum() - product[0]) * STEP / math.sqrt(2 * math.pi)


def _barrier(chance: Callable[[float], float], level: float, low: float, high: float, start: float) -> float:
    """Where the falling `chance` is `level`, between `low` and `high`."""
    target, value = math.log(level), start
    previous: tuple[float, float] | None = None
    for _ in range(60):
        gap = math.log(max(chance(value), 1e-300)) - target
        if abs(gap) < PRECISE or high - low < 1e-12 * high:
            break
        low, high = (value, high) if gap > 0 else (low, value)
        # the logarithm of the chance is about linear in the square of the barrier
        square = value * value
        slope = target / square if previous is None else (gap - previous[1]) / (square - previous[0])
        previous = (square, gap)
        guess = math.sqrt(max(square - gap / slope, 0.0)) if slope < 0 else -math.inf
        value = guess if low < guess < high else (low + high) / 2
    return value


def _alike(shares: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Ascending shares in at most about `MOST_ALIKE` groups: the mean of each, and its number of cells."""
    if len(shares) <= MOST_ALIKE:
        return shares, np.ones(len(shares), np.int64)
    height = np.log(shares / shares[0]) / np.log(shares[-1] / shares[0] + 1e-12)
    starts = np.flatnonzero(np.diff(np.floor(height * MOST_ALIKE), prepend=-1))
    cells = np.diff(starts, append=len(shares))
    return np.add.reduceat(shares, starts) / cells, cells
