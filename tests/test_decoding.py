from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import orjson
import pyarrow as pa
import pytest
import zstandard

from exporter.decoding import Decoder
from exporter.errors import (
    BadRequestError,
    BusyError,
    TooLargeError,
    UnreadableError,
    UnsupportedFormatError,
    UnusableBatchError,
)
from exporter.formats import ARROW, JSON, NDJSON, PARQUET, Limits, decode, encode_table
from exporter.schema import Column, Kind, Schema, Task

SCHEMA = Schema("m", Task.BINARY, "prediction", "label", id="id", features=(Column("x", Kind.NUMERIC),))
ROWS = [
    {"id": f"row {row}", "x": row / 7, "prediction": True, "note": "é" * (row % 5)} for row in range(2_000)
]
BODY = orjson.dumps({"rows": ROWS})
LINES = b"\n".join(map(orjson.dumps, ROWS))


@pytest.fixture(scope="module")
def decoder():
    """Two workers that take every JSON body."""
    with Decoder(2, threshold_bytes=0) as shared:
        yield shared


def processes(decoder: Decoder) -> list[subprocess.Popen]:
    return [worker.process for worker in decoder._workers]


@pytest.mark.parametrize(("body", "content_type"), [(BODY, JSON), (LINES, NDJSON)])
def test_workers_decode_as_the_caller_would(decoder, body, content_type):
    """The table from a worker equals the one decoded here, compressed or not."""
    expected = decode(body, content_type, schema=SCHEMA)
    assert decoder.decode(body, content_type, schema=SCHEMA).equals(expected)
    assert decoder.decode(zstandard.compress(body), content_type, "zstd", schema=SCHEMA).equals(expected)
    assert decoder.decode(memoryview(body), content_type, schema=SCHEMA).equals(expected)


def test_workers_mark_columns_of_several_types(decoder):
    """What the tolerant parser says about columns and rows comes back with the table."""
    body = orjson.dumps([{"x": 1}, {"x": "a"}, 3])
    table = decoder.decode(body, JSON, schema=SCHEMA)
    assert table.equals(decode(body, JSON, schema=SCHEMA), check_metadata=True)
    assert table.schema.metadata


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[{", UnreadableError),
        (b"3", UnusableBatchError),
        (b"\xff", UnreadableError),
        (b'{"columns": 1}', UnusableBatchError),
    ],
)
def test_errors_of_workers_are_ours(decoder, body, error):
    """A worker's error is raised here with its sentence, and the worker lives on."""
    before = {process.pid for process in processes(decoder)}
    with pytest.raises(error) as caught:
        decoder.decode(body, JSON)
    with pytest.raises(error) as expected:
        decode(body, JSON)
    assert caught.value.message == expected.value.message
    assert caught.value.details == expected.value.details
    assert before <= {process.pid for process in processes(decoder)}


def test_limits_hold_in_workers(decoder):
    """Limits go with the body."""
    with pytest.raises(TooLargeError, match="rows"):
        decoder.decode(BODY, JSON, limits=Limits(rows=10))
    with pytest.raises(TooLargeError):
        decoder.decode(BODY, JSON, limits=Limits(body_bytes=10))
    with pytest.raises(UnsupportedFormatError):
        decoder.decode(BODY, "text/plain")


def test_workers_start_when_needed_and_small_bodies_stay():
    """Small bodies and columnar formats start no process."""
    with Decoder(2, threshold_bytes=1_000_000) as decoder:
        decoder.decode(BODY, JSON)
        decoder.decode(zstandard.compress(BODY), JSON, "zstd")
        decoder.decode(encode_table(pa.table({"a": [1]})), ARROW)
        assert processes(decoder) == []
        decoder.start()
        assert len(processes(decoder)) == 2


def test_workers_are_nice_and_few(decoder):
    """Many callers share the workers, which yield to others."""
    expected = decode(BODY, JSON, schema=SCHEMA)
    with ThreadPoolExecutor(8) as pool:
        for table in pool.map(lambda _: decoder.decode(BODY, JSON, schema=SCHEMA), range(24)):
            assert table.equals(expected)
    assert 1 <= len(processes(decoder)) <= 2
    assert all(os.getpriority(os.PRIO_PROCESS, process.pid) >= 5 for process in processes(decoder))


def test_a_killed_worker_is_replaced():
    """An idle worker that was killed costs nothing but a retry."""
    with Decoder(1, threshold_bytes=0) as decoder:
        decoder.decode(BODY, JSON)
        (first,) = processes(decoder)
        first.kill()
        first.wait()
        assert decoder.decode(BODY, JSON).num_rows == 2_000
        (second,) = processes(decoder)
        assert second.pid != first.pid


