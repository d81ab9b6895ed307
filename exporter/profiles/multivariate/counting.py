"""Rows to the sums of a multivariate grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.profiles.categorical import PYTHON_DICTIONARY, dictionary_codes
from exporter.profiles.multivariate.frequencies import FEATURES, FREQUENCIES, add_waves
from exporter.profiles.multivariate.levels import LevelBuffers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from exporter.profiles.multivariate.grid import Categories, MultivariateGrid

    Floats = NDArray[np.floating[Any]]

CHUNK_VALUES = 1 << 18
"""Elements of rows that are looked at at once, so that all buffers stay in the cache."""

LEAST_CHUNK, MOST_CHUNK = 256, 4_096
"""Rows at once; products of levels are exact in float32 up to 29,127 rows."""


class Rows:
    """The rows of a batch, as a multivariate grid sees them.

    Parameters
    ----------
    features : mapping of column name to values
        A column that is not there has no values. Numbers where categories are expected, or the reverse,
        count as no values: counting the columns one by one refuses such a batch.
    """

    def __init__(self, grid: MultivariateGrid, features: Mapping[str, Any], rows: int) -> None:
        self.grid = grid
        self.rows = rows
        self._numeric: list[Floats | None] = [_numbers(features.get(name)) for name in grid.numeric]
        self._codes = [_codes(feature, features.get(feature.name)) for feature in grid.categorical]

    def pieces(self, piece_rows: int) -> list[tuple[int, int]]:
        """All rows as (start, stop), each of at most `piece_rows`."""
        return [(start, min(start + piece_rows, self.rows)) for start in range(0, self.rows, piece_rows)]

    def matrix(self, start: int, stop: int) -> NDArray[np.float32]:
        """(1, levels, indicators) of some rows, (width, rows)."""
        buffers = _Buffers(self.grid, stop - start)
        return buffers.fill(self._numeric, self._codes, start).copy()

    def count(self, start: int, stop: int) -> NDArray[np.float64]:
        """What the rows from `start` to `stop` add up to, (grid.size,)."""
        grid = self.grid
        chunk = min(max(CHUNK_VALUES // grid.width, LEAST_CHUNK), MOST_CHUNK, max(stop - start, 1))
        buffers = _Buffers(grid, chunk)
        first = 1 + len(grid.numeric)
        products = np.zeros((first, first))
        indicators, features, errors = np.zeros(grid.indicators), np.zeros(FEATURES), np.zeros(2)
        turn = grid.frequencies[1]
        for at in range(start, stop, chunk):
            if stop - at < chunk:
                buffers = _Buffers(grid, stop - at)
            matrix = buffers.fill(self._numeric, self._codes, at)
            products += matrix[:first] @ matrix[:first].T
            if grid.indicators:
                indicators += matrix[first:] @ buffers.ones
            np.matmul(grid.projection, matrix, out=buffers.products)
            residual = buffers.products[FREQUENCIES:]
            error = np.einsum("ij,ij->j", residual, residual).astype(np.float64)
            errors += error.sum(), error.dot(error)
            add_waves(buffers.products[:FREQUENCIES], turn, features, buffers.wave, buffers.ones)
        return np.concatenate((products[grid.upper], indicators, features, errors))


class _Buffers:
    """What is overwritten from chunk to chunk."""

    def __init__(self, grid: MultivariateGrid, rows: int) -> None:
        self._grid = grid
        self._levels = LevelBuffers(len(grid.numeric), rows)
        self._matrix = np.ones((grid.width, rows), np.float32)
        self.ones = np.ones(rows, np.float32)
        self.products = np.empty((len(grid.projection), rows), np.float32)
        self.wave = np.empty((FREQUENCIES, rows), np.float32)

    def fill(
        self, numeric: Sequence[Floats | None], codes: Sequence[NDArray[np.int8] | None], start: int
    ) -> NDArray[np.float32]:
        """(1, levels, indicators) of the rows from `start` on, (width, rows)."""
        grid, matrix = self._grid, self._matrix
        place = 1 + len(grid.numeric)
        matrix[1:place] = self._levels.look_up(grid.levels, numeric, start)
        stop = start + matrix.shape[1]
        for feature, of_rows in zip(grid.categorical, codes, strict=True):
            block = matrix[place : place + feature.width]
            if of_rows is None:
                block.fill(0)
            else:
                np.equal(of_rows[start:stop], _CODES[: feature.width], out=block, casting="unsafe")
            place += feature.width
        return matrix


_CODES = np.arange(128, dtype=np.int8)[:, None]


def _numbers(values: Any) -> Floats | None:
    if values is None or isinstance(values, pa.DictionaryArray) or values.ndim != 1:
        return None
    numbers: Floats = values
    return numbers


def _codes(feature: Categories, values: Any) -> NDArray[np.int8] | None:
    """The indicator of each row, -1 where missing."""
    if not isinstance(values, pa.DictionaryArray):
        return None
    dictionary, other = values.dictionary, len(feature.kept)
    if len(dictionary) <= PYTHON_DICTIONARY:
        find = feature.codes.get
        found = [find(name, other) for name in dictionary.to_pylist()]
        codes = np.array([*found, -1], np.int8)  # code -1, a null, reads the last
    else:
        codes = _looked_up(feature, dictionary)
    of_rows: NDArray[np.int8] = codes[dictionary_codes(values)]
    return of_rows


def _looked_up(feature: Categories, dictionary: pa.Array) -> NDArray[np.int8]:
    """The indicator of each value of a large dictionary, and -1 at the end."""
    known = pc.index_in(dictionary, value_set=pa.array(feature.kept, pa.string()))
    codes = np.full(len(known) + 1, -1, np.int8)
    codes[:-1] = pc.fill_null(known, len(feature.kept)).to_numpy(zero_copy_only=False)
    if dictionary.null_count:
        codes[:-1][dictionary.is_null().to_numpy(zero_copy_only=False)] = -1
    return codes
