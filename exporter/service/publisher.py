"""Evaluations to the ready bytes of `/metrics`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, pairwise

from prometheus_client.samples import Sample as OwnSample

from exporter.clock import Clock
from exporter.evaluation import Missing
from exporter.exposition import Exposition, Sample, Snapshot
from exporter.families import (
    baseline_ratio_samples,
    comparison_samples,
    counter_samples,
    evaluation_samples,
    limit_samples,
    metric_info_samples,
    model_samples,
    refresh_samples,
    threshold_samples,
    time_samples,
    undefined_samples,
    volume_samples,
)
from exporter.profiles import Grid
from exporter.service.comparing.comparisons import missing_of
from exporter.service.evaluation.evaluator import exported_versions
from exporter.service.evaluation.gaps import OF_TASK, UNMEASURED
from exporter.service.ingestion.tallies import NO_VERSION
from exporter.service.lane import Lane
from exporter.service.questions.segments import too_small, worst_first
from exporter.service.telemetry import Telemetry

OwnSamples = Callable[[], Iterable[tuple[str, OwnSample]]]
"""(family name, sample as prometheus_client collects it) of now."""

CATALOGUE = ""
"""What no model exposes: a name that no model can have."""


class Publisher:
    """Keeps the snapshot that scrapes read. Rendering happens here, never in a scrape."""

    def __init__(self, lanes: Mapping[str, Lane], telemetry: Telemetry, clock: Clock) -> None:
        self._lanes = lanes
        self._telemetry = telemetry
        self._clock = clock
        self._exposition = Exposition()
        self._exposition.update(CATALOGUE, metric_info_samples())
        self._rendering = threading.Lock()
        self._stale: set[str] = set()
        self._first_seen: dict[tuple[str, ...], float] = {}
        """When each per-bin generation was first exposed, by (model, version, grid)."""
        self._further: list[OwnSamples] = []
        self._snapshot = self._exposition.snapshot(telemetry.samples(), made_at=clock.time())

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    def expose(self, samples: OwnSamples) -> None:
        """Expose from now on also what `samples` gives at each publication."""
        self._further.append(samples)

    def announce(self) -> None:
        """Expose unit and direction of all metrics, once the models are there."""
        custom = [
            (measure.name, measure.unit, measure.higher_is_better)
            for lane in self._lanes.values()
            for measure in lane.custom.measures
        ]
        with self._rendering:
            self._exposition.update(CATALOGUE, metric_info_samples(custom))

    def update(self, lane: Lane) -> None:
        """Render what a model exposes from now on, and publish it."""
        self._render(lane)
        self.publish()

    def publish(self) -> None:
        """Join what is rendered with the exporter's own metrics of now."""
        with self._rendering, self._telemetry.timed(self._telemetry.render_seconds):
            own = chain(self._telemetry.samples(), *(samples() for samples in self._further))
            self._snapshot = self._exposition.snapshot(own, made_at=self._clock.time())

    def check_stale(self, lane: Lane, now: float) -> None:
        """Withdraw the windowed series of a model without new rows; give them back when rows come."""
        stale = is_stale(lane, now)
        if stale != (lane.name in self._stale) or self._warming(lane, now):
            self._render(lane)

    def _warming(self, lane: Lane, now: float) -> bool:
        """Whether per-bin counters of the model have just ended their time at 0."""
        warmup = lane.config.counter_warmup
        ended = [
            key
            for key, seen in self._first_seen.items()
            if key[0] == lane.name and 0 <= now - seen - warmup < 3600
        ]
        for key in ended:
            self._first_seen[key] = float("-inf")
        return bool(ended)

    def _render(self, lane: Lane) -> None:
        now = self._clock.time()
        if lane.grid is None:  # whatever comes after data were deleted is a new generation
            self._first_seen = {key: at for key, at in self._first_seen.items() if key[0] != lane.name}
        with lane.lock:
            samples = list(self._samples(lane, now))
        with self._rendering:
            self._exposition.update(lane.name, samples, max_series=lane.config.max_series)
        (self._stale.add if is_stale(lane, now) else self._stale.discard)(lane.name)

    def _samples(self, lane: Lane, now: float) -> Iterator[Sample]:
        versions = [state.name for state in exported_versions(lane)]
        known = set(versions) or {"default"}
        stale = is_stale(lane, now)
        for version in versions:
            baseline = lane.active_baseline(version)
            yield from model_samples(
                lane.name, version, task=str(lane.schema.task), baseline=baseline.id if baseline else None
            )
            yield from limit_samples(lane.name, version, lane.config)
            yield from () if stale else threshold_samples(lane.name, version, lane.config)
            if baseline is not None:
                yield "ml_baseline_rows", (lane.name, version), lane.baseline_profile(baseline).rows
                yield from self._baseline_samples(lane, version, baseline.id)
                if lane.config.baseline.refresh is not None:
                    blocked = bool({version, baseline.version} & set(lane.blocked))
                    yield from refresh_samples(lane.name, version, blocked=blocked)
        yield from time_samples(lane.name, self._times(lane, versions))
        yield from counter_samples(lane.name, self._counters(lane, known, now))
        yield from self._compared(lane)
        if stale:
            for version in versions:
                for window in lane.config.windows:
                    where = (lane.name, version, window.name)
                    yield from undefined_samples("ml_undefined", where, [("window", None, "stale")])
            return
        yield from self._volumes(lane)
        if lane.grid is None or not versions:
            yield from self._unmeasured(lane)
        for version, window_name, segment in worst_first(lane):
            evaluation = lane.evaluations[version, window_name, segment]
            since = {
                column: at
                for (of_version, of_window, column), at in lane.drift_since.items()
                if (of_version, of_window) == (version, window_name)
            }
            yield from evaluation_samples(evaluation, drift_since=since)
            if segment is None:
                small = too_small(lane.evaluations, version, window_name)
                yield from undefined_samples("ml_undefined", (lane.name, version, window_name), small)

    @staticmethod
    def _volumes(lane: Lane) -> Iterator[Sample]:
        for version, judged in lane.volumes.items():
            yield from volume_samples(lane.name, version, judged.report)

    @staticmethod
    def _compared(lane: Lane) -> Iterator[Sample]:
        """Comparisons stand while a model is stale: they are of no window."""
        for comparison in lane.comparisons.values():
            yield from comparison_samples(comparison)
        for version, missing in missing_of(lane).items():
            yield from undefined_samples("ml_undefined", (lane.name, version, ""), missing)

    @staticmethod
    def _unmeasured(lane: Lane) -> Iterator[Sample]:
        """Why nothing is measured: there is no baseline yet, or no row that moved the watermark."""
        missing: list[Missing] = [
            (measure, None, "no_baseline" if lane.grid is None else "empty")
            for measure in (*UNMEASURED, *OF_TASK.get(lane.schema.task, ()))
        ]
        for version in sorted(lane.versions) or ["default"]:
            for window in lane.config.windows:
                yield from undefined_samples("ml_undefined", (lane.name, version, window.name), missing)

    @staticmethod
    def _baseline_samples(lane: Lane, version: str, baseline_id: str) -> Iterator[Sample]:
        baseline = lane.baselines[baseline_id]
        grid = lane.grids[baseline.grid_id]
        if lane.grid is None or grid.id != lane.grid.id:
            return
        profile = lane.baseline_profile(baseline)
        for column in lane.binned_columns(grid):
            counts = dict(
                zip(grid.columns[column].coarse.names, profile.coarse_counts(column).tolist(), strict=True)
            )
            yield from baseline_ratio_samples(lane.name, version, grid.id, column, counts)

    @staticmethod
    def _times(lane: Lane, versions: list[str]) -> dict[tuple[str, ...], float | None]:
        times: dict[tuple[str, ...], float | None] = {}
        for version in versions:
            baseline = lane.active_baseline(version)
            times["watermark", version] = lane.versions[version].watermark
            times["last_batch", version] = lane.state.get(("last_batch", version))
            times["last_label", version] = lane.state.get(("last_label", version))
            times["last_evaluation", version] = lane.evaluated_at or None
            times["baseline", version] = baseline.created if baseline is not None else None
        return times

    def _counters(self, lane: Lane, versions: set[str], now: float) -> dict[tuple[str, ...], float]:
        """Lifetime totals; a new generation of per-bin counters is shown at 0 while it warms up.

        Every bin of a column is there from the start, so that no first increment is hidden from `rate`.
        """
        counters: dict[tuple[str, ...], float] = {}
        for version in sorted(versions):
            for what in ("rows", "labels", "batches"):
                counters[what, version] = lane.counters.get((what, version), 0.0)
            if lane.grid is None:
                continue
            for grid in (lane.grid, *retired_grids(lane, now)):
                warm = grid is not lane.grid or self._is_warm(lane, version, grid.id, now)
                counters |= self._bins(lane, grid, version, warm=warm)
        return counters | self._rejected(lane, versions)

    @staticmethod
    def _rejected(lane: Lane, versions: set[str]) -> dict[tuple[str, ...], float]:
        """Rejected rows of what is exported, of labels and, while there is room, of versions without data."""
        rejected = {key: count for key, count in lane.counters.items() if key[0] == "rejected"}
        begun = {state.name for state in lane.versions.values() if state.watermark is not None}
        refused = sorted({key[1] for key in rejected} - begun - versions - {NO_VERSION})
        room = max(0, lane.config.max_versions - len(versions))
        shown = {NO_VERSION, *versions, *refused[:room]}
        return {key: count for key, count in rejected.items() if key[1] in shown}

    @staticmethod
    def _bins(lane: Lane, grid: Grid, version: str, *, warm: bool) -> dict[tuple[str, ...], float]:
        index = lane.bin_index(grid)
        totals = lane.bins.get((version, grid.id))
        shown = set(lane.binned_columns(grid))
        return {
            ("bins", version, grid.id, column, name): float(totals[place])
            if warm and totals is not None
            else 0.0
            for place, (column, name) in enumerate(index.bins)
            if column in shown
        }

    def _is_warm(self, lane: Lane, version: str, grid_id: str, now: float) -> bool:
        """Whether this generation was exposed at 0 for long enough; one that was stored long ago is."""
        key = (lane.name, version, grid_id)
        if key not in self._first_seen:
            born = lane.state.get(("bins_since", version, grid_id), now)
            self._first_seen[key] = born
        return now - self._first_seen[key] >= lane.config.counter_warmup


def retired_grids(lane: Lane, now: float) -> list[Grid]:
    """Earlier grids that were in use within the largest window: their bins stand until nobody looks back."""
    created = sorted(
        (at, key[1]) for key, at in lane.state.items() if key[0] == "grid_created" and key[1] in lane.grids
    )
    longest = max(window.seconds for window in lane.config.windows)
    return [lane.grids[grid_id] for (_, grid_id), (ended, _) in pairwise(created) if now - ended < longest]


def is_stale(lane: Lane, now: float) -> bool:
    """Whether no rows have come for longer than `stale_after`."""
    with lane.lock:
        arrivals = [at for key, at in lane.state.items() if key[0] == "last_batch"]
    return bool(arrivals) and now - max(arrivals) > lane.config.stale_after
