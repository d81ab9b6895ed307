"""Counting scores by group on a score grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.profiles.histogram import SMALL_ROWS, histogram, places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.profiles.grid import ScoreGrid
    from exporter.profiles.vectors import Counter


def count_scores(
    grid: ScoreGrid | None,
    scores: NDArray[np.float64] | None,
    groups: NDArray[np.integer[Any]],
    counter: Counter,
    *,
    number: int,
    start: int,
) -> None:
    """Count scores into `number` histograms that follow each other from cell `start` on.

    Parameters
    ----------
    scores : float64 (n,) or None
        None counts every row as missing a score.
    groups : integers (n,)
        The histogram of each row, 0 to `number` - 1; a row with another one is left out.
    """
    if not len(groups):
        return
    cells = 1 if grid is None else grid.cells
    if groups.min() < 0:
        inside = groups >= 0
        groups = groups[inside]
        scores = None if scores is None else scores[inside]
    if grid is None or scores is None:
        for group, rows in enumerate(np.bincount(groups, minlength=number).tolist()):
            if rows:
                counter.block(start + (group + 1) * cells - 1, [rows])
    elif len(scores) <= SMALL_ROWS:
        counter.cells(start + groups.astype(np.int64) * cells + places(scores, grid.upper))
    else:
        for group in range(number):
            counter.block(start + group * cells, histogram(scores[groups == group], grid.upper))
