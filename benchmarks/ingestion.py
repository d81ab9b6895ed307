"""Rows a second over HTTP, durable, beside what profiling or parsing alone can do in the same run.

python -m benchmarks.ingestion
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import orjson
import pyarrow as pa
import requests

from benchmarks.running import Running, configuration, rows, running
from exporter.baseline import grid_of
from exporter.batch import validate_batch
from exporter.config import parse_config
from exporter.formats import ARROW, CSV, JSON, NDJSON
from exporter.formats import encode_table as encode_columns
from exporter.profiles import profile_rows

ROWS, CALLERS, SECONDS = 10_000, 2, 8.0


def rate(run: Callable[[], object], amount: int, seconds: float = 2.0) -> float:
    """Amount a second of a function that is run for some seconds, after one run to warm up."""
    run()
    start, times = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        run()
        times += 1
    return amount * times / (time.perf_counter() - start)


def profile_alone(table: pa.Table) -> float:
    """Rows a second of profiling the same Arrow batch on both cores, without HTTP and store."""
    import yaml

    schema = parse_config(yaml.safe_load(configuration())).models["m"].schema("m")
    batch = validate_batch(table, schema, now=time.time())
    grid = grid_of(batch)
    with ThreadPoolExecutor(CALLERS) as pool:
        return rate(
            lambda: list(pool.map(lambda _: profile_rows(grid, batch), range(2 * CALLERS))),
            2 * CALLERS * ROWS,
        )


def pushed(
    exporter: Running, bodies: list[bytes], content_type: str, count: int, callers: int, *, again: bool = True
) -> float:
    """Rows a second acknowledged, by some callers that push until the time is over.

    Unless `again`, each body is pushed once: rows whose ids came before would not be profiled.

    They use `http.client`, because they share the cores with the exporter.
    """
    acknowledged = [0] * callers
    stop = time.perf_counter() + SECONDS

    def push(caller: int) -> None:
        connection = http.client.HTTPConnection(exporter.url.removeprefix("http://"))
        turn = caller
        while time.perf_counter() < stop and (again or turn < len(bodies)):
            headers = {"Content-Type": content_type, "Idempotency-Key": uuid.uuid4().hex}
            connection.request("POST", "/api/v1/models/m/batches", bodies[turn % len(bodies)], headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status in (429, 503):
                time.sleep(0.01)
                continue
            if answer.status != 202:
                raise SystemExit(text.decode())
            acknowledged[caller] += count
            turn += callers

    start = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(push, range(callers)))
    return sum(acknowledged) / (time.perf_counter() - start)


def encode_table(table: pa.Table, content_type: str) -> bytes:
    """The table as the body of a request."""
    if content_type == JSON:
        return orjson.dumps(table.to_pylist())
    if content_type == NDJSON:
        return b"".join(orjson.dumps(row) + b"\n" for row in table.to_pylist())
    return bytes(encode_columns(table, content_type))


def with_baseline(exporter: Running, table: pa.Table) -> None:
    answer = requests.post(
        f"{exporter.url}/api/v1/models/m/baselines",
        data=encode_table(table, ARROW),
        headers={"Content-Type": ARROW},
        timeout=60,
    )
    answer.raise_for_status()


def line(what: str, value: float, references: dict[str, float] | None = None) -> None:
    ratios = [f"{value / one:.2f} of {name} ({one:,.0f})" for name, one in (references or {}).items()]
    print(f"{what:<58}{value:>12,.0f} rows/s  {'; '.join(ratios)}", flush=True)


_POLARS = """
import io, sys, time
import polars

content = open(sys.argv[2], "rb").read()
read = getattr(polars, sys.argv[1])
read(io.BytesIO(content))
start, times = time.perf_counter(), 0
while time.perf_counter() - start < 2.0:
    read(io.BytesIO(content))
    times += 1
print(times / (time.perf_counter() - start))
"""


def polars_rate(reader: str, content: bytes, threads: int) -> float:
    """Rows a second of polars, to columns; in a process of its own: threads are chosen at import."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        output = subprocess.check_output(
            [sys.executable, "-c", _POLARS, reader, file.name],
            env=os.environ | {"POLARS_MAX_THREADS": str(threads)},
        )
    return ROWS * float(output)


def fastest_parsers(table: pa.Table) -> dict[str, float]:
    """Rows a second of the fastest parser known for each text format, to columns, on the same bytes."""
    json_rows = encode_table(table, JSON)
    ndjson, csv = encode_table(table, NDJSON), encode_table(table, CSV)
    rates = {"orjson.loads": rate(lambda: orjson.loads(json_rows), ROWS)}
    for threads in (1, 2):
        rates[f"polars NDJSON, threads: {threads}"] = polars_rate("read_ndjson", ndjson, threads)
        rates[f"polars CSV, threads: {threads}"] = polars_rate("read_csv", csv, threads)
    return rates


def main() -> None:
    table = rows(ROWS, seed=1)
    alone = profile_alone(table)
    line("profile alone, two threads, Arrow", alone)
    parsers = fastest_parsers(table)
    for name, value in parsers.items():
        line(name, value)
    with running(configuration()) as exporter:
        with_baseline(exporter, rows(100_000, seed=0))
        for name, content_type, against in (
            ("Arrow, durable", ARROW, {"profile alone": alone}),
            ("JSON rows, durable", JSON, parsers),
            ("NDJSON, durable", NDJSON, parsers),
            ("CSV, durable", CSV, parsers),
        ):
            known = {"JSON rows": "orjson", "NDJSON": "NDJSON", "CSV": "CSV"}.get(name.split(",")[0], "")
            references = {title: value for title, value in against.items() if known in title}
            bodies = [encode_table(rows(ROWS, seed=seed), content_type) for seed in range(4)]
            value = pushed(exporter, bodies, content_type, ROWS, 4)
            line(f"HTTP, 10,000-row batches, {name}", value, references)
    with running(configuration(ids=True)) as exporter:
        with_baseline(exporter, rows(100_000, seed=0, first=0))
        bodies = [encode_table(rows(ROWS, seed=seed, first=ROWS * seed), ARROW) for seed in range(1, 101)]
        value = pushed(exporter, bodies, ARROW, ROWS, 4, again=False)
        line("HTTP, 10,000-row batches, Arrow with new ids, durable", value, {"profile alone": alone})
    with running(configuration()) as exporter:
        with_baseline(exporter, rows(100_000, seed=0))
        for name, content_type in (("Arrow", ARROW), ("JSON", JSON)):
            bodies = [encode_table(rows(100, seed=seed), content_type) for seed in range(50)]
            value = pushed(exporter, bodies, content_type, 100, 8) / 100
            what = f"HTTP, 100-row batches x 60 columns, {name}, durable"
            print(f"{what:<58}{value:>12,.0f} batches/s  {value / 300:6.2f} of 300", flush=True)


if __name__ == "__main__":
    main()
