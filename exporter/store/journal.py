"""Group commit: one writer thread; what queues up during one transaction goes into the next.

Nothing waits on purpose: a lone commit is written at once, and under load
transactions grow of themselves.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from exporter.errors import BusyError, CorruptStoreError, StorageUnavailableError, StoreError
from exporter.store.database import translated
from exporter.store.writing import EncodedCommit, write_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.store.database import Database

T = TypeVar("T")

QUEUED_COMMITS = 4096
QUEUED_BYTES = 512 << 20
GROUP_BYTES = 64 << 20
"""A group ends once it holds this many bytes, so that no transaction takes long."""


@dataclass(slots=True)
class _Task:
    """A function to run on the writer's connection, inside a transaction unless it says otherwise."""

    function: Callable[[sqlite3.Connection], Any]
    atomic: bool
    future: Future[Any] = field(default_factory=Future)


@dataclass(slots=True)
class _Write:
    commit: EncodedCommit
    settle: Callable[[bool], None]
    future: Future[None] = field(default_factory=Future)

    def succeed(self) -> None:
        self.settle(True)
        self.future.set_result(None)

    def fail(self, error: Exception) -> None:
        self.settle(False)
        self.future.set_exception(error)


class Journal:
    """Writes commits and runs tasks in the order in which they came."""

    def __init__(self, database: Database, *, queued_commits: int = QUEUED_COMMITS) -> None:
        self._database = database
        self._queue: deque[_Write | _Task] = deque()
        self._queued_bytes = 0
        self._limit = queued_commits
        self._changed = threading.Condition()
        self._closing = False
        self._connection: sqlite3.Connection | None = database.writer()
        self.groups = 0
        """Transactions written; fewer than commits under load."""
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, commit: EncodedCommit, settle: Callable[[bool], None]) -> Future[None]:
        """Queue a commit; the future resolves once it is on disk.

        `settle` is told just before whether it is; it must not raise.

        Raises
        ------
        BusyError
            Too much is queued already.
        """
        item = _Write(commit, settle)
        with self._changed:
            self._open()
            if len(self._queue) >= self._limit or self._queued_bytes > QUEUED_BYTES:
                raise BusyError(
                    "more pushes are waiting for the disk than the store keeps; come again shortly"
                )
            self._queued_bytes += commit.nbytes
            self._queue.append(item)
            self._changed.notify()
        return item.future

    def run(self, function: Callable[[sqlite3.Connection], T], *, atomic: bool = True) -> T:
        """Run a function on the writer thread, when `atomic` in one transaction; blocks until done."""
        result: T = self.post(function, atomic=atomic).result()
        return result

    def post(self, function: Callable[[sqlite3.Connection], T], *, atomic: bool = True) -> Future[T]:
        """Queue a function for the writer thread; the future gets what it returns once that is on disk."""
        task = _Task(function, atomic)
        with self._changed:
            self._open()
            self._queue.append(task)
            self._changed.notify()
        return task.future

    def close(self) -> None:
        """Write what is queued, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _open(self) -> None:
        if self._closing:
            raise StoreError("the store is closed")

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if not self._queue:
                    break
                taken = self._take()
            if isinstance(taken, _Task):
                self._run(taken)
            else:
                self._write(taken)
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._database.writer()
        return self._connection

    def _take(self) -> _Task | list[_Write]:
        """The next task, or the commits before it."""
        group: list[_Write] = []
        size = 0
        while self._queue and size < GROUP_BYTES:
            head = self._queue[0]
            if isinstance(head, _Task):
                if not group:
                    self._queue.popleft()
                    return head
                break
            self._queue.popleft()
            size += head.commit.nbytes
            if head.future.set_running_or_notify_cancel():
                group.append(head)
            else:
                head.settle(False)
        self._queued_bytes -= size
        return group

    def _write(self, group: list[_Write]) -> None:
        if not group:
            return
        commits = [item.commit for item in group]
        try:
            refused = self._transaction(lambda connection: write_group(connection, commits))
        except Exception as error:  # noqa: BLE001  # goes to those who wait for it
            meaning = translated(error, self._database.path) if isinstance(error, sqlite3.Error) else error
            if len(group) == 1 or isinstance(meaning, StorageUnavailableError | CorruptStoreError):
                self._fail(group, meaning)
            else:  # one unusable commit must not fail its neighbours
                for item in group:
                    self._write([item])
        else:
            self.groups += 1
            for position, item in enumerate(group):
                if position in refused:
                    item.fail(refused[position])
                else:
                    item.succeed()

    def _run(self, task: _Task) -> None:
        if not task.future.set_running_or_notify_cancel():
            return
        try:
            function = task.function
            result = self._transaction(function) if task.atomic else function(self._connected())
        except sqlite3.Error as error:
            task.future.set_exception(translated(error, self._database.path))
        except BaseException as error:  # noqa: BLE001  # belongs to the caller, who waits for it
            task.future.set_exception(error)
        else:
            task.future.set_result(result)

    def _transaction(self, function: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connected()
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = function(connection)
            connection.execute("COMMIT")
        except BaseException:
            self._roll_back(connection)
            raise
        return result

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """End a failed transaction; a connection that cannot even do that is replaced before the next one."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._connection = None
            connection.close()

    @staticmethod
    def _fail(group: list[_Write], error: Exception) -> None:
        for item in group:
            item.fail(error)
