"""Labels against ten million pending predictions: look-ups a second, bytes a row, durable joins a second.

Run as ``python benchmarks/predictions.py [--rows 10000000]``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from exporter.clock import SystemClock
from exporter.store import Commit, LabelChunk, PredictionChunk, PredictionIndex, Store

DAYS = 30
BATCH = 10_000
LABELS = 100_000


def median(function, times=7):
    """Median seconds of a call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[times // 2]


def show(name, value):
    print(f"{name:<62} {value}")


def filled(rows, batch, random):
    """An index over thirty event days, the seconds of each addition, and the hashes."""
    index = PredictionIndex(b"0123456789abcdef")
    hashes = random.integers(0, 2**64, rows, dtype=np.uint64)
    taken = []
    for start in range(0, rows, batch):
        chunk = SimpleNamespace(
            id=index.next_chunk_id(),
            version="v",
            day=start * DAYS // rows,
            hashes=hashes[start : start + batch],
        )
        began = time.perf_counter()
        index.add(chunk)
        taken.append(time.perf_counter() - began)
    return index, np.array(taken), hashes


def in_memory(rows):
    random = np.random.default_rng(0)
    index, taken, hashes = filled(rows, BATCH, random)
    show(f"adding {rows:,} rows in batches of {BATCH:,}: rows/s", f"{rows / taken.sum():,.0f}")
    show("  one addition, median and slowest, ms", f"{np.median(taken) * 1e3:.2f}, {taken.max() * 1e3:.0f}")
    show("memory, bytes a row", f"{index.memory_bytes / index.pending:.2f}")
    wanted = random.choice(hashes, LABELS)
    seconds = median(lambda: index.find(wanted))
    show(f"{LABELS:,} look-ups, ms", f"{seconds * 1e3:.1f}  ({LABELS / seconds:,.0f} a second)")
    absent = random.integers(0, 2**64, LABELS, dtype=np.uint64)
    show(f"{LABELS:,} look-ups of unknown ids, ms", f"{median(lambda: index.seen('v', absent)) * 1e3:.1f}")
    matches = index.find(wanted)
    values = random.integers(0, 2, len(matches)).astype(float)
    show(f"{LABELS:,} labels set, ms", f"{median(lambda: index.set_labels(matches.slot, values)) * 1e3:.1f}")
    show(f"{LABELS:,} labels read, ms", f"{median(lambda: index.labels_of(matches.slot)) * 1e3:.1f}")
    show("memory with labels everywhere, bytes a row", f"{index.memory_bytes / index.pending:.2f}")
    ids = pa.array([f"request-{number:012d}" for number in range(LABELS)])
    show(f"{LABELS:,} ids hashed, ms", f"{median(lambda: index.hash_ids(ids)) * 1e3:.1f}")
    small = [
        SimpleNamespace(id=index.next_chunk_id(), version="v", day=DAYS, hashes=part)
        for part in np.split(random.integers(0, 2**64, 100_000, dtype=np.uint64), 1000)
    ]
    taken = np.array([median(lambda chunk=chunk: index.add(chunk), 1) for chunk in small])
    show(
        "adding 100 rows: mean, 99 %, slowest, us",
        f"{taken.mean() * 1e6:.0f}, {np.quantile(taken, 0.99) * 1e6:.0f}, {taken.max() * 1e6:.0f}",
    )
    days = [median(lambda day=day: index.expire_days(day), 1) for day in range(1, DAYS)]
    show("expiring a day: median, slowest, ms", f"{np.median(days) * 1e3:.2f}, {max(days) * 1e3:.0f}")


def durable(rows, directory):
    """Labels in order of their predictions, each push looked up, its payloads read, committed and marked."""
    random = np.random.default_rng(1)
    with Store.open(directory, clock=SystemClock(), cache_bytes=64 << 20) as store:
        index = store.load("bench").index
        hashes = random.integers(0, 2**64, rows, dtype=np.uint64)
        start = time.perf_counter()
        futures = []
        for first in range(0, rows, BATCH):
            payload = pa.RecordBatch.from_pydict(
                {
                    "event_time": pa.array(np.arange(BATCH) + 1.7e9),
                    "prediction": pa.array(random.integers(0, 2, BATCH, dtype=np.int8)),
                    "score_0": pa.array(random.random(BATCH)),
                }
            )
            part = hashes[first : first + BATCH]
            chunk = PredictionChunk(index.next_chunk_id(), "v", first * DAYS // rows, part, payload)
            index.add(chunk)
            futures.append(store.submit(Commit("bench", predictions=[chunk])))
            if len(futures) > 32:
                futures.pop(0).result()
        for future in futures:
            future.result()
        seconds = time.perf_counter() - start
        show(f"{rows:,} predictions durable, rows/s", f"{rows / seconds:,.0f}")
        show("  on disk, bytes a row", f"{store.size_bytes() / rows:.1f}")
        for name, order in (("in order", slice(None)), ("shuffled within a day", None)):
            labels = hashes[: 5 * LABELS] if order is not None else hashes[-rows // DAYS :].copy()
            if order is None:
                random.shuffle(labels)
            start = time.perf_counter()
            joined = 0
            for first in range(0, len(labels), BATCH):
                part = labels[first : first + BATCH]
                matches = index.find(part)
                payloads = store.payloads("bench", np.unique(matches.chunk).tolist())
                for chunk in np.unique(matches.chunk).tolist():
                    payloads[chunk].take(pa.array(matches.row[matches.chunk == chunk]))
                days = matches.day.astype(np.int32)
                store.submit(Commit("bench", labels=LabelChunk(part, np.ones(len(part)), 1.0, days))).result()
                index.set_labels(matches.slot, np.ones(len(matches)))
                joined += len(matches)
            seconds = time.perf_counter() - start
            show(f"durable join, labels {name}, labels/s", f"{joined / seconds:,.0f}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    rows = arguments.parse_args().rows // BATCH * BATCH
    in_memory(rows)
    with tempfile.TemporaryDirectory(dir=".") as directory:
        durable(rows, Path(directory))


if __name__ == "__main__":
    main()
