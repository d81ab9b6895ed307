"""The search for weak segments: losses by the levels of configured columns, and the slices that stand out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter.batch import Outcomes, canonical_text
from exporter.profiles import CategoricalGrid, Grid, NumericGrid
from exporter.schema import Task
from exporter.statistics.slices import SliceSearch, Tables, weak_slices
from exporter.windows import label_watermark

if TYPE_CHECKING:
    from exporter.config import SegmentSearch
    from exporter.service.lane import Lane, VersionState

KIND = "slices"
"""What the names of the totals begin with."""

OTHER, MISSING = "other values", "missing"

LARGEST_LOSS = 1e70


@dataclass(frozen=True, slots=True)
class Axis:
    """How one column is cut: by the values of a category, or at upper edges; then others and missing ones."""

    column: str
    levels: tuple[str, ...]
    cuts: NDArray[np.float64] | None = None

    def codes(self, values: pa.Array | None, rows: int) -> NDArray[np.int64]:
        """The level of each row, (rows,)."""
        missing = len(self.levels) - 1
        if values is None or pa.types.is_null(values.type):
            return np.full(rows, missing, np.int64)
        if self.cuts is not None:
            if not pa.types.is_floating(values.type):
                values = pc.cast(values, pa.float64(), safe=False)
            numbers = np.asarray(values.to_numpy(zero_copy_only=False), np.float64)
            return np.where(np.isnan(numbers), missing, np.searchsorted(self.cuts, numbers))
        encoded = canonical_text(values).dictionary_encode()
        known = {level: code for code, level in enumerate(self.levels[:-2])}
        entries = [known.get(text, missing - 1) for text in encoded.dictionary.to_pylist()]
        places = encoded.indices.fill_null(len(entries)).to_numpy(zero_copy_only=False)
        levels: NDArray[np.int64] = np.array([*entries, missing], np.int64)[places]
        return levels


def axes_of(grid: Grid, search: SegmentSearch) -> tuple[Axis, ...]:
    """How the columns are cut on a grid; columns that are not on it are left out."""
    axes = []
    for name in search.columns:
        column = grid.columns.get(name)
        if isinstance(column, CategoricalGrid):
            axes.append(Axis(name, (*column.categories[: search.values], OTHER, MISSING)))
        elif isinstance(column, NumericGrid):
            cuts = _quintiles(column)
            axes.append(Axis(name, (*_interval_names(cuts), MISSING), cuts))
    return tuple(axes)


def _quintiles(column: NumericGrid) -> NDArray[np.float64]:
    """Upper edges at the baseline's quintiles, as its deciles and atoms allow; the last one is open."""
    upper = np.asarray(column.coarse.upper, np.float64)[:-1]
    if upper.size <= 4:
        return upper
    bins = upper.size + 1
    cuts: NDArray[np.float64] = upper[np.unique(np.round(np.arange(1, 5) * bins / 5).astype(int) - 1)]
    return cuts


def _interval_names(cuts: NDArray[np.float64]) -> list[str]:
    edges = [f"{edge:g}" for edge in cuts]
    if not edges:
        return ["any value"]
    between = [f"({low}, {high}]" for low, high in pairwise(edges)]
    return [f"<= {edges[0]}", *between, f"> {edges[-1]}"]


