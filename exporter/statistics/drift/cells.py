"""Baseline and current as counts over one set of cells, with rare cells pooled."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.statistics.drift.views import CategoricalView, ColumnView, is_categorical, is_numeric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEAST_EXPECTED = 5.0
"""Cells with fewer rows than this expected in the smaller sample are pooled."""

SMOOTHING = 0.5
"""Added to every cell of both samples by PSI, JS, Hellinger and G."""


@dataclass(frozen=True, eq=False, slots=True)
class PairedCounts:
    """Rows of the two samples in the same cells, each an int64 array (cells,); neither sample is empty."""

    baseline: NDArray[np.int64]
    current: NDArray[np.int64]

    @property
    def inverse_rows(self) -> float:
        """N = 1/n + 1/m, the variance scale of every two-sample statistic."""
        return 1.0 / int(self.baseline.sum()) + 1.0 / int(self.current.sum())

    def smoothed(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of both samples with `SMOOTHING` added to every cell."""
        extra = SMOOTHING * len(self.baseline)
        baseline = (self.baseline + SMOOTHING) / (int(self.baseline.sum()) + extra)
        current = (self.current + SMOOTHING) / (int(self.current.sum()) + extra)
        return np.asarray(baseline, np.float64), np.asarray(current, np.float64)


def paired_counts(baseline: ColumnView, current: ColumnView) -> PairedCounts:
    """Coarse bins of numeric columns, rare ones joined with neighbours; categories, rare ones pooled.

    A category that the grid does not know is a cell of its own, with count 0 in the sample that never saw it.
    """
    if is_numeric(baseline) and is_numeric(current):
        coarse = baseline.grid.coarse
        return joined(coarse.reduce(baseline.cells), coarse.reduce(current.cells))
    if is_categorical(baseline) and is_categorical(current):
        counts = category_counts(baseline, current)
        names = (*baseline.grid.categories, *_novel_names(baseline, current))
        return pooled(counts.baseline, counts.current, names)
    raise TypeError("Expected two numeric or two categorical columns, got one of each.")


def category_counts(baseline: CategoricalView, current: CategoricalView) -> PairedCounts:
    """Every category one by one, none pooled."""
    novel = _novel_names(baseline, current)
    return PairedCounts(_category_counts(baseline, novel), _category_counts(current, novel))


def _novel_names(baseline: CategoricalView, current: CategoricalView) -> list[str]:
    return sorted({*baseline.novel, *current.novel})


def _category_counts(column: CategoricalView, novel: list[str]) -> NDArray[np.int64]:
    extra = [*(column.novel.get(name, 0) for name in novel), column.other]
    return np.concatenate([column.counts, np.asarray(extra, np.int64)])


def pooled(
    baseline: NDArray[np.int64], current: NDArray[np.int64], names: Sequence[str] | None = None
) -> PairedCounts:
    """Pool the cells in which fewer than `LEAST_EXPECTED` rows of the smaller sample are expected.

    The rule looks at both samples together, never at the baseline alone (which raises false alarms to 11 %).
    With `names` (of all cells but the last) rare cells share several cells, each closed as soon as it is
    large enough, in the order of their rows in both samples together and then of a hash: a flood of new
    names gathers, and nothing is ordered by what one sample alone has. What is left over joins them, or
    the smallest cell that is large enough by itself.
    """
    total = baseline + current
    least = LEAST_EXPECTED * int(total.sum()) / min(int(baseline.sum()), int(current.sum()))
    rare = np.flatnonzero(total < least)
    if not len(rare):
        return PairedCounts(baseline, current)
    kept = np.flatnonzero(total >= least)
    if names is None:
        groups = [rare]
    else:
        groups = _groups(rare[np.lexsort((_hashes(rare, names), total[rare]))], total, least)
    if len(kept) and total[groups[-1]].sum() < least:
        groups[-1] = np.append(groups[-1], kept[np.argmin(total[kept])])
        kept = np.delete(kept, np.argmin(total[kept]))
    before = [int(baseline[group].sum()) for group in groups]
    now = [int(current[group].sum()) for group in groups]
    return PairedCounts(np.append(baseline[kept], before), np.append(current[kept], now))


def _hashes(cells: NDArray[np.intp], names: Sequence[str]) -> NDArray[np.int64]:
    last = len(names)
    hashes = (
        zlib.crc32(names[cell].encode("utf-8", "surrogatepass")) if cell < last else -1
        for cell in cells.tolist()
    )
    return np.fromiter(hashes, np.int64, len(cells))


def _groups(rare: NDArray[np.intp], total: NDArray[np.int64], least: float) -> list[NDArray[np.intp]]:
    """Runs of `rare`, each of at least `least` rows but for one that is alone."""
    starts = [0]
    gathered = 0
    for place, rows in enumerate(total[rare].tolist()):
        if gathered >= least:
            starts.append(place)
            gathered = 0
        gathered += rows
    if gathered < least and len(starts) > 1:
        starts.pop()
    return np.split(rare, starts[1:])


def joined(baseline: NDArray[np.int64], current: NDArray[np.int64]) -> PairedCounts:
    """Join bins in order until `LEAST_EXPECTED` rows of the smaller sample are expected in each.

    Bins are cut at the baseline's deciles, so which of them are rare in both together is decided by the
    current rows alone. Pooling the rare ones would gather what is low in the window (at 50 rows: 23 % false
    alarms); a neighbour's rows are not low because its own are. Where only one bin would be left, a frequent
    value between rare ones, the rare ones are pooled.
    """
    total = baseline + current
    n, m = int(baseline.sum()), int(current.sum())
    least = LEAST_EXPECTED * (n + m) / min(n, m)
    if total.min() >= least:
        return PairedCounts(baseline, current)
    groups = _groups(np.arange(len(total)), total, least)
    if len(groups) == 1:
        return pooled(baseline, current)
    starts = [int(group[0]) for group in groups]
    return PairedCounts(np.add.reduceat(baseline, starts), np.add.reduceat(current, starts))
