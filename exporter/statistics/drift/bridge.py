"""How far a Brownian bridge strays on a part of its path: the null of KS for values with atoms.

The path over [0, 1] is cut into steps. Over a *jump* (one value's share of the rows) only the ends of the
step count; along a *stretch* (many small shares) the whole path does, up to the correction for looking at
it on a lattice (Broadie, Glasserman & Kou, doi:10.1111/1467-9965.00035). The density of the path that has
stayed inside is carried from step to step by Gauss-Legendre quadrature; a single stretch over all of
[0, 1] gives Kolmogorov's distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_NODES, NODES_A_DEVIATION = 28, 4.0
"""Quadrature nodes: so many for each standard deviation of the shortest step that the barrier is away. With
them the chance is within 4e-4 of its value (1,500 random paths, barriers of 1.5 to 5.4 deviations)."""

JUMP, MERGE = 0.16, 0.04
"""In the bridge's largest variance: shares from `JUMP` on are jumps, runs below `MERGE` are merged."""

LATTICE = -float(special.zeta(0.5)) / math.sqrt(2 * math.pi)  # 0.5826


@dataclass(frozen=True, slots=True)
class Path:
    """Steps of a bridge: their lengths (sum 1) and how much further out each one's barrier lies.

    `barriers` has one entry a step: None for a jump, otherwise the lattice correction of a stretch.
    `deviation` is the largest standard deviation at any point that counts, 0 when none does.
    """

    lengths: tuple[float, ...]
    barriers: tuple[float | None, ...]
    deviation: float

    @property
    def continuous(self) -> bool:
        """The whole path is one stretch."""
        return len(self.lengths) == 1 and self.barriers[0] is not None


def path_of(masses: NDArray[np.float64]) -> Path:
    """The path for pooled shares in the order of the values (sum 1); zeros are skipped."""
    masses = masses[masses > 0]
    inner = np.cumsum(masses)[:-1]
    variance = float((inner * (1 - inner)).max(initial=0.0))
    if variance <= 0:
        return Path((1.0,), (None,), 0.0)
    steps = _cut(masses, variance)
    return Path(tuple(step[0] for step in steps), tuple(step[1] for step in steps), math.sqrt(variance))


def _cut(masses: NDArray[np.float64], variance: float) -> list[tuple[float, float | None]]:
    """(length, barrier) of each step: jumps, and runs of smaller masses as stretches."""
    jumps = masses >= JUMP * variance
    starts = jumps.copy()
    starts[1:] |= jumps[:-1]
    starts[0] = True
    bounds = np.flatnonzero(starts)
    totals = np.add.reduceat(masses, bounds)
    roughness = np.add.reduceat(masses * np.sqrt(masses), bounds) / totals
    steps: list[tuple[float, float | None]] = []
    carried = 0.0
    for total, rough, jump in zip(totals.tolist(), roughness.tolist(), jumps[bounds].tolist(), strict=True):
        if not jump and total < MERGE * variance:
            carried += total
            continue
        steps.append((total + carried, None if jump else LATTICE * rough))
        carried = 0.0
    if not steps:
        return [(1.0, 0.0)]
    if carried:
        steps[-1] = (steps[-1][0] + carried, steps[-1][1])
    return steps


@cache
def _nodes(number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(number)


def bridge_exceedance(path: Path, barrier: float) -> float:
    """Chance that the bridge leaves [-barrier, barrier] at a point that counts."""
    if path.deviation <= 0:
        return 0.0
    if barrier <= 0.2 * path.deviation:
        return 1.0
    if path.continuous:
        return float(special.kolmogorov(barrier + (path.barriers[0] or 0.0)))
    if barrier > 5.5 * path.deviation:  # beyond the quadrature's reach, where a bound is good enough
        return min(float(special.kolmogorov(barrier)), 4 * float(special.ndtr(-barrier / path.deviation)))
    narrowest = math.sqrt(min(path.lengths))
    wanted = 4 * math.ceil(
        NODES_A_DEVIATION * barrier / narrowest / 4
    )  # few different numbers, to keep the nodes
    roots, weights = _nodes(max(LEAST_NODES, wanted))
    points, weights = roots * barrier, weights * barrier
    density: NDArray[np.float64] | None = None
    for length, lattice in zip(path.lengths[:-1], path.barriers[:-1], strict=True):
        outer = None if lattice is None else barrier + lattice
        if density is None:
            density = _kernel(points, 0.0, length, outer)
        else:
            density = _kernel(points[:, None], points[None, :], length, outer) @ (density * weights)
    last = None if path.barriers[-1] is None else barrier + path.barriers[-1]
    if density is None:  # a single jump has no inner point
        return 0.0
    end = _kernel(points, 0.0, path.lengths[-1], last) * density
    inside = float(end @ weights) * math.sqrt(2 * math.pi)
    return min(1.0, max(0.0, 1.0 - inside))


def _kernel(
    to: NDArray[np.float64], start: NDArray[np.float64] | float, length: float, outer: float | None
) -> NDArray[np.float64]:
    """Density of moving from `start` to `to` in `length`, never beyond +-outer (None: wherever between)."""
    factor = 1 / math.sqrt(2 * math.pi * length)
    rate = -0.5 / length
    density = np.exp((to - start) ** 2 * rate)
    if outer is not None:
        for image in range(1, 2 + math.ceil(1.5 * math.sqrt(length) / outer)):
            sign = -1.0 if image % 2 else 1.0
            for side in (2 * image * outer, -2 * image * outer):
                mirrored = (side - start) if image % 2 else (side + start)
                density = density + sign * np.exp((to - mirrored) ** 2 * rate)
    return np.asarray(density * factor)


def bridge_quantile(path: Path, level: float) -> float:
    """The barrier that the bridge crosses with chance `level`."""
    if path.deviation <= 0:
        return 0.0
    if path.continuous:
        return max(0.0, float(special.kolmogi(level)) - (path.barriers[0] or 0.0))
    low = -float(special.ndtri(level / 2)) * path.deviation * 0.98  # one point alone
    high = min(float(special.kolmogi(level)), 8.0)
    return _solve(path, math.log(level), low, high) if low < high else high


def _solve(path: Path, target: float, low: float, high: float) -> float:
    """The barrier whose chance has the logarithm `target`, to 1e-5: secants, kept inside the bracket.

    The logarithm of the chance is close to linear in the square of the barrier.
    """
    slope = -0.5 / path.deviation**2
    barrier, previous = low, (0.0, 0.0)
    for step in range(60):
        gap = _log_gap(path, barrier, target)
        if abs(gap) < 1e-5 or high - low < 1e-9:
            break
        if gap > 0:
            low = barrier
        else:
            high = barrier
        square = barrier * barrier
        if step and square != previous[0]:
            slope = (gap - previous[1]) / (square - previous[0])
        previous = (square, gap)
        proposal = square - gap / slope if slope < 0 else math.inf
        inside = low * low < proposal < high * high
        barrier = math.sqrt(proposal) if inside else (low + high) / 2
    return barrier


def _log_gap(path: Path, barrier: float, target: float) -> float:
    return math.log(max(bridge_exceedance(path, barrier), 1e-300)) - target
