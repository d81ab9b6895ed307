"""Confidence bounds: proportions, means, and smooth functions of both.

All take `z`, the normal quantile of the confidence (1.96 for 95 %), and give (lower, upper).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

Bounds = tuple[float, float]


def normal_quantile(confidence: float) -> float:
    """The z of two-sided bounds; `confidence` in (0, 1).

    Examples
    --------
    >>> round(normal_quantile(0.95), 3)
    1.96
    """
    return float(special.ndtri((1 + confidence) / 2))


def wilson(successes: float, n: float, z: float) -> Bounds:
    """Wilson's score bounds of a proportion; (0, 1) for n = 0. doi:10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson(8, 10, 1.96)]
    [0.49, 0.943]
    """
    if n <= 0:
        return 0.0, 1.0
    share, square = successes / n, z * z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def mean_bounds(mean: float, mean_square: float, n: int, z: float) -> Bounds:
    """Student's bounds of a mean from the means of values and squares, n >= 2."""
    variance = max(mean_square - mean * mean, 0.0) / (n - 1)
    half = float(special.stdtrit(n - 1, special.ndtr(z))) * math.sqrt(variance)
    return mean - half, mean + half


def mean_of_two(first: tuple[float, Bounds], second: tuple[float, Bounds]) -> Bounds:
    """Bounds of the mean of two independent values, each given as (value, bounds).

    Source: MOVER, Zou & Donner, doi:10.1002/sim.2902.
    """
    (a, (a_low, a_high)), (b, (b_low, b_high)) = first, second
    value = (a + b) / 2
    return value - math.hypot(a - a_low, b - b_low) / 2, value + math.hypot(a_high - a, b_high - b) / 2


def logit_bounds(value: float, error: float, z: float) -> Bounds:
    """Bounds of a value in (0, 1) with the given standard error, symmetric in its logit."""
    width = z * error / (value * (1 - value))
    logit = float(special.logit(value))
    return float(special.expit(logit - width)), float(special.expit(logit + width))


def fisher_bounds(value: float, error: float, z: float) -> Bounds:
    """Bounds of a correlation in (-1, 1) with the given standard error, symmetric in its arc tanh."""
    width = z * error / (1 - value * value)
    middle = math.atanh(value)
    return math.tanh(middle - width), math.tanh(middle + width)


def multinomial_error(shares: NDArray[np.float64], gradient: NDArray[np.float64], n: float) -> float:
    """Standard error of a function of cell shares (sum 1) from its gradient, n rows: the delta method."""
    mean = float(np.sum(shares * gradient))
    return math.sqrt(max(float(np.sum(shares * gradient * gradient)) - mean * mean, 0.0) / n)


def moment_error(
    means: NDArray[np.float64], products: NDArray[np.float64], gradient: NDArray[np.float64], n: int
) -> float:
    """Standard error of a function of k means from its gradient (k,) and the means of all products (k, k)."""
    covariance = products - np.outer(means, means)
    return math.sqrt(max(float(gradient @ covariance @ gradient), 0.0) / max(n - 1, 1))


def enclose(value: float, bounds: Bounds, *, least: float = -math.inf, most: float = math.inf) -> Bounds:
    """Bounds kept inside the metric's range and around the value itself."""
    return max(least, min(bounds[0], value)), min(most, max(bounds[1], value))
