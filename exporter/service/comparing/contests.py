"""What versions have done since their comparison began: sums that outlive the buckets they come from.

A contest is one challenger against the champion. Its sums are kept running while rows and labels come, up to
the older of the two watermarks; at a restart they are made anew from the buckets that are left and from what
the store has carried on of those that have expired.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from exporter.profiles import Grid, Profile, decode
from exporter.statistics.comparison import sample_ratio_p_value
from exporter.store import Delta
from exporter.windows import ProfileSeries, Span

OUTCOMES: tuple[Literal["outcomes"]] = ("outcomes",)

STATE = "comparison"
"""What the names of stored states of contests begin with."""

Key = tuple[str, ...]
Carried = Mapping[tuple[str, int], Sequence[tuple[str, bytes]]]
"""(grid id, encoded outcomes) by version and start, as in the store."""


@dataclass
class Count:
    """Rows by arm in the buckets that are over for both, and the p-value of the sample ratio so far."""

    until: float
    champion: int = 0
    challenger: int = 0
    share: float | None = None
    """The challenger's expected share of the rows; with it, every bucket is a look at the sample ratio."""
    p_value: float = 1.0

    @property
    def p_value_name(self) -> str:
        """What the p-value is stored under: that of another split is another one."""
        return f"p_value {self.share!r}"


@dataclass
class Contest:
    """One challenger against the champion.

    Attributes
    ----------
    start, until : int
        Event time of the buckets that count, unix seconds; `until` is not in it.
    key : tuple of str
        What the states of this contest are stored under: another champion, start or grid is another contest.
    first, second : Profile
        Outcomes of the champion and of the challenger.
    """

    champion: str
    challenger: str
    start: int
    until: int
    key: Key
    first: Profile
    second: Profile
    count: Count

    def add(self, delta: Delta) -> None:
        """Count what was committed to a bucket of one of the arms."""
        if delta.segment or not self.start <= delta.bucket < self.until:
            return
        if delta.version == self.champion:
            _add_outcomes(self.first, delta.profile)
        elif delta.version == self.challenger:
            _add_outcomes(self.second, delta.profile)

    def advance(self, first: ProfileSeries, second: ProfileSeries, older_watermark: float) -> None:
        """Let the buckets up to that of the older watermark count."""
        width = first.resolution
        until = int(math.floor(older_watermark / width) * width + width)
        if until <= self.until:
            return
        span = Span(max(self.until, self.start), until)
        for series, total in ((first, self.first), (second, self.second)):
            _add_outcomes(total, series.merged(span, ("outcomes",)))
        self.until = until

    def count_rows(
        self,
        first: ProfileSeries,
        second: ProfileSeries,
        older_watermark: float,
    ) -> None:
        """Count the rows of buckets that have ended for both arms since the last time."""
        width = first.resolution
        ended = math.floor(older_watermark / width) * width
        if ended <= self.count.until:
            return
        rows: dict[int, list[int]] = {}
        for arm, series in enumerate((first, second)):
            for start, of_bucket, _ in series.coverage():
                if self.count.until <= start < ended:
                    rows.setdefault(start, [0, 0])[arm] += of_bucket
        for start in sorted(rows):
            self.count.champion += rows[start][0]
            self.count.challenger += rows[start][1]
            share = self.count.share
            if share is not None:
                counts = (self.count.champion, self.count.challenger)
                self.count.p_value = sample_ratio_p_value(
                    counts, (1 - share, share), before=self.count.p_value
                )
        self.count.until = ended


@dataclass
class Contests:
    """The contests of one model; whoever reads or writes them holds its lock."""

    carried: Carried = field(default_factory=dict)
    by_challenger: dict[str, Contest] = field(default_factory=dict)
    known: dict[Key, float] = field(default_factory=dict)
    """States of contests of now and before, by what they are stored under."""
    kept: dict[Key, float] = field(default_factory=dict)
    """Those that are in the store."""
    forgotten: dict[Key, float] = field(default_factory=dict)
    """States of contests that do not hold any more, to be stored so."""
    failed: bool = False
    """Whether the latest comparison failed."""
    complete: bool = False
    """Whether all contests of now are open, so that nothing else need be carried on."""

    def add(self, deltas: Iterable[Delta]) -> None:
        for contest in self.by_challenger.values():
            for delta in deltas:
                contest.add(delta)

    def clear(self) -> None:
        """Begin anew: what was counted on another grid does not add up with what comes."""
        self.by_challenger = {}
        self.carried = {}
        self.complete = False

    def open(self, contest: Contest, grid: Grid) -> None:
        """Add a contest, with what the store carried on of it."""
        for version, total in ((contest.champion, contest.first), (contest.challenger, contest.second)):
            for grid_id, encoded in self.carried.get((version, contest.start), ()):
                if grid_id == grid.id:
                    total.add(decode(encoded, grid, OUTCOMES, stored=True))
        self.by_challenger[contest.challenger] = contest

    def spans(self, version: str) -> list[tuple[int, int]]:
        """The spans of buckets of a version that count in some contest."""
        found = {
            (contest.start, contest.until)
            for contest in self.by_challenger.values()
            if version in (contest.champion, contest.challenger)
        }
        latest: dict[int, int] = {}
        for start, until in found:
            latest[start] = max(until, latest.get(start, until))
        return sorted(latest.items())

    def states(self) -> dict[Key, float]:
        """What is to be stored of the contests."""
        states: dict[Key, float] = {}
        for contest in self.by_challenger.values():
            states[STATE, *contest.key, "start"] = contest.start
            states[STATE, *contest.key, "until"] = contest.count.until
            states[STATE, *contest.key, "champion_rows"] = contest.count.champion
            states[STATE, *contest.key, "challenger_rows"] = contest.count.challenger
            states[STATE, *contest.key, contest.count.p_value_name] = contest.count.p_value
        return {**self.forgotten, **states}

    def unsaved(self) -> dict[Key, float]:
        """States that are not in the store yet; from now on they count as kept, until :meth:`not_kept`."""
        states = self.states()
        changed = {key: value for key, value in states.items() if self.kept.get(key) != value}
        self.kept |= changed
        self.known |= changed
        return changed

    def not_kept(self) -> None:
        """Store all states again: the last ones did not arrive."""
        self.kept = {}


def _add_outcomes(total: Profile, profile: Profile) -> None:
    outcomes = Profile(
        profile.grid, rows=profile.rows, labeled_rows=profile.labeled_rows, outcomes=profile.outcomes
    )
    total.add(outcomes)
