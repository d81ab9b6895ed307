"""Variance of a smooth function of means: the delta method with exact derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Function = Callable[[NDArray[Any]], Any]
"""(..., k) -> (...), of analytic operations only, so that it can be given complex numbers."""

STEP = 1e-30

ROUNDING = 1e-12
"""A difference of sums that is this small beside them is what rounding left of equal values."""


def gradient(function: Function, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Derivatives of a function of k numbers, (k,), exact to rounding.

    By the complex step: Squire & Trapp (1998), doi:10.1137/S003614459631241X.

    Examples
    --------
    >>> gradient(lambda x: x[..., 0] ** 2 / x[..., 1], np.array([3.0, 2.0])).tolist()
    [3.0, -2.25]
    """
    points = at.astype(np.complex128) + 1j * STEP * np.eye(len(at))
    return np.asarray(np.imag(function(points)) / STEP, dtype=np.float64)


def row_variance(function: Function, means: NDArray[np.float64], products: NDArray[np.float64]) -> float:
    """The variance of a function of k means over n rows, times n.

    Parameters
    ----------
    means : float64 (k,)
    products : float64 (k, k)
        Means of the products of any two.
    """
    slope = gradient(function, means)
    spread = float(slope @ products @ slope) - float(slope @ means) ** 2
    return unless_rounding(spread, float(np.abs(slope) @ np.abs(products) @ np.abs(slope)))


def unless_rounding(spread: float, terms: float) -> float:
    """The variance `spread`, a difference of sums as large as `terms`; 0 where it is rounding alone.

    Examples
    --------
    >>> unless_rounding(0.1 * 0.1 - 0.01, 0.01)
    0.0
    """
    return spread if spread > ROUNDING * terms else 0.0


def share_variance(function: Function, shares: NDArray[np.float64]) -> float:
    """The same of a function of the shares of k cells, which sum to 1."""
    slope = gradient(function, shares)
    return max(float(slope**2 @ shares) - float(slope @ shares) ** 2, 0.0)
