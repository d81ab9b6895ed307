"""Corrects the history: records of windows that cover a bucket which changed after they were made.

Commits mark the buckets that they change; a mark goes when every record that it concerns has been made anew
from the stored buckets. Marks are in the store, so a restart loses none. Little is done at a time.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from exporter.errors import StorageUnavailableError
from exporter.profiles import row_counts
from exporter.results import Evaluation, Window
from exporter.service.evaluation.evaluator import input_of, measured, plan_of, settings_of
from exporter.service.history.recording import OUTCOMES, ROWS, records_of
from exporter.service.lane import Lane, VersionState, split_segment
from exporter.statistics.quality.freshness import freshness
from exporter.store import Change, HistoryKey, HistoryRecord, Mark, PastStore, Store
from exporter.windows import ProfileSeries, tier_width

log = logging.getLogger(__name__)

STEPS_PER_WINDOW = 24
"""Rows of the past get so many records a window, where these are not thinned."""

BUSY_SECONDS = 0.3
"""Of a tick, after which the rest waits for the next one."""


REST, LONGEST_REST_SECONDS = 9.0, 600.0
"""So many times as long as it took a round is followed by a rest."""
UNSTORED_REST_SECONDS = 30.0
"""Before the next round after one that the store did not take."""


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """A window whose records are to be made anew."""

    version: str
    segment: str
    window: str
    end: int


@dataclass
class _Work:
    """What is under way for one model."""

    generation: str
    marks: list[Mark]
    units: dict[Unit, Change]
    writes: list[Future[bool]] = field(default_factory=list)
    busy: float = 0.0


def record_step(lane: Lane, window: Window, end: float, age: float) -> int:
    """Seconds between two records of rows of the past, at an end of windows: a multiple of their buckets."""
    width = tier_width(window.seconds, lane.resolution)
    history = lane.config.history
    wanted = history.thinned_to if end < age - history.full_resolution else window.seconds / STEPS_PER_WINDOW
    return int(math.ceil(wanted / width) * width)


def age_of(lane: Lane, past: PastStore, now: float) -> float:
    """The event time that a model's history counts back from: that of its newest rows."""
    with lane.lock:
        known = [lane.age_of(state, now) for state in lane.versions.values()]
    ages = [age for age in known if age is not None]
    if ages:
        return max(ages)
    return max((last + lane.resolution for _, last in past.past_spans(lane.name).values()), default=now)


