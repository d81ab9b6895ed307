"""Rows of predictions: validated, admitted, profiled, committed, then counted in the windows."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from exporter.batch import Batch, validate_batch
from exporter.clock import Clock
from exporter.errors import ConflictError, UnusableBatchError
from exporter.profiles import Grid
from exporter.rules import RuleOutcome
from exporter.schema import Task
from exporter.service.answers import Answer, Request, once
from exporter.service.comparing.pairs import Pairs, chunks_of, labelled_pairs, pair_deltas
from exporter.service.ingestion.admission import Admission, admit
from exporter.service.ingestion.backfilling import (
    for_history,
    halves,
    marks_of,
    past_before,
    waiting_days,
    with_past,
)
from exporter.service.ingestion.grouping import group_deltas, in_flight, with_hashes
from exporter.service.ingestion.joining import Join, join, join_deltas, last_of_each
from exporter.service.ingestion.meters import meters_of
from exporter.service.ingestion.payload import payload_of
from exporter.service.ingestion.profiling import merged, outcome_deltas, row_deltas
from exporter.service.ingestion.tallies import arrival_tallies, rejected_tallies, tally_arrival, tally_rows
from exporter.service.lane import Lane
from exporter.store import NOT_JOINED, Commit, Delta, LabelChunk, PredictionChunk, Store
from exporter.windows import bucket_starts

SECONDS_PER_DAY = 86_400
MAX_RAW_BYTES = 256 * 2**20
"""Rows without a grid are kept as they came, up to this size a model."""
SHORT_ROWS = 2_000
LONG_AT_ONCE = 2
"""Batches of up to so many rows are computed one after the other: between any two of their many short steps
another one may take the interpreter and the caches. The steps of longer ones are long enough for two."""
MAX_BUCKETS = 4096
MAX_PROFILE_CELLS = 2**27
"""Buckets that the rows of one batch may fall into, and cells of their profiles in all (8 bytes each)."""
THREADED_ROWS = 50_000
"""From this many rows on, the columns of one batch are profiled by two threads."""


@dataclass(frozen=True)
class _Push:
    """One request: the usable rows, and where they belong."""

    lane: Lane
    batch: Batch
    version: str
    request: Request
    arrival: float
    backfill: bool
    hashes: NDArray[np.uint64] | None
    """Of the ids of the usable rows; None without ids."""


@dataclass
class _Admitted:
    """The rows of a batch that count, as the index knows them."""

    batch: Batch
    admission: Admission
    known: NDArray[np.float64]
    """Label of each row as a stored number; NaN where none has come."""
    known_arrival: NDArray[np.float64]
    """When it came; NaN where that is not known any more."""
    past: NDArray[np.bool_]
    """Which rows count in the history only."""
    days: NDArray[np.int64]
    """Days under which predictions wait for their labels."""
    hashes: NDArray[np.uint64] | None = None
    """Of the ids of the rows; None without ids."""
    chunks: list[PredictionChunk] = field(default_factory=list)
    inline: tuple[NDArray[np.uint64], NDArray[np.float64]] | None = None
    """Labels that came in the same rows, by id."""
    elsewhere: Join | None = None
    """What the inline labels meet in other versions."""
    pairs: list[Pairs] = field(default_factory=list)
    """Labelled rows whose ids the other side of a comparison has answered too."""
    taken: tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.float64]] | None = None


class BatchIngestion:
    """Takes batches of one exporter; safe to call from many threads."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._short = threading.Lock()
        self._long = threading.Semaphore(LONG_AT_ONCE)

    def ingest(
        self, lane: Lane, table: pa.Table, version: str, request: Request, *, backfill: bool = False
    ) -> Answer:
        """Blocks until the rows are durable, then answers 202; a repeated request gets its first answer.

        A backfill never moves the watermark. Its rows older than the lateness are taken for the history only:
        they enter no window of now and no per-bin counter.
        """
        with once(self._store, lane, request) as earlier:
            if earlier is not None:
                return earlier
            with lane.gate.shared():
                arrival = self._clock.time()
                batch = self._validate(lane, table, version, arrival)
                with self._computing(batch.rows):
                    hashes = lane.index.hash_ids(batch.ids) if batch.ids is not None else None
                push = _Push(lane, batch, version, request, arrival, backfill, hashes)
                labeled = batch.outcomes.label is not None
                with lane.flights.of(in_flight(lane, hashes, labels=labeled)):
                    with self._computing(batch.rows):
                        admitted = self._admit(push)
                    return self._take(push, admitted)

    def _computing(self, rows: int) -> AbstractContextManager[Any]:
        """A turn at computing a batch of so many rows."""
        return self._short if rows <= SHORT_ROWS else self._long

    def _validate(self, lane: Lane, table: pa.Table, version: str, arrival: float) -> Batch:
        try:
            with self._computing(table.num_rows):
                return validate_batch(
                    table, lane.schema, now=arrival, future_tolerance=lane.config.future_tolerance
                )
        except UnusableBatchError as error:
            if error.rejected:
                self._count_rejected(lane, error, version, arrival)
            raise

    def _count_rejected(self, lane: Lane, error: UnusableBatchError, version: str, arrival: float) -> None:
        """Count rows of which none is usable: a sender that went wrong altogether must show."""
        commit = Commit(model=lane.name)
        commit.counters = {("rejected", version, reason): count for reason, count in error.rejected.items()}
        if version in lane.versions:
            counts = rejected_tallies(sum(error.rejected.values()), error.rejected, error.invalid)
            tally_arrival(lane, counts, commit.deltas, version, arrival)
        self._store.submit(commit).result()
        with lane.lock:
            lane.apply(commit.deltas)
            lane.count(commit)
            lane.dirty = True

    def _take(self, push: _Push, admitted: _Admitted) -> Answer:
        lane, version = push.lane, push.version
        try:
            # rules may take seconds: no other batch waits for these
            judged = None if lane.grid is None else lane.rules.evaluate(admitted.batch.table)
            with self._computing(push.batch.rows):
                commit, answer = self._commit(push, admitted, judged)
            newest = admitted.batch.event_time.max() if admitted.batch.rows else None
            with lane.lock:
                commit.marks = marks_of(lane, commit.deltas)
                if newest is not None and not push.backfill:
                    commit.state |= lane.announce(version, float(newest))
                future = self._store.submit(commit)
            future.result()
        except BaseException:
            self._undo(lane, admitted)
            raise
        with lane.lock:
            if lane.grid is None:
                lane.keep_raw(version, commit.rows, admitted.batch.rows)
            lane.apply(commit.deltas)
            lane.count(commit)
            if newest is not None and not push.backfill:
                lane.advance(version, float(newest))
            lane.dirty = True
        return answer

    @classmethod
    def _admit(cls, push: _Push) -> _Admitted:
        lane, batch, version, arrival = push.lane, push.batch, push.version, push.arrival
        index = lane.index
        hashes = push.hashes
        with lane.lock:
            watermark = lane.version(version).watermark
            oldest = -np.inf if watermark is None or push.backfill else watermark - lane.config.lateness
            admission = admit(
                batch.event_time, hashes, oldest=oldest, seen=lambda wanted: index.seen(version, wanted)
            )
            if admission.accepted.size == batch.rows:
                rows = replace(batch, received=batch.rows, rejected={}, invalid={})
            else:
                rows = batch.take(admission.accepted)
            inline = np.full(batch.rows, np.nan)
            if batch.outcomes.label is not None:
                inline = lane.labels.encode(batch.outcomes.label)
            check_spread(lane, rows.event_time)
            before = past_before(lane, version, arrival) if push.backfill else -np.inf
            past = rows.event_time < before
            admitted = _Admitted(
                rows,
                admission,
                inline[admission.accepted],
                np.full(rows.rows, arrival),
                past,
                waiting_days(lane, version, rows.event_time, past, arrival),
            )
            if hashes is None:
                return admitted
            accepted = admitted.hashes = hashes[admission.accepted]
            payload = with_hashes(lane, with_past(payload_of(rows), past), accepted)
            came = ~np.isnan(inline)
            if came.any():
                # rows that were pushed before and now come with their label count as labels
                distinct, values, _ = last_of_each(hashes[came], inline[came])
                admitted.inline = (distinct, values)
                admitted.elsewhere = join(index, distinct, values, arrival)
                admitted.elsewhere.held = (np.empty(0, np.uint64), np.empty(0))
            cls._recall_labels(lane, admitted, accepted)
            cls._index(lane, admitted, version, accepted, payload)
            if admitted.elsewhere is not None:
                admitted.elsewhere.mark(index)
            labeled = ~np.isnan(admitted.known) & ~past
            admitted.pairs = labelled_pairs(lane, accepted[labeled], version=version)
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
            admitted.known_arrival[unknown[matches.query[has]]] = np.nan

    @staticmethod
    def _index(
        lane: Lane,
        admitted: _Admitted,
        version: str,
        hashes: NDArray[np.uint64],
        payload: pa.RecordBatch,
    ) -> None:
        for day in np.unique(admitted.days):
            positions = np.flatnonzero(admitted.days == day)
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
                lane.index.discard(chunk.id)
            if admitted.taken is not None:
                lane.index.hold(*admitted.taken)

    def _commit(self, push: _Push, admitted: _Admitted, judged: RuleOutcome | None) -> tuple[Commit, Answer]:
        lane, batch, version, arrival = push.lane, push.batch, push.version, push.arrival
        rows = admitted.batch
        rejected = Counter(batch.rejected)
        rejected["late"] += admitted.admission.late
        rejected["duplicate"] += admitted.admission.duplicates
        labeled = int(np.count_nonzero(~np.isnan(admitted.known)))
        history_only = {"history_only": int(admitted.past.sum())} if push.backfill else {}
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
                **history_only,
            },
        )
        now = not admitted.past.size or not admitted.past.all()
        commit = Commit(
            model=lane.name,
            answer=push.request.answered(answer, arrival),
            predictions=admitted.chunks,
            state={("last_batch", version): arrival} if now else {},
        )
        commit.counters = {
            ("rows", version): rows.rows,
            ("batches", version): 1,
            ("labels", version): labeled,
        }
        for reason, count in rejected.items():
            if count:
                commit.counters["rejected", version, reason] = count
        if labeled and now:
            commit.state["last_label", version] = arrival
        commit.labels = self._labels(admitted, arrival)
        if lane.grid is None or judged is None:
            check_room(lane)
            counts = self._left_out(push, admitted, rejected)
            commit.rows = [(version, raw_rows(rows, arrival, counts, admitted.past))] if rows.rows else []
            return commit, answer
        if ("bins_since", version, lane.grid.id) not in lane.state:
            commit.state["bins_since", version, lane.grid.id] = arrival
        commit.deltas = self._deltas(push, lane.grid, admitted, judged, rejected)
        commit.bins[version, lane.grid.id] = lane.bin_index(lane.grid).count(merged(commit.deltas, lane.grid))
        return commit, answer

    @staticmethod
    def _labels(admitted: _Admitted, arrival: float) -> LabelChunk | None:
        """What is known of labels by now: of the rows themselves, and of rows that came before.

        Labels that were recalled for these rows are written again, so that they live as long as the rows do.
        """
        if admitted.hashes is None:
            return None
        own = ~np.isnan(admitted.known)
        hashes, values = admitted.hashes[own], admitted.known[own]
        days = admitted.days[own].astype(np.int32)
        if admitted.inline is not None and admitted.elsewhere is not None:
            matches = admitted.elsewhere.matches
            joined = np.full(admitted.inline[0].size, NOT_JOINED, dtype=np.int32)
            np.maximum.at(joined, matches.query, matches.day.astype(np.int32))
            others = (joined != NOT_JOINED) & ~np.isin(admitted.inline[0], hashes)
            hashes = np.concatenate((hashes, admitted.inline[0][others]))
            values = np.concatenate((values, admitted.inline[1][others]))
            days = np.concatenate((days, joined[others]))
        return LabelChunk(hashes, values, arrival=arrival, days=days) if hashes.size else None

    @staticmethod
    def _left_out(push: _Push, admitted: _Admitted, rejected: Counter[str]) -> dict[tuple[str, ...], int]:
        return arrival_tallies(
            push.batch,
            rejected,
            profiled=admitted.batch.rows,
            duplicates=admitted.admission.duplicates,
        )

    def _deltas(
        self,
        push: _Push,
        grid: Grid,
        admitted: _Admitted,
        judged: RuleOutcome,
        rejected: Counter[str],
    ) -> list[Delta]:
        lane, version, arrival = push.lane, push.version, push.arrival
        deltas: list[Delta] = []
        for positions, past in halves(admitted.past):
            deltas += self._half(push, grid, admitted, judged, positions, past=past)
            if not past:
                tally_arrival(lane, self._left_out(push, admitted, rejected), deltas, version, arrival)
        if admitted.elsewhere is not None and admitted.elsewhere.changed.any():
            payloads = self._store.payloads(lane.name, admitted.elsewhere.chunks())
            names = dict(enumerate(lane.index.versions))
            deltas += join_deltas(lane, admitted.elsewhere, payloads, names)[0]
            deltas += group_deltas(lane, admitted.elsewhere, payloads)
        if admitted.pairs:
            own = {chunk.id: chunk.payload for chunk in admitted.chunks}
            others = chunks_of(admitted.pairs) - own.keys()
            stored = self._store.payloads(lane.name, others)
            deltas += pair_deltas(lane, grid, admitted.pairs, {**stored, **own})
        return deltas

    @staticmethod
    def _half(
        push: _Push,
        grid: Grid,
        admitted: _Admitted,
        judged: RuleOutcome,
        positions: NDArray[np.intp],
        *,
        past: bool,
    ) -> list[Delta]:
        """Profiles of the rows of now, or of those of the past."""
        lane, version, arrival = push.lane, push.version, push.arrival
        meters = meters_of(lane, version)
        whole = positions.size == admitted.batch.rows
        rows = admitted.batch if whole else admitted.batch.take(positions)
        deltas = row_deltas(
            grid,
            rows,
            version,
            lane.segments,
            resolution=lane.resolution,
            arrival=None if past else arrival,
            threads=2 if rows.rows >= THREADED_ROWS else 1,
            meters=meters,
        )
        tally_rows(
            lane, rows, judged if whole else judged.take(positions), deltas, -np.inf if past else arrival
        )
        labeled = positions[~np.isnan(admitted.known[positions])]
        if labeled.size and lane.schema.task is Task.RANKING:
            labeled = positions  # a group is judged by all its rows
        if labeled.size:
            part = admitted.batch if labeled.size == admitted.batch.rows else admitted.batch.take(labeled)
            delay = np.maximum(0.0, admitted.known_arrival[labeled] - part.event_time)
            outcomes = replace(
                part.outcomes,
                label=lane.labels.decode(admitted.known[labeled]),
                delay_seconds=np.full(labeled.size, np.nan) if past else delay,
            )
            deltas += outcome_deltas(
                grid,
                outcomes,
                part.event_time,
                part.segments,
                version=version,
                segments=lane.segments,
                resolution=lane.resolution,
                meters=meters,
            )
        return for_history(deltas, arrival) if past else deltas


