"""Decoding and validating 10,000 rows x 62 columns, each format beside the fastest parser of it.

    python benchmarks/decoding.py

The ratios count, for they are of one run on one machine: rows a second of ours divided by those of the
reference. `orjson.loads` makes no columns; polars, one thread, makes columns and checks nothing.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"  # before polars is imported: all here is one thread a caller

import io
import threading
import time
from collections.abc import Callable

import numpy as np
import orjson
import pyarrow as pa

from exporter.batch import validate_batch
from exporter.decoding import Decoder
from exporter.formats import ARROW, CSV, JSON, NDJSON, PARQUET, decode, encode_table
from exporter.schema import Column, Kind, Schema, Task

ROWS = 10_000
NOW = 1_800_000_000.0
REPEATS = 7
CALLERS = 2
ROUNDS = 8


def data() -> tuple[pa.Table, Schema]:
    """48 numbers, 10 categories, id, time, prediction and score."""
    generator = np.random.default_rng(20260101)
    numbers = {f"number_{index:02d}": generator.normal(size=ROWS).round(6) for index in range(48)}
    words = {
        f"category_{index}": generator.choice([f"value {word}" for word in range(5 + 5 * index)], ROWS)
        for index in range(10)
    }
    roles = {
        "id": [f"row-{row}" for row in range(ROWS)],
        "time": 1.7e9 + np.arange(ROWS),
        "prediction": generator.random(ROWS) < 0.3,
        "score": generator.random(ROWS),
    }
    features = [Column(name, Kind.NUMERIC) for name in numbers]
    features += [Column(name, Kind.CATEGORICAL) for name in words]
    schema = Schema(
        "m",
        Task.BINARY,
        "prediction",
        "label",
        id="id",
        timestamp="time",
        score="score",
        features=tuple(features),
    )
    return pa.table(numbers | words | roles), schema


def seconds(work: Callable[[], object]) -> float:
    """The fastest of a few runs."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def seconds_together(work: Callable[[], object]) -> float:
    """Seconds a body while two callers work at the same time; the fastest of a few runs."""
    return min(_together(work) for _ in range(3))


def _together(work: Callable[[], object]) -> float:

    def repeat() -> None:
        for _ in range(ROUNDS):
            work()

    threads = [threading.Thread(target=repeat) for _ in range(CALLERS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - start) / (ROUNDS * CALLERS)


def references(bodies: dict[str, bytes]) -> dict[str, tuple[str, float]]:
    """The fastest parser of each format."""
    loads = lambda name: lambda: orjson.loads(bodies[name])  # noqa: E731  # a table of them
    found = {
        "JSON rows": ("orjson.loads", seconds(loads("JSON rows"))),
        "JSON columns": ("orjson.loads", seconds(loads("JSON columns"))),
    }
    try:
        import polars as pl
    except ImportError:
        print("polars is not installed: no reference for NDJSON and CSV")
        return found
    found["NDJSON"] = ("polars", seconds(lambda: pl.read_ndjson(bodies["NDJSON"])))
    found["CSV"] = ("polars", seconds(lambda: pl.read_csv(bodies["CSV"])))
    found["Parquet"] = ("polars", seconds(lambda: pl.read_parquet(io.BytesIO(bodies["Parquet"]))))
    return found


def main() -> None:
    """Print one line a format."""
    table, schema = data()
    rows = table.to_pylist()
    bodies = {
        "JSON rows": orjson.dumps({"rows": rows}),
        "JSON columns": orjson.dumps({"columns": table.to_pydict()}),
        "NDJSON": b"\n".join(map(orjson.dumps, rows)),
        "CSV": encode_table(table, CSV),
        "Arrow": encode_table(table, ARROW),
        "Parquet": encode_table(table, PARQUET),
    }
    types = {"NDJSON": NDJSON, "CSV": CSV, "Arrow": ARROW, "Parquet": PARQUET}
    found = references(bodies)
    print(f"{ROWS:,} rows x {table.num_columns} columns; rows a second to a validated batch")
    heads = ("format", "MB", "here", "Decoder", "2 callers", "reference", "ratio", "ratio, 2 callers")
    print("{:13}{:>6}{:>12}{:>12}{:>12}  {:24}{:>6}{:>18}".format(*heads))
    with Decoder(CALLERS) as decoder:
        decoder.start()
        for name, body in bodies.items():
            kind = types.get(name, JSON)

            def here(body: bytes = body, kind: str = kind) -> None:
                validate_batch(decode(body, kind, schema=schema), schema, now=NOW)

            def elsewhere(body: bytes = body, kind: str = kind) -> None:
                validate_batch(decoder.decode(body, kind, schema=schema), schema, now=NOW)

            elsewhere()
            times = (seconds(here), seconds(elsewhere), seconds_together(elsewhere))
            rates = "".join(f"{ROWS / taken:>12,.0f}" for taken in times)
            parser, reference = found.get(name, ("", float("nan")))
            against = f"{parser} {ROWS / reference:,.0f}" if parser else "-"
            ratios = f"{reference / min(times[:2]):>6.2f}{reference / times[2]:>18.2f}" if parser else ""
            print(f"{name:13}{len(body) / 1e6:>6.1f}{rates}  {against:24}{ratios}")
    for text, frame in (("strings", table), ("dictionaries", _encoded(table))):
        taken = seconds(lambda frame=frame: validate_batch(frame, schema, now=NOW))
        print(f"validate_batch alone, categories as {text}: {taken * 1e3:.2f} ms")


def _encoded(table: pa.Table) -> pa.Table:
    for index, name in enumerate(table.column_names):
        if name.startswith("category"):
            table = table.set_column(index, name, table[name].dictionary_encode())
    return table


if __name__ == "__main__":
    main()
