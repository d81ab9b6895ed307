"""Labels that come after their predictions: joined by id, committed, then counted in the windows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.batch import LabelBatch, validate_labels
from exporter.clock import Clock
from exporter.errors import UnusableBatchError
from exporter.service.answers import Answer, Request, once
from exporter.service.ingestion.backfilling import marks_of
from exporter.service.ingestion.grouping import group_deltas, in_flight
from exporter.service.ingestion.joining import Join, join, join_deltas, last_of_each
from exporter.service.ingestion.tallies import NO_VERSION
from exporter.service.lane import Lane
from exporter.store import NOT_JOINED, Commit, LabelChunk, Store


class LabelIngestion:
    """Takes labels of one exporter; safe to call from many threads."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def ingest(self, lane: Lane, table: pa.Table, request: Request) -> Answer:
        """Blocks until the labels are durable, then answers 202 with what became of them.

        `matched` labels met a prediction, `pending` ones wait for theirs, `duplicates` say again what is
        known, `corrected` ones replace an earlier label (the last wins).
        """
        if lane.schema.id is None:
            raise UnusableBatchError(
                f"labels are joined by id, but model {lane.name!r} has no columns.id; push them with the rows"
            )
        with once(self._store, lane, request) as earlier:
            if earlier is not None:
                return earlier
            arrival = self._clock.time()
            batch = self._validate(lane, table)
            with lane.gate.shared():
                hashes = lane.index.hash_ids(batch.ids)
                with lane.flights.of(in_flight(lane, hashes, labels=True)):
                    return self._take(lane, batch, hashes, request, arrival)

    def _validate(self, lane: Lane, table: pa.Table) -> LabelBatch:
        try:
            return validate_labels(table, lane.schema)
        except UnusableBatchError as error:
            if error.rejected:
                commit = Commit(model=lane.name, counters=_rejections(error.rejected))
                with lane.gate.shared():
                    self._store.submit(commit).result()
                    with lane.lock:
                        lane.count(commit)
                        lane.dirty = True
            raise

    def _take(
        self, lane: Lane, batch: LabelBatch, hashes: NDArray[np.uint64], request: Request, arrival: float
    ) -> Answer:
        with lane.lock:
            distinct, values, repeated = last_of_each(hashes, lane.labels.encode(batch.label))
            joined = join(lane.index, distinct, values, arrival)
            joined.mark(lane.index)
        try:
            commit, answer = self._commit(
                lane,
                joined,
                batch,
                labels=(distinct, values),
                repeated=repeated,
                request=request,
                arrival=arrival,
            )
            with lane.lock:
                commit.marks = marks_of(lane, commit.deltas)
            self._store.submit(commit).result()
        except BaseException:
            with lane.lock:
                joined.unmark(lane.index)
            raise
        with lane.lock:
            lane.apply(commit.deltas)
            lane.count(commit)
            lane.dirty = True
        return answer

    def _commit(
        self,
        lane: Lane,
        joined: Join,
        batch: LabelBatch,
        *,
        labels: tuple[np.ndarray, np.ndarray],
        repeated: int,
        request: Request,
        arrival: float,
    ) -> tuple[Commit, Answer]:
        payloads = self._store.payloads(lane.name, joined.chunks()) if joined.changed.any() else {}
        names = dict(enumerate(lane.index.versions))
        deltas, labeled = join_deltas(lane, joined, payloads, names)
        deltas += group_deltas(lane, joined, payloads)
        answer = Answer(
            202,
            {
                "rows": batch.received,
                "accepted": int(labels[0].size) + repeated,
                "rejected": batch.received - int(labels[0].size) - repeated,
                "reasons": dict(batch.rejected),
                "matched": joined.matched,
                "pending": joined.pending,
                "duplicates": joined.duplicates + repeated,
                "corrected": joined.corrected,
                "warnings": list(batch.warnings),
                "duplicate": False,
            },
        )
        days = np.full(labels[0].size, NOT_JOINED, dtype=np.int32)
        np.maximum.at(days, joined.matches.query, joined.matches.day.astype(np.int32))
        commit = Commit(
            model=lane.name,
            deltas=deltas,
            answer=request.answered(answer, arrival),
            labels=LabelChunk(*labels, arrival=arrival, days=days),
        )
        commit.counters = _rejections(batch.rejected)
        commit.counters |= {("labels", version): count for version, count in labeled.items()}
        commit.state = {("last_label", version): arrival for version in labeled}
        commit.state |= lane.class_codes()
        return commit, answer


def _rejections(rejected: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    """Rejected rows by reason, as they are counted; whose version's rows the labels were for nobody knows."""
    return {("rejected", NO_VERSION, reason): count for reason, count in rejected.items() if count}
