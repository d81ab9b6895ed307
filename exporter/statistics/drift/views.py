"""What the statistics ask of a profile: columns and outcomes as counts and sums.

Protocols, so that this package reads any object with these attributes;
:mod:`exporter.profiles` provides the real ones and documents each attribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from exporter.schema import Kind, Role


class Bins(Protocol):
    """A coarser partition of a column's cells."""

    def reduce(self, cells: NDArray[np.int64], /) -> NDArray[np.int64]: ...


class AnyGrid(Protocol):
    """What every column's grid says."""

    @property
    def kind(self) -> Kind: ...
    @property
    def role(self) -> Role: ...


class NumericGridView(AnyGrid, Protocol):
    @property
    def edges(self) -> NDArray[np.float64]: ...
    @property
    def coarse(self) -> Bins: ...


class CategoricalGridView(AnyGrid, Protocol):
    @property
    def categories(self) -> tuple[str, ...]: ...


class ColumnView(Protocol):
    """What numeric and categorical columns share."""

    @property
    def grid(self) -> AnyGrid: ...
    @property
    def n(self) -> int: ...
    @property
    def missing(self) -> int: ...


class NumericView(ColumnView, Protocol):
    @property
    def grid(self) -> NumericGridView: ...
    @property
    def cells(self) -> NDArray[np.int64]: ...
    @property
    def nonfinite(self) -> int: ...
    @property
    def minimum(self) -> float: ...
    @property
    def maximum(self) -> float: ...
    @property
    def sum_below(self) -> float: ...
    @property
    def sum_above(self) -> float: ...
    @property
    def std(self) -> float: ...


class CategoricalView(ColumnView, Protocol):
    @property
    def grid(self) -> CategoricalGridView: ...
    @property
    def counts(self) -> NDArray[np.int64]: ...
    @property
    def novel(self) -> Mapping[str, int]: ...
    @property
    def other(self) -> int: ...
    @property
    def distinct(self) -> int: ...


def is_numeric(column: ColumnView) -> TypeGuard[NumericView]:
    """Whether a column is counted on edges (numeric, datetime, embedding norm) rather than by category."""
    return hasattr(column, "cells")


def is_categorical(column: ColumnView) -> TypeGuard[CategoricalView]:
    """Whether a column is counted by category (categorical, boolean)."""
    return hasattr(column, "counts")
