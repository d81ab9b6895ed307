"""About ten bins a column: what PSI, chi-square and the per-bin counters look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ATOM_MASS = 1 / 20
"""A single value with clearly more than this share of the baseline is a bin of its own."""

ATOM_MARGIN = 2.0
"""How clearly, in standard errors of that share. Values picked because the baseline happens to have many of
them would be found to have become fewer: of rounded numbers 8 to 9 % of windows alarmed instead of 5 %."""

TOP_CATEGORIES = 10
"""Categories, most frequent first, that are coarse bins of their own; the rest share one."""

ELSEWHERE = "elsewhere"
"""Title of the bin for what lies beside single values where the baseline had nothing."""


@dataclass(frozen=True, eq=False, slots=True)
class CoarseBins:
    """A coarser partition of one column's cells.

    Numeric columns: baseline deciles ``(lower, upper]`` with open ends, single values of mass > 1/20 on
    their own. What lies beside such values where the baseline had nothing at all (below a minimum that is
    such a value, between two of them) shares one last bin, `elsewhere`.

    Attributes
    ----------
    names : tuple of str
        Zero-padded ordinals, in the order of the counts; the exported label `bin`.
    titles : tuple of str
        What each bin holds, for people.
    upper : float64 (bins,) or None
        Upper edge of each bin of a numeric column, `inf` for the last, NaN for `elsewhere`; inclusive unless
        the next bin is this value alone.
    starts, bins : int64 (runs,)
        Runs of neighbouring cells: the first cell of each, ascending, and the bin that it belongs to.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...]
    upper: NDArray[np.float64] | None
    starts: NDArray[np.int64]
    bins: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def reduce(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts by cell to counts by bin, (bins,); nothing is lost: the sums are equal."""
        counts = np.zeros(len(self.names), np.int64)
        np.add.at(counts, self.bins, np.add.reduceat(cells, self.starts))
        return counts


def ordinals(count: int) -> tuple[str, ...]:
    """`count` names that sort as they count: 00, 01, ..."""
    width = max(2, len(str(count - 1)))
    return tuple(str(number).zfill(width) for number in range(count))


def decile_runs(
    cells: NDArray[np.int64], deciles: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Runs of cells for the coarse bins of a numeric column.

    Parameters
    ----------
    cells : int64 (2k + 1,)
        The baseline's counts: below the first edge, at it, between it and the second, ..., above the last.
    deciles : int64 (9,)
        Positions among the k edges of the baseline's deciles.

    Returns
    -------
    starts, bins : int64 (runs,)
        First cell of each run and its bin; -1 is `elsewhere`, which only lies beside bins of one value.
    """
    total = int(cells.sum())
    if total == 0:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    least = ATOM_MASS * total + ATOM_MARGIN * np.sqrt(ATOM_MASS * (1 - ATOM_MASS) * total)
    atoms = np.flatnonzero(cells[1::2] >= least)
    starts = np.unique(np.concatenate(([0], 2 * deciles + 2, 2 * atoms + 1, 2 * atoms + 2)))
    starts = starts[starts < len(cells)].astype(np.int64)
    occupied = np.add.reduceat(cells, starts) > 0
    return starts, np.where(occupied, np.cumsum(occupied) - 1, -1).astype(np.int64)


def numeric_bins(
    edges: NDArray[np.float64], starts: NDArray[np.int64], bins: NDArray[np.int64]
) -> CoarseBins:
    """The coarse bins of a numeric column from its edges (k,) and what :func:`decile_runs` gave."""
    own = int(bins.max()) + 1
    has_elsewhere = bool((bins < 0).any())
    count = own + has_elsewhere
    upper = np.full(count, np.nan)
    titles = [ELSEWHERE] * count
    last_cell = 2 * len(edges)
    stops = np.append(starts[1:], last_cell + 1) - 1
    for start, stop, bin_ in zip(starts.tolist(), stops.tolist(), bins.tolist(), strict=True):
        if bin_ >= 0:
            upper[bin_] = np.inf if stop == last_cell else edges[stop // 2]
            titles[bin_] = _title(edges, start, stop)
    return CoarseBins(ordinals(count), tuple(titles), upper, starts, np.where(bins < 0, own, bins))


def _title(edges: NDArray[np.float64], start: int, stop: int) -> str:
    """Cells `start` to `stop` as an interval; odd cells are at an edge, even ones between two."""
    if start == stop and start % 2:
        return f"{edges[start // 2]:.12g}"
    left = (
        "(-inf"
        if start == 0
        else f"[{edges[start // 2]:.12g}"
        if start % 2
        else f"({edges[start // 2 - 1]:.12g}"
    )
    return (
        f"{left}, inf)"
        if stop == 2 * len(edges)
        else f"{left}, {edges[stop // 2]:.12g}" + "])"[stop % 2 == 0]
    )


def category_bins(categories: Sequence[str]) -> CoarseBins:
    """The most frequent categories one by one, and one last bin for all others and new ones."""
    own = min(len(categories), TOP_CATEGORIES)
    starts = np.arange(own + 1, dtype=np.int64)
    return CoarseBins(ordinals(own + 1), (*categories[:own], "other"), None, starts, starts)