class SliceMeter:
    """Rows, losses and squared losses of labelled rows, by the levels of each pair of columns or of each."""

    def __init__(self, axes: tuple[Axis, ...], search: SegmentSearch) -> None:
        self.axes = axes
        depth = min(search.depth, len(axes))
        self._groups = list(combinations(range(len(axes)), depth)) if axes else []
        self._values = str(search.values)

    @property
    def sizes(self) -> dict[tuple[str, ...], int]:
        """Elements of each vector, by its name."""
        return {
            self.key(*(self.axes[place].column for place in group)): 3
            * math.prod(len(self.axes[place].levels) for place in group)
            for group in self._groups
        }

    def key(self, *columns: str) -> tuple[str, ...]:
        return (KIND, self._values, *columns)

    def __call__(self, outcomes: Outcomes) -> Mapping[tuple[str, ...], NDArray[np.float64]]:
        rows = len(outcomes.prediction)
        loss = losses(outcomes)
        known = np.isfinite(loss)
        loss = np.where(known, np.minimum(loss, LARGEST_LOSS), 0.0)
        weights = (known.astype(np.float64), loss, loss * loss)
        codes = [axis.codes(outcomes.kept.get(axis.column), rows) for axis in self.axes]
        totals: dict[tuple[str, ...], NDArray[np.float64]] = {}
        for group in self._groups:
            cell = codes[group[0]]
            size = len(self.axes[group[0]].levels)
            for place in group[1:]:
                cell = cell * len(self.axes[place].levels) + codes[place]
                size *= len(self.axes[place].levels)
            sums = np.column_stack([np.bincount(cell, weight, size) for weight in weights])
            totals[self.key(*(self.axes[place].column for place in group))] = sums.astype(np.float64).ravel()
        return totals

    def tables(self, totals: Mapping[tuple[str, ...], NDArray[np.float64]]) -> Tables:
        """The vectors of these columns as tables; those of another length are left out."""
        tables = {}
        for group in self._groups:
            axes = [self.axes[place] for place in group]
            shape = (*(len(axis.levels) for axis in axes), 3)
            vector = totals.get(self.key(*(axis.column for axis in axes)))
            if vector is not None and vector.size == np.prod(shape):
                tables[tuple(axis.column for axis in axes)] = vector.reshape(shape)
        return tables

    def search(
        self, totals: Mapping[tuple[str, ...], Any], baseline: Mapping[tuple[str, ...], Any], **options: Any
    ) -> SliceSearch:
        """The weak slices of a profile's totals; see :func:`exporter.statistics.slices.weak_slices`."""
        levels = {axis.column: axis.levels for axis in self.axes}
        return weak_slices(self.tables(totals), levels, baseline=self.tables(baseline), **options)


def losses(outcomes: Outcomes) -> NDArray[np.float64]:
    """0 or 1 for classes, the absolute error for numbers; NaN where there is none."""
    prediction, label = outcomes.prediction, outcomes.label
    if outcomes.task is Task.MULTICLASS:
        same = pc.equal(prediction.dictionary_decode(), label.dictionary_decode())  # type: ignore[union-attr]
        return 1.0 - np.asarray(same.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    if outcomes.task is Task.BINARY:
        return np.asarray(prediction != label, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.abs(np.asarray(prediction, np.float64) - np.asarray(label, np.float64))


def slice_meter(lane: Lane, grid: Grid | None) -> SliceMeter | None:
    """The meter of a model's search on a grid, made once; None where no search is configured."""
    search = lane.config.segment_search
    if search is None or grid is None:
        return None
    known = lane.slice_meters.get(grid.id)
    if known is None:
        known = lane.slice_meters[grid.id] = SliceMeter(axes_of(grid, search), search)
    return known


def search_window(lane: Lane, state: VersionState, window: str) -> SliceSearch | None:
    """Weak segments of a version's newest labelled window; None where no search is configured."""
    with lane.lock:
        search, meter = lane.config.segment_search, slice_meter(lane, lane.grid)
        if search is None or meter is None or state.whole is None or state.watermark is None:
            return None
        until = label_watermark(
            state.whole.coverage(),
            lane.config.min_label_coverage,
            horizon_start=state.watermark - lane.config.label_horizon,
        )
        if until is None:
            return SliceSearch(reason="insufficient_labels")
        _, pieces = state.whole.pieces(window, until, "outcomes")
        active = lane.active_baseline(state.name)
        usable = active is not None and lane.grid is not None and active.grid_id == lane.grid.id
        baseline = lane.baseline_profile(active) if active is not None and usable else None
    totals = pieces.merged().outcomes.totals
    before = {} if baseline is None else baseline.outcomes.totals
    return meter.search(
        totals, before, minimum_rows=search.minimum_rows, binary=lane.schema.task is not Task.REGRESSION
    )
