"""What it costs to evaluate a window, after new rows and after the window has moved.

python -m benchmarks.evaluation
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from benchmarks.running import configuration, rows
from exporter.clock import ManualClock
from exporter.config import parse_config
from exporter.service import Service
from exporter.service.evaluator import evaluate_lane
from exporter.store import Store

BUCKETS, ROWS = 24, 10_000


def labelled(table: pa.Table, start: float, seed: int) -> pa.Table:
    """The rows in the hour from `start`, with labels."""
    generator = np.random.default_rng(seed)
    score = table["score"].to_numpy()
    table = table.set_column(0, "at", pa.array(start + np.sort(generator.uniform(0, 3600, table.num_rows))))
    return table.append_column("label", pa.array(generator.uniform(size=table.num_rows) < score))


def milliseconds(lane: object, repeats: int, *, rolled: bool) -> float:
    times = []
    for _ in range(repeats):
        if rolled:
            for state in lane.versions.values():
                for series in state.series.values():
                    series._running.clear()
        start = time.perf_counter()
        evaluate_lane(lane, 0.0)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def main() -> None:
    settings = parse_config(yaml.safe_load(configuration(evaluation_interval="1h")))
    now = 1.7e9 // 3600 * 3600
    with tempfile.TemporaryDirectory() as directory:
        clock = ManualClock(now + BUCKETS * 3600)
        store = Store.open(Path(directory), clock=clock)
        service = Service(settings, store, clock=clock)
        service.start()
        service.create_baseline("m", table=labelled(rows(100_000, seed=99), now, seed=99))
        for hour in range(BUCKETS):
            service.ingest_batch("m", labelled(rows(ROWS, seed=hour), now + 3600 * hour, seed=hour))
        lane = service._lanes["m"]
        evaluate_lane(lane, 0.0)
        what = f"window of {BUCKETS} buckets of {ROWS:,} rows x 60 columns, drift, performance, quality"
        for rolled, title in (
            (False, "after new rows"),
            (True, "after the window moved: all buckets merged anew"),
        ):
            value = milliseconds(lane, 15, rolled=rolled)
            print(f"{what}\n  {title:<60}{value:>8.1f} ms  {value / 50:5.2f} of 50 ms")
        service.stop()
        store.close()


if __name__ == "__main__":
    main()
