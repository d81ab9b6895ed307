"""The null of a distance of two distribution functions by dealing the pooled rows anew."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.statistics.drift.nulls import Null

DEALS = 499
"""Deals of the pooled rows: at 5 % the chance is known within 0.01 (one standard error)."""

STRIPS = 96
"""Strips of the value axis, of about equal part in the distance, between which rows are dealt."""

LEAST_CHANCE = 0.02
"""Smaller chances follow the tail of the limit, stretched to meet the deals at this one."""


@dataclass(frozen=True, eq=False, slots=True)
class RedealtNull:
    """What the statistic did when the pooled rows were dealt at random.

    `values` ascend strictly and `chances[i]` is the chance of at least `values[i]`, falling from 1 to
    `LEAST_CHANCE`; beyond the last value the chance is that of `tail` at `stretch` times the statistic.
    """

    values: NDArray[np.float64]
    chances: NDArray[np.float64]
    tail: Null
    stretch: float

    def p_value(self, statistic: float) -> float:
        if statistic > self.values[-1]:
            return self.tail.p_value(statistic * self.stretch)
        return float(np.interp(statistic, self.values, self.chances))

    def critical_value(self, level: float, floor: float = 0.0) -> float:
        if level < self.chances[-1]:
            return max(floor, float(self.values[-1]), self.tail.critical_value(level) / self.stretch)
        return max(floor, float(np.interp(-level, -self.chances, self.values)))


def redealt_area(tail: Null, share: NDArray[np.float64], width: NDArray[np.float64], m: int, n: int) -> Null:
    """The null of the sum of width * |difference of distribution functions|, by `DEALS` random deals.

    Parameters
    ----------
    tail : Null
        Its limit.
    share : float64 (strips,)
        Share of the pooled rows below each strip, ascending.
    width : float64 (strips,)
        In the unit of the statistic.
    m, n : int
        Rows of the two samples. The generator is seeded with all of these: equal input, equal null.
    """
    below, width = _gathered(np.rint(share * (m + n)).astype(np.int64), np.sqrt(share * (1 - share)), width)
    return _null_of(np.abs(_gaps(below, m, n)) @ width, tail)


def redealt_maximum(tail: Null, below: NDArray[np.int64], m: int, n: int) -> Null:
    """The null of the largest |difference of distribution functions| where `below` rows have passed.

    Rows are dealt between at most about `STRIPS` of these places, of equal parts in the root of the variance.
    """
    share = below / (m + n)
    spread = np.sqrt(share * (1 - share))
    gathered, _ = _gathered(below, spread, np.abs(np.diff(spread, prepend=0.0)) / np.maximum(spread, 1e-300))
    return _null_of(np.abs(_gaps(gathered, m, n)).max(axis=1), tail)


def _null_of(statistics: NDArray[np.float64], tail: Null) -> Null:
    ordered = np.sort(statistics)
    values, first = np.unique(ordered, return_index=True)
    chances = (len(ordered) - first + 1) / (len(ordered) + 1)
    kept = chances >= LEAST_CHANCE
    met = tail.critical_value(float(chances[kept][-1]))
    if not met > 0:  # nearly all deals are alike: the rare ones count too
        kept[:] = True
        met = tail.critical_value(float(chances[-1]))
    values, chances = np.append(0.0, values[kept]), np.append(1.0, chances[kept])
    if values[1] <= 0:
        values, chances = values[1:], chances[1:]
    if not values[-1] > 0:
        return tail
    return RedealtNull(values, chances, tail, met / float(values[-1]) if met > 0 else 1.0)


def _gaps(below: NDArray[np.int64], m: int, n: int) -> NDArray[np.float64]:
    """Differences of the distribution functions where `below` rows have passed, (DEALS, places)."""
    counts = np.diff(below, prepend=0, append=m + n)
    seed = hashlib.blake2b(counts.tobytes() + m.to_bytes(8, "big"), digest_size=16)
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed.digest(), "big")))
    dealt = _deal(generator, counts, m)
    return dealt / m - (below - dealt) / n


def _gathered(
    below: NDArray[np.int64], spread: NDArray[np.float64], width: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows below, and width of, at most about `STRIPS` strips: neighbours of little part together."""
    part = np.cumsum(spread * width)
    strip = np.floor((part - spread * width / 2) / part[-1] * STRIPS)
    starts = np.flatnonzero(np.diff(strip, prepend=-1))
    middle = (starts + np.append(starts[1:], len(strip))) // 2
    return below[middle], np.add.reduceat(width, starts)


def _deal(generator: np.random.Generator, counts: NDArray[np.int64], m: int) -> NDArray[np.float64]:
    """Rows of the first sample below each strip in each deal, (DEALS, strips)."""
    rows = int(counts.sum())
    if rows < 10**9:
        dealt = generator.multivariate_hypergeometric(counts, m, size=DEALS, method="marginals")
        return np.cumsum(dealt[:, :-1], axis=1).astype(np.float64)
    share = np.cumsum(counts)[:-1] / rows  # NumPy's generator ends here; so many rows make a bridge
    steps = generator.normal(size=(DEALS, len(counts))) * np.sqrt(counts / rows)
    walk = np.cumsum(steps, axis=1)
    bridge = walk[:, :-1] - walk[:, -1:] * share
    return share * m + bridge * math.sqrt(m * (rows - m) / rows)
