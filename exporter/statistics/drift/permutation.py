"""The exact null of the Kolmogorov-Smirnov distance of two small samples, ties included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CANDIDATES = 64
"""Distances whose chances are computed in one pass."""

SLACK = 1e-9
"""Distances closer than this are equal: they are differences of small fractions."""


@dataclass(frozen=True, eq=False, slots=True)
class PermutationNull:
    """Largest distance when the pooled rows are dealt to the samples at random.

    `groups` are the pooled rows by value (or cell of the grid) in order, `m` and `n` the samples' sizes.
    """

    groups: NDArray[np.int64]
    m: int
    n: int

    def p_value(self, statistic: float) -> float:
        return float(self._exceedance(np.array([statistic]))[0])

    def critical_value(self, level: float, floor: float = 0.0) -> float:
        """The largest distance whose p-value is above `level`: any larger one is significant."""
        shares = np.arange(self.m + 1)[:, None] / self.m - np.arange(self.n + 1)[None, :] / self.n
        distances = np.asarray(np.unique(np.round(np.abs(shares), 12)), np.float64)
        low, high = 0, len(distances) - 1  # the chance of 0 is 1; that of `high` may be above the level too
        while low < high:
            probes = np.unique(np.linspace(low + 1, high, min(CANDIDATES, high - low)).astype(np.intp))
            common = np.flatnonzero(self._exceedance(distances[probes]) > level)
            if not len(common):
                high = int(probes[0]) - 1
            else:
                last = int(common[-1])
                low = int(probes[last])
                high = int(probes[last + 1]) - 1 if last + 1 < len(probes) else low
        return max(floor, float(distances[low]) + SLACK)

    def _exceedance(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Chance of a distance of at least each of `distances`, (d,).

        Rows are dealt one by one without replacement; deals that reach the distance at the end of a group of
        equal values are dropped, and what is left at the end never reached it.
        """
        taken = np.arange(self.m + 1)
        chance = np.zeros((len(distances), self.m + 1))
        chance[:, 0] = 1.0
        ends = set(np.cumsum(self.groups).tolist())
        total = self.m + self.n
        for dealt in range(total):
            left = total - dealt
            to_baseline = np.clip((self.m - taken) / left, 0.0, 1.0)
            moved = chance * to_baseline
            chance = chance - moved
            chance[:, 1:] += moved[:, :-1]
            if dealt + 1 in ends:
                gap = np.abs(taken / self.m - (dealt + 1 - taken) / self.n)
                chance[gap[None, :] >= distances[:, None] - SLACK] = 0.0
        return np.asarray(np.clip(1.0 - chance.sum(axis=1), 0.0, 1.0), np.float64)
