"""Baselines of a running exporter: made from rows, a past window or an artifact, activated, deleted."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from exporter.baseline import (
    MAX_BASELINE_BUCKETS,
    BuiltBaseline,
    build,
    grid_of,
    read_artifact,
    resolved_schema,
    write_artifact,
)
from exporter.batch import Batch, Codes, missing, validate_batch
from exporter.clock import Clock
from exporter.errors import ConflictError, NotFoundError, UnusableBatchError
from exporter.profiles import Grid, Profile, encode
from exporter.schema import Schema, Task
from exporter.service.answers import Answer, Request, once
from exporter.service.baselines.parts import past_parts, with_parts
from exporter.service.baselines.succession import activation_key, difference, next_instant, previous
from exporter.service.comparing.pairs import chunks_of, labelled_pairs, pair_deltas
from exporter.service.evaluation.estimates import inherited, losses_of, note_estimator, note_own_estimates
from exporter.service.ingestion.backfilling import for_history, halves, marks_of
from exporter.service.ingestion.batches import raw_arrival, raw_past
from exporter.service.ingestion.grouping import first_groups
from exporter.service.ingestion.meters import meters_of
from exporter.service.ingestion.profiling import merged, outcome_deltas, row_deltas
from exporter.service.ingestion.raw import read_raw, replace_schema, together, validate_raw
from exporter.service.ingestion.tallies import tally_arrival, tally_rows
from exporter.service.lane import Lane
from exporter.store import Commit, Delta, Store, StoredBaseline
from exporter.windows import Span

log = logging.getLogger(__name__)


class BaselineService:
    """Makes and keeps the baselines of one exporter; safe to call from many threads."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    # -- reading -----------------------------------------------------------------------------------

    @staticmethod
    def describe(baseline: StoredBaseline) -> dict[str, Any]:
        return {
            "id": baseline.id,
            "model": baseline.model,
            "version": baseline.version,
            "grid": baseline.grid_id,
            "created": baseline.created,
            "rows": baseline.rows,
            "source": baseline.source,
            "provisional": baseline.provisional,
            "active": baseline.active,
            "period": list(baseline.period) if baseline.period else None,
            "buckets": len(baseline.buckets),
        }

    def get(self, lane: Lane, baseline_id: str) -> StoredBaseline:
        with lane.lock:
            baseline = lane.baselines.get(baseline_id)
        if baseline is None:
            raise NotFoundError(f"model {lane.name!r} has no baseline {baseline_id!r}")
        return baseline

    def artifact(self, lane: Lane, baseline_id: str) -> bytes:
        baseline = self.get(lane, baseline_id)
        return write_artifact(
            self.describe(baseline),
            lane.grids[baseline.grid_id].to_bytes(),
            baseline.profile,
            baseline.buckets,
            baseline.estimator,
            segments=baseline.segments,
        )

    # -- creating ----------------------------------------------------------------------------------

    def from_rows(
        self,
        lane: Lane,
        table: pa.Table,
        version: str | None,
        request: Request,
        *,
        activate: bool,
        regrid: bool,
    ) -> Answer:
        with once(self._store, lane, request) as earlier:
            if earlier is not None:
                return earlier
            now = self._clock.time()
            batch = validate_batch(
                table, lane.configured_schema, now=now, future_tolerance=lane.config.future_tolerance
            )
            with lane.gate.exclusive():
                grid = lane.grid
                if grid is None or regrid:
                    schema = resolved_schema(lane.configured_schema, batch)
                    grid = self._grid(lane, replace_schema(batch, schema, now))
                warnings = [*batch.warnings, *_left_out(batch)]
                batch = replace_schema(batch, lane.schema_on(grid), now)
                labels, meters = batch.outcomes.label, meters_of(lane, version or "", grid)
                built = build(grid, batch, labels, resolution=self._resolution(lane), meters=meters)
                built = with_parts(lane, built, batch, labels, meters)
                note_own_estimates(lane, built.profile, batch, batch.outcomes.label)
                stored = self._stored(
                    lane,
                    built,
                    version,
                    rows=batch.rows,
                    source="rows",
                    active=activate,
                    estimator=losses_of(lane, grid, batch, batch.outcomes.label),
                )
                return self._keep(lane, stored, grid, request, warnings=warnings)

    def from_period(
        self,
        lane: Lane,
        period: tuple[float, float],
        version: str | None,
        request: Request,
        *,
        activate: bool,
    ) -> Answer:
        """Promote what came between two event times: the buckets that begin there."""
        with once(self._store, lane, request) as earlier:
            if earlier is not None:
                return earlier
            with lane.gate.exclusive():
                if lane.grid is None:
                    raise ConflictError(
                        "there is no past window to promote: no grid exists yet", code="no_grid"
                    )
                built = past_window(lane, lane.grid, Span(*period), version)
                if not built.profile.rows:
                    raise UnusableBatchError(
                        "no rows are kept between `from` and `to`; choose a span with data"
                    )
                stored = self._stored(
                    lane,
                    built,
                    version,
                    rows=built.profile.rows,
                    source="window",
                    active=activate,
                    period=period,
                    estimator=inherited(lane, version),
                )
                return self._keep(lane, stored, lane.grid, request)

    def from_artifact(
        self, lane: Lane, data: bytes, version: str | None, request: Request, *, activate: bool, regrid: bool
    ) -> Answer:
        """Import an exported baseline; it brings its grid where the model has none."""
        with once(self._store, lane, request) as earlier:
            if earlier is not None:
                return earlier
            artifact = read_artifact(data)
            grid, profile = artifact.grid, artifact.profile
            check_fit(lane.configured_schema, grid.schema)
            with lane.gate.exclusive():
                if lane.grid is not None and grid.id != lane.grid.id and not regrid:
                    raise ConflictError(
                        f"the artifact is on grid {grid.id}, the model on grid {lane.grid.id}; "
                        "add ?regrid=true to move the model to the artifact's grid (its windows start anew)",
                        code="other_grid",
                    )
                built = BuiltBaseline(grid, profile, artifact.buckets, artifact.segments)
                wanted = version if version is not None else artifact.header.get("version")
                stored = self._stored(
                    lane,
                    built,
                    wanted,
                    rows=profile.rows,
                    source="artifact",
                    active=activate,
                    estimator=artifact.estimator,
                )
                return self._keep(lane, stored, grid, request)

    def promote(
        self, lane: Lane, built: BuiltBaseline, version: str | None, *, source: str, period: Span
    ) -> Answer:
        """Make a past span that was merged already the active baseline; the gate is closed."""
        stored = self._stored(
            lane,
            built,
            version,
            rows=built.profile.rows,
            source=source,
            active=True,
            period=(period.start, period.end),
            estimator=inherited(lane, version),
        )
        return self._keep(lane, stored, built.grid, Request("baselines", None, ""))

    def make_provisional(self, lane: Lane) -> None:
        """The first rows become a provisional baseline, once there are enough and if that is configured."""
        if lane.config.baseline.source != "first_rows":
            return
        with lane.gate.exclusive():
            if lane.grid is not None or lane.raw_rows < lane.config.baseline.rows:
                return
            waiting = [read_raw(data) for _, data in lane.raw]
            if lane.schema.group is None:
                first = together(waiting).slice(0, lane.config.baseline.rows)
            else:
                first = together(first_groups(lane, waiting))
            batch = validate_raw(first, lane.configured_schema)
            schema = resolved_schema(lane.configured_schema, batch)
            batch = validate_raw(first, schema)
            grid = self._grid(lane, batch)
            labels = self._known_labels(lane, batch, None)
            meters = meters_of(lane, "", grid)
            built = build(grid, batch, labels, resolution=self._resolution(lane), meters=meters)
            built = with_parts(lane, built, batch, labels, meters)
            note_own_estimates(lane, built.profile, batch, labels)
            stored = self._stored(
                lane,
                built,
                None,
                rows=batch.rows,
                source="first_rows",
                active=True,
                provisional=True,
                estimator=losses_of(lane, grid, batch, labels),
            )
            self._keep(lane, stored, grid, Request("baselines", None, ""))

    def _keep(
        self, lane: Lane, stored: StoredBaseline, grid: Grid, request: Request, warnings: Sequence[str] = ()
    ) -> Answer:
        """Commit a baseline, with its grid and the rows that waited for one; the gate is closed."""
        commit = Commit(model=lane.name, baseline=stored)
        new_grid = lane.grid is None or lane.grid.id != grid.id
        if new_grid:
            if grid.id in lane.grids:
                self._store.delete_profiles(lane.name, grid.id)
            commit.grid = (grid.id, grid.to_bytes())
            commit.drop_rows = True
            note_estimator(lane, stored, grid)
            commit.deltas, misfits = self._all_raw_deltas(lane, grid)
            commit.marks = marks_of(lane, commit.deltas)
            warnings = [*warnings, *misfits]
            created = next_instant(lane, "grid_created", stored.created)
            commit.state = {("grid_created", grid.id): created, **lane.class_codes()}
            for version in {version for version, _ in lane.raw}:
                mine = [delta for delta in commit.deltas if delta.version == version]
                commit.bins[version, grid.id] = lane.bin_index(grid).count(merged(mine, grid))
                commit.state["bins_since", version, grid.id] = stored.created
        if stored.active:
            commit.state[activation_key(stored)] = next_instant(lane, "activated", stored.created)
        answer = Answer(201, {**self.describe(stored), "warnings": list(warnings), "duplicate": False})
        commit.answer = replace(request, version=stored.version).answered(answer, stored.created)
        self._store.submit(commit).result()
        with lane.lock:
            if new_grid:
                lane.adopt_grid(grid)
            lane.baselines[stored.id] = stored
            if stored.active:
                lane.only_active(stored)
            lane.apply(commit.deltas)
            lane.count(commit)
            lane.dirty = True
        return answer

    def _stored(
        self,
        lane: Lane,
        built: BuiltBaseline,
        version: str | None,
        *,
        rows: int,
        source: str,
        active: bool,
        provisional: bool = False,
        period: tuple[float, float] | None = None,
        estimator: bytes = b"",
    ) -> StoredBaseline:
        return StoredBaseline(
            id=uuid.uuid4().hex[:12],
            model=lane.name,
            version=version,
            grid_id=built.grid.id,
            created=self._clock.time(),
            rows=rows,
            source=source,
            provisional=provisional,
            active=active,
            period=period,
            profile=encode(built.profile),
            buckets=built.buckets,
            estimator=estimator,
            segments=built.segments,
        )

    @staticmethod
    def _grid(lane: Lane, batch: Batch) -> Grid:
        """A new grid; where no test of all columns together is asked for, nothing is counted for one."""
        together = bool(lane.config.drift.multivariate)
        return grid_of(batch, class_cap=lane.config.classes, multivariate=together)

    @staticmethod
    def _resolution(lane: Lane) -> float | None:
        return lane.resolution if lane.schema.timestamp is not None else None

    def _all_raw_deltas(self, lane: Lane, grid: Grid) -> tuple[list[Delta], list[str]]:
        """Profiles of the rows that waited for a grid; what does not fit it is left out and said."""
        deltas: list[Delta] = []
        misfits = 0
        for version, data in lane.raw:
            table = read_raw(data)
            try:
                batch = validate_raw(table, lane.schema_on(grid))
            except UnusableBatchError as error:
                log.warning("rows of model %s do not fit the new grid: %s", lane.name, error)
                misfits += table.num_rows
                continue
            misfits += table.num_rows - batch.rows
            for positions, past in halves(raw_past(table, batch.event_time)):
                part = batch if positions.size == batch.rows else batch.take(positions)
                deltas += self._raw_deltas(lane, grid, version, table, part, past=past)
            if batch.ids is not None and version == lane.config.champion:
                deltas += self._raw_pairs(lane, grid, batch.ids)
        return deltas, [f"{misfits} rows that waited for a grid do not fit this one."] if misfits else []

    def _raw_deltas(
        self, lane: Lane, grid: Grid, version: str, table: pa.Table, batch: Batch, *, past: bool
    ) -> list[Delta]:
        arrival, counts = raw_arrival(table)
        meters = meters_of(lane, version, grid)
        deltas = row_deltas(
            grid,
            batch,
            version,
            lane.segments,
            resolution=lane.resolution,
            arrival=None if past else arrival,
            threads=2,
            meters=meters,
        )
        tally_rows(lane, batch, lane.rules.evaluate(batch.table), deltas, -np.inf if past else arrival)
        if not past:
            tally_arrival(lane, counts, deltas, version, arrival)
        labels = self._known_labels(lane, batch, version)
        if labels is not None:
            # of labels that came by id it is not kept when they came
            inline = batch.outcomes.label
            delay = np.full(batch.rows, np.nan)
            if inline is not None and not past:
                delay = np.where(missing(inline), np.nan, np.maximum(arrival - batch.event_time, 0.0))
            outcomes = replace(batch.outcomes, label=labels, delay_seconds=delay)
            deltas += outcome_deltas(
                grid,
                outcomes,
                batch.event_time,
                batch.segments,
                version=version,
                segments=lane.segments,
                resolution=lane.resolution,
                meters=meters,
            )
        return for_history(deltas, arrival) if past else deltas

    def _raw_pairs(self, lane: Lane, grid: Grid, ids: pa.StringArray) -> list[Delta]:
        """What the champion's labelled rows add to comparisons with who answered the same ids."""
        with lane.lock:
            pairs = labelled_pairs(lane, lane.index.hash_ids(ids))
        return pair_deltas(lane, grid, pairs, self._store.payloads(lane.name, chunks_of(pairs)))

    @staticmethod
    def _known_labels(lane: Lane, batch: Batch, version: str | None) -> Codes | None:
        """Labels of raw rows: those joined by id, or those in the rows where there is no id."""
        if batch.ids is None:
            return batch.outcomes.label
        with lane.lock:
            matches = lane.index.find(lane.index.hash_ids(batch.ids))
            values = lane.index.labels_of(matches.slot)
            mine = ~np.isnan(values)
            if version is not None:
                names = np.array(list(lane.index.versions))
                mine &= names[matches.version_code] == version
            known = np.full(batch.rows, np.nan)
            known[matches.query[mine]] = values[mine]
        return None if np.isnan(known).all() else lane.labels.decode(known)

    # -- changing ----------------------------------------------------------------------------------

    def activate(self, lane: Lane, baseline_id: str) -> Answer:
        baseline = self.get(lane, baseline_id)
        with lane.gate.exclusive():
            if lane.grid is not None and baseline.grid_id != lane.grid.id:
                raise ConflictError(
                    f"baseline {baseline_id!r} is on an earlier grid; import its artifact with ?regrid=true",
                    code="other_grid",
                )
            self._store.activate_baseline(lane.name, baseline_id)
            instant = next_instant(lane, "activated", self._clock.time())
            note = Commit(model=lane.name, state={activation_key(baseline): instant})
            self._store.submit(note).result()
            with lane.lock:
                lane.count(note)
                lane.baselines[baseline_id] = replace(baseline, active=True)
                lane.only_active(lane.baselines[baseline_id])
                lane.dirty = True
        return Answer(200, self.describe(lane.baselines[baseline_id]))

    def roll_back(self, lane: Lane, version: str | None) -> Answer:
        """Activate the baseline that was active before, of one version or (None) of all."""
        with lane.lock:
            earlier = previous(lane, version)
        return self.activate(lane, earlier.id)

    def difference(self, lane: Lane, baseline_id: str, other_id: str | None) -> dict[str, Any]:
        """What changed from another baseline (the active one, where None is named) to this one."""
        one = self.get(lane, baseline_id)
        if other_id is not None:
            return difference(lane, one, self.get(lane, other_id))
        with lane.lock:
            active = [other for other in lane.baselines.values() if other.active and other.id != one.id]
            mine = [other for other in active if other.version == one.version] or active
        if not mine:
            raise ConflictError("there is no other active baseline; name one with ?with=", code="no_baseline")
        return difference(lane, one, max(mine, key=lambda other: other.created))

    def delete(self, lane: Lane, baseline_id: str) -> Answer:
        baseline = self.get(lane, baseline_id)
        with lane.gate.exclusive():
            self._store.delete_baseline(lane.name, baseline_id)
            with lane.lock:
                lane.forget_baseline(baseline_id)
                lane.dirty = True
        return Answer(200, {"id": baseline.id, "deleted": True})


