"""Ratios of sums and sums, with bounds, from sums of first and second order.

`sums` is float64 (6,): units, then the sums over units of a, b, a*a, a*b and b*b, for a numerator a and a
denominator b. A mean of values is the ratio with b = 1. Units are independent: rows, or calls that gave sums.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from exporter.results import Estimate, Undefined
from exporter.statistics.intervals import enclose, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 6
"""Elements of `sums`."""


def ratio_of_sums(sums: NDArray[np.float64], z: float) -> Estimate | Undefined:
    """Sum of a over sum of b, with Student's bounds by the delta method.

    The variance is that of the residuals a - R b: n / (n - 1) times their sum of squares over that of b,
    squared. Values that are all 0 or 1 have Wilson's bounds, so that 50 of 50 has a width too. `empty`
    without units or where b adds up to 0, `insufficient_labels` with a single unit.

    Source: Cochran, Sampling Techniques (1977), section 6.

    Examples
    --------
    >>> estimate = ratio_of_sums(np.array([4.0, 6.0, 4.0, 14.0, 6.0, 4.0]), 1.96)
    >>> estimate.value, round(estimate.lower, 2), round(estimate.upper, 2)
    (1.5, -0.55, 3.55)
    """
    units, a, b, aa, ab, bb = sums.tolist()
    n = round(units)
    if n <= 0:
        return Undefined("empty", "the metric is defined for no labelled row")
    if b == 0:
        return Undefined("empty", "the denominators add up to 0")
    value = a / b
    if n < 2:
        return Undefined("insufficient_labels", "the metric is defined for one labelled row, 2 are needed")
    if aa == a == ab and bb == b == units and 0 <= a <= units:
        return Estimate(value, *wilson(a, units, z), n)
    squares = max(aa - 2 * value * ab + value * value * bb, 0.0)
    half = _student(n, z) * math.sqrt(squares * n / (n - 1)) / abs(b)
    return Estimate(value, *enclose(value, (value - half, value + half)), n)


def total_of_sums(sums: NDArray[np.float64], z: float) -> Estimate | Undefined:
    """Sum of a over the units, with bounds for as many units as there are."""
    units, a, _, aa, _, _ = sums.tolist()
    n = round(units)
    if n < 2:
        reason = "insufficient_labels" if n > 0 else "empty"
        return Undefined(reason, f"{max(n, 0)} labelled rows, 2 are needed")
    variance = max(aa / n - (a / n) ** 2, 0.0) * n / (n - 1)
    half = _student(n, z) * math.sqrt(n * variance)
    return Estimate(a, *enclose(a, (a - half, a + half)), n)


def _student(n: int, z: float) -> float:
    return float(special.stdtrit(n - 1, special.ndtr(z)))
