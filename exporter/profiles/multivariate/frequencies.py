"""Random Fourier features as exact integers: seeded frequencies, and sums of rounded cosines and sines.

Rows are vectors of small integers and frequencies are rounded to integers, so that their products are exact
in float32 whatever the order of summation; a phase is rounded to one of 256 and its cosine and sine to 1/64.
So the sums of some rows are the same however they are split. Source of the features: Rahimi & Recht, "Random
features for large-scale kernel machines", NIPS 2007.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

FREQUENCIES = 128
FEATURES = 2 * FREQUENCIES
UNIT = 64
"""Cosines and sines are counted in parts of 1 / UNIT."""

PHASES = 256
EXACT = 1 << 24
"""Integers up to this are exact in float32."""


def normal_frequencies(seed: int, dimensions: int) -> NDArray[np.float64]:
    """Standard normal numbers that depend on nothing but the arguments, (128, dimensions)."""
    raw = np.random.Philox(key=seed).random_raw(FREQUENCIES * dimensions)
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(special.ndtri(uniform)).reshape(FREQUENCIES, dimensions)


def integer_frequencies(weights: NDArray[np.float64], largest: float) -> tuple[NDArray[np.float32], float]:
    """Weights in turns a unit of the rows as integers, and how many integers make one turn.

    Parameters
    ----------
    weights : float64 (128, dimensions)
    largest : float
        Elements of rows are integers of at most this size.

    Returns
    -------
    integers : float32 (128, dimensions)
    turn : float
        A power of two, so large that no product with a row exceeds 2^23.
    """
    most = float(np.abs(weights).sum(axis=1).max(initial=1e-12)) * largest
    turn = 2.0 ** np.floor(np.log2(EXACT / 2 / max(most, 1.0)))
    return np.rint(weights * min(turn, 65_536.0)).astype(np.float32), min(turn, 65_536.0)


def add_waves(
    products: NDArray[np.float32],
    turn: float,
    sums: NDArray[np.float64],
    buffer: NDArray[np.float32],
    ones: NDArray[np.float32],
) -> None:
    """Add the rounded cosines and sines of products (128, rows) to `sums` (256,); overwrites `products`.

    At most 2^18 rows, so that the sums are exact.
    """
    np.multiply(products, np.float32(PHASES / turn), out=products)
    np.rint(products, out=products)
    np.multiply(products, np.float32(2 * np.pi / PHASES), out=products)
    for wave, start in ((np.cos, 0), (np.sin, FREQUENCIES)):
        wave(products, out=buffer)
        np.multiply(buffer, np.float32(UNIT), out=buffer)
        np.rint(buffer, out=buffer)
        sums[start : start + FREQUENCIES] += buffer @ ones


def waves(products: NDArray[np.float32], turn: float) -> NDArray[np.float64]:
    """The features themselves, each in [-1, 1], (rows, 256)."""
    phases = np.rint(products * np.float32(PHASES / turn)) * np.float32(2 * np.pi / PHASES)
    both = np.concatenate((np.cos(phases), np.sin(phases)))
    return np.rint(both * np.float32(UNIT)).T.astype(np.float64) / UNIT


def trace_ratios(features: NDArray[np.float64]) -> tuple[float, float]:
    """tr(C^2) / tr(C)^2 and tr(C^3) / tr(C)^3 of the features' covariance C.

    Each factor is estimated from a third of the rows of its own, so that the products have no bias.
    """
    thirds = [np.cov(features[start::3], rowvar=False) for start in range(3)]
    first, second, third = (one / max(float(np.trace(one)), 1e-12) for one in thirds)
    pairs = [float((a * b).sum()) for a, b in ((first, second), (second, third), (first, third))]
    squares = min(max(float(np.mean(pairs)), 1.0 / FEATURES), 1.0)
    cubes = float(np.einsum("ij,ji->", first @ second, third))
    return squares, min(max(cubes, squares * squares), squares**1.5)


def median_distance(rows: NDArray[np.float64]) -> float:
    """The median distance of pairs of rows, 1 where they do not differ; rows (n, d)."""
    half = len(rows) // 2
    one, other = rows[:half], rows[half : 2 * half]
    squares = (one * one).sum(axis=1)[:, None] + (other * other).sum(axis=1) - 2 * one @ other.T
    median = float(np.median(np.sqrt(np.maximum(squares, 0.0)))) if half else 0.0
    return median if median > 0 else 1.0
