"""Bodies made to break a server: each gets a 4xx with the one error shape, within seconds."""

from __future__ import annotations

import gzip
import io
import time

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"


def parquet(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def arrow(table):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def constant(rows):
    """A column whose Parquet is tiny whatever its length."""
    return pa.table({f"c{i}": np.zeros(rows) for i in range(8)})


ROW = {"flight_id": "a", "predicted": True, "probability": 0.5}
BODIES = {
    "deep arrays": (JSON, b"[" * 1_000_000),
    "deep objects": (JSON, b'[{"a":' * 200_000),
    "deep value": (JSON, b'[{"flight_id": ' + b"[" * 500 + b"]" * 500 + b"}]"),
    "many columns": (JSON, orjson.dumps([{f"c{i}": 1 for i in range(100_000)}])),
    "many columns in CSV": (CSV, b",".join(b"c%d" % i for i in range(100_000)) + b"\n"),
    "invalid UTF-8": (JSON, b'[{"flight_id": "\xff"}]'),
    "invalid UTF-8 in CSV": (CSV, b"flight_id,predicted,probability\n\xff\xfe,true,0.5\n"),
    "not JSON": (JSON, b"<html>"),
    "a number": (JSON, b"1e999999"),
    "null": (JSON, b"null"),
    "rows that are no objects": (JSON, b"[1, 2, 3]"),
    "columns of unequal length": (JSON, b'{"columns": {"flight_id": ["a", "b"], "predicted": [true]}}'),
    "empty": (JSON, b""),
    "empty array": (JSON, b"[]"),
    "broken NDJSON": (NDJSON, b'{"flight_id": "a"}\n{"flight'),
    "truncated Arrow": (ARROW, arrow(pa.table({"flight_id": ["a"] * 1000}))[:-600]),
    "no Arrow": (ARROW, b"\xff" * 1000),
    "lying Arrow": (ARROW, b"\xff\xff\xff\xff\xff\xff\xff\x7f" * 4),
    "truncated Parquet": (PARQUET, parquet(pa.table({"flight_id": ["a"] * 1000}))[:-100]),
    "no Parquet": (PARQUET, b"PAR1" + b"\x00" * 100 + b"PAR1"),
    "Parquet bomb": (PARQUET, parquet(constant(10_000_000))),
    "CSV without rows": (CSV, b"flight_id,predicted\n"),
    "ragged CSV": (CSV, b"flight_id,predicted,probability\na,true\nb,true,0.5,7\n"),
}


def assert_refused(answer, started):
    assert 400 <= answer.status_code < 500, answer.text
    assert set(answer.json()["error"]) == {"code", "message", "details"}
    assert len(answer.content) < 20_000
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("name", BODIES)
def test_hostile_bodies_are_refused(web, name):
    """A 4xx in seconds, and the server is as well as before."""
    kind, body = BODIES[name]
    started = time.monotonic()
    answer = web.push(body, Content_Type=kind)
    assert_refused(answer, started)
    assert web.ask("GET", "/-/healthy").status_code == 200


@pytest.mark.parametrize("kind", [JSON, NDJSON, CSV, ARROW, PARQUET])
def test_gzip_bombs_of_every_type_are_refused(web, kind):
    """What would become larger than the limit is 413."""
    started = time.monotonic()
    answer = web.push(BOMB, Content_Type=kind, Content_Encoding="gzip")
    assert_refused(answer, started)
    assert answer.status_code == 413


BOMB = gzip.compress(b"\n" * (520 << 20), 1)


@pytest.mark.parametrize(
    "value", ['"', "\n", "\\", "x" * 10_000, "\U0001f600", "\u0000", "\u202e", 'a{b="c"} 1']
)
def test_odd_values_never_break_the_exposition(web, value):
    """Versions and categories of any text leave /metrics readable."""
    from prometheus_client.parser import text_string_to_metric_families

    row = {**ROW, "flight_id": f"odd {value}", "carrier": value}
    answer = web.ask("POST", "/api/v1/models/flight_delay/batches", params={"version": value}, json=[row])
    assert answer.status_code in {202, 400, 422}, answer.text
    time.sleep(0.1)
    list(text_string_to_metric_families(web.ask("GET", "/metrics").text))
