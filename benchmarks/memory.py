"""Resident memory of an exporter after 1, 10 and 50 million rows: it must not grow with rows.

python -m benchmarks.memory [--millions 1 10 50]
"""

from __future__ import annotations

import argparse
import threading
import time
import uuid

import pyarrow as pa
import requests

from benchmarks.ingestion import encode_table
from benchmarks.running import Running, configuration, rows, running
from exporter.formats import ARROW

FLOATS, STRINGS, ROWS, CALLERS = 10, 2, 50_000, 2
HOURS = 24


def push(exporter: Running, bodies: list[bytes], turns: range) -> None:
    session = requests.Session()
    for turn in turns:
        while True:
            answer = session.post(
                f"{exporter.url}/api/v1/models/m/batches",
                data=bodies[turn % len(bodies)],
                headers={"Content-Type": ARROW, "Idempotency-Key": uuid.uuid4().hex},
            )
            if answer.status_code == 202:
                break
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 10, 50])
    options = parser.parse_args()
    start = time.time() - HOURS * 3600
    bodies = []
    for hour in range(HOURS):
        table = rows(ROWS, seed=hour, floats=FLOATS, strings=STRINGS)
        table = table.set_column(0, "at", pa.array(start + 3600.0 * hour + table["at"].to_numpy() % 3600))
        bodies.append(bytes(encode_table(table, ARROW)))
    with running(configuration(floats=FLOATS, strings=STRINGS)) as exporter:
        requests.post(
            f"{exporter.url}/api/v1/models/m/baselines", data=bodies[0], headers={"Content-Type": ARROW}
        ).raise_for_status()
        done = 0
        print(f"{FLOATS} float64 and {STRINGS} string columns, {ROWS:,}-row batches, {HOURS} hourly buckets")
        for millions in options.millions:
            target = millions * 1_000_000 // ROWS
            began = time.perf_counter()
            threads = [
                threading.Thread(target=push, args=(exporter, bodies, range(done + caller, target, CALLERS)))
                for caller in range(CALLERS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            rate = (target - done) * ROWS / (time.perf_counter() - began)
            done = target
            time.sleep(3)
            print(
                f"after {millions:>3} million rows: {exporter.memory_bytes() / 1e6:>7.0f} MB resident "
                f"({rate:,.0f} rows/s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
