"""The store: what outlives the process, behind one object that any thread may use."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from exporter.errors import NotFoundError
from exporter.store import upkeep
from exporter.store.carrying import CarriedSpan, carry_deltas, drop_carried
from exporter.store.database import Database, translated
from exporter.store.history import HistoryStore
from exporter.store.journal import QUEUED_COMMITS, Journal
from exporter.store.past import PastStore
from exporter.store.payloads import CACHE_BYTES, PayloadCache, decode_payload
from exporter.store.reading import read_answer, read_model
from exporter.store.records import Commit
from exporter.store.writing import deactivate, encode_commit, insert_baseline, insert_grid, model_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    import pyarrow as pa

    from exporter.clock import Clock
    from exporter.profiles import Grid
    from exporter.store.records import StoredAnswer, StoredBaseline, StoredModel

T = TypeVar("T")


class Store:
    """All models of one exporter in one SQLite file.

    Writes go through one thread (:class:`exporter.store.journal.Journal`); reads have a connection of their
    own and never wait for a write. Every method may be called from any thread.

    A full or failing disk is :class:`StorageUnavailableError` and passes when the disk recovers; damaged
    bytes are :class:`CorruptStoreError`.
    """

    def __init__(self, database: Database, *, queued_commits: int, cache_bytes: int) -> None:
        self._database = database
        self._reader = database.reader()
        self._reading = threading.Lock()
        self._payloads = PayloadCache(cache_bytes)
        self._journal = Journal(database, queued_commits=queued_commits)
        self.history = HistoryStore(database, self._journal)
        self.past = PastStore(self.history)

    @classmethod
    def open(
        cls, path: Path, *, clock: Clock, queued_commits: int = QUEUED_COMMITS, cache_bytes: int = CACHE_BYTES
    ) -> Self:
        """Open or make the store in a directory; see :meth:`Database.open` for the errors."""
        database = Database.open(path, clock=clock)
        return cls(database, queued_commits=queued_commits, cache_bytes=cache_bytes)

    def close(self) -> None:
        """Write what is queued, then let go of the directory."""
        self._journal.close()
        with self._reading:
            self._reader.close()
        self.history.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- writing -----------------------------------------------------------------------------------

    def submit(self, commit: Commit) -> Future[None]:
        """Queue a commit; the future resolves once it is on disk, or fails and nothing of it is kept.

        Raises
        ------
        BusyError
            Too much is queued; nothing of this commit is kept.
        """
        encoded = encode_commit(commit)
        keys = [(commit.model, chunk.id) for chunk in commit.predictions]
        for key, chunk in zip(keys, commit.predictions, strict=True):
            self._payloads.pin(key, chunk.payload)

        def settle(durable: bool) -> None:
            for key in keys:
                self._payloads.release(key, durable=durable)

        try:
            return self._journal.submit(encoded, settle)
        except BaseException:
            settle(durable=False)
            raise

    def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the writer's connection in one transaction; blocks until it is on disk."""
        return self._journal.run(function)

    @property
    def transactions(self) -> int:
        """Group commits written since the store was opened."""
        return self._journal.groups

    # -- reading -----------------------------------------------------------------------------------

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._reading:
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise translated(error, self._database.path) from error

    def answer(self, model: str, endpoint: str, key: str) -> StoredAnswer | None:
        """The first answer to an idempotency key, when it is on disk."""
        with self._read() as connection:
            return read_answer(connection, model, endpoint, key)

    def models(self) -> list[str]:
        """Names of all models that ever committed, in alphabetical order."""
        with self._read() as connection:
            return [str(name) for (name,) in connection.execute("SELECT name FROM models ORDER BY name")]

    def load(self, model: str) -> StoredModel:
        """A model as committed, empty when it is new; buckets stay encoded, payloads on disk."""
        row, key = self._identity(model)
        with closing(self._database.reader()) as connection:
            try:
                connection.execute("BEGIN")
                return read_model(connection, model, row, key)
            except sqlite3.Error as error:
                raise translated(error, self._database.path) from error

    def _identity(self, model: str) -> tuple[int, bytes]:
        """Row id and hash key; both are made when the model is new."""
        query = "SELECT id, hash_key FROM models WHERE name = ?"
        with self._read() as connection:
            found = connection.execute(query, (model,)).fetchone()
        if found is None:
            row = self.run(lambda connection: model_row(connection, model))
            with self._read() as connection:
                found = connection.execute("SELECT id, hash_key FROM models WHERE id = ?", (row,)).fetchone()
        return int(found[0]), bytes(found[1])

    def payloads(self, model: str, chunk_ids: Iterable[int]) -> dict[int, pa.RecordBatch]:
        """Payloads by chunk id; those under way to disk come from memory, unknown ids are left out."""
        found: dict[int, pa.RecordBatch] = {}
        missing: list[int] = []
        for chunk_id in chunk_ids:
            batch = self._payloads.get((model, chunk_id))
            if batch is None:
                missing.append(int(chunk_id))
            else:
                found[int(chunk_id)] = batch
        if missing:
            row, _ = self._identity(model)
            query = "SELECT data, checksum FROM payloads WHERE model = ? AND id = ?"
            for chunk_id in missing:
                with self._read() as connection:
                    stored = connection.execute(query, (row, chunk_id)).fetchone()
                if stored is not None:
                    found[chunk_id] = decode_payload(*stored)
                    self._payloads.put((model, chunk_id), found[chunk_id])
        return found

    def size_bytes(self) -> int:
        """Bytes on disk, with the write-ahead log."""
        return self._database.size_bytes()

    # -- grids and baselines -----------------------------------------------------------------------

    def put_grid(self, model: str, grid_id: str, data: bytes) -> None:
        self.run(lambda connection: insert_grid(connection, model_row(connection, model), grid_id, data))

    def put_baseline(self, baseline: StoredBaseline) -> None:
        """Keep a baseline; an active one takes the place of the active one of its version."""
        self.run(
            lambda connection: insert_baseline(connection, model_row(connection, baseline.model), baseline)
        )

    def activate_baseline(self, model: str, baseline_id: str) -> None:
        """Make a baseline the active one of its version (or of all versions without their own).

        Raises
        ------
        NotFoundError
            The model has no such baseline.
        """

        def activate(connection: sqlite3.Connection) -> None:
            row = model_row(connection, model)
            scope = (row, baseline_id)
            found = connection.execute(
                "SELECT version FROM baselines WHERE model = ? AND id = ?", scope
            ).fetchone()
            if found is None:
                raise NotFoundError(f"model {model!r} has no baseline {baseline_id!r}")
            deactivate(connection, row, found[0])
            connection.execute("UPDATE baselines SET active = 1 WHERE model = ? AND id = ?", scope)

        self.run(activate)

    def delete_baseline(self, model: str, baseline_id: str) -> None:
        """Delete a baseline; NotFoundError when there is none."""

        def delete(connection: sqlite3.Connection) -> None:
            scope = (model_row(connection, model), baseline_id)
            if connection.execute("DELETE FROM baselines WHERE model = ? AND id = ?", scope).rowcount == 0:
                raise NotFoundError(f"model {model!r} has no baseline {baseline_id!r}")
            connection.execute("DELETE FROM baseline_buckets WHERE model = ? AND baseline = ?", scope)
            connection.execute("DELETE FROM baseline_segments WHERE model = ? AND baseline = ?", scope)

        self.run(delete)

    # -- upkeep ------------------------------------------------------------------------------------

    def compact(self, model: str, *, bucket_of: Callable[[int], int] | None = None) -> int:
        """Merge the delta rows of each bucket into one, in small transactions; how many rows went.

        Parameters
        ----------
        bucket_of : callable, optional
            The start of the coarser bucket that a bucket's start falls into.
        """
        row, _ = self._identity(model)
        grids: dict[str, Grid] = {}
        gone = 0
        with closing(self._database.reader()) as connection:
            try:
                plan = upkeep.plan_merges(connection, row, bucket_of)
                merges = (upkeep.merge_rows(connection, row, ids, grids, bucket_of) for ids in plan)
                for batch in upkeep.batches_of(merges):
                    gone += self.run(partial(upkeep.write_merges, merges=batch))
            except sqlite3.Error as error:
                raise translated(error, self._database.path) from error
        return gone

    def expire(
        self,
        model: str,
        *,
        version: str | None = None,
        before_bucket: int | None = None,
        before_day: int | None = None,
        labels_before: float | None = None,
        answers_before: float | None = None,
        carry: Sequence[CarriedSpan] | None = None,
    ) -> None:
        """Drop what is no longer needed, in small transactions.

        Parameters
        ----------
        version : str, optional
            Only delta rows and predictions of this version go, and none of the labels that had joined: those
            belong to ids.
        before_bucket : int, optional
            Delta rows of buckets that start earlier (unix seconds) go.
        before_day : int, optional
            Predictions of earlier event days go, and the labels that had joined only such ones.
        labels_before : float, optional
            Labels that arrived earlier (unix seconds) and name no day that they joined go. A label may be
            held for the label horizon and its prediction then waits for as long: leave twice the horizon.
        answers_before : float, optional
            Answers to idempotency keys that were given earlier (unix seconds) go.
        carry : sequence of (start, end), optional
            Of the delta rows of the version's whole that go, those of buckets in one of these spans are added
            to what is carried of it; what is carried of other starts goes.
        """
        row, _ = self._identity(model)
        if before_bucket is not None and version is not None and carry is not None:
            self._repeat(lambda connection: carry_deltas(connection, row, before_bucket, version, carry))
            self.run(lambda connection: drop_carried(connection, row, version, carry))
        elif before_bucket is not None:
            self._repeat(lambda connection: upkeep.drop_deltas(connection, row, before_bucket, version))
        if before_day is not None:
            self._repeat(lambda connection: upkeep.drop_predictions(connection, row, before_day, version))
            if version is None:
                self._repeat(lambda connection: upkeep.drop_joined_labels(connection, row, before_day))
            self._payloads.forget(model)
        if labels_before is not None:
            self._repeat(lambda connection: upkeep.drop_labels(connection, row, labels_before))
        if answers_before is not None:
            self._repeat(lambda connection: upkeep.drop_answers(connection, row, answers_before))
        with self._read() as connection:
            free, pages = upkeep.free_pages(connection)
        if free * upkeep.FREE_SHARE > pages:
            self._shrink()

    def delete_profiles(self, model: str, grid_id: str) -> None:
        """Forget a model's profiles on one grid, in small transactions; the grid and its baselines stay."""
        row, _ = self._identity(model)
        self._repeat(lambda connection: upkeep.drop_grid(connection, row, grid_id))

    def delete_model(self, model: str) -> None:
        """Forget a model's data and give its disk space back; its hash key stays."""
        row, _ = self._identity(model)
        self.run(lambda connection: upkeep.delete_model(connection, row))
        self._payloads.forget(model)
        self._shrink()

    def delete_version(self, model: str, version: str) -> None:
        """Forget a version's data and give its disk space back; labels, which belong to ids, stay."""
        row, _ = self._identity(model)
        self.run(lambda connection: upkeep.delete_version(connection, row, version))
        self._payloads.forget(model)
        self._shrink()

    def _repeat(self, step: Callable[[sqlite3.Connection], int]) -> None:
        while self.run(step):
            pass

    def _shrink(self) -> None:
        while self._journal.run(upkeep.give_back_pages, atomic=False):
            pass
        self._journal.run(upkeep.truncate_log, atomic=False)
