"""Where each cell of a profile lies in its flat vectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exporter.profiles.delays import CELLS as DELAY_CELLS
from exporter.profiles.ranking import GROUP_COUNTS, RANKING_SUMS
from exporter.schema import Role, Task

if TYPE_CHECKING:
    from exporter.profiles.grid import ColumnGrid, Grid

COLUMN_SUMS = 4
"""Sums of a numeric column: deviations from the center, their squares, those below and above the edges."""

ERROR_FIRST, ERROR_DECADES, ERROR_PER_DECADE = 1e-6, 12, 100
ERROR_CELLS = ERROR_DECADES * ERROR_PER_DECADE + 2
"""Cells of an absolute error: at most 1e-6 of the target's scale, twelve decades, and beyond."""

LOSS_SUMS = 4
"""Log loss, its square, Brier score, its square."""

MOMENTS = 8
MOMENT_SUMS = MOMENTS * (MOMENTS + 1) // 2
"""The upper triangle of the sum of v v^T."""


@dataclass(slots=True)
class PartLayout:
    """One part's vectors: `size` counts, `sums` sums, `extremes` pairs of minimum and maximum.

    Attributes
    ----------
    columns : Mapping[str, slice]
        The counts of each column. Numeric: k cells at edges, k + 1 cells between them, missing, not finite.
        Categorical: categories, all others, missing.
    column_sums : Mapping[str, int]
        First of the four sums of each numeric column.
    extremes_of : Mapping[str, int]
        Place of each numeric column's minimum and maximum.
    blocks : Mapping[str, slice]
        Counts that belong to no column.
    sum_blocks : Mapping[str, slice]
        Sums that belong to no column.
    categorical : tuple of str
        Columns that may have new categories.
    """

    size: int = 0
    sums: int = 0
    extremes: int = 0
    columns: dict[str, slice] = field(default_factory=dict)
    column_sums: dict[str, int] = field(default_factory=dict)
    extremes_of: dict[str, int] = field(default_factory=dict)
    blocks: dict[str, slice] = field(default_factory=dict)
    sum_blocks: dict[str, slice] = field(default_factory=dict)
    categorical: tuple[str, ...] = ()

    def add_column(self, column: ColumnGrid) -> None:
        if column.numeric:
            self.column_sums[column.name] = self.sums
            self.extremes_of[column.name] = self.extremes
            self.sums += COLUMN_SUMS
            self.extremes += 1
        else:
            self.categorical = (*self.categorical, column.name)
        cells = column.width
        self.columns[column.name] = slice(self.size, self.size + cells)
        self.size += cells

    def add_block(self, name: str, cells: int) -> None:
        self.blocks[name] = slice(self.size, self.size + cells)
        self.size += cells

    def add_sums(self, name: str, count: int) -> None:
        self.sum_blocks[name] = slice(self.sums, self.sums + count)
        self.sums += count


@dataclass(frozen=True, slots=True)
class Layout:
    """Both parts of a profile.

    `features` is known when a prediction arrives; `outcomes` when its label does, and scores by prediction
    over all rows beside it.
    """

    features: PartLayout
    outcomes: PartLayout

    @property
    def cells(self) -> int:
        """Counts and sums of both parts; each takes 8 bytes."""
        return sum(part.size + part.sums for part in (self.features, self.outcomes))

    @classmethod
    def of(cls, grid: Grid) -> Layout:
        features, outcomes = PartLayout(), PartLayout()
        for column in grid.columns.values():
            (outcomes if column.role is Role.LABEL else features).add_column(column)
        features.add_block("event_delay", DELAY_CELLS)
        outcomes.add_block("label_delay", DELAY_CELLS)
        _add_outcome(outcomes, grid)
        return cls(features, outcomes)


def _add_outcome(part: PartLayout, grid: Grid) -> None:
    scores = 1 if grid.score is None else grid.score.cells
    classes = len(grid.classes)
    if grid.schema.task is Task.BINARY:
        part.add_block("all_rows", 2 * scores)
        part.add_block("labelled", 4 * scores)
        part.add_block("scored", 1)
        part.add_sums("loss", LOSS_SUMS)
    elif grid.schema.task is Task.MULTICLASS:
        part.add_block("predicted_all", classes)
        part.add_block("confusion", classes * classes)
        part.add_block("class_scores", 0 if grid.score is None else 2 * classes * scores)
        part.add_block("scored", 1)
        part.add_sums("loss", LOSS_SUMS)
    elif grid.schema.task is Task.RANKING:
        part.add_block("predicted_rows", 1)
        part.add_block("labelled_rows", 1)
        part.add_block("groups", GROUP_COUNTS)
        part.add_sums("ranking", RANKING_SUMS)
    else:
        part.add_block("predicted_rows", 1)
        part.add_block("labelled_rows", 1)
        part.add_block("ape_rows", 1)
        part.add_block("abs_error", ERROR_CELLS)
        part.add_sums("moments", MOMENT_SUMS)
