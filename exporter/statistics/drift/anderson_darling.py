"""The two-sample Anderson-Darling statistic of two numeric columns, read off the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.statistics.drift.nulls import DriftTest, PointNull
from exporter.statistics.drift.rank_quadratic import Form, fitted_null, null_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.statistics.drift.views import NumericView

_CONTINUOUS = tuple(1 / (order * (order + 1)) for order in range(1, 45))


def anderson_darling(baseline: NumericView, current: NumericView) -> DriftTest:
    """Midrank statistic of Scholz & Stephens for two samples, >= 0 (doi:10.1080/01621459.1987.10478517).

    The sum over the pooled rows of the squared distance of the distribution functions, taken in the middle of
    each cell of equal values and divided by its variance; about 1 when nothing drifts. (SciPy's
    `anderson_ksamp` subtracts 1 and divides by the standard deviation.) Rows between two edges count as tied,
    which takes part of the weight from the outermost thousandth of the rows on either side; nothing is lost
    where all values are edges.

    The null has the exact mean and variance over all ways to deal the pooled rows, and the shape of the
    bridge's weighted chi-squares.
    """
    m, n = int(baseline.n), int(current.n)
    cells = baseline.cells + current.cells
    kept = cells > 0
    before, pool = baseline.cells[kept], cells[kept]
    if len(pool) < 2:
        return DriftTest(0.0, PointNull())
    rows = m + n
    shares = pool / rows
    _, variance = _middles(shares)
    distance = _middle(before / m) - _middle((pool - before) / n)
    statistic = (rows - 1) / rows * m * n / rows * float((shares / variance) @ (distance * distance))
    null = fitted_null(null_weights(shares, _matrix, _CONTINUOUS), _form(shares, m, n), m, n)
    return DriftTest(statistic, null)


def _middle(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.cumsum(shares) - shares / 2


def _middles(shares: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distribution function in the middle of each cell, and the bridge's variance there."""
    middle = _middle(shares)
    return middle, middle * (1 - middle) - shares / 4


def _matrix(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of the bridge in the middles of the cells, each times the root of its share."""
    middle, variance = _middles(shares)
    covariance = np.minimum.outer(middle, middle) - np.outer(middle, middle)
    np.fill_diagonal(covariance, variance)
    root = np.sqrt(shares / variance)
    return np.asarray(covariance * np.outer(root, root))


def _form(shares: NDArray[np.float64], m: int, n: int) -> Form:
    middle, variance = _middles(shares)
    weight = shares / variance
    left = 1 - middle
    below, above = weight * middle**2, weight * left**2
    rows = m + n
    earlier = np.cumsum(below) - below
    later = np.cumsum(above[::-1])[::-1] - above
    square = 2 * float(above @ earlier) + float(shares @ shares)
    # a row of a cell lies above the middles before, below those after, and half above its own
    diagonal = earlier + later + weight * (0.5 - middle) ** 2
    return Form(
        factor=(rows - 1) / m / n,
        trace=rows * float(shares.sum()),
        trace_of_square=float(rows) ** 2 * square,
        square_of_diagonal=rows * float(shares @ (diagonal * diagonal)),
    )