class Recomputation:
    """Makes records anew from the stored buckets, a few at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._work: dict[str, _Work] = {}
        self._rest: dict[str, float] = {}
        """Not before, by the monotonic clock."""
        self._unstored: set[str] = set()
        """Models whose last round the store did not take."""
        self._one = threading.Lock()

    def tick(self, lane: Lane, now: float, *, seconds: float = BUSY_SECONDS, at_once: bool = False) -> bool:
        """Do some of what is due; whether there is more.

        Between two rounds it rests, unless it has to go on `at_once`, so that labels which come all the time
        do not keep it busy. What cannot be stored is done again from the beginning, later.
        """
        try:
            return self._some(lane, now, seconds=seconds, at_once=at_once)
        except StorageUnavailableError as error:
            self._work.pop(lane.name, None)
            self._rest[lane.name] = time.monotonic() + UNSTORED_REST_SECONDS
            if lane.name not in self._unstored:
                text = "the history of model %s could not be corrected; it is tried again: %s"
                log.error(text, lane.name, error)  # noqa: TRY400  # a full disk needs no traceback
            self._unstored.add(lane.name)
            return True

    def _some(self, lane: Lane, now: float, *, seconds: float, at_once: bool) -> bool:
        began = time.monotonic()
        with self._one, lane.gate.shared():
            if not at_once and lane.name not in self._work and began < self._rest.get(lane.name, began):
                return True
            work = self._begun(lane, now)
            while work is not None and work.units:
                unit = next(iter(work.units))
                self._remake(lane, unit, work.units.pop(unit), work, now)
                if time.monotonic() > began + seconds:
                    break
            if work is None:
                return False
            work.busy += time.monotonic() - began
            if work.units:
                return True
            self._work.pop(lane.name)
            self._rest[lane.name] = time.monotonic() + min(LONGEST_REST_SECONDS, REST * work.busy)
            if all(future.result() for future in work.writes):
                self._store.past.unmark(lane.name, work.marks)
            self._unstored.discard(lane.name)
        return bool(self._store.past.marks(lane.name))

    def _begun(self, lane: Lane, now: float) -> _Work | None:
        work = self._work.get(lane.name)
        if work is not None and work.generation == lane.generation:
            return work
        marks = self._store.past.marks(lane.name) if lane.grid is not None else []
        if not marks:
            return None
        units: dict[Unit, Change] = {}
        for unit, change in self._concerned(lane, marks, now):
            units[unit] = units.get(unit, Change(0)) | change
        ordered = dict(sorted(units.items()))
        work = self._work[lane.name] = _Work(lane.generation, marks, ordered)
        return work

    def _concerned(self, lane: Lane, marks: list[Mark], now: float) -> Iterator[tuple[Unit, Change]]:
        """Windows that cover a marked bucket: those with a record, and those of rows of the past."""
        groups = self._store.history.groups(lane.name, start=-1e15, end=1e15)
        extents = {
            version: self._store.past.extent(lane.name, version) for version in {m.version for m in marks}
        }
        age = age_of(lane, self._store.past, now)
        for mark in marks:
            extent = extents[mark.version]
            segments = {segment for version, segment, _ in groups if version == mark.version} | {""}
            past = set()
            if mark.change & Change.PAST:
                past = self._store.past.segments(lane.name, mark.version, mark.bucket)
            for window in lane.config.windows:
                width = int(tier_width(window.seconds, lane.resolution))
                first = mark.bucket // width * width
                until = first + window.seconds
                for segment in sorted(segments | past):
                    ends: set[int] = set()
                    if mark.change & (Change.ROWS | Change.LABELS):
                        ends |= self._recorded(
                            lane, (mark.version, segment, window.name), mark.change, first, until
                        )
                    if mark.change & Change.END:
                        ends.add(first + width)
                    if segment in past and extent is not None:
                        bound = int(min(until, extent[1] // width * width + width))
                        ends |= set(_stepped(lane, window, first, bound, age))
                        if bound < until:
                            ends.add(bound)  # where the rows end
                    for end in ends:
                        yield Unit(mark.version, segment, window.name, end), mark.change

    def _recorded(
        self, lane: Lane, group: tuple[str, str, str], change: Change, after: float, until: float
    ) -> set[int]:
        parts = (ROWS, OUTCOMES) if change & Change.ROWS else (OUTCOMES,)
        return {
            end
            for part in parts
            for end in self._store.history.ends(lane.name, *group, part, after=after, until=until)
        }

    def _remake(self, lane: Lane, unit: Unit, change: Change, work: _Work, now: float) -> None:
        """Make the records of one window anew, where all of its buckets are there."""
        history = self._store.history
        old = {
            part: history.get(lane.name, HistoryKey(unit.end, unit.version, unit.segment, unit.window, part))
            for part in (ROWS, OUTCOMES)
        }
        wanted = {part for part, record in old.items() if record is not None}
        if not change & Change.ROWS:
            wanted.discard(ROWS)
        if change & (Change.PAST | Change.END):
            wanted = {ROWS, OUTCOMES}
        window = next((window for window in lane.config.windows if window.name == unit.window), None)
        if not change & Change.END:
            wanted -= _current(lane, unit)
        if window is None or not wanted:
            return
        start = unit.end - window.seconds
        exists = any(record is not None for record in old.values())
        gone = self._store.past.gone(lane.name, unit.version)
        if exists and any(first < unit.end and start < until for first, until in gone):
            return  # made from rows that are there no more
        try:
            made = self._made(lane, unit, window, old, now)
        except Exception:
            log.exception("model %s: the history of %s cannot be made anew", lane.name, unit)
            return
        records = [record for record in made if record.key.part in wanted]
        records = [record for record in records if record.values != _values(old[record.key.part])]
        future = history.write(lane.name, work.generation, records)
        if future is not None:
            work.writes.append(future)

    def _made(
        self, lane: Lane, unit: Unit, window: Window, old: Mapping[str, HistoryRecord | None], now: float
    ) -> list[HistoryRecord]:
        start = unit.end - window.seconds
        stored = self._store.past.buckets(lane.name, unit.version, unit.segment, start=start, end=unit.end)
        grid = lane.grid
        if grid is None or not stored or any(grid_id != grid.id for _, grid_id, _ in stored):
            return []  # rows on another grid cannot be counted on this one
        series = ProfileSeries(grid, lane.resolution, {window.name: window.seconds}, compact=True)
        for bucket, _, data in stored:
            rows, labeled = row_counts(data)
            series.restore(bucket, data, rows=rows, labeled=labeled)
        newest = unit.end - series.width(window.name) / 2
        then = next((record.baseline for record in old.values() if record is not None), None)
        with lane.lock:
            live = lane.versions.get(unit.version) or VersionState(unit.version)
            plan = plan_of(lane, live, _log_failure, lane.baselines.get(then) if then else None)
            plan = replace(plan, watermark=newest)
            state = replace(live, watermark=newest, series={unit.segment: series})
            taken = input_of(
                lane, plan, state, unit.segment, Window(window.name, window.seconds),
                labeled_until=newest, now=now,
            )  # fmt: skip
            settings = settings_of(lane)
            baseline = then if then in lane.baselines else lane.compared_with.get(unit.version)
        extent = self._store.past.extent(lane.name, unit.version)
        first = unit.end if extent is None else extent[0]
        evaluation = _refreshed(measured(lane, plan, taken, settings, _log_failure), series, first)
        return records_of(evaluation, since=_since(old[ROWS], evaluation), baseline=baseline)


def _refreshed(evaluation: Evaluation, series: ProfileSeries, first: int) -> Evaluation:
    """The evaluation of a past window without what is known of now, with its own empty buckets.

    `first` is the oldest bucket of the version.
    """
    quality = replace(evaluation.quality, volume=None)
    if quality.freshness is not None:
        fresh = freshness(
            [first, *(start for start, rows, _ in series.coverage() if rows > 0)],
            width=series.resolution,
            start=evaluation.start,
            end=evaluation.end,
            newest_event=evaluation.end - series.resolution / 2,
            now=evaluation.made_at,
        )
        quality = replace(quality, freshness=fresh)
    return replace(evaluation, quality=quality)


def _current(lane: Lane, unit: Unit) -> set[str]:
    """The parts of which this is the newest window: their records are made by the next evaluation."""
    with lane.lock:
        segment = split_segment(unit.segment)
        evaluation = lane.evaluations.get((unit.version, unit.window, segment))
    if evaluation is None:
        return set()
    labels = evaluation.performance_window
    ends = {ROWS: evaluation.end, OUTCOMES: evaluation.end if labels is None else labels.end}
    return {part for part, end in ends.items() if end == unit.end}


def _stepped(lane: Lane, window: Window, after: int, until: float, age: float) -> Iterator[int]:
    """Ends of records of rows of the past in (after, until], ascending."""
    width = int(tier_width(window.seconds, lane.resolution))
    for end in range(after + width, int(until) + 1, width):
        if end % record_step(lane, window, end, age) == 0:
            yield end


def _since(record: HistoryRecord | None, evaluation: Evaluation) -> dict[str, float]:
    """Since when verdicts stand: as it was recorded, or else since the end of the window."""
    known = {} if record is None else record.values
    recorded = {name[1]: at for name, at in known.items() if name[0] == "ml_drift_since_timestamp_seconds"}
    return {
        name: recorded.get(name, evaluation.end)
        for name, column in evaluation.drift.columns.items()
        if column.detected
    }


def _values(record: HistoryRecord | None) -> Mapping[tuple[str, ...], float] | None:
    return None if record is None else record.values


def _log_failure(measure: str, subject: str | None, error: Exception) -> None:
    log.warning("%s of %s failed while the history was corrected: %s", measure, subject or "a window", error)