def _left_out(batch: Batch) -> list[str]:
    if not batch.rejected:
        return []
    reasons = ", ".join(f"{count} {reason}" for reason, count in batch.rejected.items())
    return [f"Rows that cannot be used were left out: {reasons}."]


def check_fit(configured: Schema, made: Schema) -> None:
    """Refuse a baseline of a model with another task, other features, classes or kind of score.

    Raises
    ------
    ConflictError
        `other_schema`; the details say what differs.
    """
    wrong = []
    if made.task is not configured.task:
        wrong.append(f"its task is {made.task}, not {configured.task}")
    if configured.features is not None:
        wanted = {column.name: column.kind for column in configured.features}
        given = {column.name: column.kind for column in made.features or ()}
        names = sorted(name for name in wanted | given if wanted.get(name) != given.get(name))
        if names:
            wrong.append(f"its features differ in {', '.join(names[:20])}")
    if configured.score is not None and made.score is not None:
        if made.score_kind is not configured.score_kind:
            wrong.append(f"its scores are a {made.score_kind}, not a {configured.score_kind}")
        if configured.task is Task.MULTICLASS and _classes(made) != _classes(configured):
            wrong.append("its score columns stand for other classes")
    if wrong:
        raise ConflictError(
            f"the artifact was made for another kind of model: {'; '.join(wrong)}",
            code="other_schema",
            details=wrong,
        )


def _classes(schema: Schema) -> tuple[str, ...]:
    score = schema.score
    return tuple(name for name, _ in score) if isinstance(score, tuple) else ()


def past_window(lane: Lane, grid: Grid, span: Span, version: str | None) -> BuiltBaseline:
    """The buckets that begin in a span, of one version or of all together, and their total."""
    by_start: dict[int, Profile] = {}
    for name, state in lane.versions.items():
        if state.whole is None or version not in (None, name):
            continue
        for start, *_ in state.whole.coverage():
            if start in span:
                bucket = by_start.setdefault(start, Profile.empty(grid))
                bucket.add(state.whole.merged(Span(start, start + lane.resolution)))
    total = Profile.empty(grid)
    for bucket in by_start.values():
        total.add(bucket)
    kept = by_start.items() if len(by_start) <= MAX_BASELINE_BUCKETS else ()
    buckets = tuple((start, encode(bucket)) for start, bucket in sorted(kept))
    return BuiltBaseline(grid, total, buckets, past_parts(lane, grid, span, version))
