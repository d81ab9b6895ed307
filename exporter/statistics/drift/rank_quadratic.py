"""Quadratic rank statistics of two samples on shared cells, and their null distributions.

Cramer-von Mises and Anderson-Darling sum squared differences of the two distribution functions over the
pooled rows. When nothing drifts, all ways to deal the pooled rows to the samples are equally likely; then the
statistic is a quadratic form in who got which row. Its mean and variance are exact (ties and sizes
included); its shape is that of the limit, a sum of chi-squares weighted by the eigenvalues of a Brownian
bridge looked at where the pooled rows have atoms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.statistics.drift.nulls import Null, PointNull
from exporter.statistics.drift.quadratic_form import QuadraticFormNull, Weights, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

STRIPS = 64
"""Atoms whose eigenvalues are computed: those above 1/64 of the rows, the others merged by as much."""

FINE = 1 / 50
"""With no larger atom the eigenvalues are those of continuous values (less than 0.2 % off in the tail)."""


@dataclass(frozen=True, eq=False, slots=True)
class Form:
    """A statistic `factor * e' C e` of the centred membership e of each pooled row in the first sample.

    Attributes
    ----------
    trace : float
        Sum of the diagonal of C over the N rows.
    trace_of_square : float
        Sum of the squares of all elements of C.
    square_of_diagonal : float
        Sum of the squares of the diagonal of C.
    """

    factor: float
    trace: float
    trace_of_square: float
    square_of_diagonal: float

    def moments(self, n: int, m: int) -> tuple[float, float]:
        """Exact mean and variance over all ways to deal n + m rows; C must have row sums 0."""
        second, mixed = _pair_moments(n, n + m)
        four, three_one, two_two, two_one_one, all_four = _quadruple_moments(n, n + m)
        t, f, d = self.trace, self.trace_of_square, self.square_of_diagonal
        mean = (second - mixed) * t
        diagonal = four - 4 * three_one - 3 * two_two + 12 * two_one_one - 6 * all_four
        square = d * diagonal + (t * t + 2 * f) * (two_two - 2 * two_one_one + all_four)
        return self.factor * mean, self.factor**2 * max(square - mean * mean, 0.0)


def _pair_moments(n: int, total: int) -> tuple[float, float]:
    """E[e_a^2], E[e_a e_b] of drawing n of `total` without replacement."""
    share = n / total
    return share * (1 - share), -share * (1 - share) / max(total - 1, 1)


def _quadruple_moments(n: int, total: int) -> tuple[float, float, float, float, float]:
    """E[a^4], E[a^3 b], E[a^2 b^2], E[a^2 b c], E[a b c d] of the centred memberships."""
    p = n / total
    two = p * (n - 1) / max(total - 1, 1)
    three = two * (n - 2) / max(total - 2, 1)
    four = three * (n - 3) / max(total - 3, 1)
    cube, linear = 1 - 3 * p + 3 * p * p, 1 - 2 * p
    return (
        p * (1 - p) ** 4 + (1 - p) * p**4,
        cube * (two - p * p),
        linear**2 * two + 2 * linear * p**3 + p**4,
        linear * (three - 2 * p * two + p**3) + p * p * (two - p * p),
        four - 4 * p * three + 6 * p * p * two - 3 * p**4,
    )


def fitted_null(weights: Weights, form: Form, n: int, m: int) -> Null:
    """The weighted sum, moved and stretched to the exact mean and variance."""
    mean, variance = form.moments(n, m)
    if not weights or variance <= 0:
        return PointNull()
    scale = math.sqrt(variance / (2 * sum(weight * weight for weight in weights)))
    return QuadraticFormNull(weights, scale, mean - scale * sum(weights))


def null_weights(
    shares: NDArray[np.float64],
    matrix: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    continuous: Weights,
) -> Weights:
    """Weights of the limit for the pooled shares of the cells (sum 1, all positive), largest first.

    `matrix` gives the form's matrix from the shares of a few atoms, `continuous` its weights for no atoms.
    """
    if float(shares.max()) < FINE:
        return continuous
    return weights_of(matrix(merged(shares)))


def merged(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares in order, neighbours below 1/STRIPS merged up to about that."""
    if len(shares) <= STRIPS:
        return shares
    large = shares >= 1 / STRIPS
    middle = np.cumsum(shares) - shares / 2
    strip = np.floor(middle * STRIPS) + np.cumsum(large) + np.cumsum(np.append(False, large[:-1]))
    starts = np.flatnonzero(np.append(True, strip[1:] != strip[:-1]))
    return np.add.reduceat(shares, starts)
