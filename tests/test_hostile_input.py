"""Input that is made to break a running exporter: it answers as the contract says, soon, and goes on."""

from __future__ import annotations

import gzip
import io
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import requests

from .conftest import RunningExporter

Run = Callable[..., RunningExporter]

CONFIGURATION = """
models:
  m:
    task: binary
    columns: {id: id, timestamp: at, prediction: answer, label: truth}
    features: {x: numeric, cat: categorical}
    segments: [cat]
    windows: [1h]
    evaluation_interval: 100ms
    counter_warmup: 0s
"""
BATCHES = "/api/v1/models/m/batches"
ARROW = "application/vnd.apache.arrow.stream"


def row(number: int, **values: Any) -> dict[str, Any]:
    at = time.time() - 60
    return {
        "id": f"r{number}",
        "at": at,
        "answer": number % 2,
        "x": float(number),
        "cat": "ab"[number % 2],
    } | values


def push(exporter: RunningExporter, rows: list[dict[str, Any]]) -> requests.Response:
    return requests.post(f"{exporter.url}{BATCHES}", json=rows, timeout=30)


def push_arrow(exporter: RunningExporter, columns: dict[str, Any]) -> requests.Response:
    table = pa.table(columns)
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    headers = {"Content-Type": ARROW}
    return requests.post(f"{exporter.url}{BATCHES}", data=sink.getvalue(), headers=headers, timeout=30)


def with_baseline(run: Run) -> RunningExporter:
    exporter = run(CONFIGURATION)
    rows = [row(number, truth=number % 3 == 0) for number in range(300)]
    url = f"{exporter.url}/api/v1/models/m/baselines"
    assert requests.post(url, json=rows, timeout=30).status_code == 201
    return exporter


def error_code(answer: requests.Response) -> str:
    error = answer.json()["error"]
    assert error["message"]
    return str(error["code"])


def assert_well(exporter: RunningExporter) -> None:
    """The exporter answers at once, and nothing unforeseen happened."""
    started = time.monotonic()
    assert requests.get(f"{exporter.url}/-/healthy", timeout=5).ok
    assert requests.get(f"{exporter.url}/metrics", timeout=5).ok
    assert time.monotonic() - started < 2
    assert "Traceback" not in exporter.log.read_text()


def open_connections(exporter: RunningExporter, number: int, data: bytes, stack: ExitStack) -> None:
    host, port = exporter.url.removeprefix("http://").split(":")
    for _ in range(number):
        connection = stack.enter_context(socket.create_connection((host, int(port))))
        connection.sendall(data)


def test_slow_clients_leave_threads_for_scrapes(running_exporter: Run) -> None:
    """Half headers, half bodies, and answers that nobody reads do not keep a scrape waiting."""
    exporter = running_exporter(CONFIGURATION)
    host = f"Host: {exporter.url.removeprefix('http://')}\r\n".encode()
    body = b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n["
    for data in (
        b"GET /metr",
        f"POST {BATCHES} HTTP/1.1\r\n".encode() + host + body,
        (b"GET /metrics HTTP/1.1\r\n" + host + b"\r\n") * 500,
    ):
        with ExitStack() as stack:
            open_connections(exporter, 80, data, stack)
            assert_well(exporter)
    assert_well(exporter)


def test_rows_of_which_none_is_usable_are_counted(running_exporter: Run) -> None:
    """A batch of rejected rows only is refused with 422, and its rows count by reason all the same."""
    exporter = with_baseline(running_exporter)
    assert push(exporter, [row(1)]).status_code == 202
    answer = push(exporter, [row(2, id=None), row(3, x=[1]), row(4, at="never")])
    assert (answer.status_code, error_code(answer)) == (422, "unusable_batch")
    wanted = {'reason="missing_id"} 1.0', 'reason="type"} 2.0'}
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        lines = requests.get(f"{exporter.url}/metrics", timeout=5).text.splitlines()
        counted = [line for line in lines if line.startswith("ml_rejected_rows_total{")]
        if {line.split(",")[-1] for line in counted} == wanted:
            return
        time.sleep(0.1)
    pytest.fail(f"rejected rows were not counted: {counted}")


def test_values_that_repeat_themselves_are_bounded(running_exporter: Run) -> None:
    """Dictionaries, run ends and views of a few kilobytes that stand for gigabytes are refused at once."""
    exporter = with_baseline(running_exporter)
    rows, text = 400_000, "y" * 10_000
    view = pa.array([text], pa.string_view())
    _, views, data = view.buffers()
    repeated = {
        "dictionary id": pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array([text])),
        "run ends": pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), pa.array([text])),
        "views": pa.Array.from_buffers(
            pa.string_view(), rows, [None, pa.py_buffer(views.to_pybytes()[:16] * rows), data]
        ),
    }
    for name, column in repeated.items():
        place = "id" if name == "dictionary id" else "cat"
        columns = {"id": np.arange(rows), "at": np.full(rows, time.time()), "answer": np.ones(rows)}
        answer = push_arrow(exporter, columns | {place: column})
        assert (name, answer.status_code, error_code(answer)) == (name, 413, "too_large")
    assert_well(exporter)


