"""What a grid fixes over several columns, from the rows of its first baseline."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.profiles.multivariate.counting import Rows
from exporter.profiles.multivariate.frequencies import FREQUENCIES, median_distance, trace_ratios, waves
from exporter.profiles.multivariate.grid import (
    CATEGORY_LEVELS,
    MOST_INDICATORS,
    MOST_NUMERIC,
    ROOT_TWO,
    Categories,
    Founding,
    MultivariateGrid,
    Waves,
)
from exporter.profiles.multivariate.levels import LEVELS_PER_DEVIATION, fit_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FIT_ROWS = 20_000
"""Rows of the baseline that means, components and moments are fitted on; they are spread over all of it."""

WAVE_ROWS = 6_000
"""Rows that the covariance of the random features is estimated on."""

BANDWIDTH_ROWS = 1_000
LEAST_ROWS = 60
"""With fewer rows nothing is fixed, so nothing is ever measured on that grid."""

COMPONENT_SHARE = 4
"""One in this many of the fitted rows chooses the components."""

EXPLAINED = 0.8
"""Share of the variance that the leading components explain at least."""

LEAST_BANDWIDTH = 0.25
LEAST_UNEXPLAINED = 2e-4
"""1 - r^2 of columns that say the same."""

SEED = 20_251


def fit_multivariate(
    numeric: Sequence[str],
    categorical: Mapping[str, Sequence[str]],
    features: Mapping[str, Any],
    rows: int,
) -> MultivariateGrid | None:
    """Fix how rows are seen together.

    Parameters
    ----------
    numeric : sequence of column names
        Numeric and datetime features, in the schema's order; the first 256 are taken.
    categorical : mapping of column name to its values, most frequent first
    features : mapping of column name to values
    rows : int

    Returns
    -------
    MultivariateGrid or None
        None with fewer than two numeric features or 60 rows.
    """
    if len(numeric) < 2 or rows < LEAST_ROWS:
        return None
    names = tuple(numeric[:MOST_NUMERIC])
    values = [_numbers(features.get(name)) for name in names]
    draft = MultivariateGrid(
        numeric=names,
        categorical=_categories(categorical),
        levels=fit_levels(values),
        waves=Waves(SEED, 1.0, 1.0, 1.0),
        means=np.zeros(len(names)),
        deviations=np.zeros(len(names)),
        residual=np.zeros((0, len(names)), np.float32),
        variances=np.zeros(0, np.float32),
        kurtosis=np.zeros(0, np.float32),
        founding=Founding("", 0, 0.0, 0.0),
    )
    chosen = _spread(rows, FIT_ROWS)
    sample = _rows_at(features, draft, chosen)
    matrix = Rows(draft, sample, len(chosen)).matrix(0, len(chosen))
    levels = matrix[1 : 1 + len(names)].astype(np.float64)
    means, deviations = levels.mean(axis=1), levels.std(axis=1)
    standard = _standardised(levels, means, deviations)
    variances, kurtosis = correlation_variances(standard)
    fitting = np.arange(0, len(chosen), COMPONENT_SHARE)
    bandwidth = _bandwidth(matrix, len(names))
    draft = replace(
        draft,
        means=means,
        deviations=deviations,
        residual=residual_directions(standard[:, fitting]),
        variances=variances,
        kurtosis=kurtosis,
        waves=Waves(SEED, bandwidth, 1.0, 1.0),
    )
    ratios = _ratios(draft, matrix)
    draft = replace(draft, waves=Waves(SEED, bandwidth, *ratios))
    whole = count_all(draft, features, rows)
    part = count_all(draft, _rows_at(features, draft, chosen[fitting]), len(fitting))
    held_out = (whole - part)[-2:].tolist()
    founding = Founding(fingerprint(whole[: draft.integers]), rows - len(fitting), *held_out)
    return replace(draft, founding=founding)


def count_all(grid: MultivariateGrid, features: Mapping[str, Any], rows: int) -> NDArray[np.float64]:
    """What all rows add up to."""
    return Rows(grid, features, rows).count(0, rows)


def fingerprint(integers: NDArray[np.float64]) -> str:
    """A digest of exact sums: the same for the same rows, however they were split."""
    return hashlib.blake2b(integers.astype("<i8").tobytes(), digest_size=8).hexdigest()


def correlation_variances(
    standard: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Variance of each Fisher z times n, (d (d - 1) / 2,), and the kurtosis of each column, (d,).

    The mean of (u v - r (u^2 + v^2) / 2)^2 / (1 - r^2)^2 over standardised rows, which assumes no
    distribution (Steiger & Hakstian, 1982, doi:10.1111/j.2044-8317.1982.tb00653.x); at least 1, which it is
    for normal rows, because few rows make it too small.

    Parameters
    ----------
    standard : float64 (d, n)
    """
    n = standard.shape[1]
    squares = standard * standard
    fourth = (squares * squares).mean(axis=1)
    both = squares @ squares.T / n
    cubed = (squares * standard) @ standard.T / n
    r = standard @ standard.T / n
    variances = both - r * (cubed + cubed.T) + r * r * (fourth[:, None] + fourth + 2 * both) / 4
    variances = np.maximum(variances / np.maximum(1 - r * r, LEAST_UNEXPLAINED) ** 2, 1.0)
    return variances[np.triu_indices(len(r), 1)].astype(np.float32), fourth.astype(np.float32)


