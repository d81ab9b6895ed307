"""All coarse bins of some columns at once: the increments of the per-bin counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.profiles.grid import NumericGrid
from exporter.schema import Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.profiles.grid import ColumnGrid, Grid
    from exporter.profiles.profile import Profile


class BinIndex:
    """Which coarse bin each cell of a profile's feature part belongs to.

    All features, the prediction and the score are indexed; labels come later and are not counted by arrival.

    Attributes
    ----------
    bins : tuple of (str, str)
        (column, bin name), in the order of :meth:`count`.
    """

    def __init__(self, grid: Grid) -> None:
        layout = grid.layout.features
        self._bin_of_cell = np.full(layout.size, -1, dtype=np.int64)
        bins: list[tuple[str, str]] = []
        for name, column in grid.columns.items():
            if column.role is Role.LABEL:
                continue
            of_cell = _bins_of_cells(column)
            self._bin_of_cell[layout.columns[name]] = np.where(of_cell < 0, -1, of_cell + len(bins))
            bins += [(name, title) for title in column.coarse.names]
        self.bins = tuple(bins)

    def count(self, profile: Profile) -> NDArray[np.int64]:
        """Rows by bin, (bins,); the same as `coarse_counts` of each column."""
        cells, counts = profile.features.counts.nonzero()
        bins = self._bin_of_cell[cells]
        known = bins >= 0
        weights = counts[known].astype(np.float64)  # exact below 2**53 rows a profile
        return np.bincount(bins[known], weights, len(self.bins)).astype(np.int64)


def _bins_of_cells(column: ColumnGrid) -> NDArray[np.int64]:
    """The bin of each cell in the layout's order, -1 for missing and infinite values."""
    coarse = column.coarse
    if not isinstance(column, NumericGrid):
        cells = len(column.categories) + 1
        ordered = coarse.bins[np.searchsorted(coarse.starts, np.arange(cells), side="right") - 1]
        return np.append(ordered, -1)
    cells = 2 * len(column.edges) + 1
    ordered = coarse.bins[np.searchsorted(coarse.starts, np.arange(cells), side="right") - 1]
    return np.concatenate((ordered[1::2], ordered[0::2], [-1, -1]))
