"""Numbers to normal-score levels, by a fixed table that needs no search.

A value's deviation from the column's center, as a float32, is cut to its upper 16 bits: sign, exponent and
seven bits of mantissa. Each of these 65,536 cells (0.8 % of the deviation wide) has a level: eight times the
normal score of the baseline's middle rank in it, clipped at three standard deviations. So any shape of a
column costs the same, and a level depends on nothing but the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

CELLS = 1 << 16

LEVELS_PER_DEVIATION = 8
"""Levels in one standard deviation of the normal scores."""

TOP_LEVEL = 24
"""The levels are -TOP_LEVEL ... TOP_LEVEL; 0 stands for a missing value too."""

BOUNDS = special.ndtr((np.arange(1 - TOP_LEVEL, TOP_LEVEL + 1) - 0.5) / LEVELS_PER_DEVIATION)
"""A middle rank of at least ``BOUNDS[i]`` of the rows has level ``i + 1 - TOP_LEVEL``, (48,)."""

FAR_FEWER = 0.7
"""Another center than the median is taken when pairs of rows in one cell become fewer than this share."""

_INFINITE = 0x7F80
_SIGN = 0x8000
_BITS = np.arange(CELLS)
_ORDER = np.where(_BITS < _SIGN, _SIGN + _BITS, _SIGN - (_BITS & 0x7FFF))
"""The place of each cell among the values, from -infinity up; both zeros share one."""


@dataclass(frozen=True, eq=False)
class LevelTable:
    """The tables of d columns.

    Attributes
    ----------
    centers : float64 (d,)
        The baseline's median, minimum or maximum.
    thresholds : uint32 (d, 48)
        Ascending; a cell's level is -24 plus the number of thresholds that its place reaches.
    """

    centers: NDArray[np.float64]
    thresholds: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.centers)

    @cached_property
    def table(self) -> NDArray[np.int8]:
        """The level of each cell of each column, one after the other, (d * 65,536,)."""
        table = np.empty((len(self), CELLS), np.int8)
        places = np.arange(CELLS)
        nothing = (_BITS & 0x7FFF) > _INFINITE
        for row, thresholds in zip(table, self.thresholds, strict=True):
            row[:] = (np.searchsorted(thresholds, places, side="right") - TOP_LEVEL)[_ORDER]
            row[nothing] = 0
        return table.ravel()

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each column's table starts, (d, 1)."""
        return (np.arange(len(self), dtype=np.int64) * CELLS)[:, None]


class LevelBuffers:
    """What looking up the levels of `columns` columns of `rows` rows needs."""

    def __init__(self, columns: int, rows: int) -> None:
        self.deviation = np.empty((columns, rows), np.float64)
        self.single = np.empty((columns, rows), np.float32)
        self.bits = np.empty((columns, rows), np.uint32)
        self.index = np.empty((columns, rows), np.intp)
        self.level = np.empty((columns, rows), np.int8)

    def look_up(self, table: LevelTable, columns: Sequence[Floats | None], start: int) -> NDArray[np.int8]:
        """The levels of the rows from `start` on, (columns, rows); None is a column without values."""
        stop = start + self.single.shape[1]
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for row, center, values in zip(self.deviation, table.centers, columns, strict=True):
                if values is None:
                    row.fill(np.nan)
                else:
                    np.subtract(values[start:stop], center, out=row, dtype=np.float64)
            np.copyto(self.single, self.deviation, casting="same_kind")
        np.right_shift(self.single.view(np.uint32), 16, out=self.bits)
        np.add(self.bits, table.offsets, out=self.index, casting="unsafe")
        np.take(table.table, self.index, out=self.level, mode="clip")
        return self.level


def fit_levels(columns: Sequence[Floats | None]) -> LevelTable:
    """The tables of columns from the baseline's rows; a column without a finite value has level 0 only."""
    centers = np.zeros(len(columns))
    thresholds = np.zeros((len(columns), len(BOUNDS)), np.uint32)
    thresholds[:, TOP_LEVEL:] = CELLS
    for place, values in enumerate(columns):
        if values is None:
            continue
        finite = values[np.isfinite(values)].astype(np.float64)
        if not len(finite):
            continue
        centers[place], counts = _finest(finite)
        middle = (np.cumsum(counts) - counts / 2) / len(finite)
        thresholds[place] = np.searchsorted(middle, BOUNDS)
    return LevelTable(centers, thresholds)


def _finest(finite: Floats) -> tuple[float, NDArray[np.int64]]:
    """The center whose cells tell the values apart best, and the rows by cell in the order of the values.

    The median, unless cells that are finest near an end have far fewer rows in common: values that all lie
    on one side of 0, over many decades.
    """
    median = float(np.partition(finite, (len(finite) - 1) // 2)[(len(finite) - 1) // 2])
    center, counts = median, _by_cell(finite, median)
    together = float(counts.dot(counts))
    for end in (float(finite.min()), float(finite.max())):
        found = _by_cell(finite, end)
        if float(found.dot(found)) < FAR_FEWER * together:
            center, counts, together = end, found, float(found.dot(found))
    return center, counts


def _by_cell(finite: Floats, center: float) -> NDArray[np.int64]:
    with np.errstate(over="ignore", under="ignore"):
        single = (finite - center).astype(np.float32)
    return np.bincount(_ORDER[single.view(np.uint32) >> 16], minlength=CELLS + 1)
