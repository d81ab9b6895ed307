"""Integer vectors that are mostly zero until they are not: the cells of a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Integers = NDArray[np.integer[Any]]

DENSE_SHARE = 16
"""A vector of which more than one cell in this many is not zero is kept dense."""


class Counts:
    """A vector of `size` integer cells, sparse or dense; adding is all that is done to it.

    Parameters
    ----------
    size : int
    dense : integer array (size,), optional
        Any integer width; taken over, not copied.
    index, value : int64 arrays (nonzero,), optional
        Ascending, distinct cells and their counts; used when `dense` is not given.
    """

    __slots__ = ("_dense", "_index", "_value", "size")

    def __init__(
        self,
        size: int,
        *,
        dense: Integers | None = None,
        index: NDArray[np.int64] | None = None,
        value: NDArray[np.int64] | None = None,
    ) -> None:
        self.size = size
        self._dense = dense
        self._index = np.empty(0, np.int64) if index is None else index
        self._value = np.empty(0, np.int64) if value is None else value

    @property
    def is_dense(self) -> bool:
        return self._dense is not None

    @property
    def is_empty(self) -> bool:
        """True when no cell was ever counted in; a dense vector is not looked through."""
        return self._dense is None and not len(self._index)

    def nonzero(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ascending cells that are not zero, and their counts; both int64."""
        if self._dense is not None:
            index = np.flatnonzero(self._dense)
            return index, self._dense[index].astype(np.int64)
        keep = self._value != 0
        return (self._index, self._value) if keep.all() else (self._index[keep], self._value[keep])

    def dense(self) -> Integers:
        """All cells, (size,); read it, do not write to it."""
        if self._dense is not None:
            return self._dense
        cells = np.zeros(self.size, np.int64)
        cells[self._index] = self._value
        return cells

    def block(self, where: slice) -> NDArray[np.int64]:
        """A copy of the cells in `where`, int64."""
        if self._dense is not None:
            return self._dense[where].astype(np.int64)
        cells = np.zeros(where.stop - where.start, np.int64)
        first, last = np.searchsorted(self._index, (where.start, where.stop))
        cells[self._index[first:last] - where.start] = self._value[first:last]
        return cells

    def copy(self) -> Counts:
        if self._dense is not None:
            return Counts(self.size, dense=self._dense.astype(np.int64))
        return Counts(self.size, index=self._index, value=self._value)

    def add(self, other: Counts) -> None:
        """Add `other` into this vector."""
        if other.is_empty:
            return
        if self._dense is None:
            if other._dense is None:
                self._add_sparse(other)
                return
            self._widen()
        cells = self._widen()
        if other._dense is not None:
            np.add(cells, other._dense, out=cells, casting="unsafe")
        else:
            cells[other._index] += other._value

    def _add_sparse(self, other: Counts) -> None:
        if len(self._index) + len(other._index) > self.size // DENSE_SHARE:
            cells = self._widen()
            cells[other._index] += other._value
        elif not len(self._index):
            self._index, self._value = other._index, other._value
        else:
            index = np.concatenate((self._index, other._index))
            order = np.argsort(index, kind="stable")
            index = index[order]
            value = np.concatenate((self._value, other._value))[order]
            starts = np.flatnonzero(np.concatenate(([True], index[1:] != index[:-1])))
            self._index, self._value = index[starts], np.add.reduceat(value, starts)

    def _widen(self) -> NDArray[np.int64]:
        """Make this vector dense int64 and its own."""
        cells: NDArray[np.int64]
        if self._dense is None:
            cells = np.zeros(self.size, np.int64)
            cells[self._index] = self._value
            self._index = self._value = np.empty(0, np.int64)
            self._dense = cells
        elif self._dense.dtype != np.int64 or not self._dense.flags.writeable:
            self._dense = self._dense.astype(np.int64)
        return self._dense  # type: ignore[return-value]  # int64 by the lines above


class Counter:
    """Collects counts while rows are profiled: single cells of small batches, blocks of large ones."""

    __slots__ = ("_blocks", "_cells", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._cells: list[NDArray[np.int64]] = []
        self._blocks: list[tuple[int, Integers]] = []

    def cells(self, cells: NDArray[np.int64]) -> None:
        """Count one in each of `cells`; a cell may be named more than once."""
        self._cells.append(cells)

    def block(self, start: int, counts: Integers | Sequence[int]) -> None:
        """Add `counts` to the cells from `start` on."""
        self._blocks.append((start, np.asarray(counts, np.int64)))

    def total(self, sign: int = 1) -> Counts:
        """What was counted, times `sign`."""
        cells = np.concatenate(self._cells) if self._cells else np.empty(0, np.int64)
        blocks = self._blocks
        if len(cells) + sum(len(block) for _, block in blocks) <= self.size // DENSE_SHARE:
            return self._sparse(cells, sign)
        dense = np.bincount(cells, minlength=self.size).astype(np.int64, copy=False)
        for start, block in blocks:
            dense[start : start + len(block)] += block
        return Counts(self.size, dense=dense if sign == 1 else -dense)

    def _sparse(self, cells: NDArray[np.int64], sign: int) -> Counts:
        counts = Counts(self.size)
        if len(cells):
            cells = np.sort(cells)
            starts = np.flatnonzero(np.concatenate(([True], cells[1:] != cells[:-1])))
            value = np.diff(starts, append=len(cells))
            counts = Counts(self.size, index=cells[starts], value=value if sign == 1 else -value)
        if self._blocks:
            index = np.concatenate([np.arange(start, start + len(block)) for start, block in self._blocks])
            value = np.concatenate([block for _, block in self._blocks])
            kept = np.flatnonzero(value)
            order = kept[np.argsort(index[kept], kind="stable")]
            counts.add(_summed(self.size, index[order], value[order] if sign == 1 else -value[order]))
        return counts


def _summed(size: int, index: NDArray[np.int64], value: NDArray[np.int64]) -> Counts:
    """Ascending cells, some of them more than once, with what is to be added up in them."""
    if not len(index):
        return Counts(size)
    starts = np.flatnonzero(np.concatenate(([True], index[1:] != index[:-1])))
    return Counts(size, index=index[starts], value=np.add.reduceat(value, starts))
