"""The worker: right results, and every way to misuse it past the checks ends with a reason."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from exporter.rules.process import EvaluationError, OverrunError, RuleWorker

ROWS = pa.table({"k0": [1.0, 2.0, None], "k1": ["a", "b", "c"]})


@pytest.fixture(scope="module")
def worker() -> Iterator[RuleWorker]:
    with RuleWorker(deadline_seconds=2.0, memory_bytes=64 * 2**20) as shared:
        yield shared


def test_evaluate_tells_true_false_and_null_apart(worker: RuleWorker) -> None:
    """NULL is not checked."""
    result = worker.evaluate(ROWS, {"rule": '("k0" > 1)'})["rule"]
    assert isinstance(result, tuple)
    np.testing.assert_array_equal(result[0], [False, True, False])
    np.testing.assert_array_equal(result[1], [True, True, False])


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("(SELECT count(*) FROM read_csv('/etc/passwd')) > 0", "disabled"),
        ("(SELECT count(*) FROM read_text('/proc/self/environ')) > 0", "disabled"),
        ("(SELECT count(*) FROM 'https://example.org/x.parquet') > 0", ""),
        ("getenv('PATH') = 'x'", "getenv"),
        ("true) FROM rows; ATTACH '/tmp/evil.db'; SELECT (true", ""),
        ("true) FROM rows; COPY (SELECT 1) TO '/tmp/evil.csv'; SELECT (true", ""),
        ("true) FROM rows; SET memory_limit = '10GB'; SELECT (true", ""),
        ("true) FROM rows; INSTALL httpfs; SELECT (true", ""),
        ('"k1"', "not true or false"),
        ("unnest([true, false])", "expected 3 results"),
        ('CAST("k1" AS INTEGER) > 1', "Could not convert"),
        ("nothing", ""),
        ("table", ""),
    ],
)
def test_evaluate_cannot_reach_out(worker: RuleWorker, sql: str, reason: str) -> None:
    """Past the checks, DuckDB's own doors are shut too; the worker lives on."""
    result = worker.evaluate(ROWS, {"rule": sql})["rule"]
    assert isinstance(result, EvaluationError)
    assert reason in result.message
    assert not Path("/tmp/evil.db").exists()
    assert not Path("/tmp/evil.csv").exists()
    assert isinstance(worker.evaluate(ROWS, {"rule": '"k0" > 1'})["rule"], tuple)


def test_evaluate_kills_a_runaway_and_spares_the_others() -> None:
    """A rule that does not end is killed at its deadline; rules before and after it have results."""
    runaway = (
        '(SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3) > "k0"'
    )
    with RuleWorker(deadline_seconds=0.5) as worker:
        worker.evaluate(ROWS, {"start": '"k0" > 1'})
        first = worker.pid
        start = time.monotonic()
        results = worker.evaluate(ROWS, {"a": '"k0" > 1', "runaway": runaway, "b": '"k0" > 0'})
        assert time.monotonic() - start < 10
        assert isinstance(results["runaway"], OverrunError)
        assert "0.5 s" in results["runaway"].message
        assert isinstance(results["a"], tuple)
        assert isinstance(results["b"], tuple)
        assert worker.pid != first


@pytest.mark.parametrize(
    "sql", ['length(repeat("k1", 2000000000)) > 1', "list_sum(range(500000000)) > 1"], ids=["text", "list"]
)
def test_evaluate_kills_a_memory_eater(worker: RuleWorker, sql: str) -> None:
    """Memory beyond the limit costs the worker, not the exporter."""
    results = worker.evaluate(ROWS, {"eater": sql, "other": '"k0" > 1'})
    assert isinstance(results["eater"], EvaluationError)
    assert isinstance(results["other"], tuple)


def test_evaluate_outlives_a_killed_process(worker: RuleWorker) -> None:
    """A worker that dies between evaluations is replaced without notice."""
    worker.evaluate(ROWS, {"rule": '"k0" > 1'})
    assert worker.pid is not None
    os.kill(worker.pid, 9)
    time.sleep(0.1)
    assert isinstance(worker.evaluate(ROWS, {"rule": '"k0" > 1'})["rule"], tuple)


def test_evaluate_is_shared_by_threads(worker: RuleWorker) -> None:
    """Concurrent evaluations get their own results."""
    wrong: list[int] = []

    def run(limit: int) -> None:
        table = pa.table({"k0": np.arange(1000)})
        for _ in range(5):
            result = worker.evaluate(table, {"rule": f'"k0" < {limit}'})["rule"]
            if not isinstance(result, tuple) or result[0].sum() != limit:
                wrong.append(limit)

    threads = [threading.Thread(target=run, args=(limit,)) for limit in (10, 200, 999)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_worker_starts_lazily_and_leaves_no_process() -> None:
    """No process before the first evaluation and none after `close`."""
    worker = RuleWorker()
    assert worker.pid is None
    worker.evaluate(ROWS, {"rule": '"k0" > 1'})
    pid = worker.pid
    assert pid is not None
    worker.close()
    assert worker.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert isinstance(worker.evaluate(ROWS, {"rule": '"k0" > 1'})["rule"], EvaluationError)
    assert worker.pid is None


def test_worker_sees_neither_environment_nor_files(worker: RuleWorker) -> None:
    """The process has no variables of ours and can open nothing."""
    worker.evaluate(ROWS, {"rule": '"k0" > 1'})
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc")
    process = Path(f"/proc/{worker.pid}")
    names = {entry.split(b"=")[0] for entry in (process / "environ").read_bytes().split(b"\0") if entry}
    libraries = {b"LD_LIBRARY_PATH", b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS"}
    assert names <= libraries | {b"TZ", b"LC_CTYPE"}
    lines = (process / "limits").read_text().splitlines()
    limits = {line[:25].strip(): line[26:46].strip() for line in lines}
    assert limits["Max open files"] == "0"
    assert limits["Max file size"] == "0"
    assert limits["Max address space"] != "unlimited"
