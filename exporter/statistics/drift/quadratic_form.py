"""Null distributions of quadratic statistics: weighted sums of independent chi-square variables.

Chances come from inverting the Laplace transform prod (1 + 2 lambda p)^(-1/2) on a parabola around its
singularities (Weideman & Trefethen, doi:10.1090/S0025-5718-07-01945-X), which holds 1e-9 of the chance in the
body and as much relative to it far out in the tail, where sums of three moments are off by a fifth and more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from exporter.statistics.drift.nulls import GammaNull

NODES = 20
"""Points of the upper half of the parabola; the error falls as 2.85 ** -NODES."""

_STEP = 3.0 / NODES
_U = (np.arange(NODES) + 0.5) * _STEP

FAR = 1e-9
"""Smaller chances are computed relative to their own size."""

LEAST_WEIGHT = 1e-3
"""Of the largest: smaller weights matter for the mean only."""

SATURATED = 1e-300
"""Smaller chances are not told apart."""

Weights = tuple[float, ...]
"""Weights of the chi-square variables, descending, all positive, at least one."""


@dataclass(frozen=True, slots=True)
class QuadraticFormNull:
    """`statistic = shift + scale * sum of weights[i] * chi-square (1)`."""

    weights: Weights
    scale: float = 1.0
    shift: float = 0.0

    def p_value(self, statistic: float) -> float:
        return exceedance(self.weights, (statistic - self.shift) / self.scale)

    def critical_value(self, level: float, floor: float = 0.0) -> float:
        return max(floor, self.shift + self.scale * upper_quantile(self.weights, level))


def exceedance(weights: Weights, value: float) -> float:
    """Chance that the weighted sum exceeds `value`."""
    return _tail(weights, value)[0]


@lru_cache(maxsize=512)
def upper_quantile(weights: Weights, level: float) -> float:
    """What the weighted sum exceeds with chance `level`, to a relative 1e-8 of the chance; 0 for level 1."""
    if level >= 1:
        return 0.0
    if len(weights) == 1:
        return weights[0] * float(special.chdtri(1, level))
    low, high, target = 0.0, math.inf, math.log(level)
    value = _first_guess(weights, level)
    for _ in range(60):
        chance, density = _tail(weights, value)
        gap = math.log(max(chance, SATURATED)) - target
        if abs(gap) < 1e-8:
            break
        if gap > 0:
            low = value
        else:
            high = value
        step = gap * chance / density if density > 0 else math.inf
        value = value + step
        if not low < value < high:
            value = (low + high) / 2 if math.isfinite(high) else 2 * low + weights[0]
    return value


def _first_guess(weights: Weights, level: float) -> float:
    total = sum(weights)
    return GammaNull(total, 2 * sum(w * w for w in weights) / total**2).critical_value(level)


def _tail(weights: Weights, value: float) -> tuple[float, float]:
    """(chance, density) of the weighted sum beyond and at `value`."""
    ratio = value / weights[0]
    if ratio <= 1e-12:
        return 1.0, 0.0
    shares = np.asarray(weights) / weights[0]
    chance, density = _inverted(shares, ratio, far=False)
    if chance < FAR:
        chance, density = _inverted(shares, ratio, far=True)
    return min(1.0, max(0.0, chance)), max(0.0, density) / weights[0]


def _inverted(shares: NDArray[np.float64], ratio: float, *, far: bool) -> tuple[float, float]:
    """(chance, density) with the parabola around 0, or around the singularity of the largest weight."""
    apex = NODES * math.pi / 12 / ratio
    bent = apex * (1j * _U + 1) ** 2
    slope = 2j * apex * (1j * _U + 1)
    p = bent - 0.5 if far else bent
    transform = np.exp(-0.5 * np.log1p(2 * p[:, None] * shares[None, :]).sum(axis=1))
    front = np.exp(bent * ratio) * slope
    chance = -transform / p if far else (1 - transform) / p
    unit = _STEP / math.pi * (math.exp(-0.5 * ratio) if far else 1.0)
    return unit * float((front * chance).imag.sum()), unit * float((front * transform).imag.sum())


def weights_of(matrix: NDArray[np.float64]) -> Weights:
    """Eigenvalues of a positive semidefinite matrix, largest first, without those that hardly vary."""
    values = np.linalg.eigvalsh(matrix)[::-1]
    return tuple(values[values > LEAST_WEIGHT * max(float(values[0]), 0.0)].tolist()) if values.size else ()
