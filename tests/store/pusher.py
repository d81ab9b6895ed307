"""Pushes into a store until it is killed, and prints the key of each push once it is durable.

Run as ``python pusher.py DIRECTORY ROUND``; imported by nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from conftest import batch_of, payload_of

from exporter.clock import SystemClock
from exporter.profiles import build_grid, profile_rows
from exporter.store import Commit, Delta, LabelChunk, PredictionChunk, Store, StoredAnswer

ROWS = 20


def main(directory: Path, name: str) -> None:
    grid = build_grid(batch_of(0, 2000))
    profiles = [profile_rows(grid, batch_of(seed, ROWS)) for seed in range(4)]
    store = Store.open(directory, clock=SystemClock())
    index = store.load("fraud").index
    lock = threading.Lock()
    os.write(1, b"ready\n")

    def push(thread: int) -> None:
        for step in range(100_000):
            key = f"{name}-{thread}-{step}"
            with lock:
                chunk_id = index.next_chunk_id()
            hashes = np.arange(chunk_id * ROWS, (chunk_id + 1) * ROWS, dtype=np.uint64)
            store.submit(
                Commit(
                    model="fraud",
                    deltas=[Delta("v1", "", 60 * (step % 3), profiles[step % 4])],
                    counters={("rows", "v1"): ROWS},
                    bins={("v1", grid.id): np.eye(5, dtype=np.int64)[step % 5]},
                    answer=StoredAnswer("batches", key, "h", 202, b"{}", 1.0),
                    predictions=[PredictionChunk(chunk_id, "v1", 1, hashes, payload_of(ROWS, chunk_id))],
                    labels=LabelChunk(hashes[:5], np.ones(5), 1.0, np.ones(5, np.int32)),
                )
            ).result()
            os.write(1, f"{key}\n".encode())

    workers = [threading.Thread(target=push, args=(thread,), daemon=True) for thread in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
