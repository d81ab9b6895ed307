"""Histograms of many values over few edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK_ROWS = 65_536
"""Rows that are sorted at once: half a megabyte of float64, which stays in the cache."""

SMALL_ROWS = 4_000
"""Up to this many values are searched in the edges; more are sorted and the edges searched in them."""


def histogram(values: NDArray[np.floating[Any]], upper: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows up to the first edge, above it and up to the second, ..., above the last, and NaN; (edges + 2,).

    Parameters
    ----------
    values : float64 or float32 (n,)
    upper : float64 (edges,), ascending
        Inclusive upper edges.
    """
    cells = len(upper) + 2
    if len(values) <= SMALL_ROWS:
        return np.bincount(places(values, upper), minlength=cells)
    counts = np.zeros(cells, np.int64)
    for start in range(0, len(values), CHUNK_ROWS):
        chunk = np.sort(values[start : start + CHUNK_ROWS])
        known = len(chunk)
        if np.isnan(chunk[-1]):
            known = int(chunk.searchsorted(np.nan))
        below = chunk[:known].searchsorted(upper, side="right")
        counts[:-1] += np.diff(below, prepend=0, append=known)
        counts[-1] += len(chunk) - known
    return counts


def places(values: NDArray[np.floating[Any]], upper: NDArray[np.float64]) -> NDArray[np.int64]:
    """The cell of each value in :func:`histogram`, (n,)."""
    cells = upper.searchsorted(values).astype(np.int64, copy=False)
    return np.where(np.isnan(values), len(upper) + 1, cells)
