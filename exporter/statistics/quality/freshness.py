"""How old the newest event is, and where a window has no rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from exporter.results.findings import Freshness

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_GAPS = 20
"""Runs of empty buckets that are listed."""


def freshness(
    buckets: Iterable[int], *, width: float, start: float, end: float, newest_event: float, now: float
) -> Freshness:
    """Age of the newest event, and the buckets without rows between `start` and `end`.

    Buckets before the first one that ever had rows are not counted as empty: nothing was there to send any.

    Parameters
    ----------
    buckets : iterable of int
        Starts of all buckets with rows, in seconds since the epoch, in any order.
    width : float
        Of a bucket, in seconds.
    """
    known = np.unique(np.fromiter(buckets, np.float64))
    begin = max(start, float(known[0])) if known.size else start
    inside = known[(known >= begin) & (known < end)]
    count = max(0, math.ceil((end - begin) / width - 1e-9)) if known.size else 0
    bounds = np.concatenate(([begin - width], inside, [begin + count * width]))
    lengths = np.rint(np.diff(bounds) / width).astype(np.int64) - 1
    order = np.argsort(-lengths, kind="stable")
    gaps = [
        (float(bounds[place] + width), float(bounds[place + 1]))
        for place in order[:MOST_GAPS].tolist()
        if lengths[place] > 0
    ]
    return Freshness(
        newest_event=newest_event,
        age_seconds=max(0.0, now - newest_event),
        buckets=count,
        empty_buckets=count - len(inside),
        longest_gap_seconds=float(max(lengths.max(initial=0), 0) * width),
        gaps=tuple(gaps),
    )
