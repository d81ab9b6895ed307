"""The Wasserstein-1 distance of two numeric columns in baseline standard deviations, read off the grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from exporter.statistics.drift.divergence import absolute_covariance
from exporter.statistics.drift.nulls import AreaNull, DriftTest, Null, PointNull
from exporter.statistics.drift.redealing import redealt_area

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.statistics.drift.views import NumericView

STRIPS = 48
"""Strips of the value axis on which the variance of the null is computed."""

FEW_BEYOND = 10.0
"""Rows of the smaller sample beyond a value that make its distribution function there about normal."""

RARE_PART, NEAR = 0.2, 0.2
"""Rows are dealt anew where this share of the area has fewer rows beyond it, up to this p-value."""


def wasserstein_distance(baseline: NumericView, current: NumericView) -> DriftTest:
    """Area between the two distribution functions over the baseline's standard deviation, >= 0.

    Between two edges the distribution functions are taken as straight lines; outside the edges the exact sums
    give the area (a lower bound of it where both samples reach out on the same side). Exact when all values
    of both are edges, or beyond them in one sample only. The caller excludes a baseline without deviation.

    The null is that of the integral of |Brownian bridge| at the pooled distribution (Barrio, Gine & Matran,
    doi:10.1214/aop/1022677394). Where much of the area lies so far out that a few rows decide on it, and the
    distance is not plainly within the null, the pooled rows are dealt anew (seeded by themselves).
    """
    deviation = float(baseline.std)
    edges = baseline.grid.edges
    gap = _at_cells(baseline) - _at_cells(current)
    area = _trapezoids(gap[1:-2:2], gap[2:-1:2], np.diff(edges))
    below = abs(_below(baseline, edges[0]) - _below(current, edges[0]))
    above = abs(_above(baseline, edges[-1]) - _above(current, edges[-1]))
    statistic = (area + below + above) / deviation
    return DriftTest(statistic, _null(baseline, current, deviation, statistic))


def _at_cells(column: NumericView) -> NDArray[np.float64]:
    """Share of rows in or below each cell, (2k + 1,)."""
    return np.cumsum(column.cells) / int(column.n)


def _trapezoids(left: NDArray[np.float64], right: NDArray[np.float64], width: NDArray[np.float64]) -> float:
    """Area under |a straight line| from `left` to `right` over each width, summed."""
    left_size, right_size = np.abs(left), np.abs(right)
    total = left_size + right_size
    crossing = (left * right < 0) & (total > 0)
    mean = total / 2
    mean[crossing] = (left[crossing] ** 2 + right[crossing] ** 2) / (2 * total[crossing])
    return float(mean @ width)


def _below(column: NumericView, edge: float) -> float:
    """Area under the distribution function below the first edge."""
    return max(0.0, (int(column.cells[0]) * float(edge) - float(column.sum_below)) / int(column.n))


def _above(column: NumericView, edge: float) -> float:
    """Area over the distribution function above the last edge."""
    return max(0.0, (float(column.sum_above) - int(column.cells[-1]) * float(edge)) / int(column.n))


def _null(baseline: NumericView, current: NumericView, deviation: float, statistic: float) -> Null:
    m, n = int(baseline.n), int(current.n)
    share, width = _pooled_strips(baseline, current)
    width = width / deviation
    spread = np.sqrt(share * (1 - share))
    kept = (spread > 0) & (width > 0)
    if not kept.any():
        return PointNull()
    share, width, spread = share[kept], width[kept], spread[kept]
    largest = float(width.max())
    width = width / largest  # so that no square overflows
    mean = math.sqrt(2 / math.pi) * float(spread @ width)
    part = spread * width
    signed = _signed_variance(share, width)
    excess = max(0.0, mean * mean * (1 + _relative_variance(share, part)) / signed - 1)
    null = AreaNull(math.sqrt(signed * (1 / n + 1 / m)) * largest, excess)
    rare = np.minimum(share, 1 - share) * min(m, n) < FEW_BEYOND
    if null.p_value(statistic) > NEAR or part[rare].sum() < RARE_PART * part.sum():
        return null
    return redealt_area(null, share, width * largest, m, n)


def _pooled_strips(
    baseline: NumericView, current: NumericView
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pooled distribution function and width of each strip between edges, and of the two tails."""
    edges = baseline.grid.edges
    m, n = int(baseline.n), int(current.n)
    cumulative: NDArray[np.float64] = np.cumsum(baseline.cells + current.cells) / (m + n)
    width = np.asarray(np.diff(edges), np.float64)
    share = (cumulative[1:-2:2] + cumulative[2:-1:2]) / 2
    below = (m * _below(baseline, edges[0]) + n * _below(current, edges[0])) / (m + n)
    above = (m * _above(baseline, edges[-1]) + n * _above(current, edges[-1])) / (m + n)
    tail_below, tail_above = float(cumulative[0]), float(1 - cumulative[-2])
    if below > 0 and tail_below > 0:
        share = np.concatenate(([tail_below], share))
        width = np.concatenate(([below / tail_below], width))
    if above > 0 and tail_above > 0:
        share = np.concatenate((share, [1 - tail_above]))
        width = np.concatenate((width, [above / tail_above]))
    return share, width


def _signed_variance(share: NDArray[np.float64], width: NDArray[np.float64]) -> float:
    """Variance of the integral of the bridge itself."""
    passed = np.cumsum(share * width)
    own = share * width
    return float((width * (1 - share)) @ (2 * (passed - own) + own))


def _relative_variance(share: NDArray[np.float64], part: NDArray[np.float64]) -> float:
    """Variance of the integral of |bridge| over its squared mean, on `STRIPS` strips of about equal part."""
    part = part / part.sum()
    strip = np.minimum((np.cumsum(part) - part / 2) * STRIPS, STRIPS - 1).astype(np.intp)
    weight = np.bincount(strip, part, STRIPS)
    middle = np.bincount(strip, part * share, STRIPS)
    kept = weight > 0
    weight = weight[kept]
    centre = np.clip(middle[kept] / weight, 1e-12, 1 - 1e-12)
    odds = np.sqrt(centre / (1 - centre))
    ratio = odds[:, None] / odds[None, :]
    correlation = np.minimum(np.minimum(ratio, 1 / ratio), 1.0)
    return float(weight @ absolute_covariance(correlation) @ weight) * math.pi / 2
