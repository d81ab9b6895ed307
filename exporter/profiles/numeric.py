"""Counting a numeric column on its grid.

Many rows: sort a chunk that fits the cache and search the few edges in it. Few rows: search the values in the
edges, all columns in one matrix, and name the cells one by one. Both give the same counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.profiles.histogram import CHUNK_ROWS
from exporter.profiles.layout import COLUMN_SUMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exporter.profiles.grid import NumericGrid
    from exporter.profiles.layout import PartLayout
    from exporter.profiles.vectors import Counter

    Floats = NDArray[np.floating[Any]]

SMALL_ROWS = 500
"""Up to this many rows are searched in the edges."""

DOT_ROWS = 8_192
"""Squares are summed by dot products of this many rows; from 10,000 on BLAS may start threads of its own."""

DEVIATION_LIMIT = 1e140
"""What lies further from the center counts in the sums as if it lay there: no sum is ever infinite."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class NumericColumn:
    """One numeric column of a profile.

    Attributes
    ----------
    grid : NumericGrid
    cells : int64 (2k + 1,)
        Rows below the first edge, at it, between it and the second, ..., above the last.
    missing, nonfinite, n : int
        Rows without a value, with an infinite one, with a finite one (the sum of `cells`).
    sum, sum_squares : float
        Of the deviations from `grid.center`, and of their squares.
    minimum, maximum : float
        Of the finite values, NaN when there are none. Labels that were taken back still count here.
    sum_below, sum_above : float
        Sums of the values (not deviations) below the first and above the last edge.
    """

    grid: NumericGrid
    cells: NDArray[np.int64]
    missing: int
    nonfinite: int
    n: int
    sum: float
    sum_squares: float
    minimum: float
    maximum: float
    sum_below: float
    sum_above: float

    @property
    def mean(self) -> float:
        """Mean of the finite values, NaN when there are none."""
        return self.grid.center + self.sum / self.n if self.n > 0 else math.nan

    @property
    def variance(self) -> float:
        """Mean squared deviation from the mean (divided by n), NaN when there are no finite values."""
        if self.n <= 0:
            return math.nan
        shift = self.sum / self.n
        return max(self.sum_squares / self.n - shift * shift, 0.0)

    @property
    def std(self) -> float:
        """Square root of :attr:`variance`."""
        return math.sqrt(self.variance)


