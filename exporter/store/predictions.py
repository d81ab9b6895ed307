"""Predictions that wait for their labels, found by the keyed hash of their id.

In memory a prediction takes 12 bytes for hash and place, and one to eight more once labels come to its
neighbourhood. What the join needs besides (scores, segments) stays on disk and is read by chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas.util import hash_array

from exporter.store.labels import HeldLabels, LabelBlocks
from exporter.store.runs import LARGEST_RUN, HashRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa
    from numpy.typing import NDArray

    from exporter.store.records import PredictionChunk

DEAD_SHARE = 4
"""Rows of expired chunks are swept out of the runs once they are more than one in this many."""

SPARSE_SPAN = 8
"""Up to this many slots a row, a sweep looks slots up in a plain array instead of the table of chunks."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Predictions that were found, ascending by query, then by age; all arrays are (m,).

    Attributes
    ----------
    query : intp array
        Position in the hashes asked for; one position has as many matches as versions saw the id.
    version_code : intp array
        Position in :attr:`PredictionIndex.versions`.
    chunk, row : int64 arrays
        Chunk id and row in its payload.
    day : int32 array
        Event day, days since the Unix epoch.
    slot : int64 array
        For :meth:`PredictionIndex.labels_of` and :meth:`PredictionIndex.set_labels`; stays valid.
    """

    query: NDArray[np.intp]
    version_code: NDArray[np.intp]
    chunk: NDArray[np.int64]
    row: NDArray[np.int64]
    day: NDArray[np.int32]
    slot: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.query)


class ChunkTable:
    """The chunks of the index by slot: each covers the slots from `first` on, one a row."""

    def __init__(self) -> None:
        self.size = 0
        self._first = np.empty(64, np.int64)
        self._rows = np.empty(64, np.int64)
        self._id = np.empty(64, np.int64)
        self._version = np.empty(64, np.int32)
        self._day = np.empty(64, np.int32)
        self._alive = np.empty(64, np.bool_)

    def _columns(self) -> tuple[str, ...]:
        return ("_first", "_rows", "_id", "_version", "_day", "_alive")

    @property
    def first(self) -> NDArray[np.int64]:
        return self._first[: self.size]

    @property
    def rows(self) -> NDArray[np.int64]:
        return self._rows[: self.size]

    @property
    def id(self) -> NDArray[np.int64]:
        return self._id[: self.size]

    @property
    def version(self) -> NDArray[np.int32]:
        return self._version[: self.size]

    @property
    def day(self) -> NDArray[np.int32]:
        return self._day[: self.size]

    @property
    def alive(self) -> NDArray[np.bool_]:
        return self._alive[: self.size]

    @property
    def nbytes(self) -> int:
        return sum(int(getattr(self, name).nbytes) for name in self._columns())

    def append(self, first: int, rows: int, chunk_id: int, version: int, day: int) -> None:
        if self.size == len(self._first):
            for name in self._columns():
                column = getattr(self, name)
                setattr(self, name, np.concatenate((column, np.empty_like(column))))
        at = self.size
        self._first[at], self._rows[at], self._id[at] = first, rows, chunk_id
        self._version[at], self._day[at], self._alive[at] = version, day, True
        self.size += 1

    def sweep(self) -> None:
        """Forget the chunks that are not alive."""
        kept = np.flatnonzero(self.alive)
        for name in self._columns():
            setattr(self, name, getattr(self, name)[: self.size][kept])
        self.size = len(kept)
        if not self.size:
            self.__init__()  # type: ignore[misc]  # start anew with room to grow

    def locate(self, slots: NDArray[np.int64]) -> NDArray[np.intp]:
        """Positions of the chunks that the slots belong to."""
        return np.searchsorted(self.first, slots, side="right") - 1


class PredictionIndex:
    """Where each pending prediction of one model is, and which label it has.

    Not thread-safe: the caller holds the model's lock.

    Parameters
    ----------
    key : bytes
        16 ASCII bytes, random, secret and kept in the store, so that nobody can make ids collide.
    """

    def __init__(self, key: bytes, *, largest_run: int = LARGEST_RUN) -> None:
        self.key = key
        self.versions: list[str] = []
        self._codes: dict[str, int] = {}
        self._runs = HashRuns(largest_run)
        self._chunks = ChunkTable()
        self._labels = LabelBlocks()
        self._held = HeldLabels()
        self._next_slot = 0
        self._next_chunk_id = 1
        self._dead = 0

    # -- ids and sizes -----------------------------------------------------------------------------

    def hash_ids(self, ids: pa.StringArray) -> NDArray[np.uint64]:
        """SipHash-2-4 of the ids' UTF-8 text, uint64 (n,); needs no lock."""
        texts = ids.to_numpy(zero_copy_only=False).astype(object, copy=False)
        hashes = hash_array(texts, hash_key=self.key.decode("ascii"), categorize=False)
        return np.asarray(hashes, dtype=np.uint64)

    def next_chunk_id(self) -> int:
        chunk_id = self._next_chunk_id
        self._next_chunk_id += 1
        return chunk_id

    @property
    def pending(self) -> int:
        """Predictions that a label can still join, labelled ones included: labels may be corrected."""
        return len(self._runs) - self._dead

    @property
    def held(self) -> int:
        """Labels whose prediction has not come yet."""
        return len(self._held)

    @property
    def memory_bytes(self) -> int:
        return self._runs.nbytes + self._chunks.nbytes + self._labels.nbytes + self._held.nbytes

    # -- predictions -------------------------------------------------------------------------------

    def add(self, chunk: PredictionChunk) -> None:
        """Add a chunk; its rows are found at once."""
        self.restore([(chunk.id, chunk.version, chunk.day, chunk.hashes)])

    def restore(self, chunks: Iterable[tuple[int, str, int, NDArray[np.uint64]]]) -> None:
        """Add many chunks, each (id, version, day, hashes), sorting many at a time."""
        waiting: list[NDArray[np.uint64]] = []
        rows, first = 0, self._next_slot
        for chunk_id, version, day, hashes in chunks:
            if not len(hashes):
                continue
            self._chunks.append(self._next_slot, len(hashes), chunk_id, self._code(version), day)
            self._next_chunk_id = max(self._next_chunk_id, chunk_id + 1)
            self._next_slot += len(hashes)
            waiting.append(hashes)
            rows += len(hashes)
            if rows >= LARGEST_RUN // 4:
                self._runs.add(np.concatenate(waiting), first)
                waiting, rows, first = [], 0, self._next_slot
        if waiting:
            self._runs.add(waiting[0] if len(waiting) == 1 else np.concatenate(waiting), first)

    def _code(self, version: str) -> int:
        code = self._codes.get(version)
        if code is None:
            code = self._codes[version] = len(self.versions)
            self.versions.append(version)
        return code

    def seen(self, version: str, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which hashes that version has a prediction for, (n,)."""
        answer = np.zeros(len(hashes), dtype=bool)
        code = self._codes.get(version)
        if code is None:
            return answer
        query, slot = self._runs.find(hashes)
        at = self._chunks.locate(slot)
        answer[query[self._chunks.alive[at] & (self._chunks.version[at] == code)]] = True
        return answer

    def find(self, hashes: NDArray[np.uint64]) -> Matches:
        """Predictions of the hashes, over all versions."""
        query, slot = self._runs.find(hashes)
        at = self._chunks.locate(slot)
        if self._dead:
            alive = self._chunks.alive[at]
            query, slot, at = query[alive], slot[alive], at[alive]
        return Matches(
            query=query,
            version_code=self._chunks.version[at].astype(np.intp),
            chunk=self._chunks.id[at],
            row=slot - self._chunks.first[at],
            day=self._chunks.day[at],
            slot=slot,
        )

    def discard(self, chunk_id: int) -> None:
        """Forget a chunk whose commit failed."""
        self._kill(self._chunks.id == chunk_id)

    def expire_days(self, before_day: int, *, version: str | None = None) -> int:
        """Forget the predictions of event days before `before_day`, of one version or of all; how many."""
        old = self._chunks.day < before_day
        if version is not None:
            old &= self._chunks.version == self._codes.get(version, -1)
        return self._kill(old)

    def drop_version(self, version: str) -> int:
        """Forget the predictions of a version; how many."""
        return self._kill(self._chunks.version == self._codes.get(version, -1))

    def _kill(self, chunks: NDArray[np.bool_]) -> int:
        doomed = chunks & self._chunks.alive
        rows = int(self._chunks.rows[doomed].sum())
        self._chunks.alive[doomed] = False
        self._dead += rows
        if self._dead * DEAD_SHARE > len(self._runs):
            self._sweep()
        return rows

    def _sweep(self) -> None:
        alive = self._alive_slots()
        self._runs.retain(alive)
        self._chunks.sweep()
        first = self._chunks.first
        self._labels.retain(np.column_stack((first, first + self._chunks.rows)))
        self._dead = 0

    def _alive_slots(self) -> Callable[[NDArray[np.int64]], NDArray[np.bool_]]:
        """A test of slots; by a plain array where that is small, which is faster than the chunks' table."""
        chunks = self._chunks
        start = int(chunks.first[0]) if chunks.size else 0
        span = self._next_slot - start
        if span > SPARSE_SPAN * max(len(self._runs), 1):
            return lambda slots: chunks.alive[chunks.locate(slots)]
        steps = np.zeros(span + 1, dtype=np.int8)
        begins = chunks.first[chunks.alive] - start
        steps[begins] = 1
        steps[begins + chunks.rows[chunks.alive]] -= 1
        mask = np.cumsum(steps, dtype=np.int8).astype(bool)
        return lambda slots: mask[slots - start]

    # -- labels ------------------------------------------------------------------------------------

    def labels_of(self, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """Labels by slot, (m,); NaN where none has come."""
        return self._labels.get(slots)

    def set_labels(self, slots: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Set labels by slot; NaN takes one back."""
        self._labels.set(slots, values)

    def hold(
        self, hashes: NDArray[np.uint64], values: NDArray[np.float64], arrival: float | NDArray[np.float64]
    ) -> None:
        """Keep labels whose prediction has not come, in place of ones held before; distinct hashes."""
        self._held.hold(hashes, values, arrival)

    def take_held(
        self, hashes: NDArray[np.uint64]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
        """(position in `hashes`, value, arrival) of held labels, which are held no longer."""
        return self._held.take(hashes)

    def held_labels(self, hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Held labels, (n,); NaN where none is held."""
        return self._held.values(hashes)

    def held_label(self, hashed: int) -> float | None:
        """The held label of one hash; None where none is held."""
        value = float(self._held.values(np.array([hashed], dtype=np.uint64))[0])
        return None if np.isnan(value) else value

    def expire_held(self, before: float) -> int:
        """Drop held labels that arrived before an instant in unix seconds; how many."""
        return self._held.expire(before)

    def replay(
        self,
        hashes: NDArray[np.uint64],
        values: NDArray[np.number[Any]],
        arrivals: NDArray[np.float64],
        joined: NDArray[np.bool_],
    ) -> None:
        """Apply stored labels again after a restart, oldest first; all arrays are (n,).

        `joined` labels had found their predictions; those that find none now belong to expired ones and are
        not held. Of a hash that is labelled twice the last counts.
        """
        ascending, last = _last_of_each(hashes)
        waiting = ~joined[last]
        for position, slot in self._runs.pairs(ascending):
            alive = self._chunks.alive[self._chunks.locate(slot)] if self._dead else slice(None)
            self.set_labels(slot[alive], values[last[position[alive]]].astype(np.float64))
            waiting[position[alive]] = False
        late = last[waiting]
        self.hold(hashes[late], values[late].astype(np.float64), arrivals[late])


def _last_of_each(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """The distinct hashes, ascending, and where each stands last."""
    order = np.argsort(hashes)
    ascending = hashes[order]
    first = np.ones(len(ascending), dtype=bool)
    first[1:] = ascending[1:] != ascending[:-1]
    if first.all():
        return ascending, order
    starts = np.flatnonzero(first)
    return ascending[starts], np.maximum.reduceat(order, starts)
