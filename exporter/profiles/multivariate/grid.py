"""What a grid fixes for statistics over several columns at once, and over the elements of an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.profiles.multivariate.arrays import array_from_text, array_to_text
from exporter.profiles.multivariate.frequencies import (
    FEATURES,
    FREQUENCIES,
    integer_frequencies,
    normal_frequencies,
)
from exporter.profiles.multivariate.levels import (
    BOUNDS,
    CELLS,
    LEVELS_PER_DEVIATION,
    TOP_LEVEL,
    LevelTable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MOST_NUMERIC = 256
"""Numeric and datetime features that are looked at together: the first ones of the schema."""

MOST_INDICATORS = 128
"""Indicators of all categorical features together; features that would exceed it are left out."""

CATEGORY_LEVELS = 7
"""Categories of a feature with an indicator of their own; all others share one."""

ERROR_SUMS = 2
"""Reconstruction errors and their squares."""

ROOT_TWO = float(np.sqrt(2.0))

LARGEST_ELEMENT = 127
"""Elements of embeddings are counted in steps, at most this many from the center."""


@dataclass(frozen=True, slots=True)
class Founding:
    """The rows that a grid was cut by, of which some chose the components.

    Those rows are explained too well by them: the baseline made of the same rows (known by its fingerprint)
    is compared by the rows that were held out.

    Attributes
    ----------
    fingerprint : str
        Of the integers that all founding rows add up to.
    rows : int
        Held out.
    errors, squares : float
        Sums of their reconstruction errors and of the errors' squares.
    """

    fingerprint: str
    rows: int
    errors: float
    squares: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "rows": self.rows,
            "errors": self.errors,
            "squares": self.squares,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Founding:
        errors, squares = float(document["errors"]), float(document["squares"])
        if not np.isfinite([errors, squares]).all():
            raise ValueError("sums of errors are finite")
        return cls(str(document["fingerprint"]), int(document["rows"]), errors, squares)


@dataclass(frozen=True, slots=True)
class Waves:
    """The random Fourier features of a grid.

    Attributes
    ----------
    seed : int
        Of the frequencies.
    bandwidth : float
        Of the Gaussian kernel exp(-|x - y|^2 / (2 bandwidth^2)).
    squares, cubes : float
        tr(C^2) / tr(C)^2 and tr(C^3) / tr(C)^3 of the baseline's feature covariance C.
    """

    seed: int
    bandwidth: float
    squares: float
    cubes: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "bandwidth": self.bandwidth,
            "squares": self.squares,
            "cubes": self.cubes,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Waves:
        waves = cls(int(document["seed"]), *(float(document[key]) for key in cls.__slots__[1:]))
        if not (
            0 < waves.bandwidth < np.inf
            and 0 < waves.squares <= 1
            and 0 < waves.cubes <= 1
            and waves.seed >= 0
        ):
            raise ValueError("the random features' numbers are out of range")
        return waves


@dataclass(frozen=True)
class Categories:
    """A categorical feature's values with an indicator of their own; one more indicator is all others'."""

    name: str
    kept: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.kept) + 1

    @cached_property
    def codes(self) -> dict[str | None, int]:
        """Value to its indicator; -1 for a missing one."""
        return {None: -1, **{value: code for code, value in enumerate(self.kept)}}


@dataclass(frozen=True, eq=False)
class MultivariateGrid:
    """How rows are seen together.

    A row is (1, levels of the d numeric features, indicators of the categorical ones). Counted are the exact
    integers: products of each two of the first 1 + d, sums of the indicators, sums of 256 rounded cosines and
    sines; and sums of the reconstruction error and its square.

    Attributes
    ----------
    numeric : tuple of str
        Numeric and datetime features.
    categorical : tuple of Categories
    levels : LevelTable
        Of the numeric features.
    waves : Waves
        Of the vector of levels / 8 and indicators / sqrt(2).
    means, deviations : float64 (d,)
        The baseline's levels; a deviation of 0 leaves the column out of the components.
    residual : float32 (q, d)
        Orthonormal directions that the leading components leave: a row's error is the squared length of
        ``residual @ ((levels - means) / deviations)``.
    variances : float32 (d (d - 1) / 2,)
        n times the variance of each pair's Fisher z, by the baseline's fourth moments; at least 1.
    kurtosis : float32 (d,)
        Fourth standardised moments of the levels.
    founding : Founding
    """

    numeric: tuple[str, ...]
    categorical: tuple[Categories, ...]
    levels: LevelTable
    waves: Waves
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    residual: NDArray[np.float32]
    variances: NDArray[np.float32]
    kurtosis: NDArray[np.float32]
    founding: Founding

    @property
    def indicators(self) -> int:
        return sum(feature.width for feature in self.categorical)

    @property
    def width(self) -> int:
        """Elements of a row."""
        return 1 + len(self.numeric) + self.indicators

    @property
    def products(self) -> int:
        """Products of two of the first elements of a row."""
        return (1 + len(self.numeric)) * (2 + len(self.numeric)) // 2

    @cached_property
    def upper(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which products are counted: rows and columns of the upper triangle."""
        return np.triu_indices(1 + len(self.numeric))

    @property
    def size(self) -> int:
        """Elements of the sums of a profile."""
        return self.products + self.indicators + FEATURES + ERROR_SUMS

    @property
    def integers(self) -> int:
        """How many of the elements are integers: the first ones."""
        return self.size - ERROR_SUMS

    @cached_property
    def frequencies(self) -> tuple[NDArray[np.float32], float]:
        """Integer frequencies (128, width - 1), and how many integers make one turn."""
        numeric = len(self.numeric)
        weights = normal_frequencies(self.waves.seed, numeric + self.indicators)
        weights /= 2 * np.pi * self.waves.bandwidth
        weights[:, :numeric] /= LEVELS_PER_DEVIATION
        weights[:, numeric:] /= ROOT_TWO
        return integer_frequencies(weights, TOP_LEVEL)

    @cached_property
    def projection(self) -> NDArray[np.float32]:
        """What a row is multiplied by: 128 frequencies, then the residual directions, (128 + q, width)."""
        numeric = len(self.numeric)
        matrix = np.zeros((FREQUENCIES + len(self.residual), self.width), np.float32)
        matrix[:FREQUENCIES, 1:] = self.frequencies[0]
        scaled = np.divide(
            self.residual, self.deviations, out=np.zeros(self.residual.shape), where=self.deviations > 0
        )
        matrix[FREQUENCIES:, 1 : 1 + numeric] = scaled
        matrix[FREQUENCIES:, 0] = -(scaled @ self.means)
        return matrix

    def to_dict(self) -> dict[str, Any]:
        return {
            "numeric": list(self.numeric),
            "categorical": [[feature.name, *feature.kept] for feature in self.categorical],
            "centers": array_to_text(self.levels.centers, "<f8"),
            "thresholds": array_to_text(self.levels.thresholds, "<u4"),
            "waves": self.waves.to_dict(),
            "means": array_to_text(self.means, "<f8"),
            "deviations": array_to_text(self.deviations, "<f8"),
            "directions": len(self.residual),
            "residual": array_to_text(self.residual, "<f4"),
            "variances": array_to_text(self.variances, "<f4"),
            "kurtosis": array_to_text(self.kurtosis, "<f4"),
            "founding": self.founding.to_dict(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> MultivariateGrid:
        """The grid that :meth:`to_dict` wrote; ValueError, TypeError or KeyError for anything else."""
        numeric = tuple(map(str, document["numeric"]))
        count, directions = len(numeric), int(document["directions"])
        categorical = tuple(
            Categories(str(name), tuple(map(str, kept))) for name, *kept in document["categorical"]
        )
        if (
            not 2 <= count <= MOST_NUMERIC
            or not 0 <= directions <= count
            or sum(feature.width for feature in categorical) > MOST_INDICATORS
        ):
            raise ValueError("more columns than can be looked at together")
        thresholds = array_from_text(document["thresholds"], "<u4", (count, len(BOUNDS)))
        if (np.diff(thresholds.astype(np.int64), axis=1) < 0).any() or thresholds.max() > CELLS + 1:
            raise ValueError("the thresholds of levels ascend")
        return cls(
            numeric=numeric,
            categorical=categorical,
            levels=LevelTable(array_from_text(document["centers"], "<f8", (count,)), thresholds),
            waves=Waves.from_dict(document["waves"]),
            means=array_from_text(document["means"], "<f8", (count,)),
            deviations=array_from_text(document["deviations"], "<f8", (count,)),
            residual=array_from_text(document["residual"], "<f4", (directions, count)),
            variances=array_from_text(document["variances"], "<f4", (count * (count - 1) // 2,)),
            kurtosis=array_from_text(document["kurtosis"], "<f4", (count,)),
            founding=Founding.from_dict(document["founding"]),
        )


@dataclass(frozen=True, eq=False)
class EmbeddingGrid:
    """How the vectors of an embedding column are counted.

    A vector x becomes the integers ``rint((x - center) / step)``, at most 127 in size. Counted are the
    vectors, sums of 256 rounded cosines and sines (exact integers), and sums of the reconstruction error and
    its square.

    Attributes
    ----------
    size : int
        Elements of a vector.
    center : float32 (size,)
        The baseline's mean.
    step : float
    waves : Waves
        The bandwidth is in steps.
    components : float32 (k, size)
        Orthonormal leading components; the error is the share of the squared length that they leave, of the
        baseline's mean squared length.
    length : float
        The baseline's mean squared length in steps.
    founding : Founding
    """

    size: int
    center: NDArray[np.float32]
    step: float
    waves: Waves
    components: NDArray[np.float32]
    length: float
    founding: Founding

    @property
    def sums(self) -> int:
        """Elements of the sums of a profile."""
        return 1 + FEATURES + ERROR_SUMS

    @cached_property
    def frequencies(self) -> tuple[NDArray[np.float32], float]:
        """Integer frequencies (128, size), and how many integers make one turn."""
        weights = normal_frequencies(self.waves.seed, self.size) / (2 * np.pi * self.waves.bandwidth)
        return integer_frequencies(weights, LARGEST_ELEMENT)

    @cached_property
    def projection(self) -> NDArray[np.float32]:
        """What a vector is multiplied by: 128 frequencies, then the components, (128 + k, size)."""
        return np.concatenate((self.frequencies[0], self.components))

    def to_dict(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "center": array_to_text(self.center, "<f4"),
            "step": self.step,
            "waves": self.waves.to_dict(),
            "directions": len(self.components),
            "components": array_to_text(self.components, "<f2"),
            "length": self.length,
            "founding": self.founding.to_dict(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> EmbeddingGrid:
        """The grid that :meth:`to_dict` wrote; ValueError, TypeError or KeyError for anything else."""
        size, directions = int(document["size"]), int(document["directions"])
        step, length = float(document["step"]), float(document["length"])
        if not (0 < step < np.inf and 0 < length < np.inf and size > 0 and 0 <= directions <= size):
            raise ValueError("an embedding's numbers are out of range")
        return cls(
            size=size,
            center=array_from_text(document["center"], "<f4", (size,)),
            step=step,
            waves=Waves.from_dict(document["waves"]),
            components=array_from_text(document["components"], "<f2", (directions, size)).astype(np.float32),
            length=length,
            founding=Founding.from_dict(document["founding"]),
        )
