"""One model's state in memory: what ingestion writes and evaluation reads, under one lock."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from exporter.config import ModelConfig
from exporter.custommetrics import CustomMetrics
from exporter.estimation import Estimator
from exporter.evaluation import Reference
from exporter.profiles import BinIndex, Grid, Profile, decode
from exporter.results import Evaluation, Undefined
from exporter.results.comparison import Comparison
from exporter.rules import RuleSet
from exporter.schema import Role, Schema
from exporter.service.comparing.contests import Contests
from exporter.service.evaluation.arrivals import Judged
from exporter.service.evaluation.error_sums import ErrorSums
from exporter.service.gate import Gate
from exporter.service.ingestion.flights import Flights
from exporter.service.ingestion.payload import SEGMENT_SEPARATOR, LabelCodes
from exporter.service.ingestion.profiling import SegmentValues
from exporter.service.ingestion.slices import SliceMeter
from exporter.statistics.drift.blocks import BlockEffect
from exporter.store import Commit, Delta, PredictionIndex, StoredBaseline
from exporter.windows import ProfileSeries

EvaluationKey = tuple[str, str, tuple[str, str] | None]
"""(version, window, segment)."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A refresh of a baseline that is due and cannot be: of which version, since when, and why."""

    version: str
    since: float
    reasons: tuple[str, ...]


@dataclass
class VersionState:
    """One version of a model: its watermark and its profiles in time."""

    name: str
    watermark: float | None = None
    series: dict[str, ProfileSeries] = field(default_factory=dict)
    """By segment key; "" is the whole."""

    errors: ErrorSums = field(default_factory=ErrorSums)
    """Losses of all its labelled rows."""

    @property
    def whole(self) -> ProfileSeries | None:
        return self.series.get("")


