"""Profiles: what a set of rows adds up to, and the law that they merge by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.errors import ConflictError, UnreadableError
from exporter.profiles import categorical, numeric
from exporter.profiles.arrival import bound_undeclared
from exporter.profiles.categorical import CategoricalColumn, Novel, add_novel
from exporter.profiles.delays import DelayHistogram, delay_edges
from exporter.profiles.grid import CategoricalGrid, NumericGrid
from exporter.profiles.multivariate import MULTIVARIATE, EmbeddingSums, MultivariateSums, embedding_key
from exporter.profiles.multivariate.column import EmbeddingColumn
from exporter.profiles.numeric import NumericColumn
from exporter.profiles.outcome import (
    BinaryOutcome,
    MulticlassOutcome,
    Outcome,
    RegressionOutcome,
    abs_error_edges,
    full_moments,
    loss_fields,
)
from exporter.profiles.ranking import RankingOutcome
from exporter.profiles.vectors import Counts
from exporter.schema import Kind, Role, ScoreKind, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from exporter.profiles.grid import ColumnGrid, Grid
    from exporter.profiles.layout import PartLayout
    from exporter.profiles.multivariate import EmbeddingGrid

Tallies = dict[tuple[str, ...], int]
"""Additive small counts that lie on no grid, such as ``("rejected", reason)``."""


Totals = dict[tuple[str, ...], "NDArray[np.float64]"]
"""Additive float vectors that lie on no grid, such as ``("custom", metric)``; one name, one length."""


MOST_READ = 1_000
"""Columns that a profile keeps ready once they were read; one takes up to 16 kB."""


class Part:
    """One part's vectors: counts, sums, extremes, new categories by column, and totals by name."""

    __slots__ = ("changes", "counts", "extremes", "layout", "novel", "sums", "totals")

    def __init__(
        self,
        layout: PartLayout,
        counts: Counts | None = None,
        sums: NDArray[np.float64] | None = None,
        extremes: NDArray[np.float64] | None = None,
        novel: dict[str, Novel] | None = None,
        *,
        totals: Totals | None = None,
    ) -> None:
        self.layout = layout
        self.counts = Counts(layout.size) if counts is None else counts
        self.sums = np.zeros(layout.sums) if sums is None else sums
        self.extremes = no_extremes(layout.extremes) if extremes is None else extremes
        self.novel: dict[str, Novel] = {} if novel is None else novel
        self.totals: Totals = {} if totals is None else totals
        self.changes = 0

    def add(self, other: Part, cap: int, key: str) -> None:
        self.add_totals(other.totals)
        if other.counts.is_empty:
            return
        self.counts.add(other.counts)
        self.sums += other.sums
        np.minimum(self.extremes[0], other.extremes[0], out=self.extremes[0])
        np.maximum(self.extremes[1], other.extremes[1], out=self.extremes[1])
        for name, novel in other.novel.items():
            self.novel[name] = add_novel(self.novel.get(name, {}), novel, cap, key)

    def add_totals(self, totals: Mapping[tuple[str, ...], NDArray[np.float64]]) -> None:
        """Add vectors to those of the same names; UnreadableError when one has another length."""
        self.changes += 1
        for name, vector in totals.items():
            known = self.totals.get(name)
            if known is not None and len(known) != len(vector):
                raise UnreadableError(f"totals {name} should have {len(known)} elements, got {len(vector)}")
            self.totals[name] = vector if known is None else known + vector

    def copy(self) -> Part:
        novel = {name: dict(names) for name, names in self.novel.items()}
        extremes, totals = self.extremes.copy(), dict(self.totals)
        return Part(self.layout, self.counts.copy(), self.sums.copy(), extremes, novel, totals=totals)


def no_extremes(columns: int) -> NDArray[np.float64]:
    """Minima and maxima of nothing, (2, columns)."""
    extremes = np.empty((2, columns))
    extremes[0], extremes[1] = np.inf, -np.inf
    return extremes


