"""Counting scores by group on a score grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exporter.profiles.numeric import CHUNK_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.profiles.grid import ScoreGrid
    from exporter.profiles.vectors import Counter

SMALL_ROWS = 4_000
"""Up to this many scores are searched in the edges; more are sorted and the edges searched in them."""


def score_cells(grid: ScoreGrid, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The cell of each score, (n,); NaN goes to the last one."""
    cells = np.searchsorted(grid.upper, scores).astype(np.int64, copy=False)
    return np.where(np.isnan(scores), grid.cells - 1, cells)


def score_histogram(grid: ScoreGrid, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows by cell, (cells,), by sorting chunks of the scores."""
    counts = np.zeros(grid.cells, np.int64)
    for start in range(0, len(scores), CHUNK_ROWS):
        chunk = np.sort(scores[start : start + CHUNK_ROWS])
        known = len(chunk)
        if np.isnan(chunk[-1]):
            known = int(chunk.searchsorted(np.nan))
        below = chunk[:known].searchsorted(grid.upper, side="right")
        counts[:-1] += np.diff(below, prepend=0, append=known)
        counts[-1] += len(chunk) - known
    return counts


def count_scores(
    grid: ScoreGrid | None,
    scores: NDArray[np.float64] | None,
    groups: NDArray[np.int64],
    number: int,
    start: int,
    counter: Counter,
) -> None:
    """Count scores into `number` histograms that follow each other from cell `start` on.

    Parameters
    ----------
    scores : float64 (n,) or None
        None counts every row as missing a score.
    groups : int64 (n,)
        The histogram of each row, 0 to `number` - 1; a row with another one is left out.
    """
    cells = 1 if grid is None else grid.cells
    inside = (groups >= 0) & (groups < number)
    if not inside.all():
        groups = groups[inside]
        scores = None if scores is None else scores[inside]
    if grid is None or scores is None:
        for group, rows in enumerate(np.bincount(groups, minlength=number).tolist()):
            if rows:
                counter.block(start + (group + 1) * cells - 1, [rows])
    elif len(scores) <= SMALL_ROWS:
        counter.cells(start + groups * cells + score_cells(grid, scores))
    else:
        for group in range(number):
            counter.block(start + group * cells, score_histogram(grid, scores[groups == group]))