@dataclass
class Lane:
    """The state of one model. Whoever reads or writes it holds `lock`."""

    name: str
    config: ModelConfig
    configured_schema: Schema
    schema: Schema
    """As configured, with the features of the grid once there is one."""
    rules: RuleSet
    index: PredictionIndex
    custom: CustomMetrics = field(default_factory=CustomMetrics)
    generation: str = ""
    """Changes when data of the model are deleted, so that who pushed them knows."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    grids: dict[str, Grid] = field(default_factory=dict)
    grid: Grid | None = None
    versions: dict[str, VersionState] = field(default_factory=dict)
    baselines: dict[str, StoredBaseline] = field(default_factory=dict)
    counters: defaultdict[tuple[str, ...], float] = field(default_factory=lambda: defaultdict(float))
    bins: dict[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)
    """Lifetime rows by coarse bin, by (version, grid id), in the order of the grid's :class:`BinIndex`."""
    state: dict[tuple[str, ...], float] = field(default_factory=dict)
    segments: SegmentValues = field(init=False)
    labels: LabelCodes = field(init=False)
    gate: Gate = field(default_factory=Gate)
    raw: list[tuple[str, bytes]] = field(default_factory=list)
    raw_rows: int = 0
    """Rows kept as they came, because no grid exists yet."""
    in_progress: set[tuple[str, str]] = field(default_factory=set)
    flights: Flights = field(default_factory=Flights)
    evaluations: Mapping[EvaluationKey, Evaluation] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    """Why rules failed on the newest rows of each version, by their path in the configuration."""
    late_references: dict[tuple[str, str, str], tuple[int, Reference]] = field(default_factory=dict)
    """Labels and metrics of a provisional baseline by (its id, version, segment key), where labels came
    after it."""
    part_references: dict[tuple[str, str], Reference] = field(default_factory=dict)
    """Metrics of the parts of baselines, by (baseline id, segment key)."""
    last_part: tuple[tuple[str, str], Profile | None] | None = None
    """The part of a baseline that was decoded last, by (baseline id, segment key)."""
    kept_drift_since: dict[tuple[str, ...], float] = field(default_factory=dict)
    """What of `drift_since` is in the store."""
    references: dict[str, Reference] = field(default_factory=dict)
    """Metrics of each baseline, by its id; computed once."""
    slice_meters: dict[str, SliceMeter] = field(default_factory=dict)
    """What the search for weak segments measures, by grid."""
    estimators: dict[str, Estimator | Undefined] = field(default_factory=dict)
    """What estimates performance without labels, by the baseline that it was made from."""
    next_baseline: StoredBaseline | None = None
    """The one that is about to be kept with a new grid, while rows that waited for it are profiled."""
    late_estimators: dict[tuple[str, str], tuple[int, Estimator | Undefined]] = field(default_factory=dict)
    """The same of provisional baselines by (its id, version), with the labels that came after it."""
    drift_since: dict[tuple[str, ...], float] = field(default_factory=dict)
    """(version, window, column) to the event time since which its drift verdict stands."""
    compared_with: dict[str, str | None] = field(default_factory=dict)
    """Id of the baseline that each version was last evaluated against."""
    drift_against: dict[str, str | None] = field(default_factory=dict)
    """The same of the verdicts that `drift_since` tells of."""
    seasonal: OrderedDict[tuple[str, frozenset[int]], Profile | None] = field(default_factory=OrderedDict)
    """Parts of baselines by (baseline id, hours); None where that has too few rows."""
    block_effects: dict[tuple[str, float], Mapping[tuple[str, str], BlockEffect]] = field(
        default_factory=dict
    )
    """What blocks of baselines differ by, by (baseline id, seconds of a block)."""
    blocked: dict[str | None, Blocked] = field(default_factory=dict)
    """Refreshes that are due, by the version whose baseline it is; None for that of all versions."""
    contests: Contests = field(default_factory=Contests)
    """What the champion and its challengers have done since they are compared."""
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    """The latest of each challenger."""
    volumes: dict[str, Judged] = field(default_factory=dict)
    """Whether as many rows came as usual, by version."""
    dirty: bool = True
    evaluated_at: float = 0.0
    _bin_indexes: dict[str, BinIndex] = field(default_factory=dict)
    _announced: dict[str, float] = field(default_factory=dict)
    _decoded: dict[str, Profile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.segments = SegmentValues(self.config.segments, self.config.max_segment_values)
        self.labels = LabelCodes(self.schema.task)

    def become(self, other: Lane) -> None:
        """Take over the state of another lane; who waits at this one's gate goes on with the new state."""
        for entry in fields(self):
            if entry.name not in ("lock", "gate", "in_progress"):
                setattr(self, entry.name, getattr(other, entry.name))

    @property
    def resolution(self) -> float:
        return self.config.resolution

    @property
    def retention_seconds(self) -> float:
        """How long before the watermark buckets are kept: labels may still come for all of it."""
        longest = max(window.seconds for window in self.config.windows)
        return max(longest, self.config.lateness) + self.config.label_horizon

    def age_of(self, version: VersionState, now: float) -> float | None:
        """The event time from which a version's data are as old as they are kept.

        That is its watermark; a version that was silent for longer than `stale_after` ages with the clock,
        so that one that was taken out of service does not keep its data, and others', for ever.
        """
        if version.watermark is None:
            return None
        silent = now - self.state.get(("last_batch", version.name), now)
        return version.watermark + max(0.0, silent - self.config.stale_after)

    def version(self, name: str) -> VersionState:
        return self.versions.setdefault(name, VersionState(name))

    def series(self, version: str, segment: str) -> ProfileSeries:
        """The series of a version or segment, made when it is first asked for; a grid must exist."""
        state = self.version(version)
        if segment not in state.series:
            if self.grid is None:
                raise AssertionError("a series needs a grid")
            windows = {window.name: window.seconds for window in self.config.windows}
            state.series[segment] = ProfileSeries(self.grid, self.resolution, windows, compact=bool(segment))
        return state.series[segment]

    def announce(self, version: str, newest_event: float) -> dict[tuple[str, ...], float]:
        """The watermark to commit for rows up to `newest_event`; never goes back, whatever lands first."""
        newest = max(newest_event, self._announced.get(version, newest_event))
        watermark = self.version(version).watermark
        self._announced[version] = newest if watermark is None else max(newest, watermark)
        return {("watermark", version): self._announced[version], **self.class_codes()}

    def class_codes(self) -> dict[tuple[str, ...], float]:
        """The table of classes as it is stored; see :class:`LabelCodes`."""
        return {("class", name): float(code) for code, name in enumerate(self.labels.classes)}

    def keep_raw(self, version: str, rows: Iterable[tuple[str, bytes]], count: int) -> None:
        """Remember rows that wait for the first grid."""
        self.raw.extend(rows)
        self.raw_rows += count
        self.version(version)

    def binned_columns(self, grid: Grid) -> list[str]:
        """Columns with per-bin counters: prediction, score and the first features, as configured."""
        columns = grid.columns.values()
        features = [column.name for column in columns if column.role is Role.FEATURE]
        others = [column.name for column in columns if column.role in (Role.PREDICTION, Role.SCORE)]
        return others + features[: self.config.bins.features]

    def bin_index(self, grid: Grid) -> BinIndex:
        """Where the cells of a grid lie among the bins of the per-bin counters."""
        if grid.id not in self._bin_indexes:
            self._bin_indexes[grid.id] = BinIndex(grid)
        return self._bin_indexes[grid.id]

    def note_rule_failures(self, version: str, failures: Mapping[str, str]) -> None:
        """Remember which rules cannot be evaluated on a version's rows, and why, until they can."""
        with self.lock:
            self.failures[version] = dict(failures)

    def apply(self, deltas: Iterable[Delta]) -> None:
        """Add what was committed to the windows and to comparisons, but for what is for the history only."""
        deltas = [delta for delta in deltas if delta.backfilled is None]
        self.contests.add(deltas)
        for delta in deltas:
            self.series(delta.version, delta.segment).add(delta.bucket, delta.profile)
            if not delta.segment:
                self.version(delta.version).errors.add(delta.bucket, delta.profile)

    def count(self, commit: Commit) -> None:
        """Add what was committed to the lifetime totals."""
        for key, amount in commit.counters.items():
            self.counters[key] += amount
        for place, increments in commit.bins.items():
            self.bins[place] = self.bins[place] + increments if place in self.bins else increments
        self.state |= commit.state

    def advance(self, version: str, newest_event: float) -> None:
        """Move the watermark of a version forward, never back, and drop what nobody can ask for any more."""
        state = self.version(version)
        if state.watermark is None or newest_event > state.watermark:
            state.watermark = newest_event
            for series in state.series.values():
                series.expire(newest_event - self.retention_seconds)
            state.errors.expire(newest_event - self.retention_seconds)

    def adopt_grid(self, grid: Grid) -> None:
        """Count on this grid from now on; windows on another grid cannot be compared and start anew."""
        self.grid = self.grids[grid.id] = grid
        self.next_baseline = None
        self.segments.prefer(grid)
        self.schema = self.schema_on(grid)
        self.contests.clear()
        self.raw.clear()
        self.raw_rows = 0
        for state in self.versions.values():
            state.series.clear()
            state.errors = ErrorSums()

    def schema_on(self, grid: Grid) -> Schema:
        """The model's own columns with the features of a grid, which may have other names for the rest."""
        if grid.schema.features is None:
            return self.configured_schema
        return self.configured_schema.with_features(grid.schema.features)

    def only_active(self, active: StoredBaseline) -> None:
        """One active baseline for each version and one for all the others."""
        for baseline in list(self.baselines.values()):
            if baseline.active and baseline.version == active.version and baseline.id != active.id:
                self.baselines[baseline.id] = replace(baseline, active=False)

    def active_baseline(self, version: str) -> StoredBaseline | None:
        """The version's own baseline when it has an active one, else the active one for all versions."""
        active = [baseline for baseline in self.baselines.values() if baseline.active]
        own = [baseline for baseline in active if baseline.version == version]
        shared = [baseline for baseline in active if baseline.version is None]
        candidates = own or shared
        return max(candidates, key=lambda baseline: baseline.created) if candidates else None

    def baseline_profile(self, baseline: StoredBaseline) -> Profile:
        if baseline.id not in self._decoded:
            self._decoded[baseline.id] = decode(baseline.profile, self.grids[baseline.grid_id], stored=True)
        return self._decoded[baseline.id]

    def forget_baseline(self, baseline_id: str) -> None:
        self.baselines.pop(baseline_id, None)
        self._decoded.pop(baseline_id, None)
        self.references.pop(baseline_id, None)
        for key in [key for key in self.seasonal if key[0] == baseline_id]:
            del self.seasonal[key]
        for block in [block for block in self.block_effects if block[0] == baseline_id]:
            del self.block_effects[block]
        self.estimators.pop(baseline_id, None)
        for part in [part for part in self.part_references if part[0] == baseline_id]:
            del self.part_references[part]


def split_segment(key: str) -> tuple[str, str] | None:
    """(column, value) of a segment key; None for the whole."""
    if not key:
        return None
    column, value = key.split(SEGMENT_SEPARATOR, 1)
    return column, value
