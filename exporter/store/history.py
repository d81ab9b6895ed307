"""What evaluations said, by the end of their windows: kept, read in the order of time, thinned and dropped.

A record holds all values of one part of one window. The names of its values (family and labels) are kept once
a model and stand in records as numbers; numbers and values are compressed together.
"""

from __future__ import annotations

import sqlite3
import struct
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import orjson
import pyarrow as pa

from exporter.errors import CorruptStoreError
from exporter.store.database import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from exporter.store.database import Database
    from exporter.store.journal import Journal

T = TypeVar("T")

Part = Literal["features", "outcomes"]
"""What is known when rows come, and what is known when their labels come: each has windows of its own."""

Name = tuple[str, ...]
"""Family and label values, without those that say of what."""

AT_ONCE = 256
"""Records deleted in one transaction."""

_HEADER = struct.Struct("<BII")
_FORMAT = 1


class HistoryKey(NamedTuple):
    """Which window of what; ordered by time first."""

    end: int
    version: str
    segment: str
    window: str
    part: str


BEFORE_ALL = HistoryKey(-(2**62), "", "", "", "")


@dataclass(frozen=True, slots=True)
class HistoryRecord:
    """One part of one evaluated window.

    Attributes
    ----------
    key : HistoryKey
        Ends are in Unix seconds of event time.
    start : int
    made : float
        When it was evaluated, Unix seconds.
    baseline : str or None
        Id of the baseline that it was compared with.
    values : mapping
        Finite values by name.
    """

    key: HistoryKey
    start: int
    made: float
    baseline: str | None
    values: Mapping[Name, float]


def encode_values(ids: Sequence[int], values: Sequence[float]) -> bytes:
    """Ids and values as bytes, checked and compressed; the order of ids is not kept."""
    numbers = np.asarray(ids, dtype=np.uint32)
    order = np.argsort(numbers, kind="stable")
    steps = np.diff(numbers[order], prepend=np.uint32(0)).astype("<u4")
    floats = np.asarray(values, dtype="<f8")[order]
    shuffled = np.frombuffer(floats.tobytes(), np.uint8).reshape(-1, 8).T.tobytes()
    raw = np.frombuffer(steps.tobytes(), np.uint8).reshape(-1, 4).T.tobytes() + shuffled
    packed: bytes = pa.Codec("zstd").compress(raw, asbytes=True)
    return _HEADER.pack(_FORMAT, len(numbers), zlib.crc32(raw)) + packed


