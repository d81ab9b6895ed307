"""What a profile knows of its rows together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from exporter.profiles.multivariate.fitting import fingerprint
from exporter.profiles.multivariate.frequencies import FEATURES, FREQUENCIES, UNIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.profiles.multivariate.grid import EmbeddingGrid, Founding, MultivariateGrid

MULTIVARIATE = ("multivariate",)
"""The name of the sums among a profile's totals."""


def embedding_key(column: str) -> tuple[str, ...]:
    """The name of an embedding column's sums among a profile's totals."""
    return ("embedding", column)


@dataclass(frozen=True, slots=True)
class Errors:
    """Reconstruction errors of some rows: how many, their sum, the sum of their squares."""

    n: int
    sum: float
    squares: float

    @property
    def mean(self) -> float:
        return self.sum / self.n

    @property
    def variance(self) -> float:
        """Divided by n - 1."""
        return max(self.squares - self.sum * self.sum / self.n, 0.0) / (self.n - 1)


def _errors(founding: Founding, integers: NDArray[np.float64], n: int, sums: NDArray[np.float64]) -> Errors:
    """Of the rows; where they are those that the components were chosen by, of the ones held out."""
    if founding.rows and fingerprint(integers) == founding.fingerprint:
        return Errors(founding.rows, founding.errors, founding.squares)
    return Errors(n, *sums.tolist())


@dataclass(frozen=True, eq=False)
class MultivariateSums:
    """What some rows add up to on a multivariate grid.

    Attributes
    ----------
    grid : MultivariateGrid
    totals : float64 (grid.size,)
        Products of levels (upper triangle), indicators, cosines and sines, errors; all but the last two are
        exact integers.
    missing : int64 (d,)
        Rows without a finite value of each numeric feature; read off the columns' counts.
    """

    grid: MultivariateGrid
    totals: NDArray[np.float64]
    missing: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Rows that were measured together."""
        return int(self.totals[0])

    @cached_property
    def moments(self) -> NDArray[np.float64]:
        """Mean products of (1, levels) with each other, (1 + d, 1 + d)."""
        side = 1 + len(self.grid.numeric)
        matrix = np.zeros((side, side))
        upper = self.grid.upper
        matrix[upper] = self.totals[: self.grid.products]
        matrix.T[upper] = matrix[upper]
        return matrix / max(self.n, 1)

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean levels, (d,)."""
        return self.moments[0, 1:]

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """Of the levels, divided by n, (d, d)."""
        covariance: NDArray[np.float64] = self.moments[1:, 1:] - np.outer(self.means, self.means)
        return covariance

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of rows with each indicator."""
        start = self.grid.products
        shares: NDArray[np.float64] = self.totals[start : start + self.grid.indicators] / max(self.n, 1)
        return shares

    @property
    def features(self) -> NDArray[np.float64]:
        """Mean random Fourier features, of length one in every row, (256,)."""
        return _scaled(self.totals[self.grid.products + self.grid.indicators : self.grid.integers], self.n)

    @cached_property
    def errors(self) -> Errors:
        integers = self.totals[: self.grid.integers]
        return _errors(self.grid.founding, integers, self.n, self.totals[self.grid.integers :])


@dataclass(frozen=True, eq=False)
class EmbeddingSums:
    """What some vectors of an embedding column add up to.

    Attributes
    ----------
    grid : EmbeddingGrid
    totals : float64 (grid.sums,)
        Vectors, cosines and sines, errors.
    """

    grid: EmbeddingGrid
    totals: NDArray[np.float64]

    @property
    def n(self) -> int:
        return int(self.totals[0])

    @property
    def features(self) -> NDArray[np.float64]:
        """Mean random Fourier features, of length one for every vector, (256,)."""
        return _scaled(self.totals[1 : 1 + FEATURES], self.n)

    @cached_property
    def errors(self) -> Errors:
        integers, sums = self.totals[: 1 + FEATURES], self.totals[1 + FEATURES :]
        return _errors(self.grid.founding, integers, self.n, sums)


def _scaled(sums: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    features: NDArray[np.float64] = sums / (UNIT * np.sqrt(FREQUENCIES) * max(n, 1))
    return features
