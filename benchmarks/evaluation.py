"""What it costs to evaluate a window, after new rows and after the window has moved, and with segments.

python -m benchmarks.evaluation [--segments 20]
"""

from __future__ import annotations

import argparse
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
from exporter.service.evaluation.evaluator import evaluate_lane
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


def resident_megabytes() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1e3


def segmented(values: int) -> None:
    """Memory and time with profiles of their own for this many values of one column, by versions."""
    settings = parse_config(
        yaml.safe_load(configuration(evaluation_interval="1h", segments="[where]", windows="[6h, 1d, 7d]"))
    )
    now = 1.7e9 // 3600 * 3600
    print(f"window of {BUCKETS} buckets of {ROWS:,} rows x 60 columns, 1 segment column of {values} values")

    def table(count: int, start: float, seed: int) -> pa.Table:
        where = np.random.default_rng(seed).integers(0, values, count)
        made = labelled(rows(count, seed=seed), start, seed)
        return made.append_column("where", pa.array([f"place {code}" for code in where]))

    with tempfile.TemporaryDirectory() as directory:
        clock = ManualClock(now + BUCKETS * 3600)
        store = Store.open(Path(directory), clock=clock)
        service = Service(settings, store, clock=clock)
        service.start()
        service.create_baseline("m", table=table(100_000, now, 99))
        lane = service._lanes["m"]
        print(f"  no rows            {resident_megabytes():>7.0f} MB resident")
        for versions in (1, 2):
            began = time.perf_counter()
            for hour in range(BUCKETS):
                service.ingest_batch("m", table(ROWS, now + 3600 * hour, hour), version=f"v{versions}")
            pushed = time.perf_counter() - began
            lane.dirty = False
            times = []
            for _ in range(3):
                start = time.perf_counter()
                evaluate_lane(lane, 0.0)
                times.append(time.perf_counter() - start)
            print(
                f"  {versions} version{'s' if versions > 1 else ' '}         {resident_megabytes():>7.0f} MB "
                f"resident, evaluation {times[0]:.2f} s at first, then {min(times):.2f} s, "
                f"a batch {1e3 * pushed / BUCKETS:.0f} ms",
                flush=True,
            )
        service.stop()
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, help="measure segments of one column with this many values")
    options = parser.parse_args()
    if options.segments:
        segmented(options.segments)
        return
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