def interleaved(at: NDArray[np.int64], between: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts at the k edges and in the k + 1 gaps around them, in the order of the values, (2k + 1,)."""
    cells = np.empty(len(at) + len(between), np.int64)
    cells[0::2] = between
    cells[1::2] = at
    return cells


def read_column(
    grid: NumericGrid, counts: NDArray[np.int64], sums: NDArray[np.float64], minimum: float, maximum: float
) -> NumericColumn:
    """A column from its place in the vectors."""
    k = len(grid.edges)
    cells = interleaved(counts[:k], counts[k : 2 * k + 1])
    total, squares, below, above = sums.tolist()
    return NumericColumn(
        grid=grid,
        cells=cells,
        missing=int(counts[-2]),
        nonfinite=int(counts[-1]),
        n=int(cells.sum()),
        sum=total,
        sum_squares=squares,
        minimum=minimum if minimum <= maximum else math.nan,
        maximum=maximum if minimum <= maximum else math.nan,
        sum_below=below + int(cells[0]) * grid.center,
        sum_above=above + int(cells[-1]) * grid.center,
    )


class Kernel:
    """Counts long columns; one for each thread, because it owns the buffers."""

    def __init__(self, rows: int) -> None:
        self._rows = min(rows, CHUNK_ROWS)
        self._double: NDArray[np.float64] = np.empty(self._rows, np.float64)
        self._single: NDArray[np.float32] | None = None
        self._deviation: NDArray[np.float64] = np.empty(self._rows, np.float64)

    def count(
        self, grid: NumericGrid, values: Floats, counts: NDArray[np.int64], sums: NDArray[np.float64]
    ) -> tuple[float, float]:
        """Add a column's counts and sums into its place in the vectors.

        Parameters
        ----------
        values : float64 or float32 (n,)
            Read as they are, never copied as a whole.
        counts : int64 (2k + 3,)
        sums : float64 (4,)

        Returns
        -------
        minimum, maximum : float
            Of the finite values; inf and -inf when there are none.
        """
        k = len(grid.edges)
        single = values.dtype == np.float32
        lower, upper = grid.single_edges if single else (grid.edges, grid.edges)
        minimum, maximum = math.inf, -math.inf
        at, between = counts[:k], counts[k : 2 * k + 1]
        for start in range(0, len(values), self._rows):
            chunk = self._sorted(values[start : start + self._rows], single=single)
            finite, missing = _finite(chunk)
            counts[-2] += missing
            counts[-1] += len(chunk) - len(finite) - missing
            if not len(finite):
                continue
            left = finite.searchsorted(lower)
            right = _right(finite, left, lower, upper)
            np.add(at, right - left, out=at)
            between[0] += left[0]
            between[1:-1] += left[1:] - right[:-1]
            between[-1] += len(finite) - right[-1]
            minimum = min(minimum, float(finite[0]))
            maximum = max(maximum, float(finite[-1]))
            self._sum(grid.center, finite, int(left[0]), int(right[-1]), sums)
        return minimum, maximum

    def _sorted(self, values: Floats, *, single: bool) -> Floats:
        buffer: Floats = self._double
        if single:
            if self._single is None:
                self._single = np.empty(self._rows, np.float32)
            buffer = self._single
        chunk = buffer[: len(values)]
        np.copyto(chunk, values)
        chunk.sort()
        return chunk

    def _sum(self, center: float, finite: Floats, below: int, above: int, sums: NDArray[np.float64]) -> None:
        deviation = self._deviation[: len(finite)]
        if max(abs(float(finite[0]) - center), abs(float(finite[-1]) - center)) > DEVIATION_LIMIT:
            with np.errstate(over="ignore"):
                np.subtract(finite, center, out=deviation, dtype=np.float64)
            np.clip(deviation, -DEVIATION_LIMIT, DEVIATION_LIMIT, out=deviation)
        else:
            np.subtract(finite, center, out=deviation, dtype=np.float64)
        sums[0] += deviation.sum()
        if below:
            sums[2] += deviation[:below].sum()
        if above < len(finite):
            sums[3] += deviation[above:].sum()
        squares = 0.0
        for start in range(0, len(deviation), DOT_ROWS):
            block = deviation[start : start + DOT_ROWS]
            squares += float(block.dot(block))
        sums[1] += squares


def _finite(chunk: Floats) -> tuple[Floats, int]:
    """The finite values of a sorted chunk (NaN last), and the number of NaN."""
    stop = len(chunk)
    if np.isnan(chunk[-1]):
        stop = int(chunk.searchsorted(np.nan))
    missing = len(chunk) - stop
    start = 0
    if stop and np.isinf(chunk[stop - 1]):
        stop = int(chunk[:stop].searchsorted(np.inf))
    if stop and np.isinf(chunk[0]):
        start = int(chunk[:stop].searchsorted(-np.inf, side="right"))
    return chunk[start:stop], missing


def _right(finite: Floats, left: NDArray[np.intp], lower: Floats, upper: Floats) -> NDArray[np.intp]:
    """How many values are not above each edge; searched only where a value lies at the edge."""
    hit = finite[np.minimum(left, len(finite) - 1)] <= upper
    hit &= left < len(finite)
    right = left
    where = np.flatnonzero(hit & (lower == upper))
    if len(where):
        right = left.copy()
        right[where] = finite.searchsorted(upper[where], side="right")
    return right


class SmallKernel:
    """Counts short columns, all in one matrix.

    Parameters
    ----------
    grids : sequence of NumericGrid
    layout : PartLayout
        Where their cells lie.
    """

    def __init__(self, grids: Sequence[NumericGrid], layout: PartLayout) -> None:
        sizes = np.array([len(grid.edges) for grid in grids])
        self.grids = grids
        self._start = np.array([layout.columns[grid.name].start for grid in grids])[:, None]
        self._sizes = sizes[:, None]
        self._offsets = np.concatenate(([0], np.cumsum(sizes + 1)[:-1]))[:, None]
        self._edges = np.concatenate([np.append(grid.edges, np.nan) for grid in grids])
        self._center = np.array([grid.center for grid in grids])[:, None]
        self._first = np.array([grid.edges[0] for grid in grids])[:, None]
        self._last = np.array([grid.edges[-1] for grid in grids])[:, None]
        self._sums = np.array([layout.column_sums[grid.name] for grid in grids])
        self._extremes = np.array([layout.extremes_of[grid.name] for grid in grids])

    def count(
        self,
        columns: Sequence[Floats],
        counter: Counter,
        sums: NDArray[np.float64],
        extremes: NDArray[np.float64],
    ) -> None:
        """Count columns of equal length n >= 1 and add to the part's sums and extremes.

        Parameters
        ----------
        columns : float64 or float32 arrays (n,), in the order of the grids
        sums : float64 (sums of the part,)
        extremes : float64 (2, numeric columns of the part)
            Minima and maxima.
        """
        matrix = np.array(columns, np.float64)
        matrix.sort(axis=1)  # values in order are found faster; NaN come last
        left = np.array([grid.edges.searchsorted(row) for grid, row in zip(self.grids, matrix, strict=True)])
        at = self._edges[left + self._offsets] == matrix
        cells = self._start + left + np.where(at, 0, self._sizes)
        finite = np.isfinite(matrix)
        low = high = matrix
        if finite.all():
            with np.errstate(over="ignore"):
                deviation = matrix - self._center
        else:
            special = self._start + 2 * self._sizes + np.where(np.isnan(matrix), 1, 2)
            cells = np.where(finite, cells, special)
            low, high = np.where(finite, matrix, np.inf), np.where(finite, matrix, -np.inf)
            with np.errstate(over="ignore"):
                deviation = np.where(finite, matrix, self._center) - self._center
        np.clip(deviation, -DEVIATION_LIMIT, DEVIATION_LIMIT, out=deviation)
        counter.cells(cells.ravel())
        totals = np.zeros((len(self.grids), COLUMN_SUMS))
        totals[:, 0] = deviation.sum(axis=1)
        totals[:, 1] = (deviation * deviation).sum(axis=1)
        totals[:, 2] = deviation.sum(axis=1, where=low < self._first)
        totals[:, 3] = deviation.sum(axis=1, where=high > self._last)
        sums[self._sums[:, None] + np.arange(COLUMN_SUMS)] += totals
        extremes[0, self._extremes] = np.minimum(extremes[0, self._extremes], low.min(axis=1))
        extremes[1, self._extremes] = np.maximum(extremes[1, self._extremes], high.max(axis=1))
