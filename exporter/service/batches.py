"""Rows of predictions: validated, admitted, profiled, committed, then counted in the windows."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.batch import Batch, Outcomes, validate_batch
from exporter.clock import Clock
from exporter.profiles import Grid, Profile
from exporter.service.admission import Admission, admit
from exporter.service.answers import Answer, Request, once
from exporter.service.joining import Join, join, join_deltas, last_of_each
from exporter.service.lane import Lane
from exporter.service.payload import payload_of
from exporter.service.profiling import merged, outcome_deltas, row_deltas
from exporter.store import Commit, Delta, LabelChunk, PredictionChunk, Store
from exporter.windows import bucket_starts

SECONDS_PER_DAY = 86_400
THREADED_ROWS = 50_000
"""From this many rows on, the columns of one batch are profiled by two threads."""


@dataclass
class _Admitted:
    """The rows of a batch that count, as the index knows them."""

    batch: Batch
    admission: Admission
    known: NDArray[np.float64]
    """Label of each row as a stored number; NaN where none has come."""
    known_arrival: NDArray[np.float64]
    chunks: list[PredictionChunk] = field(default_factory=list)
    inline: tuple[NDArray[np.uint64], NDArray[np.float64]] | None = None
    """Labels that came in the same rows, by id."""
    elsewhere: Join | None = None
    """What the inline labels meet in other versions."""
    taken: tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.float64]] | None = None


class BatchIngestion:
    """Takes batches of one exporter; safe to call from many threads."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def ingest(
        self, lane: Lane, table: pa.Table, version: str, request: Request, *, backfill: bool = False
    ) -> Answer:
        """Blocks until the rows are durable, then answers 202; a repeated request gets its first answer."""
        with once(self._store, lane, request) as earlier:
            if earlier is not None:
                return earlier
            arrival = self._clock.time()
            batch = validate_batch(
                table, lane.schema, now=arrival, future_tolerance=lane.config.future_tolerance
            )
            with lane.gate.shared():
                return self._take(lane, batch, version, request, arrival, backfill=backfill)

    def _take(
        self, lane: Lane, batch: Batch, version: str, request: Request, arrival: float, *, backfill: bool
    ) -> Answer:
        admitted = self._admit(lane, batch, version, arrival, backfill=backfill)
        try:
            commit, answer = self._commit(lane, admitted, batch, version, request, arrival)
            newest = admitted.batch.event_time.max() if admitted.batch.rows else None
            with lane.lock:
                if newest is not None and not backfill:
                    commit.state |= lane.announce(version, float(newest))
                future = self._store.submit(commit)
                for chunk in admitted.chunks:
                    lane.in_flight[chunk.id] = future
            future.result()
        except BaseException:
            self._undo(lane, admitted)
            raise
        with lane.lock:
            for chunk in admitted.chunks:
                lane.in_flight.pop(chunk.id, None)
            if lane.grid is None:
                lane.keep_raw(version, commit.rows, admitted.batch.rows)
            lane.apply(commit.deltas)
            lane.count(commit.counters)
            lane.state |= commit.state
            if newest is not None and not backfill:
                lane.advance(version, float(newest))
            lane.dirty = True
        return answer

    def _admit(self, lane: Lane, batch: Batch, version: str, arrival: float, *, backfill: bool) -> _Admitted:
        index = lane.index
        hashes = index.hash_ids(batch.ids) if batch.ids is not None else None
        with lane.lock:
            watermark = lane.version(version).watermark
            oldest = -np.inf if watermark is None or backfill else watermark - lane.config.lateness
            admission = admit(
                batch.event_time, hashes, oldest=oldest, seen=lambda wanted: index.seen(version, wanted)
            )
            rows = batch if admission.accepted.size == batch.rows else batch.take(admission.accepted)
            inline = np.full(batch.rows, np.nan)
            if batch.outcomes.label is not None:
                inline = lane.labels.encode(batch.outcomes.label)
            admitted = _Admitted(rows, admission, inline[admission.accepted], np.full(rows.rows, arrival))
            if hashes is None:
                return admitted
            came = ~np.isnan(inline)
            if came.any():
                # rows that were pushed before and now come with their label count as labels
                distinct, values, _ = last_of_each(hashes[came], inline[came])
                admitted.inline = (distinct, values)
                admitted.elsewhere = join(index, distinct, values, arrival)
                admitted.elsewhere.held = (np.empty(0, np.uint64), np.empty(0))
            accepted = hashes[admission.accepted]
            self._recall_labels(lane, admitted, accepted)
            self._index(lane, admitted, version, accepted)
            if admitted.elsewhere is not None:
                admitted.elsewhere.mark(index)
        return admitted

    @staticmethod
    def _recall_labels(lane: Lane, admitted: _Admitted, hashes: NDArray[np.uint64]) -> None:
        """Labels that came before their prediction, or for another version's prediction of the same id."""
        unknown = np.flatnonzero(np.isnan(admitted.known))
        query, values, arrivals = lane.index.take_held(hashes[unknown])
        if query.size:
            admitted.known[unknown[query]] = values
            admitted.known_arrival[unknown[query]] = arrivals
            admitted.taken = (hashes[unknown[query]], values, arrivals)
        unknown = np.flatnonzero(np.isnan(admitted.known))
        if unknown.size and len(lane.versions) > 1:
            matches = lane.index.find(hashes[unknown])
            labels = lane.index.labels_of(matches.slot)
            has = ~np.isnan(labels)
            admitted.known[unknown[matches.query[has]]] = labels[has]

    @staticmethod
    def _index(lane: Lane, admitted: _Admitted, version: str, hashes: NDArray[np.uint64]) -> None:
        payload = payload_of(admitted.batch)
        days = (admitted.batch.event_time // SECONDS_PER_DAY).astype(np.int64)
        for day in np.unique(days):
            positions = np.flatnonzero(days == day)
            part = payload if positions.size == hashes.size else payload.take(pa.array(positions))
            chunk = PredictionChunk(lane.index.next_chunk_id(), version, int(day), hashes[positions], part)
            lane.index.add(chunk)
            admitted.chunks.append(chunk)
        labeled = ~np.isnan(admitted.known)
        if labeled.any():
            matches = lane.index.find(hashes[labeled])
            own = np.isin(matches.chunk, [chunk.id for chunk in admitted.chunks])
            lane.index.set_labels(matches.slot[own], admitted.known[labeled][matches.query[own]])

    def _undo(self, lane: Lane, admitted: _Admitted) -> None:
        with lane.lock:
            if admitted.elsewhere is not None:
                admitted.elsewhere.unmark(lane.index)
            for chunk in admitted.chunks:
                lane.in_flight.pop(chunk.id, None)
                lane.index.discard(chunk.id)
            if admitted.taken is not None:
                for hashed, value, arrival in zip(*admitted.taken, strict=True):
                    lane.index.hold(np.array([hashed]), np.array([value]), float(arrival))

    def _commit(
        self, lane: Lane, admitted: _Admitted, batch: Batch, version: str, request: Request, arrival: float
    ) -> tuple[Commit, Answer]:
        rows = admitted.batch
        rejected = Counter(batch.rejected)
        rejected["late"] += admitted.admission.late
        rejected["duplicate"] += admitted.admission.duplicates
        labeled = int(np.count_nonzero(~np.isnan(admitted.known)))
        answer = Answer(
            202,
            {
                "batch_id": uuid.uuid4().hex,
                "rows": batch.received,
                "accepted": rows.rows,
                "rejected": batch.received - rows.rows,
                "reasons": {reason: count for reason, count in rejected.items() if count},
                "warnings": list(batch.warnings),
                "duplicate": False,
            },
        )
        commit = Commit(
            model=lane.name,
            answer=request.answered(answer, arrival),
            predictions=admitted.chunks,
            state={("last_batch", version): arrival},
        )
        commit.counters = {
            ("rows", version): rows.rows,
            ("batches", version): 1,
            ("labels", version): labeled,
        }
        for reason, count in rejected.items():
            if count:
                commit.counters["rejected", version, reason] = count
        if labeled:
            commit.state["last_label", version] = arrival
        if admitted.inline is not None:
            commit.labels = LabelChunk(*admitted.inline, arrival=arrival)
        if lane.grid is None:
            commit.rows = [(version, raw_rows(rows, arrival))] if rows.rows else []
            return commit, answer
        if ("bins_since", version, lane.grid.id) not in lane.state:
            commit.state["bins_since", version, lane.grid.id] = arrival
        commit.deltas = self._deltas(lane, lane.grid, admitted, batch, rejected, version, arrival)
        commit.counters |= bin_counters(
            lane.grid, merged(commit.deltas, lane.grid), version, lane.binned_columns()
        )
        return commit, answer

    def _deltas(
        self,
        lane: Lane,
        grid: Grid,
        admitted: _Admitted,
        batch: Batch,
        rejected: Counter[str],
        version: str,
        arrival: float,
    ) -> list[Delta]:
        rows = admitted.batch
        deltas = row_deltas(
            grid,
            rows,
            version,
            lane.segments,
            resolution=lane.resolution,
            arrival=arrival,
            threads=2 if rows.rows >= THREADED_ROWS else 1,
        )
        self._tally(lane, grid, deltas, admitted, batch, rejected, version, arrival)
        labeled = np.flatnonzero(~np.isnan(admitted.known))
        if labeled.size:
            labels = lane.labels.decode(admitted.known[labeled])
            part = rows if labeled.size == rows.rows else rows.take(labeled)
            outcomes = Outcomes(
                task=part.outcomes.task,
                prediction=part.outcomes.prediction,
                score=part.outcomes.score,
                label=labels,
                delay_seconds=np.maximum(0.0, admitted.known_arrival[labeled] - part.event_time),
            )
            deltas += outcome_deltas(
                grid,
                outcomes,
                part.event_time,
                part.segments,
                version,
                lane.segments,
                resolution=lane.resolution,
            )
        if admitted.elsewhere is not None and admitted.elsewhere.changed.any():
            payloads = self._store.payloads(lane.name, admitted.elsewhere.chunks())
            names = {code: name for code, name in enumerate(lane.index.versions)}
            deltas += join_deltas(lane, admitted.elsewhere, payloads, names)[0]
        return deltas

    @staticmethod
    def _tally(
        lane: Lane,
        grid: Grid,
        deltas: list[Delta],
        admitted: _Admitted,
        batch: Batch,
        rejected: Counter[str],
        version: str,
        arrival: float,
    ) -> None:
        """Add the small counts: rules, timeliness, rejected and repeated rows."""
        rows = admitted.batch
        wholes = {delta.bucket: delta.profile for delta in deltas if not delta.segment}
        starts = bucket_starts(rows.event_time, lane.resolution)
        judged = lane.rules.evaluate(rows.table)
        lane.note_rule_failures(judged.failures)
        for bucket, profile in wholes.items():
            positions = np.flatnonzero(starts == bucket)
            add_tallies(profile, (judged if positions.size == rows.rows else judged.take(positions)).tallies)
            if lane.config.quality.timeliness is not None:
                delay = arrival - rows.event_time[positions]
                timely = int(np.count_nonzero(delay <= lane.config.quality.timeliness))
                add_tallies(profile, {("timely",): timely})
        newest = max(wholes, default=None)
        if newest is None:
            watermark = lane.version(version).watermark
            newest = int(
                bucket_starts(np.array([arrival if watermark is None else watermark]), lane.resolution)[0]
            )
            wholes[newest] = Profile.empty(grid)
            deltas.append(Delta(version, "", newest, wholes[newest]))
        small: dict[tuple[str, ...], int] = {("received",): batch.received}
        small |= {("rejected", reason): count for reason, count in rejected.items() if count}
        small |= {("invalid", column): count for column, count in batch.invalid.items() if count}
        if batch.ids is not None:
            small["duplicate",] = admitted.admission.duplicates
        add_tallies(wholes[newest], small)


def add_tallies(profile: Profile, tallies: Any) -> None:
    for key, count in tallies.items():
        profile.tallies[key] = profile.tallies.get(key, 0) + count


RAW_EVENT_TIME = "\x1fevent_time"
RAW_ARRIVAL = "\x1farrival"
"""Columns that are kept with raw rows; control characters keep them apart from the user's own."""


def raw_rows(batch: Batch, arrival: float) -> bytes:
    """Rows as they came, in Arrow's stream format, to be profiled once a grid exists."""
    sink = pa.BufferOutputStream()
    table = batch.table.append_column(RAW_EVENT_TIME, pa.array(batch.event_time))
    table = table.append_column(RAW_ARRIVAL, pa.array(np.full(batch.rows, arrival)))
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def bin_counters(
    grid: Grid, total: Profile, version: str, columns: Sequence[str]
) -> dict[tuple[str, ...], float]:
    """Increments of the per-bin counters: ("bins", version, grid, column, bin)."""
    increments: dict[tuple[str, ...], float] = {}
    for column in columns:
        names = grid.columns[column].coarse.names
        for name, count in zip(names, total.coarse_counts(column), strict=True):
            if count:
                increments["bins", version, grid.id, column, name] = int(count)
    return increments