def _is_finite(vector: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(vector).all())


class Profile:
    """The sufficient statistics of a set of rows on one grid.

    ``profile(a + b) == profile(a).merge(profile(b))`` in any order: counts exactly, sums to rounding. Counts
    and sums may be negative: adding a profile made with ``sign=-1`` takes labels back (extremes stay).

    Attributes
    ----------
    grid : Grid
    rows : int
        Predictions that were profiled.
    labeled_rows : int
        Labels that were profiled.
    features, outcomes : Part
        What is known when the prediction arrives, and what is known with its label.
    tallies : dict of tuple of str to int
        ``("invalid", column)``, ``("rule", column, rule, "passed" | "checked")``,
        ``("consistency", rule, "passed" | "checked")``, ``("timely",)``, ``("duplicate",)``,
        ``("repeated",)``, ``("received",)``, ``("rejected", reason)``, ``("absent", column)``,
        ``("undeclared", column)``, ``("type", column, type)``, ``("behind", buckets)``.
    """

    __slots__ = ("_read", "_together", "features", "grid", "labeled_rows", "outcomes", "rows", "tallies")

    def __init__(
        self,
        grid: Grid,
        *,
        rows: int = 0,
        labeled_rows: int = 0,
        features: Part | None = None,
        outcomes: Part | None = None,
        tallies: Tallies | None = None,
    ) -> None:
        self.grid = grid
        self.rows = rows
        self.labeled_rows = labeled_rows
        self.features = Part(grid.layout.features) if features is None else features
        self.outcomes = Part(grid.layout.outcomes) if outcomes is None else outcomes
        self.tallies: Tallies = {} if tallies is None else tallies
        self._read: dict[str, tuple[Part, int, NumericColumn | CategoricalColumn]] = {}
        """Columns with the part that they were read of, and its changes until then."""
        self._together: tuple[Part, int, MultivariateSums] | None = None

    @classmethod
    def empty(cls, grid: Grid) -> Profile:
        """The profile of no rows."""
        return cls(grid)

    def add(self, other: Profile) -> None:
        """Merge `other` into this profile.

        Raises
        ------
        ConflictError
            When it was made on another grid.
        """
        if other.grid.id != self.grid.id:
            raise ConflictError(
                f"profiles merge on one grid: expected {self.grid.id}, got {other.grid.id}", code="stale_grid"
            )
        self.rows += other.rows
        self.labeled_rows += other.labeled_rows
        cap, key = self.grid.novel_cap, self.grid.hash_key
        self.features.add(other.features, cap, key)
        self.outcomes.add(other.outcomes, cap, key)
        for name, count in other.tallies.items():
            self.tallies[name] = self.tallies.get(name, 0) + count
        bound_undeclared(self.tallies)

    def merge(self, other: Profile) -> Profile:
        """Both together, as a new profile."""
        merged = self.copy()
        merged.add(other)
        return merged

    __add__ = merge

    def copy(self) -> Profile:
        return Profile(
            self.grid,
            rows=self.rows,
            labeled_rows=self.labeled_rows,
            features=self.features.copy(),
            outcomes=self.outcomes.copy(),
            tallies=dict(self.tallies),
        )

    def column(self, name: str) -> NumericColumn | CategoricalColumn:
        """What is known of one column, do not write to it; KeyError when the grid has none of that name.

        The same object until rows are added: drift and quality ask for each more than once, and for the
        baseline's in every evaluation.
        """
        grid = self.grid.columns[name]
        part = self.outcomes if grid.role is Role.LABEL else self.features
        known = self._read.get(name)
        if known is not None and known[0] is part and known[1] == part.changes:
            return known[2]
        column = self._column(name, grid, part)
        if known is not None or len(self._read) < MOST_READ:
            self._read[name] = (part, part.changes, column)
        return column

    def _column(self, name: str, grid: ColumnGrid, part: Part) -> NumericColumn | CategoricalColumn:
        counts = part.counts.block(part.layout.columns[name])
        if isinstance(grid, CategoricalGrid):
            novel = part.novel.get(name, {})
            return categorical.read_column(grid, counts, novel, self.grid.novel_cap, self.grid.hash_key)
        first = part.layout.column_sums[name]
        minimum, maximum = part.extremes[:, part.layout.extremes_of[name]].tolist()
        column = numeric.read_column(grid, counts, part.sums[first : first + 4], minimum, maximum)
        if grid.kind is not Kind.EMBEDDING:
            return column
        return self._embedding(column, self.grid.embeddings.get(name))

    def _embedding(self, column: NumericColumn, vectors: EmbeddingGrid | None) -> EmbeddingColumn:
        totals = self.features.totals.get(embedding_key(column.grid.name))
        if vectors is None or totals is None or len(totals) != vectors.sums:
            return EmbeddingColumn.of(column, None)
        return EmbeddingColumn.of(column, EmbeddingSums(vectors, totals))

    def numeric(self, name: str) -> NumericColumn:
        """A numeric, datetime or embedding column; TypeError for a categorical one."""
        column = self.column(name)
        if not isinstance(column, NumericColumn):
            raise TypeError(f"{name!r} is categorical")
        return column

    def categorical(self, name: str) -> CategoricalColumn:
        """A categorical or boolean column; TypeError for a numeric one."""
        column = self.column(name)
        if not isinstance(column, CategoricalColumn):
            raise TypeError(f"{name!r} is numeric")
        return column

    def multivariate(self) -> MultivariateSums | None:
        """What the rows add up to together; None where they were not measured so.

        The same object until rows are added, with what was computed of it.
        """
        part, known = self.features, self._together
        if known is not None and known[0] is part and known[1] == part.changes:
            return known[2]
        grid, totals = self.grid.multivariate, self.features.totals.get(MULTIVARIATE)
        if grid is None or totals is None or len(totals) != grid.size:
            return None
        columns = self.features.layout.columns
        counts = [self.features.counts.block(columns[name])[-2:] for name in grid.numeric]
        sums = MultivariateSums(grid, totals, np.array([block.sum() for block in counts]))
        self._together = part, part.changes, sums
        return sums

    def coarse_counts(self, name: str) -> NDArray[np.int64]:
        """Rows with a (finite) value by coarse bin of ``grid.columns[name].coarse``, (bins,)."""
        grid = self.grid.columns[name]
        part = self.outcomes if grid.role is Role.LABEL else self.features
        counts = part.counts.block(part.layout.columns[name])
        if isinstance(grid, NumericGrid):
            k = len(grid.edges)
            return grid.coarse.reduce(numeric.interleaved(counts[:k], counts[k : 2 * k + 1]))
        return grid.coarse.reduce(counts[:-1])

    def event_delay(self) -> DelayHistogram:
        """Arrival minus event time."""
        return DelayHistogram(self._block(self.features, "event_delay"), delay_edges())

    def label_delay(self) -> DelayHistogram:
        """Arrival of the label minus event time."""
        return DelayHistogram(self._block(self.outcomes, "label_delay"), delay_edges())

    def outcome(self) -> Outcome:
        """What predictions and labels add up to, by the schema's task."""
        match self.grid.schema.task:
            case Task.BINARY:
                return self._binary()
            case Task.MULTICLASS:
                return self._multiclass()
            case Task.RANKING:
                return self._ranking()
            case _:
                return self._regression()

    def verify(self) -> None:
        """Raise UnreadableError unless this can be the profile of some rows; for profiles that others made.

        No count may be negative, every feature column must speak of all rows, and sums and extremes must fit.
        """
        for part in (self.features, self.outcomes):
            _, values = part.counts.nonzero()
            extremes = part.extremes
            floats = (part.sums, *part.totals.values())
            if (values < 0).any() or not all(map(_is_finite, floats)) or np.isnan(extremes).any():
                raise UnreadableError("a profile's counts are not negative and its sums are finite")
            for name in part.layout.categorical:
                known = sum(part.novel.get(name, {}).values())
                if min(part.novel.get(name, {"": 0}).values(), default=0) < 0 or known > int(
                    part.counts.block(part.layout.columns[name])[-2]
                ):
                    raise UnreadableError(f"the new categories of {name!r} are more than its other rows")
        for name, where in self.features.layout.columns.items():
            if int(self.features.counts.block(where).sum()) != self.rows:
                raise UnreadableError(f"column {name!r} does not speak of the profile's {self.rows} rows")
        self._verify_totals()
        if self.rows < 0 or self.labeled_rows < 0 or min(self.tallies.values(), default=0) < 0:
            raise UnreadableError("a profile's rows are not negative")

    def _verify_totals(self) -> None:
        """Raise UnreadableError when what was counted of rows together is not of this grid."""
        sizes = {embedding_key(name): grid.sums for name, grid in self.grid.embeddings.items()}
        if self.grid.multivariate is not None:
            sizes[MULTIVARIATE] = self.grid.multivariate.size
        for key, size in sizes.items():
            vector = self.features.totals.get(key)
            if vector is not None and (len(vector) != size or not 0 <= vector[0] <= self.rows):
                raise UnreadableError(f"the totals {key} do not fit the grid")

    @staticmethod
    def _block(part: Part, name: str) -> NDArray[np.int64]:
        return part.counts.block(part.layout.blocks[name])

    def _one(self, name: str) -> int:
        return int(self._block(self.outcomes, name)[0])

    def _sums(self, name: str) -> NDArray[np.float64]:
        return self.outcomes.sums[self.outcomes.layout.sum_blocks[name]]

    def _binary(self) -> BinaryOutcome:
        score = self.grid.score
        return BinaryOutcome(
            **loss_fields(self._one("scored"), self._sums("loss")),
            all_rows=self._block(self.outcomes, "all_rows").reshape(2, -1),
            labelled=self._block(self.outcomes, "labelled").reshape(2, 2, -1),
            score_values=np.array([np.nan]) if score is None else score.values,
            atomic=np.zeros(1, bool) if score is None else score.atomic,
            score_kind=ScoreKind.PROBABILITY if score is None else score.kind,
        )

    def _multiclass(self) -> MulticlassOutcome:
        score, count = self.grid.score, len(self.grid.classes)
        scores = None if score is None else self._block(self.outcomes, "class_scores").reshape(count, 2, -1)
        return MulticlassOutcome(
            **loss_fields(self._one("scored"), self._sums("loss")),
            classes=self.grid.classes,
            confusion=self._block(self.outcomes, "confusion").reshape(count, count),
            predicted_all=self._block(self.outcomes, "predicted_all"),
            scores=scores,
            score_values=None if score is None else score.values,
            score_kind=ScoreKind.PROBABILITY if score is None else score.kind,
        )

    def _ranking(self) -> RankingOutcome:
        groups, ranked, incomplete, irrelevant = self._block(self.outcomes, "groups").tolist()
        sums, squares = self._sums("ranking").reshape(2, -1)
        return RankingOutcome(
            k=self.grid.schema.ranking_k,
            rows=self._one("predicted_rows"),
            labelled_rows=self._one("labelled_rows"),
            groups=groups,
            ranked=ranked,
            incomplete=incomplete,
            irrelevant=irrelevant,
            sums=sums,
            squares=squares,
        )

    def _regression(self) -> RegressionOutcome:
        return RegressionOutcome(
            n=self._one("labelled_rows"),
            moments=full_moments(self._sums("moments")),
            ape_rows=self._one("ape_rows"),
            abs_error_cells=self._block(self.outcomes, "abs_error"),
            abs_error_edges=abs_error_edges(self.grid.target_scale),
            rows=self._one("predicted_rows"),
            target_center=self.grid.target_center,
            target_scale=self.grid.target_scale,
        )
