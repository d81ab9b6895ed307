"""Profiles in time: buckets by event time, and the sliding windows that are merges of them.

A :class:`ProfileSeries` holds what one version (or one segment of it) saw, by bucket. Buckets at rest are
encoded bytes; the few that rows still come into are open profiles. Of a whole version a window that was
asked for once is kept as a running sum, to which new rows are added as they come: it costs a merge of stored
buckets when it slides, and an addition of the new rows when it does not. There are many more segments than
versions, so theirs are compact: an open bucket is encoded before it turns dense, and of a window the sum of
what is at rest is kept, encoded, until the window slides.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

import numpy as np

from exporter.profiles import Grid, Profile, decode, encode

Part = Literal["features", "outcomes"]

MAX_BUCKETS_PER_WINDOW = 200
"""A longer window reads coarser buckets, so that no window merges more than about this many."""

FEWEST_BUCKETS_PER_WINDOW = 24
"""A window slides by a bucket at a time, and not by more than one part in this many of its length."""

OPEN_BUCKETS = 4
"""Buckets a tier that a series keeps open for new rows; the least recently used one is encoded first."""

OPEN_BUCKETS_COMPACT = 2
"""The same of a compact series; these are sparse."""

LEAST_KEPT = 4
"""Encoded profiles of a compact series whose sum is kept once it is made."""

MOST_ENCODED = 8
"""Encoded profiles of a bucket that lie side by side before they are merged into one."""


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
    """Width in seconds of the buckets that a window is merged from: a multiple of `resolution`.

    The smallest one that divides the window into at most 200 buckets; where that would leave fewer than 24,
    the largest one that divides it into more. A window that is no multiple of `resolution` cannot be divided.
    """
    units = round(window_seconds / resolution)
    least = max(1, int(np.ceil(window_seconds / (resolution * MAX_BUCKETS_PER_WINDOW))))
    if least == 1 or not np.isclose(units * resolution, window_seconds, rtol=1e-9):
        return resolution * least
    coarser = range(least, units // FEWEST_BUCKETS_PER_WINDOW + 1)
    finer = range(least - 1, 0, -1)
    return resolution * next(width for width in chain(coarser, finer) if units % width == 0)


def window_span(newest: float, window_seconds: float, width: float) -> Span:
    """The window that ends with the bucket of `newest`, the newest event time."""
    end = np.floor(newest / width) * width + width
    return Span(float(end - window_seconds), float(end))


def _only(profile: Profile, part: Part) -> Profile:
    """One part of a profile, sharing its vectors; tallies belong to the features."""
    features = part == "features"
    return Profile(
        profile.grid,
        rows=profile.rows,
        labeled_rows=profile.labeled_rows,
        features=profile.features if features else None,
        outcomes=None if features else profile.outcomes,
        tallies=profile.tallies if features else None,
    )


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a window is merged from, taken out of a series; merging it needs no lock.

    Attributes
    ----------
    encoded : tuple of bytes
    open : tuple of Profile
        Copies of one part each.
    """

    grid: Grid
    part: Part
    encoded: tuple[bytes, ...]
    open: tuple[Profile, ...]
    keep: Callable[[bytes], None] | None = None
    """Takes the sum of what is encoded, encoded again, so that it need not be merged next time."""

    def merged(self) -> Profile:
        """The profile of the window; the caller's own."""
        if len(self.open) == 1 and not self.encoded:
            return self.open[0]
        total = Profile.empty(self.grid)
        for encoded in self.encoded:
            total.add(decode(encoded, self.grid, parts=(self.part,), stored=True))
        if self.keep is not None and len(self.encoded) >= LEAST_KEPT:
            self.keep(encode(total))
        for profile in self.open:
            total.add(profile)
        return total


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
            total.add(_only(self.open, parts[0]) if len(parts) == 1 else self.open)

    def rest(self, grid: Grid, most: int = 1) -> None:
        """Encode what is open, and merge with what is encoded where that makes more than `most` profiles."""
        if self.open is not None:
            if len(self.at_rest) >= most:
                for encoded in self.at_rest:
                    self.open.add(decode(encoded, grid, stored=True))
                self.at_rest = []
            self.at_rest, self.open = [*self.at_rest, encode(self.open)], None


def _is_dense(profile: Profile) -> bool:
    return profile.features.counts.is_dense or profile.outcomes.counts.is_dense


