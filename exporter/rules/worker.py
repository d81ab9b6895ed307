"""The program that evaluates expressions: a DuckDB in memory that can reach nothing and is killed at will.

It is started as a file by :mod:`exporter.rules.process` (``python -I worker.py``), so it imports nothing
of the package. On its standard input come frames ``kind (1 byte), length (8 bytes, little endian),
payload``:

- ``T`` an Arrow stream: the rows of the next evaluations;
- ``E`` a rendered boolean expression over columns ``"k0"``, ``"k1"``, ... as they are named in the rows;
- ``V`` rendered expressions of numbers, as the list of a SELECT.

Each frame is answered on what was standard output: ``R`` ready (or rows taken), ``B`` an Arrow stream
with one boolean column (or the columns of numbers), ``F`` a failure of this expression on these rows,
``M`` memory exhausted. It ends when its input ends, and by SIGALRM when an evaluation outlives its
deadline while nobody is left to kill it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

HEADER = struct.Struct("<cQ")


def _connection(memory_bytes: int) -> Any:
    """Open the database with every door shut, then lock the settings."""
    connection = duckdb.connect(":memory:")
    for setting in (
        "threads = 1",
        f"memory_limit = '{memory_bytes // 2**20}MB'",
        "temp_directory = ''",
        "TimeZone = 'UTC'",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.sql(f"SET {setting}")
    return connection


def _limit(memory_bytes: int) -> None:
    """No files, no sockets, no core dumps, and no more address space than now plus the allowance."""
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 0}
    with contextlib.suppress(OSError), open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # no pathlib here
        now = int(file.read().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = now + memory_bytes
    for limit, value in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))


def _select(connection: Any, what: str) -> Any:
    relation = connection.sql(f"SELECT {what} FROM rows")  # noqa: S608  # rendered from a checked tree
    read = getattr(relation, "to_arrow_table", None) or relation.fetch_arrow_table
    return read()


def _evaluate(connection: Any, sql: str) -> bytes:
    passed = _select(connection, f"({sql}) AS passed")
    if passed.schema.field(0).type != pa.bool_():
        raise TypeError(f"the expression gives {passed.schema.field(0).type}, not true or false")
    return _stream(passed)


def _stream(table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _answer(connection: Any, kind: bytes, payload: bytes) -> tuple[bytes, bytes]:
    try:
        if kind == b"T":
            connection.register("rows", pa.ipc.open_stream(payload).read_all())
            return b"R", b""
        if kind == b"V":
            return b"B", _stream(_select(connection, payload.decode()))
        return b"B", _evaluate(connection, payload.decode())
    except (MemoryError, duckdb.OutOfMemoryException, pa.ArrowMemoryError) as error:
        return b"M", _sentence(error)
    except Exception as error:  # noqa: BLE001  # whatever the data did, the parent gets a reason
        return b"F", _sentence(error)


def _sentence(error: BaseException) -> bytes:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300].encode()


def _rehearse(connection: Any) -> None:
    """Do everything once, a failure too, so that no module is left to import once files cannot be opened."""
    _answer(
        connection, b"T", _stream(pa.table({"k0": ["a", None], "k1": pa.array([0, 1], pa.timestamp("us"))}))
    )
    _answer(connection, b"E", b"regexp_matches(\"k0\", 'a', 'c') AND \"k1\" < TIMESTAMP '2020-01-01'")
    _answer(connection, b"E", b'CAST("k0" AS INTEGER) > 0')
    _answer(connection, b"E", b"nothing")
    _answer(connection, b"V", b"CAST(coalesce(\"k0\" = 'a', false) AS DOUBLE) AS c0")


def _read(source: BinaryIO, size: int) -> bytes | None:
    data = source.read(size)
    return data if len(data) == size else None


def _send(sink: BinaryIO, kind: bytes, payload: bytes) -> None:
    sink.write(HEADER.pack(kind, len(payload)) + payload)
    sink.flush()


def _serve(source: BinaryIO, sink: BinaryIO, connection: Any, deadline_seconds: float) -> None:
    while (header := _read(source, HEADER.size)) is not None:
        kind, length = HEADER.unpack(header)
        payload = _read(source, length)
        if payload is None:
            return
        signal.setitimer(signal.ITIMER_REAL, 2 * deadline_seconds + 1)
        answer = _answer(connection, kind, payload)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(sink, *answer)


def main() -> None:
    memory_bytes, deadline_seconds = int(sys.argv[1]), float(sys.argv[2])
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    pa.set_cpu_count(1)
    try:
        connection = _connection(memory_bytes)
        _rehearse(connection)
        _limit(2 * memory_bytes + 256 * 2**20)
    except Exception as error:  # noqa: BLE001  # the parent shows why there is no worker
        _send(sink, b"F", _sentence(error))
        return
    _send(sink, b"R", b"")
    _serve(source, sink, connection, deadline_seconds)


if __name__ == "__main__":
    main()
