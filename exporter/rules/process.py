"""The parent's side of the rule worker: start it, talk to it within a deadline, kill and replace it.

One :class:`RuleWorker` serves all models. Its process starts with the first evaluation and is gone after
`close()`. DuckDB cannot be interrupted everywhere, hence a process: what overruns its deadline or its
memory is killed, the next evaluation gets a new process, and nothing else notices.
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.errors import ExporterError

HEADER = struct.Struct("<cQ")
"""A frame of worker.py, which is not imported: DuckDB stays out of this process."""
_PROGRAM = Path(__file__).with_name("worker.py")
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
_START_SECONDS = 60.0
"""A machine under load may take this long to import DuckDB."""


class EvaluationError(ExporterError):
    """An expression failed on these rows; the worker is well."""

    code = "rule_failed"


class OverrunError(EvaluationError):
    """An expression took too long or too much memory, and its worker was killed."""

    code = "rule_overran"


Result: TypeAlias = tuple[NDArray[np.bool_], NDArray[np.bool_]] | EvaluationError
"""(true, not NULL) for each row, or why not."""


class RuleWorker:
    """A process that evaluates rendered expressions over Arrow tables. Safe to share between threads.

    Parameters
    ----------
    deadline_seconds : float
        Wall-clock time for one expression over one piece of rows.
    memory_bytes : int
        What DuckDB may use; the address space of the process may grow by twice that and 256 MiB.
    wait_seconds : float
        How long an evaluation waits for those of other threads before it fails.
    """

    def __init__(
        self,
        *,
        deadline_seconds: float = 2.0,
        memory_bytes: int = 256 * 2**20,
        wait_seconds: float = 10.0,
    ) -> None:
        self.deadline_seconds = deadline_seconds
        self.memory_bytes = memory_bytes
        self.wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        process = self._process
        return None if process is None else process.pid

    def evaluate(self, table: Any, expressions: Mapping[str, str]) -> dict[str, Result]:
        """Evaluate each expression on the rows of `table`.

        Parameters
        ----------
        table : pyarrow.Table
            Its columns are called as in the expressions.
        expressions : mapping
            Rendered SQL by rule name.

        Returns
        -------
        dict
            By rule name, (rows that are true, rows that are not NULL), each of shape (rows,), or why there is
            no result. An overrun hurts only its own rule.
        """
        if not self._lock.acquire(timeout=self.wait_seconds):
            return {name: EvaluationError("the rule worker is busy with other rules") for name in expressions}
        try:
            return self._evaluate(_stream(table), table.num_rows, expressions)
        finally:
            self._lock.release()

    def values(self, table: Any, expressions: Sequence[str]) -> NDArray[np.float64]:
        """Evaluate rendered expressions that give one number a row.

        Returns
        -------
        float64 array (rows, expressions)
            NaN where the result is NULL.

        Raises
        ------
        EvaluationError
        """
        if not self._lock.acquire(timeout=self.wait_seconds):
            raise EvaluationError("the rule worker is busy with other rules")
        try:
            self._start()
            self._ask(b"T", _stream(table))
            columns = ", ".join(
                f"CAST(({sql}) AS DOUBLE) AS c{place}" for place, sql in enumerate(expressions)
            )
            return _numbers(self._ask(b"V", columns.encode()), table.num_rows, len(expressions))
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process; evaluations after this fail."""
        self._closed = True
        with self._lock:
            self._kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _evaluate(self, rows: Any, count: int, expressions: Mapping[str, str]) -> dict[str, Result]:
        results: dict[str, Result] = {}
        loaded: int | None = None
        for name, sql in expressions.items():
            try:
                self._start()
                if loaded != self.pid:
                    self._ask(b"T", rows)
                    loaded = self.pid
                results[name] = _masks(self._ask(b"E", sql.encode()), count)
            except EvaluationError as error:
                results[name] = error
        return results

    def _start(self) -> None:
        if self._closed:
            raise EvaluationError("the rule worker is closed")
        if self._process is not None and self._process.poll() is None:
            return
        self._kill()
        environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own file, no shell
                [sys.executable, "-I", str(_PROGRAM), str(self.memory_bytes), str(self.deadline_seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TZ": "UTC"},
                cwd="/",
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise EvaluationError(f"the rule worker does not start: {error}") from error
        for pipe in (self._process.stdin, self._process.stdout):
            os.set_blocking(pipe.fileno(), False)  # type: ignore[union-attr]  # both are pipes
        try:
            answer, data = self._receive(time.monotonic() + _START_SECONDS)
        except OverrunError as error:
            raise EvaluationError(f"the rule worker does not start: {error}") from None
        if answer != b"R":
            self._kill()
            raise EvaluationError(f"the rule worker does not start: {data.decode()}")

    def _ask(self, kind: bytes, payload: Any) -> bytes:
        """Send one frame and return the payload of its answer.

        Raises
        ------
        EvaluationError
        """
        deadline = time.monotonic() + self.deadline_seconds
        size = len(payload)
        try:
            self._send(HEADER.pack(kind, size), deadline)
            self._send(payload, deadline)
            answer, data = self._receive(deadline)
        except OSError as error:
            self._kill()
            raise OverrunError(f"the rule worker died: {error}") from None
        if answer == b"M":
            self._kill()
            raise OverrunError(f"memory beyond {self.memory_bytes // 2**20} MiB: {data.decode()}")
        if answer == b"F":
            raise EvaluationError(data.decode())
        return data

    def _send(self, data: Any, deadline: float) -> None:
        pipe = self._process.stdin.fileno()  # type: ignore[union-attr]  # started
        view = memoryview(data)
        while view:
            self._wait(pipe, select.POLLOUT, deadline)
            view = view[os.write(pipe, view[: 2**20]) :]

    def _receive(self, deadline: float) -> tuple[bytes, bytes]:
        kind, length = HEADER.unpack(self._read(HEADER.size, deadline))
        return kind, self._read(length, deadline)

    def _read(self, size: int, deadline: float) -> bytes:
        pipe = self._process.stdout.fileno()  # type: ignore[union-attr]  # started
        parts: list[bytes] = []
        while size:
            self._wait(pipe, select.POLLIN, deadline)
            part = os.read(pipe, min(size, 2**20))
            if not part:
                self._kill()
                raise OverrunError("the rule worker died, most likely out of memory")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, pipe: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(pipe, event)
        while not poll.poll(min(100.0, max(0.0, 1000 * (deadline - time.monotonic())))):
            if time.monotonic() >= deadline:
                self._kill()
                raise OverrunError(f"no result within {self.deadline_seconds:g} s")
            if self._closed:
                raise EvaluationError("the rule worker is closed")

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _stream(table: Any) -> Any:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _masks(data: bytes, count: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    try:
        passed = pa.ipc.open_stream(data).read_all().column(0)
    except (pa.ArrowException, OSError) as error:
        raise EvaluationError(f"the rule worker answered something else than a result: {error}") from None
    if len(passed) != count:
        raise EvaluationError(f"expected {count} results, got {len(passed)}")
    checked = np.asarray(passed.is_valid(), dtype=np.bool_)
    return np.asarray(passed.fill_null(False), dtype=np.bool_), checked


def _numbers(data: bytes, rows: int, columns: int) -> NDArray[np.float64]:
    try:
        table = pa.ipc.open_stream(data).read_all()
    except (pa.ArrowException, OSError) as error:
        raise EvaluationError(f"the rule worker answered something else than a result: {error}") from None
    if (table.num_rows, table.num_columns) != (rows, columns):
        raise EvaluationError(f"expected {rows} rows of {columns} values, got another shape")
    values = [np.asarray(column.to_numpy(), np.float64) for column in table.columns]
    return np.column_stack(values) if values else np.zeros((rows, 0))
