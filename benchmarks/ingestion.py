"""Rows a second over HTTP, durable, beside what profiling or parsing alone can do in the same run.

python -m benchmarks.ingestion
"""

from __future__ import annotations

import io
import os

os.environ.setdefault("POLARS_MAX_THREADS", "2")

import threading
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
    """Rows a second of validating and profiling the same Arrow batches, both cores, without HTTP and store."""
    import yaml

    schema = parse_config(yaml.safe_load(configuration())).models["m"].schema("m")
    batch = validate_batch(table, schema, now=time.time())
    grid = grid_of(batch)
    with ThreadPoolExecutor(CALLERS) as pool:
        return rate(
            lambda: list(pool.map(lambda _: profile_rows(grid, batch), range(2 * CALLERS))),
            2 * CALLERS * ROWS,
        )


def pushed(exporter: Running, bodies: list[bytes], content_type: str, count: int, callers: int) -> float:
    """Rows a second acknowledged, by some callers that push until the time is over."""
    url = f"{exporter.url}/api/v1/models/m/batches"
    acknowledged = [0] * callers
    stop = time.perf_counter() + SECONDS

    def push(caller: int) -> None:
        session = requests.Session()
        turn = caller
        while time.perf_counter() < stop:
            answer = session.post(
                url,
                data=bodies[turn % len(bodies)],
                headers={"Content-Type": content_type, "Idempotency-Key": uuid.uuid4().hex},
            )
            if answer.status_code in (429, 503):
                time.sleep(0.01)
                continue
            answer.raise_for_status()
            acknowledged[caller] += count
            turn += callers

    start = time.perf_counter()
    threads = [threading.Thread(target=push, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
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


def line(what: str, value: float, reference: float | None = None, against: str = "") -> None:
    ratio = "" if reference is None else f"{value / reference:6.2f} of {against} ({reference:,.0f})"
    print(f"{what:<58}{value:>12,.0f} rows/s  {ratio}", flush=True)


def fastest_parsers(table: pa.Table) -> dict[str, float]:
    """Rows a second of the fastest parser known for each text format, to columns, on the same bytes."""
    import polars

    json_rows = encode_table(table, JSON)
    ndjson, csv = encode_table(table, NDJSON), encode_table(table, CSV)
    return {
        "orjson.loads, one thread": rate(lambda: orjson.loads(json_rows), ROWS),
        "polars NDJSON": rate(lambda: polars.read_ndjson(io.BytesIO(ndjson)), ROWS),
        "polars CSV": rate(lambda: polars.read_csv(io.BytesIO(csv)), ROWS),
    }


def main() -> None:
    table = rows(ROWS, seed=1)
    alone = profile_alone(table)
    line("profile alone, two threads, Arrow", alone)
    parsers = fastest_parsers(table)
    for name, value in parsers.items():
        line(name, value)
    with running(configuration()) as exporter:
        with_baseline(exporter, rows(100_000, seed=0))
        for name, content_type, reference, against in (
            ("Arrow, durable", ARROW, alone, "profile alone"),
            ("JSON rows, durable", JSON, parsers["orjson.loads, one thread"], "orjson.loads"),
            ("NDJSON, durable", NDJSON, parsers["polars NDJSON"], "polars"),
            ("CSV, durable", CSV, parsers["polars CSV"], "polars"),
        ):
            bodies = [encode_table(rows(ROWS, seed=seed), content_type) for seed in range(4)]
            line(
                f"HTTP, 10,000-row batches, {name}",
                pushed(exporter, bodies, content_type, ROWS, 4),
                reference,
                against,
            )
    with running(configuration(ids=True)) as exporter:
        with_baseline(exporter, rows(100_000, seed=0, first=0))
        bodies = [encode_table(rows(ROWS, seed=seed, first=ROWS * seed), ARROW) for seed in range(1, 101)]
        line(
            "HTTP, 10,000-row batches, Arrow with new ids, durable",
            pushed(exporter, bodies, ARROW, ROWS, 4),
            alone,
            "profile alone",
        )
    with running(configuration()) as exporter:
        with_baseline(exporter, rows(100_000, seed=0))
        for name, content_type in (("Arrow", ARROW), ("JSON", JSON)):
            bodies = [encode_table(rows(100, seed=seed), content_type) for seed in range(50)]
            value = pushed(exporter, bodies, content_type, 100, 8) / 100
            print(
                f"{'HTTP, 100-row batches x 60 columns, ' + name + ', durable':<58}{value:>12,.0f} batches/s  {value / 300:6.2f} of 300"
            )


if __name__ == "__main__":
    main()
