"""Values far from where the baseline's values were: beyond fences read off the baseline's quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.results.findings import OutlierShare
from exporter.statistics.remembered import remembered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.statistics.drift.views import NumericView

REACH = 3.0
"""Interquartile ranges from the quartiles to the fences: Tukey's "far out"."""

TAIL = 0.001
"""At least this share of the baseline lies beyond no fence: what is usual in a long tail is no outlier."""


def outlier_share(baseline: NumericView, current: NumericView, *, reach: float = REACH) -> OutlierShare:
    """Share of the finite values beyond the baseline's fences; infinite values are `in_range`'s to tell.

    The lower fence is the smaller of Q1 - reach * (Q3 - Q1) and the baseline's quantile 0.001, the upper one
    the larger of Q3 + reach * (Q3 - Q1) and its quantile 0.999 (Tukey, 1977, Exploratory Data Analysis,
    chapter 2, with a floor for skewed columns and for columns whose quartiles are equal). Both are then moved
    to an edge of the grid: a fence between two edges to the one nearer the median, one beyond the baseline's
    extreme to that extreme. So the baseline's own share is at most 0.001 on either side, and a value beyond
    its extreme, but not beyond the fence, counts as an outlier only when the window also has one beyond the
    fence.

    Parameters
    ----------
    baseline : NumericView
        With at least one finite value.
    current : NumericView
        On the same grid; with at least one finite value.
    reach : float
        1.5 for Tukey's inner fences.
    """
    edges = baseline.grid.edges
    first, third, least, most = _quartiles_and_tails(baseline)
    spread = third - first
    lower_fence = min(first - reach * spread, least)
    upper_fence = max(third + reach * spread, most)
    low = int(edges.searchsorted(lower_fence))
    high = int(edges.searchsorted(upper_fence, side="right")) - 1
    under, over = _beyond(current, low, high)
    if low == 0 and not current.minimum < lower_fence:
        under = 0
    if high == len(edges) - 1 and not current.maximum > upper_fence:
        over = 0
    own = sum(_beyond(baseline, low, high))
    return OutlierShare(
        ratio=(under + over) / int(current.n),
        baseline_ratio=own / int(baseline.n),
        lower=float(edges[low]),
        upper=float(edges[high]),
        below=under,
        above=over,
    )


@remembered
def _quartiles_and_tails(baseline: NumericView) -> tuple[float, float, float, float]:
    """The quantiles 1/4, 3/4, `TAIL` and 1 - `TAIL`."""
    edges = baseline.grid.edges
    below, at, total = _cumulative(baseline.cells)
    first, third, least, most = (
        float(edges[_quantile(edges, at, below, total, q)]) for q in (0.25, 0.75, TAIL, 1 - TAIL)
    )
    return first, third, least, most


def _beyond(column: NumericView, low: int, high: int) -> tuple[int, int]:
    """Values below the edge `low` and above the edge `high`."""
    cells = column.cells
    return int(cells[: 2 * low + 1].sum()), int(cells[2 * high + 2 :].sum())


def _cumulative(cells: NDArray[np.int64]) -> tuple[int, NDArray[np.int64], int]:
    """Values below the first edge; up to and at each edge, (k,); and all of them."""
    total = np.cumsum(cells)
    return int(cells[0]), total[1::2], int(total[-1])


def _quantile(edges: NDArray[np.float64], up_to: NDArray[np.int64], below: int, total: int, q: float) -> int:
    """The first edge up to which at least the share q of the values lies."""
    if below >= q * total:
        return 0
    return min(int(np.searchsorted(up_to, q * total)), len(edges) - 1)
