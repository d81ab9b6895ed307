"""Squared maximum mean discrepancy from the means of random Fourier features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from exporter.results import Undefined
from exporter.statistics.drift.nulls import DriftTest
from exporter.statistics.multivariate.nulls import CentredChiSquareNull

if TYPE_CHECKING:
    from exporter.statistics.multivariate.views import FeaturesView, Floats


def maximum_mean_discrepancy(baseline: FeaturesView, current: FeaturesView) -> DriftTest | Undefined:
    """Squared maximum mean discrepancy under a Gaussian kernel, without bias; may be slightly negative.

    |a - b|^2 - tr(A) / n - tr(B) / m for mean features a, b and their covariances A, B; rows' features have
    length one, so tr(A) = n / (n - 1) (1 - |a|^2). With N = 1/n + 1/m and the pooled trace T, the statistic
    is about N sum_i lambda_i (Z_i^2 - 1): its second and third cumulants, 2 N^2 tr(C^2) and 8 N^3 tr(C^3),
    from the shape of the baseline's covariance C scaled to T, give a chi-square (Hall, 1983; Buckley &
    Eagleson, 1988, doi:10.1111/j.1467-842X.1988.tb00471.x).

    Range -0.01 ... 2; larger is more drift. `constant` when no row differs from another. Source: Gretton et
    al., 2012, jmlr.org/papers/v13/gretton12a.html.
    """
    n, m = current.n, baseline.n
    if min(n, m) < 2:
        return Undefined("insufficient_rows", "two rows are needed in the baseline and the window")
    traces = _trace(current.features, n), _trace(baseline.features, m)
    pooled = ((n - 1) * traces[0] + (m - 1) * traces[1]) / (n + m - 2)
    if pooled <= 1e-9:
        return Undefined("constant", "no row differs from another")
    difference = current.features - baseline.features
    statistic = float(difference @ difference) - traces[0] / n - traces[1] / m
    shape = baseline.grid.waves
    second, third = 2 * shape.squares * pooled**2, 8 * shape.cubes * pooled**3
    freedom = 8 * second**3 / third**2
    scale = (1 / n + 1 / m) * math.sqrt(second / (2 * freedom))
    return DriftTest(statistic, CentredChiSquareNull(freedom, scale))


def _trace(mean: Floats, n: int) -> float:
    return max(1 - float(mean @ mean), 0.0) * n / (n - 1)
