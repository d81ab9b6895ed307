"""A model's grid, profiles on it, and an open store."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from exporter.batch import validate_batch
from exporter.clock import ManualClock
from exporter.profiles import build_grid, profile_rows
from exporter.schema import Column, Kind, Schema, Task
from exporter.store import Commit, Delta, PredictionChunk, Store

NOW = 1_700_000_000.0

SCHEMA = Schema(
    model="fraud",
    task=Task.BINARY,
    prediction="prediction",
    label="label",
    id="id",
    timestamp="time",
    score="score",
    features=(Column("amount", Kind.NUMERIC), Column("country", Kind.CATEGORICAL)),
)


def batch_of(seed, rows=50):
    random = np.random.default_rng(seed)
    score = random.random(rows)
    table = pa.table(
        {
            "id": [f"{seed}-{row}" for row in range(rows)],
            "time": NOW - random.random(rows) * 3600,
            "amount": random.normal(size=rows),
            "country": random.choice(["de", "fr", "it"], rows),
            "prediction": score > 0.5,
            "score": score,
        }
    )
    return validate_batch(table, SCHEMA, now=NOW)


@pytest.fixture(scope="session")
def grid():
    return build_grid(batch_of(0, 2000))


@pytest.fixture(scope="session")
def profile_of(grid):
    """A profile of some rows, by seed."""
    return lambda seed, rows=50: profile_rows(grid, batch_of(seed, rows))


@pytest.fixture
def clock():
    return ManualClock(NOW)


@pytest.fixture
def store(tmp_path, clock):
    with Store.open(tmp_path / "data", clock=clock) as opened:
        yield opened


@pytest.fixture
def commit_of(grid, profile_of):
    """A commit of one push: a delta, counters and, when asked for, predictions."""

    def make(seed, *, bucket=0, version="v1", answer=None):
        return Commit(
            model="fraud",
            deltas=[Delta(version, "", bucket, profile_of(seed))],
            counters={("rows", version): 50.0, ("batches", version): 1.0},
            state={("last_batch", version): float(seed)},
            answer=answer,
        )

    return make


def payload_of(rows, seed=0):
    random = np.random.default_rng(seed)
    return pa.RecordBatch.from_pydict(
        {
            "event_time": pa.array(NOW + np.arange(rows, dtype=float)),
            "prediction": pa.array(random.integers(0, 2, rows, dtype=np.int8)),
            "score": pa.array(random.random(rows)),
            "segment_0": pa.array(random.choice(["JFK", "LGA", "EWR"], rows)),
        }
    )


@pytest.fixture
def chunk_of():
    """A chunk of predictions of the given ids."""

    def make(index, ids, *, version="v1", day=19_000):
        hashes = index.hash_ids(pa.array(ids, pa.string()))
        chunk_id = index.next_chunk_id()
        return PredictionChunk(chunk_id, version, day, hashes, payload_of(len(ids), chunk_id))

    return make
