"""Which columns go missing together: for each pair of columns, the rows in which neither has a value.

The counts are totals of a profile's features, so they merge as everything else does. They are kept in blocks
of 32 by 32 columns and written only where two columns are missing in one row: complete data cost nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from exporter.schema import Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from exporter.profiles.grid import Grid
    from exporter.profiles.profile import Part, Totals
    from exporter.profiles.vectors import Counts

MOST_COLUMNS = 128
"""Feature columns, the grid's first, whose pairs are counted."""

BLOCK = 32
"""Columns along one side of a block; a profile has at most ten blocks."""

KEY = "missing_pairs"
"""Name of the totals: `("missing_pairs", block row, block column)`, each of BLOCK * BLOCK elements."""

CHUNK_ROWS = 1 << 20
"""Rows that are multiplied at once: single precision counts exactly up to 2**24."""


@lru_cache(maxsize=64)
def _missing_cells(grid: Grid) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The columns whose pairs are counted, and where in the features each counts missing values."""
    names = [column.name for column in grid.columns.values() if column.role is Role.FEATURE][:MOST_COLUMNS]
    stops = [grid.layout.features.columns[name].stop for name in names]
    cells = [stop - (2 if grid.columns[name].numeric else 1) for stop, name in zip(stops, names, strict=True)]
    return tuple(names), np.array(cells, np.int64)


def _incomplete(grid: Grid, counts: Counts) -> list[int]:
    """Places, among the columns whose pairs are counted, of those with a missing value."""
    _, cells = _missing_cells(grid)
    if not len(cells) or counts.is_empty:
        return []
    if counts.is_dense:
        found = counts.dense()[cells] != 0
    else:
        index, _ = counts.nonzero()
        found = index[np.minimum(np.searchsorted(index, cells), len(index) - 1)] == cells
    places: list[int] = np.flatnonzero(found).tolist()
    return places


def count_missing_pairs(grid: Grid, counts: Counts, values: Mapping[str, Any], rows: int) -> Totals:
    """Pair counts of n rows, as totals; nothing where no row lacks two values.

    Parameters
    ----------
    counts : Counts
        The features of these rows: they tell which columns need no look.
    values : mapping of column to its n values
        As :class:`exporter.batch.Values`; a column that is not there is missing in every row.
    """
    places = _incomplete(grid, counts)
    if len(places) < 2:
        return {}
    names, _ = _missing_cells(grid)
    absent = np.array([_is_missing(values.get(names[place]), rows) for place in places])
    absent = absent[:, np.count_nonzero(absent, axis=0) > 1]
    if not absent.shape[1]:
        return {}
    together = np.zeros((MOST_COLUMNS, MOST_COLUMNS))
    where = np.ix_(places, places)
    for start in range(0, absent.shape[1], CHUNK_ROWS):
        chunk = absent[:, start : start + CHUNK_ROWS].astype(np.float32)
        together[where] += chunk @ chunk.T
    np.fill_diagonal(together, 0.0)
    return _blocks(together, sorted({place // BLOCK for place in places}))


def _is_missing(values: Any, rows: int) -> NDArray[np.bool_]:
    if values is None:
        return np.ones(rows, np.bool_)
    if isinstance(values, pa.DictionaryArray):
        if values.dictionary.null_count:
            values = values.dictionary.take(values.indices)
            return np.asarray(values.is_null().to_numpy(zero_copy_only=False), np.bool_)
        return np.asarray(values.indices.is_null().to_numpy(zero_copy_only=False), np.bool_)
    return np.asarray(np.isnan(values), np.bool_)


def _blocks(together: NDArray[np.float64], used: Sequence[int]) -> Totals:
    """The upper triangle in blocks, without those that are all zero."""
    totals: Totals = {}
    for row in used:
        for column in used:
            if column < row:
                continue
            block = together[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK]
            block = np.triu(block) if row == column else block
            if block.any():
                totals[KEY, str(row), str(column)] = np.ascontiguousarray(block).reshape(-1)
    return totals


def missing_pairs(grid: Grid, features: Part) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Columns with missing values and the rows in which two of them are missing.

    Returns
    -------
    names : tuple of str
        Among the grid's first 128 feature columns, those with a missing value.
    together : int64 (names, names)
        Symmetric; the diagonal is 0.
    """
    names, _ = _missing_cells(grid)
    whole = np.zeros((MOST_COLUMNS, MOST_COLUMNS))
    for key, vector in features.totals.items():
        if len(key) == 3 and key[0] == KEY and len(vector) == BLOCK * BLOCK:
            row, column = (BLOCK * int(place) for place in key[1:])
            whole[row : row + BLOCK, column : column + BLOCK] = vector.reshape(BLOCK, BLOCK)
    whole += whole.T
    places = _incomplete(grid, features.counts)
    return tuple(names[place] for place in places), np.rint(whole[np.ix_(places, places)]).astype(np.int64)
