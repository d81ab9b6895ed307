"""The losses of one version's labelled rows by time bucket, for the detectors of concept drift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.profiles import Grid, Profile, decode
from exporter.statistics.concept import ERRORS, ErrorStream
from exporter.windows import Part

OUTCOMES: tuple[Part] = ("outcomes",)

MOST_STREAMS = 32
"""Streams that are remembered; there is one for each end of a window."""


class ErrorSums:
    """Rows, losses and squared losses by bucket. Not thread safe: the caller holds the model's lock."""

    def __init__(self) -> None:
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._at_rest: list[tuple[int, bytes, Grid]] = []
        self._streams: dict[tuple[float, float], ErrorStream] = {}

    def add(self, bucket: int, profile: Profile) -> None:
        """Add what came to a bucket; sums are negative where labels are taken back."""
        sums = profile.outcomes.totals.get(ERRORS)
        if sums is not None:
            known = self._sums.get(bucket)
            self._sums[bucket] = sums if known is None else known + sums
            self._streams.clear()

    def restore(self, bucket: int, encoded: bytes, grid: Grid) -> None:
        """Take a stored bucket back at start-up; it is read when the stream is first asked for."""
        self._at_rest.append((bucket, encoded, grid))
        self._streams.clear()

    def expire(self, before: float) -> None:
        """Forget buckets that begin before an instant."""
        self._at_rest = [entry for entry in self._at_rest if entry[0] >= before]
        for bucket in [bucket for bucket in self._sums if bucket < before]:
            del self._sums[bucket]
            self._streams.clear()

    def stream(self, start: float, end: float) -> ErrorStream | None:
        """The labelled buckets that begin in [start, end); None without any.

        The same object as before while nothing has changed.
        """
        for bucket, encoded, grid in self._at_rest:
            self.add(bucket, decode(encoded, grid, parts=OUTCOMES, stored=True))
        self._at_rest = []
        if (start, end) not in self._streams:
            chosen = sorted(
                bucket for bucket, sums in self._sums.items() if start <= bucket < end and sums[0] > 0
            )
            if not chosen:
                return None
            sums = np.stack([self._sums[bucket] for bucket in chosen], axis=1)
            if len(self._streams) >= MOST_STREAMS:
                self._streams.clear()
            self._streams[start, end] = ErrorStream(np.array(chosen, float), *sums)
        return self._streams[start, end]
