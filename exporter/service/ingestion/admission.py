"""Which rows of a batch count: not late beyond the lateness, and not answered before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Admission:
    """Positions of the rows that count, and how many do not and why."""

    accepted: NDArray[np.intp]
    late: int
    duplicates: int


def admit(
    event_time: NDArray[np.float64],
    hashes: Hashes | None,
    *,
    oldest: float,
    seen: Callable[[Hashes], NDArray[np.bool_]],
) -> Admission:
    """Leave out rows before `oldest` and, where there are ids, those whose id came before.

    Parameters
    ----------
    event_time : float64 (n,)
    hashes : uint64 (n,) or None
        Of the ids; None when rows have none.
    oldest : float
        Rows of earlier events are too late; -inf when nothing came yet.
    seen : callable
        Which of the hashes came in an earlier batch. The first row of an id inside the batch wins.
    """
    timely = event_time >= oldest
    late = int(event_time.size - np.count_nonzero(timely))
    if hashes is None:
        return Admission(np.flatnonzero(timely), late, 0)
    first = np.zeros(hashes.size, dtype=bool)
    positions = np.flatnonzero(timely)
    _, first_positions = np.unique(hashes[positions], return_index=True)
    first[positions[first_positions]] = True
    candidates = np.flatnonzero(first)
    new = candidates[~seen(hashes[candidates])] if candidates.size else candidates
    return Admission(new, late, int(positions.size - new.size))