def test_a_body_that_crashes_the_fast_parser_is_read_by_the_other(decoder):
    """Arrow's reader crashes on null in place of a row; the retry does without it."""
    lines = orjson.dumps(ROWS[0]) + b"\nnull\n" + orjson.dumps(ROWS[1])
    table = decoder.decode(lines, NDJSON)
    assert table.equals(decode(lines, NDJSON))
    assert table.num_rows == 2


def test_a_body_whose_workers_die_twice_is_refused():
    """Two deaths over one body are enough."""
    big = orjson.dumps(ROWS * 100)
    with Decoder(1, threshold_bytes=0) as decoder:
        done = threading.Event()

        def assassinate() -> None:
            while not done.is_set():
                for process in processes(decoder):
                    process.kill()
                time.sleep(0.001)

        killer = threading.Thread(target=assassinate)
        killer.start()
        try:
            with pytest.raises(BusyError, match="twice"):
                decoder.decode(big, JSON)
        finally:
            done.set()
            killer.join()
        assert decoder.decode(BODY, JSON).num_rows == 2_000


def test_parquet_that_crashes_its_reader_is_unreadable(decoder):
    """Some damaged footers abort the process that reads them; the caller is told, and lives."""
    table = pa.table({"id": ["a", "b"], "x": [1.0, None]})
    body = encode_table(table, PARQUET)
    assert decoder.decode(body, PARQUET)["x"].to_pylist() == [1.0, None]
    footer = int.from_bytes(body[-8:-4], "little")
    outcomes = set()
    for position in range(len(body) - 8 - footer, len(body) - 8, 3):
        damaged = body[:position] + b"\x7f" + body[position + 1 :]
        try:
            decoder.decode(damaged, PARQUET)
        except BadRequestError as error:
            outcomes.add(type(error))
    assert outcomes <= {UnreadableError, TooLargeError, UnusableBatchError}
    assert UnreadableError in outcomes


def test_a_stopped_worker_ends_at_the_deadline():
    """A worker that does not answer is killed, and the body refused."""
    with Decoder(1, threshold_bytes=0, deadline_seconds=3.0) as decoder:
        decoder.decode(BODY, JSON)
        (process,) = processes(decoder)
        process.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(TooLargeError, match="within 3 seconds"):
            decoder.decode(BODY, JSON)
        assert time.monotonic() - start < 4.5
        assert process.poll() is not None
        assert decoder.decode(BODY, JSON).num_rows == 2_000


def test_a_full_queue_is_busy():
    """With no room to wait the caller is told at once to come again."""
    with Decoder(1, threshold_bytes=0, queue=0, deadline_seconds=3.0) as decoder:
        decoder.decode(BODY, JSON)
        (process,) = processes(decoder)
        process.send_signal(signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(decoder.decode, BODY, JSON)
            while decoder._admitted._value:
                time.sleep(0.01)
            with pytest.raises(BusyError, match="wait"):
                decoder.decode(BODY, JSON)
            process.send_signal(signal.SIGCONT)
            assert first.result().num_rows == 2_000


def test_close_leaves_no_process():
    """All workers are gone after close, and bodies after it are refused."""
    decoder = Decoder(2, threshold_bytes=0)
    decoder.start()
    workers = processes(decoder)
    decoder.close()
    decoder.close()
    assert all(process.returncode is not None for process in workers)
    with pytest.raises(BusyError, match="closed"):
        decoder.decode(BODY, JSON)


def test_close_during_a_body_raises_busy():
    """A body in a worker's hands when the decoder is closed fails with a reason."""
    decoder = Decoder(1, threshold_bytes=0)
    decoder.decode(BODY, JSON)
    (process,) = processes(decoder)
    process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(decoder.decode, BODY, JSON)
        while decoder._idle:
            time.sleep(0.01)
        decoder.close()
        with pytest.raises(BusyError):
            pending.result(timeout=10)
    assert process.returncode is not None


def test_workers_end_with_a_killed_parent():
    """When the parent is killed, its workers see the closed socket and end."""
    script = (
        "import os, sys, time\n"
        "from exporter.decoding import Decoder\n"
        "decoder = Decoder(1, threshold_bytes=0)\n"
        "decoder.decode(b'[{\"a\": 1}]', 'application/json')\n"
        "print(next(iter(decoder._workers)).process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(worker, 0)
            with open(f"/proc/{worker}/stat", encoding="ascii") as stat:  # noqa: PTH123  # a zombie has ended too
                if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its parent")