def residual_directions(standard: NDArray[np.float64]) -> NDArray[np.float32]:
    """Orthonormal directions that the leading principal components of rows (d, n) leave, (q, d).

    The components are those of the correlation matrix; there are as many as explain 80 % of the variance,
    at least one, and at least one direction is left.
    """
    values, vectors = np.linalg.eigh(standard @ standard.T / standard.shape[1])
    total = float(values.sum())
    if total <= 0:
        return np.zeros((0, len(values)), np.float32)
    explained = np.cumsum(values[::-1]) / total
    kept = min(max(int(np.searchsorted(explained, EXPLAINED)) + 1, 1), len(values) - 1)
    return np.ascontiguousarray(vectors[:, : len(values) - kept].T, np.float32)


def _standardised(
    levels: NDArray[np.float64], means: NDArray[np.float64], deviations: NDArray[np.float64]
) -> NDArray[np.float64]:
    centered = levels - means[:, None]
    return np.divide(
        centered, deviations[:, None], out=np.zeros_like(centered), where=deviations[:, None] > 0
    )


def _bandwidth(matrix: NDArray[np.float32], numeric: int) -> float:
    rows = matrix[1:, _spread(matrix.shape[1], BANDWIDTH_ROWS)].T.astype(np.float64)
    rows[:, :numeric] /= LEVELS_PER_DEVIATION
    rows[:, numeric:] /= ROOT_TWO
    return max(round(median_distance(rows), 6), LEAST_BANDWIDTH)


def _ratios(grid: MultivariateGrid, matrix: NDArray[np.float32]) -> tuple[float, float]:
    rows = matrix[:, _spread(matrix.shape[1], WAVE_ROWS)]
    return trace_ratios(waves(grid.projection[:FREQUENCIES] @ rows, grid.frequencies[1]))


def _categories(categorical: Mapping[str, Sequence[str]]) -> tuple[Categories, ...]:
    """The features whose indicators fit, in their order."""
    chosen: list[Categories] = []
    left = MOST_INDICATORS
    for name, values in categorical.items():
        feature = Categories(name, tuple(values[:CATEGORY_LEVELS]))
        if feature.width <= left:
            chosen.append(feature)
            left -= feature.width
    return tuple(chosen)


def _spread(rows: int, most: int) -> NDArray[np.intp]:
    """At most `most` places among the rows, evenly spread."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.intp))


def _rows_at(features: Mapping[str, Any], grid: MultivariateGrid, places: NDArray[np.intp]) -> dict[str, Any]:
    names = (*grid.numeric, *(feature.name for feature in grid.categorical))
    return {
        name: values[places] if isinstance(values, np.ndarray) else values.take(places)
        for name in names
        if (values := features.get(name)) is not None
    }


def _numbers(values: Any) -> NDArray[Any] | None:
    return values if isinstance(values, np.ndarray) and values.ndim == 1 else None
