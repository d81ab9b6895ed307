"""One SQLite file in one directory, opened by one process: creating, checking, locking and connecting."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from exporter.errors import CorruptStoreError, ExporterError, StorageUnavailableError, StoreError
from exporter.store.migrations import MIGRATIONS, Migration, migrate

if TYPE_CHECKING:
    from exporter.clock import Clock

FILE_NAME = "exporter.db"
LOCK_NAME = "exporter.lock"
MAGIC = b"SQLite format 3\x00"
APPLICATION_ID = 0x4D4C4578
"""In the file's header, so that no other program's file is taken for ours; "MLEx"."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of store: its names in the directory, the mark in its header, and its schema.

    Attributes
    ----------
    name, lock : str
        Names of the file and of the lock beside it.
    application_id : int
        In the file's header, so that no other program's file is taken for ours.
    migrations : tuple of Migration
    probe : str
        A query that succeeds in every sound file of this kind.
    """

    name: str
    lock: str
    application_id: int
    migrations: tuple[Migration, ...]
    probe: str


EXPORTER_FILE = FileKind(FILE_NAME, LOCK_NAME, APPLICATION_ID, MIGRATIONS, "SELECT count(*) FROM models")

PAGE_BYTES = 8192
CACHE_KIB = 32 * 1024
WAL_PAGES = 4096
"""Pages in the write-ahead log after which a commit moves them into the file; 32 MiB."""

CHECKED_BYTES = 64 << 20
"""Files up to this size are checked in full when opened; the parts of larger ones as they are read."""

BUSY_MS = 10_000
_STORAGE_CODES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_NOMEM,
}
_CORRUPT_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def translated(error: sqlite3.Error, path: Path) -> ExporterError:
    """What an error of SQLite means to the caller."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _CORRUPT_CODES:
        return _corrupt(path, str(error))
    if code in _STORAGE_CODES:
        return StorageUnavailableError(
            f"the store {path} cannot be written now: {error}; nothing of this request was kept",
            retry_after_seconds=5.0,
        )
    return StoreError(f"the store {path} failed: {error}")


def _corrupt(path: Path, reason: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"the store {path} is damaged ({reason}); it was left as it is: restore it from a backup, "
        "or move it away to start with an empty one"
    )


class Database:
    """The locked directory and its file; gives out connections.

    Use :meth:`open`. One process at a time: the lock ends with the process, however that ends.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, directory: Path, *, clock: Clock, kind: FileKind = EXPORTER_FILE) -> Self:
        """Lock the directory, make the file when there is none, check it and bring its schema up to date.

        Raises
        ------
        CorruptStoreError
            The file is damaged; it is not touched.
        StoreError
            Another process has it open, another program made it, or a newer version of this one did.
        StorageUnavailableError
            The disk is full or does not let us write.
        """
        path = directory / kind.name
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock = _lock(directory, kind)
        except OSError as error:
            raise StoreError(f"the directory {directory} cannot be used for the store: {error}") from error
        try:
            if not path.exists():
                _create(path, kind, clock.time())
            _check(path, kind)
            database = cls(path, lock)
            with closing(database.writer()) as connection:
                migrate(connection, clock.time(), kind.migrations)
        except sqlite3.Error as error:
            os.close(lock)
            raise translated(error, path) from error
        except BaseException:
            os.close(lock)
            raise
        return database

    def writer(self) -> sqlite3.Connection:
        """The connection that writes; every commit is on disk when it returns."""
        connection = _connect(self.path, "rw")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone stops at the drive's cache
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES:d}")
        connection.execute(f"PRAGMA journal_size_limit = {2 * WAL_PAGES * PAGE_BYTES:d}")
        return connection

    def reader(self) -> sqlite3.Connection:
        """A connection that only reads; it never waits for the writer."""
        connection = _connect(self.path, "rw")
        connection.execute("PRAGMA query_only = ON")
        return connection

    def size_bytes(self) -> int:
        """Bytes on disk, with the write-ahead log."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        os.close(self._lock)


def _lock(directory: Path, kind: FileKind) -> int:
    handle = os.open(directory / kind.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        os.close(handle)
        raise StoreError(
            f"the store in {directory} is in use by another process"
            f"{f' (pid {holder})' if holder else ''}; one directory serves one exporter"
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode("ascii"), 0)
    return handle


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS:d}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB:d}")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _create(path: Path, kind: FileKind, now: float) -> None:
    """Make the file beside its place and move it there, so that half a file is never found."""
    draft = path.with_name(kind.name + ".new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)
    with closing(_connect(draft, "rwc")) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES:d}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {kind.application_id:d}")
        migrate(connection, now, kind.migrations)
        connection.execute("PRAGMA journal_mode = WAL")
    draft.chmod(0o600)
    draft.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _check(path: Path, kind: FileKind) -> None:
    """Look at a file without changing it."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(MAGIC):
        raise _corrupt(path, "its first bytes are not those of a SQLite database")
    if int.from_bytes(header[68:72], "big") != kind.application_id:
        raise StoreError(f"{path} is a SQLite database of another program; choose another storage path")
    try:
        with closing(_connect(path, "ro")) as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > len(kind.migrations):
                raise StoreError(
                    f"the store {path} was written by a newer version (schema {version}, this one knows "
                    f"{len(kind.migrations)}); it was left as it is: install that version again"
                )
            if path.stat().st_size <= CHECKED_BYTES:
                finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if finding != "ok":
                    raise _corrupt(path, " ".join(str(finding).split()))
            connection.execute(kind.probe).fetchone()
    except sqlite3.Error as error:
        problem = translated(error, path)
        if isinstance(problem, StorageUnavailableError):
            raise problem from error
        raise _corrupt(path, str(error)) from error
