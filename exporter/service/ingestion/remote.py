"""Profiles that were made elsewhere: checked against the model's grid and time, committed, then counted."""

from __future__ import annotations

import numpy as np

from exporter.clock import Clock
from exporter.errors import ConflictError, UnusableBatchError
from exporter.profilefile import ProfileFile, grid_id_of, read_profiles
from exporter.service.answers import Answer, Request, once
from exporter.service.evaluation.estimates import total_sizes
from exporter.service.ingestion.backfilling import marks_of
from exporter.service.ingestion.profiling import merged
from exporter.service.ingestion.slices import slice_meter
from exporter.service.lane import Lane
from exporter.statistics.ratio import WIDTH
from exporter.store import Commit, Delta, Store


class ProfileIngestion:
    """Takes profile files of one exporter; safe to call from many threads."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def ingest(self, lane: Lane, data: bytes, version: str, request: Request) -> Answer:
        """Blocks until the profiles are durable, then answers 202; a repeated request gets its first answer.

        Raises
        ------
        ConflictError
            They were made on another grid than the model's current one.
        UnusableBatchError
            Their times lie in the future, or their buckets do not fit into the model's.
        """
        with once(self._store, lane, request) as earlier:
            if earlier is not None:
                return earlier
            made_on = grid_id_of(data)
            with lane.gate.shared():
                grid = lane.grid
                if grid is None or made_on != grid.id:
                    current = grid.id if grid is not None else None
                    raise ConflictError(
                        f"the profile was made on grid {made_on}, the model's current grid is {current}",
                        code="stale_grid",
                        details=[{"current": current, "sent": made_on}],
                    )
                pushed = read_profiles(data, grid)
                self._check_times(lane, pushed)
                check_totals(lane, pushed)
                return self._take(lane, pushed, version, request)

    def _check_times(self, lane: Lane, pushed: ProfileFile) -> None:
        if pushed.newest_event > self._clock.time() + lane.config.future_tolerance:
            raise UnusableBatchError("the profile's newest event lies in the future")
        if any(start > pushed.newest_event for start, _ in pushed.buckets):
            raise UnusableBatchError("the profile has buckets that begin after its newest event")
        last = max((start for start, _ in pushed.buckets), default=None)
        if last is not None and pushed.newest_event >= last + pushed.resolution:
            raise UnusableBatchError("the profile's newest event lies after its last bucket")
        if lane.resolution % pushed.resolution:
            raise UnusableBatchError(
                f"the profile's buckets are {pushed.resolution:g} s wide, those of model {lane.name!r} "
                f"{lane.resolution:g} s; make it with resolution={lane.resolution:g}"
            )

    def _take(self, lane: Lane, pushed: ProfileFile, version: str, request: Request) -> Answer:
        grid, now = pushed.grid, self._clock.time()
        with lane.lock:
            watermark = lane.version(version).watermark
        oldest = -np.inf if watermark is None else watermark - lane.config.lateness
        deltas, late = [], 0
        for start, profile in pushed.buckets:
            if start + pushed.resolution <= oldest:
                late += profile.rows
            else:
                bucket = int(start // lane.resolution * lane.resolution)
                deltas.append(Delta(version, "", bucket, profile))
        total = merged(deltas, grid)
        answer = Answer(
            202,
            {
                "rows": total.rows + late,
                "accepted": total.rows,
                "rejected": late,
                "reasons": {"late": late} if late else {},
                "buckets": len(deltas),
                "warnings": [],
                "duplicate": False,
            },
        )
        commit = Commit(model=lane.name, deltas=deltas, answer=request.answered(answer, now))
        commit.counters = {
            ("rows", version): total.rows,
            ("batches", version): 1,
            ("labels", version): total.labeled_rows,
        }
        commit.bins[version, grid.id] = lane.bin_index(grid).count(total)
        if late:
            commit.counters["rejected", version, "late"] = late
        commit.state = {("last_batch", version): now}
        if total.labeled_rows:
            commit.state["last_label", version] = now
        if ("bins_since", version, grid.id) not in lane.state:
            commit.state["bins_since", version, grid.id] = now
        with lane.lock:
            commit.marks = marks_of(lane, deltas)
            if deltas:
                commit.state |= lane.announce(version, pushed.newest_event)
            future = self._store.submit(commit)
        future.result()
        with lane.lock:
            lane.apply(deltas)
            lane.count(commit)
            if deltas:
                lane.advance(version, pushed.newest_event)
            lane.dirty = True
        return answer


def check_totals(lane: Lane, pushed: ProfileFile) -> None:
    """Refuse sums of custom metrics and slices that could not be added to the model's own.

    Raises
    ------
    UnusableBatchError
        `other_totals`.
    """
    slices = slice_meter(lane, pushed.grid)
    sizes = {measure.key: WIDTH for measure in lane.custom.measures}
    sizes |= {} if slices is None else slices.sizes
    sizes |= total_sizes(lane)
    for _, profile in pushed.buckets:
        for key, vector in profile.outcomes.totals.items():
            if sizes.get(key, vector.size) != vector.size:
                raise UnusableBatchError(
                    f"expected {sizes[key]} sums of {' '.join(key)[:200]} in the profile, got {vector.size}",
                    code="other_totals",
                )
