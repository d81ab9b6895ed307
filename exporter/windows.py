"""Profiles in time: buckets by event time, and the sliding windows that are merges of them.

A :class:`ProfileSeries` holds what one version (or one segment of it) saw, by bucket. Buckets at rest are
encoded bytes; the few that rows still come into are open profiles; a window that was asked for once is kept
as a running sum, to which new rows are added as they come. So a window costs a merge of stored buckets when
it slides, and an addition of the new rows when it does not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from exporter.profiles import Grid, Profile, decode, encode

Part = Literal["features", "outcomes"]

MAX_BUCKETS_PER_WINDOW = 200
"""A longer window reads coarser buckets, so that no window merges more than about this many."""

OPEN_BUCKETS = 6
"""Buckets of a series that are kept open for new rows; the least recently used one is encoded first."""


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of event time, in seconds since the epoch."""

    start: float
    end: float

    def __contains__(self, instant: float) -> bool:
        return self.start <= instant < self.end


def bucket_starts(event_time: np.ndarray, width: float) -> np.ndarray:
    """Start of the bucket of `width` seconds that each event falls into; int64, seconds since the epoch."""
    return (np.floor(event_time / width) * width).astype(np.int64)


def tier_width(window_seconds: float, resolution: float) -> float:
    """Width in seconds of the buckets that a window is merged from: a multiple of `resolution`."""
    return resolution * max(1, int(np.ceil(window_seconds / (resolution * MAX_BUCKETS_PER_WINDOW))))


def window_span(newest: float, window_seconds: float, width: float) -> Span:
    """The window that ends with the bucket of `newest`, the newest event time."""
    end = np.floor(newest / width) * width + width
    return Span(float(end - window_seconds), float(end))


@dataclass(slots=True)
class _Bucket:
    """One bucket: encoded profiles at rest, and an open profile for what came since."""

    at_rest: list[bytes] = field(default_factory=list)
    open: Profile | None = None
    rows: int = 0
    labeled: int = 0

    def add_to(self, total: Profile, parts: tuple[Part, ...]) -> None:
        for encoded in self.at_rest:
            total.add(decode(encoded, total.grid, parts=parts, stored=True))
        if self.open is not None:
            total.add(self.open)

    def rest(self, grid: Grid) -> None:
        if self.open is not None:
            for encoded in self.at_rest:
                self.open.add(decode(encoded, grid, stored=True))
            self.at_rest, self.open = [encode(self.open)], None


@dataclass(slots=True)
class _Running:
    span: Span
    profile: Profile


@dataclass
class ProfileSeries:
    """The profiles of one version or segment by time.

    Parameters
    ----------
    grid : Grid
    resolution : float
        Width of the finest buckets, in seconds.
    windows : mapping of window name to seconds

    Not thread safe: the caller holds the model's lock.
    """

    grid: Grid
    resolution: float
    windows: Mapping[str, float]
    _tiers: dict[float, dict[int, _Bucket]] = field(default_factory=dict)
    _open: OrderedDict[tuple[float, int], None] = field(default_factory=OrderedDict)
    _running: dict[tuple[str, Part], _Running] = field(default_factory=dict)

    def __post_init__(self) -> None:
        widths = {self.resolution, *(self.width(window) for window in self.windows)}
        self._tiers = {width: {} for width in sorted(widths)}

    def width(self, window: str) -> float:
        """Width in seconds of the buckets that this window is merged from."""
        return tier_width(self.windows[window], self.resolution)

    def add(self, bucket: int, delta: Profile) -> None:
        """Add what came to a bucket, by its start; counts are negative where a label is taken back."""
        for width, buckets in self._tiers.items():
            start = int(bucket // width * width)
            held = buckets.setdefault(start, _Bucket())
            if held.open is None:
                held.open = Profile.empty(self.grid)
            held.open.add(delta)
            held.rows += delta.rows
            held.labeled += delta.labeled_rows
            self._open[width, start] = None
            self._open.move_to_end((width, start))
        for running in self._running.values():
            if bucket in running.span:
                running.profile.add(delta)
        while len(self._open) > OPEN_BUCKETS * len(self._tiers):
            (width, start), _ = self._open.popitem(last=False)
            self._tiers[width][start].rest(self.grid)

    def restore(self, bucket: int, encoded: bytes, *, rows: int, labeled: int) -> None:
        """Take a stored bucket back at start-up; it is merged when a window first asks for it."""
        for width, buckets in self._tiers.items():
            held = buckets.setdefault(int(bucket // width * width), _Bucket())
            held.at_rest.append(encoded)
            held.rows += rows
            held.labeled += labeled

    def window(self, name: str, newest: float, part: Part) -> tuple[Span, Profile]:
        """The window that ends with the bucket of `newest`.

        Returns
        -------
        Span, Profile
            The profile is the running sum itself: read it before the lock is released, or copy it.
        """
        width = self.width(name)
        span = window_span(newest, self.windows[name], width)
        running = self._running.get((name, part))
        if running is None or running.span != span:
            merged = Profile.empty(self.grid)
            for start in self._within(span, width):
                self._tiers[width][start].add_to(merged, (part,))
            running = self._running[name, part] = _Running(span, merged)
        return span, running.profile

    def merged(self, span: Span) -> Profile:
        """Everything between two instants, at the finest resolution."""
        total = Profile.empty(self.grid)
        for start in self._within(span, self.resolution):
            self._tiers[self.resolution][start].add_to(total, ("features", "outcomes"))
        return total

    def _within(self, span: Span, width: float) -> Iterator[int]:
        return (start for start in sorted(self._tiers[width]) if start in span)

    def coverage(self) -> list[tuple[int, int, int]]:
        """(bucket start, rows, labelled rows) of the finest buckets, oldest first."""
        buckets = self._tiers[self.resolution]
        return [(start, buckets[start].rows, buckets[start].labeled) for start in sorted(buckets)]

    def expire(self, before: float) -> None:
        """Forget buckets that end before an instant."""
        for width, buckets in self._tiers.items():
            for start in [start for start in buckets if start + width <= before]:
                del buckets[start]
                self._open.pop((width, start), None)

    @property
    def empty(self) -> bool:
        return not self._tiers[self.resolution]


def label_watermark(
    coverage: Iterable[tuple[int, int, int]], minimum: float | Literal["auto"], *, horizon_start: float
) -> int | None:
    """Start of the newest bucket whose labels have come.

    Parameters
    ----------
    coverage : (bucket start, rows, labelled rows), oldest first
    minimum : share of labelled rows, or "auto"
        `auto` is half the median coverage of the labelled buckets in the horizon.
    horizon_start : float
        Buckets before this instant are left out.

    Returns
    -------
    int or None
        None while no bucket reaches it.
    """
    shares = {
        start: labeled / rows
        for start, rows, labeled in coverage
        if rows > 0 and labeled > 0 and start >= horizon_start
    }
    if not shares:
        return None
    threshold = float(np.median(list(shares.values()))) / 2 if minimum == "auto" else minimum
    reached = [start for start, share in shares.items() if share >= threshold]
    return max(reached) if reached else None