def decode_values(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Ids, ascending, and their values. Raises :class:`CorruptStoreError`."""
    try:
        form, count, checksum = _HEADER.unpack_from(data)
        raw = pa.Codec("zstd").decompress(data[_HEADER.size :], decompressed_size=12 * count, asbytes=True)
    except (struct.error, OSError, pa.ArrowException) as error:
        raise CorruptStoreError(f"a record of the history cannot be read: {error}") from error
    if form != _FORMAT or zlib.crc32(raw) != checksum:
        raise CorruptStoreError("a record of the history does not match its checksum")
    flat = np.frombuffer(raw, np.uint8)
    steps = np.ascontiguousarray(flat[: 4 * count].reshape(4, count).T).view("<u4").ravel()
    values = np.ascontiguousarray(flat[4 * count :].reshape(8, count).T).view("<f8").ravel()
    return np.cumsum(steps, dtype=np.uint32), values


class HistoryStore:
    """The history of all models; every method may be called from any thread.

    Writes name the generation of the model's data that they speak of. When some of these were deleted on
    request meanwhile they change nothing.
    """

    def __init__(self, database: Database, journal: Journal) -> None:
        self._database = database
        self._journal = journal
        self._reader = database.reader()
        self._reading = threading.Lock()
        self._names: dict[str, tuple[str, _Names]] = {}

    def close(self) -> None:
        with self._reading:
            self._reader.close()

    def query(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """Rows of one short read."""
        with self._reading:
            try:
                return self._reader.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise translated(error, self._database.path) from error

    def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the writer's connection in one transaction; blocks until it is on disk."""
        return self._journal.run(function)

    # -- names --------------------------------------------------------------------------------------

    def _identity(self, model: str) -> tuple[int, str] | None:
        rows = self.query("SELECT id, generation FROM models WHERE name = ?", (model,))
        return (int(rows[0][0]), str(rows[0][1])) if rows else None

    def _known(self, model: str) -> tuple[int, str, _Names] | None:
        """Row and generation of a model, and the names that it has used."""
        identity = self._identity(model)
        if identity is None:
            return None
        row, generation = identity
        kept = self._names.get(model)
        if kept is None or kept[0] != generation:
            names = _Names()
            for number, name in self.query("SELECT id, name FROM history_names WHERE model = ?", (row,)):
                names.add(int(number), tuple(orjson.loads(str(name))))
            self._names[model] = kept = generation, names
        return row, generation, kept[1]

    def _numbered(self, row: int, generation: str, names: _Names, wanted: Iterable[Name]) -> bool:
        """Give every name a number; False when the generation has passed."""
        missing = sorted({name for name in wanted if name not in names.numbers})
        if not missing:
            return True

        def insert(connection: sqlite3.Connection) -> list[tuple[int, str]] | None:
            if not _is_current(connection, row, generation):
                return None
            texts = [orjson.dumps(name).decode() for name in missing]
            connection.executemany(
                "INSERT INTO history_names (model, name) VALUES (?, ?) ON CONFLICT DO NOTHING",
                ((row, text) for text in texts),
            )
            find = "SELECT id, name FROM history_names WHERE model = ? AND name = ?"
            return [connection.execute(find, (row, text)).fetchone() for text in texts]

        numbered = self._journal.run(insert)
        for number, text in numbered or ():
            names.add(int(number), tuple(orjson.loads(text)))
        return numbered is not None

    # -- writing ------------------------------------------------------------------------------------

    def write(self, model: str, generation: str, records: Sequence[HistoryRecord]) -> Future[bool] | None:
        """Queue records, each in place of an earlier one of its key; None when there is nothing to do.

        The future tells whether they were written, in one transaction.
        """
        known = self._known(model)
        if known is None or known[1] != generation or not records:
            return None
        row, _, names = known
        if not self._numbered(row, generation, names, (name for one in records for name in one.values)):
            return None
        rows = [
            (
                row,
                *one.key,
                one.start,
                one.made,
                one.baseline,
                encode_values([names.numbers[name] for name in one.values], [*one.values.values()]),
            )
            for one in records
        ]

        def write(connection: sqlite3.Connection) -> bool:
            if not _is_current(connection, row, generation):
                return False
            connection.executemany(
                "INSERT INTO history (model, ended, version, segment, window_name, part, started, made,"
                " baseline, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (model, version, segment, window_name, part, ended) DO UPDATE SET"
                " started = excluded.started, made = excluded.made, baseline = excluded.baseline,"
                " data = excluded.data",
                rows,
            )
            return True

        return self._journal.post(write)

    # -- reading ------------------------------------------------------------------------------------

    def read(
        self,
        model: str,
        *,
        start: float,
        end: float,
        parts: Sequence[str],
        window: str | None = None,
        version: str | None = None,
        segment: str = "",
        after: HistoryKey = BEFORE_ALL,
        limit: int = 500,
    ) -> list[HistoryRecord]:
        """Records whose windows end in [start, end], by end, then version, segment, window and part.

        Parameters
        ----------
        after : HistoryKey
            Only records behind this one in that order.
        limit : int
            Most records.
        """
        known = self._known(model)
        if known is None:
            return []
        row, _, names = known
        rows = self.query(
            "SELECT ended, version, segment, window_name, part, started, made, baseline, data FROM history"  # noqa: S608  # our own placeholders
            " WHERE model = ? AND ended >= ? AND ended <= ?"
            f" AND part IN ({', '.join('?' * len(parts))})"
            " AND segment = ? AND (? IS NULL OR window_name = ?) AND (? IS NULL OR version = ?)"
            " AND (ended, version, segment, window_name, part) > (?, ?, ?, ?, ?)"
            " ORDER BY ended, version, segment, window_name, part LIMIT ?",
            (
                *(row, max(start, after.end), end, *parts, segment),
                *(window, window, version, version, *after, limit),
            ),
        )
        return [self._record(names, model, columns) for columns in rows]

    def _record(self, names: _Names, model: str, columns: tuple[Any, ...]) -> HistoryRecord:
        ended, version, segment, window, part, started, made, baseline, data = columns
        ids, values = decode_values(data)
        if any(number not in names.texts for number in ids.tolist()):
            self._names.pop(model, None)  # named by another thread meanwhile
            known = self._known(model)
            names = known[2] if known is not None else names
        return HistoryRecord(
            key=HistoryKey(int(ended), str(version), str(segment), str(window), str(part)),
            start=int(started),
            made=float(made),
            baseline=None if baseline is None else str(baseline),
            values={
                names.texts[number]: value
                for number, value in zip(ids.tolist(), values.tolist(), strict=True)
                if number in names.texts
            },
        )

    def scan(
        self, model: str, group: tuple[str, str, str], *, start: float, end: float
    ) -> Iterator[tuple[int, str, np.ndarray, np.ndarray]]:
        """(end, part, numbers of names ascending, values) of the records of one version, segment and window.

        By end; what is read at a time is bounded. :meth:`numbered` tells the names.
        """
        after, place = float(BEFORE_ALL.end), ""
        while rows := self.query(
            "SELECT ended, part, data FROM history WHERE model = (SELECT id FROM models WHERE name = ?)"
            " AND version = ? AND segment = ? AND window_name = ? AND ended >= ? AND ended <= ?"
            " AND (ended, part) > (?, ?) ORDER BY ended, part LIMIT ?",
            (model, *group, max(start, after), end, after, place, AT_ONCE),
        ):
            for ended, part, data in rows:
                yield int(ended), str(part), *decode_values(data)
                after, place = ended, part

    def numbered(self, model: str) -> dict[int, Name]:
        """Names by their numbers."""
        known = self._known(model)
        return {} if known is None else dict(known[2].texts)

    def get(self, model: str, key: HistoryKey) -> HistoryRecord | None:
        known = self._known(model)
        if known is None:
            return None
        rows = self.query(
            "SELECT ended, version, segment, window_name, part, started, made, baseline, data FROM history"
            " WHERE model = ? AND ended = ? AND version = ? AND segment = ? AND window_name = ? AND part = ?",
            (known[0], *key),
        )
        return self._record(known[2], model, rows[0]) if rows else None

    def groups(self, model: str, *, start: float, end: float) -> list[tuple[str, str, str]]:
        """(version, segment, window) of all records whose windows end in [start, end], in order."""
        rows = self.query(
            "SELECT DISTINCT version, segment, window_name FROM history"
            " WHERE model = (SELECT id FROM models WHERE name = ?) AND ended >= ? AND ended <= ?"
            " ORDER BY version, segment, window_name",
            (model, start, end),
        )
        return [(str(version), str(segment), str(window)) for version, segment, window in rows]

    def names(self, model: str) -> list[Name]:
        """All names that records of a model have used."""
        known = self._known(model)
        return [] if known is None else sorted(known[2].numbers)

    def ends(
        self, model: str, version: str, segment: str, window: str, part: str, *, after: float, until: float
    ) -> list[int]:
        """Ends in (after, until] of the records of one window, ascending."""
        rows = self.query(
            "SELECT ended FROM history WHERE model = (SELECT id FROM models WHERE name = ?)"
            " AND version = ? AND segment = ? AND window_name = ? AND part = ? AND ended > ? AND ended <= ?"
            " ORDER BY ended",
            (model, version, segment, window, part, after, until),
        )
        return [int(end) for (end,) in rows]

    # -- upkeep -------------------------------------------------------------------------------------

    def expire(self, model: str, *, before: float) -> int:
        """Drop records whose windows ended before an instant, in small transactions; how many."""
        return self._delete(
            model, "SELECT id FROM history WHERE model = ? AND ended < ? LIMIT ?", (before, AT_ONCE)
        )

    def thin(self, model: str, *, before: float, step: int, since: float = float(BEFORE_ALL.end)) -> int:
        """Keep of each window that ended in [since, before) the last record of every `step` seconds.

        Steps end at multiples of `step`. Returns how many records went.
        """
        return self._delete(
            model,
            "SELECT id FROM history AS this WHERE model = ?1 AND ended >= ?2 AND ended < ?3 AND EXISTS ("
            " SELECT 1 FROM history AS later WHERE later.model = ?1 AND later.version = this.version"
            " AND later.segment = this.segment AND later.window_name = this.window_name"
            " AND later.part = this.part AND later.ended > this.ended"
            " AND later.ended <= (this.ended + ?4 - 1) / ?4 * ?4) LIMIT ?5",
            (since, before, step, AT_ONCE),
        )

    def _delete(self, model: str, chosen: str, parameters: Sequence[object]) -> int:
        """Find rows with the reader, then delete them: the writer is not kept from commits by the search."""
        identity = self._identity(model)
        gone = 0
        while identity is not None:
            ids = self.query(chosen, (identity[0], *parameters))
            if not ids:
                break
            gone += self._journal.run(_deletion(ids))
        return gone


class _Names:
    """Names and their numbers; only grows."""

    def __init__(self) -> None:
        self.numbers: dict[Name, int] = {}
        self.texts: dict[int, Name] = {}

    def add(self, number: int, name: Name) -> None:
        self.texts[number] = name
        self.numbers[name] = number


def _deletion(ids: Sequence[tuple[object, ...]]) -> Callable[[sqlite3.Connection], int]:
    return lambda connection: connection.executemany("DELETE FROM history WHERE id = ?", ids).rowcount


def _is_current(connection: sqlite3.Connection, model: int, generation: str) -> bool:
    found = connection.execute("SELECT generation FROM models WHERE id = ?", (model,)).fetchone()
    return found is not None and found[0] == generation
