"""The bridge's store: one SQLite file, one writer at a time, readers that never wait for it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from exporter.alerts.store.outbox import Outbox
from exporter.alerts.store.schema import MIGRATIONS
from exporter.clock import Clock
from exporter.errors import StorageUnavailableError
from exporter.store.database import Database, FileKind, translated

BRIDGE_FILE = FileKind("bridge.db", "bridge.lock", 0x4D4C4272, MIGRATIONS, "SELECT count(*) FROM state")

IDLE_READERS = 8
"""Connections that wait for the next reader; more are closed after use."""


class AlertStore:
    """What the bridge must not forget. Every method may be called from any thread.

    A full or failing disk is :class:`StorageUnavailableError` and passes when the disk recovers; damaged
    bytes are :class:`CorruptStoreError`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writer = database.writer()
        self._writing = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._reading = threading.Lock()
        self._closed = False
        self.outbox = Outbox(self)

    @classmethod
    def open(cls, directory: Path, *, clock: Clock) -> Self:
        """Open or make the store in a directory; see :meth:`Database.open` for the errors."""
        return cls(Database.open(directory, clock=clock, kind=BRIDGE_FILE))

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on disk when the block ends, undone when it raises.

        Writers of other threads wait; a block must not open another one.
        """
        with self._writing:
            self._require_open()
            connection = self._writer
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise translated(error, self._database.path) from error
            finally:
                _undo(connection)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the store as it is at its first query, until the block ends."""
        connection = self._take_reader()
        try:
            connection.execute("BEGIN")
            yield connection
        except sqlite3.Error as error:
            raise translated(error, self._database.path) from error
        finally:
            self._give_back(connection)

    def size_bytes(self) -> int:
        """Bytes on disk, with the write-ahead log."""
        return self._database.size_bytes()

    def close(self) -> None:
        """Wait for the writer, then let go of the directory; readers under way end as they are."""
        with self._writing:
            if self._closed:
                return
            with self._reading:
                self._closed = True
                for connection in self._readers:
                    connection.close()
                self._readers.clear()
            self._writer.close()
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closed:
            raise StorageUnavailableError("the store is closed: the bridge stops", retry_after_seconds=5.0)

    def _take_reader(self) -> sqlite3.Connection:
        with self._reading:
            self._require_open()
            if self._readers:
                return self._readers.pop()
        try:
            return self._database.reader()
        except sqlite3.Error as error:
            raise translated(error, self._database.path) from error

    def _give_back(self, connection: sqlite3.Connection) -> None:
        _undo(connection)
        with self._reading:
            if not self._closed and len(self._readers) < IDLE_READERS:
                self._readers.append(connection)
                return
        connection.close()


def _undo(connection: sqlite3.Connection) -> None:
    """End a transaction that did not commit; the error that is under way says more than one of this."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