def check_room(lane: Lane) -> None:
    """Refuse rows when too many wait for a first baseline already; nothing that was taken is dropped."""
    waiting = sum(len(data) for _, data in lane.raw)
    if waiting > MAX_RAW_BYTES:
        raise ConflictError(
            f"{lane.raw_rows} rows ({waiting >> 20} MiB) wait for a first baseline of model {lane.name!r}; "
            "push one to .../baselines, then repeat this request",
            code="no_baseline",
        )


def check_spread(lane: Lane, event_time: NDArray[np.float64]) -> None:
    """Refuse rows of so many buckets that their profiles take more memory and time than a request may."""
    buckets = np.unique(bucket_starts(event_time, lane.resolution)).size
    cells = lane.grid.layout.cells if lane.grid is not None else 1
    most = max(1, min(MAX_BUCKETS, MAX_PROFILE_CELLS // cells))
    if buckets > most:
        raise UnusableBatchError(
            f"expected rows of at most {most} buckets of {lane.resolution:g} s, but of {buckets} came; "
            "send rows in the order of their times, fewer at once",
            code="too_many_buckets",
        )


RAW_EVENT_TIME = "\x1fevent_time"
"""A column that is kept with raw rows; the control character keeps it apart from the user's own."""
RAW_ARRIVAL = "arrival"
RAW_TALLIES = "tallies"
RAW_PAST = "newest_past"
"""Keys of what is kept beside raw rows, in the metadata of their schema."""


def raw_rows(
    batch: Batch, arrival: float, tallies: Mapping[tuple[str, ...], int], past: NDArray[np.bool_]
) -> bytes:
    """Rows as they came, in Arrow's stream format, to be profiled once a grid exists.

    Rows of the past are told apart by their time: they are older than all others of a batch.
    """
    table = batch.table.append_column(RAW_EVENT_TIME, pa.array(batch.event_time))
    counts = orjson.dumps([[key, count] for key, count in tallies.items()])
    newest_past = float(batch.event_time[past].max()) if past.any() else -np.inf
    schema = table.schema.with_metadata(
        {RAW_ARRIVAL: repr(arrival), RAW_TALLIES: counts, RAW_PAST: repr(newest_past)}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(table.replace_schema_metadata(schema.metadata))
    return bytes(sink.getvalue())


def raw_arrival(table: pa.Table) -> tuple[float, dict[tuple[str, ...], int]]:
    """When raw rows came, and what was counted of their batch."""
    metadata = table.schema.metadata
    counts = orjson.loads(metadata[RAW_TALLIES.encode()])
    return float(metadata[RAW_ARRIVAL.encode()]), {tuple(key): count for key, count in counts}


def raw_past(table: pa.Table, event_time: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of raw rows are of the past."""
    return event_time <= float(table.schema.metadata[RAW_PAST.encode()])
