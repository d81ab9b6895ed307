"""Sums that were made at ingestion, and whether they speak of enough of a window's rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.profiles import Profile
from exporter.results import Undefined

LEAST_SHARE = 0.5
"""Share of a window's rows that must have been measured with an estimator for it to speak of the window."""


def counted(
    profile: Profile, key: tuple[str, ...], size: int, minimum_rows: int
) -> NDArray[np.float64] | Undefined:
    """The totals of one estimator, whose first element counts rows; why not, where these are too few.

    Raises
    ------
    ValueError
        When they are not `size` long.
    """
    sums = profile.outcomes.totals.get(key)
    if sums is not None and len(sums) != size:
        raise ValueError(f"totals {key} should have {size} elements, got {len(sums)}")
    rows = 0.0 if sums is None else float(sums[0])
    if profile.rows < max(minimum_rows, 1):
        return Undefined("insufficient_rows", f"{profile.rows} rows, {minimum_rows} are needed")
    if sums is None or rows < LEAST_SHARE * profile.rows:
        detail = f"{rows:.0f} of {profile.rows} rows came since the estimator was made"
        return Undefined("not_comparable", detail)
    return sums