def test_arrow_types_without_kernels_are_read_or_refused(running_exporter: Run) -> None:
    """Views, run ends and nested values are taken or rejected by type, in rows of several buckets."""
    exporter = with_baseline(running_exporter)
    texts = ["1", "2", "3"]
    sources = (
        pa.array(texts, pa.string_view()),
        pa.array([text.encode() for text in texts], pa.binary_view()),
        pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), pa.array(texts)),
        pa.array([{"a": text} for text in texts], pa.struct([("a", pa.string_view())])),
        pa.array([[text] for text in texts], pa.list_(pa.string_view())),
        pa.array([[1.0]] * 3, pa.list_view(pa.float32())),
    )
    for number, (column, values) in enumerate(product(("x", "cat", "id", "other"), sources)):
        columns: dict[str, Any] = {
            "id": [f"{number}-{position}" for position in range(3)],
            "at": time.time() - np.array([0.0, 700.0, 9e9]),
            "answer": [1, 0, 1],
        }
        answer = push_arrow(exporter, columns | {column: values})
        assert answer.status_code in (202, 422), (values.type, answer.text)
    assert_well(exporter)


def test_long_segment_values_are_taken_and_joined(running_exporter: Run) -> None:
    """Segment values of any length are taken; labels find their rows, and no series has such a value."""
    exporter = with_baseline(running_exporter)
    odd = ["z" * 10_000, "\N{GRINNING FACE}" * 40, 'q"\\', "line\nend", "\x1f", "\x00"]
    answer = push(exporter, [row(number, cat=value) for number, value in enumerate(odd)])
    assert (answer.status_code, answer.json()["accepted"]) == (202, len(odd))
    labels = [{"id": f"r{number}", "truth": 1} for number in range(len(odd))]
    answer = requests.post(f"{exporter.url}/api/v1/models/m/labels", json=labels, timeout=30)
    assert answer.json()["matched"] == len(odd)
    assert "zzz" not in requests.get(f"{exporter.url}/metrics", timeout=5).text
    assert_well(exporter)


def test_rows_of_too_many_buckets_are_refused(running_exporter: Run) -> None:
    """Twenty thousand rows over fifty years are refused with a sentence, and change nothing."""
    exporter = with_baseline(running_exporter)
    rows = 20_000
    at = np.linspace(time.time() - 50 * 365 * 86_400, time.time() - 1, rows)
    columns = {"id": np.arange(rows), "at": at, "answer": np.arange(rows) % 2, "x": np.ones(rows)}
    answer = push_arrow(exporter, columns)
    assert (answer.status_code, error_code(answer)) == (422, "too_many_buckets")
    last = {name: values[-10:] for name, values in columns.items()}
    assert push_arrow(exporter, last).json()["accepted"] == 10
    assert_well(exporter)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models: &m\n  x: *m\n", "aliases"),
        ("a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 9)), "aliases"),
        ("models: {}\nmodels: {}\n", "line 2: the key 'models' was given before, in line 1"),
        (
            CONFIGURATION + "    quality: {consistency_rules: {r: '1; 2'}}",
            "models.m.quality.consistency_rules.r: ",
        ),
    ],
)
def test_hostile_configurations_are_refused_with_their_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    """Endless aliases, keys given twice and rules that do not compile end both commands with exit 2."""
    file = tmp_path / "models.yml"
    file.write_text(text, encoding="utf-8")
    program = str(Path(sys.executable).with_name("ml-exporter"))
    storage = tmp_path / "data"
    for arguments in (
        ["check-config", str(file)],
        ["serve", f"--config.file={file}", f"--storage.path={storage}", "--web.listen-address=127.0.0.1:0"],
    ):
        ended = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == 2, ended.stderr
        assert expected in ended.stderr
        assert "Traceback" not in ended.stderr
    assert not storage.exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_bombs_leave_no_memory_behind(running_exporter: Run) -> None:
    """What a gzip bomb took is given back: ten of them leave less than one would take."""
    exporter = running_exporter(CONFIGURATION)
    piece = gzip.compress(b" " * 2**20)
    bomb = piece * 600

    def resident_mebibytes() -> int:
        status = Path(f"/proc/{exporter.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmRSS:"))

    before = resident_mebibytes()
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    for _ in range(10):
        answer = requests.post(f"{exporter.url}{BATCHES}", data=bomb, headers=headers, timeout=30)
        assert (answer.status_code, error_code(answer)) == (413, "too_large")
    assert resident_mebibytes() - before < 256
    assert_well(exporter)
