"""Which columns a multivariate change comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.results import Contribution
from exporter.statistics.remembered import remembered

if TYPE_CHECKING:
    from exporter.statistics.multivariate.correlation import CorrelationChanges
    from exporter.statistics.multivariate.views import Floats, MultivariateView

MOST = 10
"""Contributions that are told."""


def changed_pairs(changes: CorrelationChanges, names: tuple[str, ...]) -> tuple[Contribution, ...]:
    """The pairs whose correlation changed most beyond chance; the value is in standard deviations."""
    surprises = changes.surprises
    return tuple(
        Contribution(
            columns=(names[changes.first[place]], names[changes.second[place]]),
            value=float(surprises[place]),
            baseline=float(changes.before[place]),
            current=float(changes.now[place]),
        )
        for place in np.argsort(-surprises, kind="stable")[:MOST].tolist()
    )


def changed_distributions(baseline: MultivariateView, current: MultivariateView) -> tuple[Contribution, ...]:
    """The columns whose means, spreads and correlations changed most; the values are shares of the sum.

    For numeric columns, in units of a standard deviation: squared change of the mean level, of the spread,
    and half the squared changes of the correlations; for categorical ones half the squared changes of the
    shares. What chance explains is taken off.
    """
    noise = 1 / current.n + 1 / baseline.n
    grid = baseline.grid
    spread = [np.sqrt(np.maximum(np.diag(sample.covariance), 0.0)) for sample in (baseline, current)]
    scale = np.where(grid.deviations > 0, grid.deviations, 1.0)
    shift = (current.means - baseline.means) / scale
    widening = (spread[1] - spread[0]) / scale
    turning = _correlation(current.covariance, spread[1]) - _correlation(baseline.covariance, spread[0])
    np.fill_diagonal(turning, 0.0)
    others = max(len(scale) - 1, 0)
    numeric = shift**2 + widening**2 + (turning**2).sum(axis=1) / 2 - noise * (1.5 + others / 2)
    weights = dict(zip(grid.numeric, numeric.tolist(), strict=True))
    change, pooled = (
        current.shares - baseline.shares,
        (current.n * current.shares + baseline.n * baseline.shares) / max(current.n + baseline.n, 1),
    )
    start = 0
    for feature in grid.categorical:
        block = slice(start, start + feature.width)
        expected = noise * float((pooled[block] * (1 - pooled[block])).sum())
        weights[feature.name] = (float((change[block] ** 2).sum()) - expected) / 2
        start += feature.width
    return _shares(weights)


def changed_residuals(baseline: MultivariateView, current: MultivariateView) -> tuple[Contribution, ...]:
    """The columns whose part of the reconstruction error changed most; the values are shares of all changes.

    `baseline` and `current` of each are the mean squared errors of that column.
    """
    before, now = _residuals(baseline), _residuals(current)
    change = np.abs(now - before)
    total = float(change.sum())
    return tuple(
        Contribution(
            (baseline.grid.numeric[place],),
            float(change[place]) / total,
            float(before[place]),
            float(now[place]),
        )
        for place in np.argsort(-change, kind="stable")[:MOST].tolist()
        if total > 0 and change[place] > 0
    )


@remembered
def _residuals(sample: MultivariateView) -> Floats:
    """Mean squared reconstruction error of each column, (d,)."""
    grid = sample.grid
    scale = np.divide(1.0, grid.deviations, out=np.zeros(len(grid.deviations)), where=grid.deviations > 0)
    shift = sample.means - grid.means
    second = (sample.covariance + np.outer(shift, shift)) * np.outer(scale, scale)
    directions = grid.residual.astype(np.float64)
    left = directions @ second @ directions.T
    residuals: Floats = np.einsum("ij,ik,kj->j", directions, left, directions, optimize=True)
    return residuals


def _correlation(covariance: Floats, spread: Floats) -> Floats:
    product = np.outer(spread, spread)
    return np.divide(covariance, product, out=np.zeros_like(covariance), where=product > 0)


def _shares(weights: dict[str, float]) -> tuple[Contribution, ...]:
    positive = {name: weight for name, weight in weights.items() if weight > 0}
    total = sum(positive.values())
    leading = sorted(positive, key=lambda name: -positive[name])[:MOST]
    return tuple(Contribution((name,), positive[name] / total) for name in leading)
