"""Rows that belong together: what holds of one row of a group holds of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def group_codes(groups: pa.StringArray) -> NDArray[np.int64]:
    """Each row's group as a number from 0 on, (n,); a missing group is one of its own."""
    indices = groups.dictionary_encode(null_encoding="encode").indices
    codes: NDArray[np.int64] = indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def spread(codes: NDArray[np.int64], rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All rows of the groups that have one of `rows`, (n,)."""
    touched = np.zeros(int(codes.max(initial=-1)) + 1, bool)
    touched[codes[rows]] = True
    return touched[codes]


def latest(codes: NDArray[np.int64], event_time: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the latest event time of its group, (n,); rows without one are left out."""
    newest = np.full(int(codes.max(initial=-1)) + 1, -np.inf)
    known = ~np.isnan(event_time)
    np.maximum.at(newest, codes[known], event_time[known])
    return np.where(known, newest[codes], event_time)
