"""Durable pushes a second from eight threads, and seconds to recover a large store.

Run as ``python benchmarks/journal.py [--gigabytes 1] [--seconds 5]``.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from exporter.batch import validate_batch
from exporter.clock import SystemClock
from exporter.profiles import build_grid, encode, profile_rows
from exporter.schema import Column, Kind, Schema, Task
from exporter.store import Commit, Delta, LabelChunk, PredictionChunk, Store, StoredAnswer

THREADS = 8
ROWS = 100
COLUMNS = 60
NOW = 1.7e9

SCHEMA = Schema(
    model="bench",
    task=Task.BINARY,
    prediction="prediction",
    label="label",
    score="score",
    features=(
        *(Column(f"number_{at}", Kind.NUMERIC) for at in range(50)),
        *(Column(f"word_{at}", Kind.CATEGORICAL) for at in range(10)),
    ),
)


def show(name, value):
    print(f"{name:<62} {value}")


def batch_of(seed, rows):
    random = np.random.default_rng(seed)
    score = random.random(rows)
    columns = {f"number_{at}": random.normal(size=rows) for at in range(50)}
    columns |= {f"word_{at}": pa.array(random.integers(0, 20, rows).astype(str)) for at in range(10)}
    table = pa.table({**columns, "prediction": score > 0.5, "score": score})
    return validate_batch(table, SCHEMA, now=NOW)


def payload_of(random, rows):
    return pa.RecordBatch.from_pydict(
        {
            "event_time": pa.array(NOW + np.arange(rows, dtype=float)),
            "prediction": pa.array(random.integers(0, 2, rows, dtype=np.int8)),
            "score_0": pa.array(random.random(rows)),
        }
    )


def pushes(directory, grid, seconds, *, bins):
    """Commits a second, each with profile, key, counters and predictions; every thread waits for its own."""
    profiles = [profile_rows(grid, batch_of(seed, ROWS)) for seed in range(1, 33)]
    counters = {("rows", "v"): float(ROWS), ("batches", "v"): 1.0}
    totals = {("v", grid.id): np.ones(12 * COLUMNS, dtype=np.int64)} if bins else {}
    with Store.open(directory, clock=SystemClock()) as store:
        index = store.load("bench").index
        store.put_grid("bench", grid.id, grid.to_bytes())
        lock = threading.Lock()
        latencies, stop = [], time.perf_counter() + seconds

        def push(thread):
            random = np.random.default_rng(thread)
            payload = payload_of(random, ROWS)
            step = 0
            while time.perf_counter() < stop:
                hashes = random.integers(0, 2**64, ROWS, dtype=np.uint64)
                began = time.perf_counter()
                with lock:
                    chunk = PredictionChunk(index.next_chunk_id(), "v", 19_675, hashes, payload)
                    index.add(chunk)
                commit = Commit(
                    "bench",
                    deltas=[Delta("v", "", 3600 * (step // 500), profiles[(thread + step) % len(profiles)])],
                    counters=counters,
                    bins=totals,
                    state={("watermark", "v"): NOW + step},
                    answer=StoredAnswer("batches", f"{thread}-{step}", "hash", 202, b"{}" * 100, NOW),
                    predictions=[chunk],
                )
                store.submit(commit).result()
                latencies.append(time.perf_counter() - began)
                step += 1

        workers = [threading.Thread(target=push, args=(thread,)) for thread in range(THREADS)]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        taken = time.perf_counter() - began
        name = "with 720 per-bin counters" if bins else "without per-bin counters"
        what = f"commits/s, {THREADS} threads, {ROWS} x {COLUMNS}, {name}"
        show(what, f"{len(latencies) / taken:,.0f}")
        p50, p99 = np.quantile(latencies, [0.5, 0.99]) * 1e3
        shared = len(latencies) / store.transactions
        show("  latency p50, p99, ms; commits a transaction", f"{p50:.1f}, {p99:.1f}; {shared:.1f}")
        began = time.perf_counter()
        gone = store.compact("bench")
        show("  delta rows compacted away; seconds", f"{gone:,}; {time.perf_counter() - began:.2f}")


def recovery(directory, grid, gigabytes):
    """Seconds to open and load a store that is half profiles and half predictions with labels."""
    random = np.random.default_rng(0)
    profile = profile_rows(grid, batch_of(0, 10_000))
    with Store.open(directory, clock=SystemClock()) as store:
        index = store.load("bench").index
        store.put_grid("bench", grid.id, grid.to_bytes())
        bucket, futures = 0, []
        while store.size_bytes() < gigabytes * 2**30:
            for _ in range(50):
                rows, day = 10_000, bucket // 500
                hashes = random.integers(0, 2**64, rows, dtype=np.uint64)
                chunk = PredictionChunk(index.next_chunk_id(), "v", day, hashes, payload_of(random, rows))
                values = random.integers(0, 2, rows).astype(float)
                labels = LabelChunk(hashes, values, NOW, np.full(rows, day, np.int32))
                deltas = [Delta("v", f"segment\x1f{part}", bucket * 3600, profile) for part in range(5)]
                bucket += 1
                futures.append(
                    store.submit(Commit("bench", deltas=deltas, predictions=[chunk], labels=labels))
                )
            for future in futures:
                future.result()
            futures = []
        size = store.size_bytes()
    show(
        "store, GiB; profiles; bytes a profile",
        f"{size / 2**30:.2f}; {bucket * 5:,}; {len(encode(profile)):,}",
    )
    began = time.perf_counter()
    with Store.open(directory, clock=SystemClock()) as store:
        opened = time.perf_counter() - began
        model = store.load("bench")
        taken = time.perf_counter() - began
        show("predictions recovered; labelled", f"{model.index.pending:,}; all")
        show(
            "recovery, seconds (opening); seconds a GiB",
            f"{taken:.2f} ({opened:.2f}); {taken * 2**30 / size:.2f}",
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    grid = build_grid(batch_of(0, 20_000))
    for bins in (False, True):
        with tempfile.TemporaryDirectory(dir=".") as directory:
            pushes(Path(directory), grid, arguments.seconds, bins=bins)
    with tempfile.TemporaryDirectory(dir=".") as directory:
        recovery(Path(directory), grid, arguments.gigabytes)


if __name__ == "__main__":
    main()
