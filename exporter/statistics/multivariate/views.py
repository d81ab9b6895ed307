"""What the multivariate statistics ask of a profile.

Protocols; :mod:`exporter.profiles.multivariate` has the real ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class WavesView(Protocol):
    """tr(C^2) / tr(C)^2 and tr(C^3) / tr(C)^3 of the covariance C of the baseline's random features."""

    @property
    def squares(self) -> float: ...
    @property
    def cubes(self) -> float: ...


class WavesGridView(Protocol):
    @property
    def waves(self) -> WavesView: ...


class FeaturesView(Protocol):
    """Means over n rows of random features (256,) that have length one in every row."""

    @property
    def n(self) -> int: ...
    @property
    def features(self) -> Floats: ...
    @property
    def grid(self) -> WavesGridView: ...


class ErrorsView(Protocol):
    """Reconstruction errors of n rows; the variance is divided by n - 1."""

    @property
    def n(self) -> int: ...
    @property
    def mean(self) -> float: ...
    @property
    def variance(self) -> float: ...


class CategoriesView(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def width(self) -> int: ...


class MultivariateGridView(WavesGridView, Protocol):
    @property
    def numeric(self) -> tuple[str, ...]: ...
    @property
    def categorical(self) -> Sequence[CategoriesView]: ...
    @property
    def means(self) -> Floats: ...
    @property
    def deviations(self) -> Floats: ...
    @property
    def residual(self) -> NDArray[np.float32]: ...
    @property
    def variances(self) -> NDArray[np.float32]: ...
    @property
    def kurtosis(self) -> NDArray[np.float32]: ...


class MultivariateView(Protocol):
    """Rows seen together: moments of the normal-score levels of d columns, random features, errors."""

    @property
    def grid(self) -> MultivariateGridView: ...
    @property
    def n(self) -> int: ...
    @property
    def features(self) -> Floats: ...
    @property
    def errors(self) -> ErrorsView: ...
    @property
    def means(self) -> Floats: ...
    @property
    def covariance(self) -> Floats: ...
    @property
    def shares(self) -> Floats: ...
    @property
    def missing(self) -> NDArray[np.int64]: ...