@dataclass(frozen=True, slots=True)
class _Sum:
    """The sum of one part of encoded profiles of a window, encoded, beside those that it is made of."""

    sources: tuple[bytes, ...]
    encoded: bytes

    def in_place_of(self, profiles: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
        """`profiles` with the sum for its sources; None where these are not all among them."""
        mine = set(map(id, self.sources))
        others = tuple(profile for profile in profiles if id(profile) not in mine)
        return (self.encoded, *others) if len(others) + len(mine) == len(profiles) else None


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
    compact : bool
        Take little memory rather than little time: for segments.

    Not thread safe: the caller holds the model's lock.
    """

    grid: Grid
    resolution: float
    windows: Mapping[str, float]
    compact: bool = False
    _widths: dict[str, float] = field(default_factory=dict)
    _tiers: dict[float, dict[int, _Bucket]] = field(default_factory=dict)
    _open: OrderedDict[tuple[float, int], None] = field(default_factory=OrderedDict)
    _running: dict[tuple[str, Part, str], _Running] = field(default_factory=dict)
    _sums: dict[tuple[str, Part, str], _Sum] = field(default_factory=dict)
    """Of a compact series. Each is at most as large as the profiles that it is made of."""

    def __post_init__(self) -> None:
        self._widths = {
            window: tier_width(seconds, self.resolution) for window, seconds in self.windows.items()
        }
        widths = {self.resolution, *self._widths.values()}
        self._tiers = {width: {} for width in sorted(widths)}

    def width(self, window: str) -> float:
        """Width in seconds of the buckets that this window is merged from."""
        return self._widths[window]

    def add(self, bucket: int, delta: Profile) -> None:
        """Add what came to a bucket, by its start; counts are negative where a label is taken back."""
        for width, buckets in self._tiers.items():
            start = int(bucket // width * width)
            held = buckets.setdefault(start, _Bucket())
            if held.open is None:
                held.open = Profile.empty(self.grid)
            held.open.add(delta)
            if self.compact and _is_dense(held.open):
                held.rest(self.grid, MOST_ENCODED)
            held.rows += delta.rows
            held.labeled += delta.labeled_rows
            if held.open is not None:
                self._open[width, start] = None
                self._open.move_to_end((width, start))
            else:
                self._open.pop((width, start), None)
        for (_, part, _), running in self._running.items():
            if bucket in running.span:
                running.profile.add(_only(delta, part))
        most = OPEN_BUCKETS_COMPACT if self.compact else OPEN_BUCKETS
        while len(self._open) > most * len(self._tiers):
            (width, start), _ = self._open.popitem(last=False)
            self._tiers[width][start].rest(self.grid, MOST_ENCODED if self.compact else 1)

    def restore(self, bucket: int, encoded: bytes, *, rows: int, labeled: int) -> None:
        """Take a stored bucket back at start-up; it is merged when a window first asks for it."""
        for width, buckets in self._tiers.items():
            held = buckets.setdefault(int(bucket // width * width), _Bucket())
            held.at_rest.append(encoded)
            held.rows += rows
            held.labeled += labeled

    def window(self, name: str, newest: float, part: Part, use: str = "") -> tuple[Span, Profile]:
        """The window that ends with the bucket of `newest`.

        Windows of one part that end at different times, and are asked for in turn, each name their `use`: one
        sum is kept running for each.

        Returns
        -------
        Span, Profile
            The profile may be the running sum itself: read it before the lock is released, or take
            :meth:`pieces`.
        """
        span, width = self.span(name, newest), self.width(name)
        running = self._running.get((name, part, use))
        if running is None or running.span != span:
            same = self._running_sum(name, part, span)
            merged = Profile.empty(self.grid) if same is None else same.copy()
            if same is None:
                for start in self._within(span, width):
                    self._tiers[width][start].add_to(merged, (part,))
            if self.compact:
                return span, merged
            running = self._running[name, part, use] = _Running(span, merged)
        return span, running.profile

    def _running_sum(self, name: str, part: Part, span: Span) -> Profile | None:
        """What another use of a window has merged already."""
        sums = (
            running.profile
            for (window, of, _), running in self._running.items()
            if (window, of, running.span) == (name, part, span)
        )
        return next(sums, None)

    def pieces(self, name: str, newest: float, part: Part, use: str = "") -> tuple[Span, Pieces]:
        """The window that ends with the bucket of `newest`, to be merged after the lock is released."""
        if not self.compact:
            span, running = self.window(name, newest, part, use)
            return span, Pieces(self.grid, part, (), (_only(running, part).copy(),))
        span, width = self.span(name, newest), self.width(name)
        buckets = [self._tiers[width][start] for start in self._within(span, width)]
        at_rest = tuple(data for bucket in buckets for data in bucket.at_rest)
        key = (name, part, use)
        known = self._sums.get(key)
        encoded = known.in_place_of(at_rest) if known is not None else None
        if encoded is None:
            self._sums.pop(key, None)
            encoded = at_rest

        def keep(total: bytes) -> None:
            self._sums[key] = _Sum(at_rest, total)

        opened = tuple(_only(bucket.open, part).copy() for bucket in buckets if bucket.open is not None)
        return span, Pieces(self.grid, part, encoded, opened, keep)

    def span(self, name: str, newest: float) -> Span:
        """Event times of the window that ends with the bucket of `newest`."""
        return window_span(newest, self.windows[name], self.width(name))

    def covered(self, name: str, span: Span) -> tuple[int, int]:
        """(rows, labelled rows) of the buckets that a window is merged from."""
        width = self.width(name)
        buckets = [self._tiers[width][start] for start in self._within(span, width)]
        return sum(bucket.rows for bucket in buckets), sum(bucket.labeled for bucket in buckets)

    def merged(self, span: Span, parts: tuple[Part, ...] = ("features", "outcomes")) -> Profile:
        """Everything between two instants, or one part of it, at the finest resolution."""
        total = Profile.empty(self.grid)
        for start in self._within(span, self.resolution):
            self._tiers[self.resolution][start].add_to(total, parts)
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
                self._sums.clear()
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
