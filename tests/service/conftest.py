"""A service on a real store in a temporary directory, and rows to push."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exporter.clock import ManualClock
from exporter.config import parse_config
from exporter.service import Service
from exporter.store import Store

NOW = 1_700_000_000.0
HOUR = 3600.0

MODEL: dict[str, Any] = {
    "task": "binary",
    "columns": {"id": "id", "timestamp": "at", "prediction": "answer", "score": "score", "label": "truth"},
    "features": {"distance": "numeric", "delay": "numeric", "carrier": "categorical"},
    "segments": ["carrier"],
    "windows": ["1h", "6h"],
    "lateness": "6h",
    "counter_warmup": 0,
    "baseline": {"rows": 500},
}


class Bench:
    """One service that can be stopped and started again on the same store."""

    def __init__(self, directory: Path, clock: ManualClock, models: dict[str, Any]) -> None:
        self.directory, self.clock, self.config = directory, clock, parse_config({"models": models})
        self.start()

    def start(self) -> None:
        self.store = Store.open(self.directory, clock=self.clock)
        self.service = Service(self.config, self.store, clock=self.clock)
        self.service.start()

    def stop(self) -> None:
        self.service.stop()
        self.store.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def push(self, rows: pa.Table, **options: Any) -> dict[str, Any]:
        return self.service.ingest_batch("m", rows, **options).body

    def label(self, rows: pa.Table, **options: Any) -> dict[str, Any]:
        return self.service.ingest_labels("m", rows, **options).body

    def evaluated(self, part: str = "performance", **view: Any) -> dict[str, Any]:
        """The one result of this view, evaluated now."""
        self.service.evaluate("m")
        results = getattr(self.service, part)("m", **view)["results"]
        assert len(results) == 1, [(r["version"], r["window"], r["segment"]) for r in results]
        return results[0]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Give a function (**changes to the model) -> Bench."""
    made: list[Bench] = []

    def make(**changes: Any) -> Bench:
        bench = Bench(tmp_path / f"store-{len(made)}", ManualClock(NOW), {"m": {**MODEL, **changes}})
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.stop()


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(20261123)


@pytest.fixture
def rows(generator: np.random.Generator) -> Callable[..., pa.Table]:
    """Give a function (n, first id, start, seconds) -> table of predictions without labels."""

    def make(
        count: int, first: int = 0, *, start: float = NOW - HOUR, seconds: float = HOUR, shift: float = 0.0
    ) -> pa.Table:
        score = generator.uniform(size=count)
        return pa.table(
            {
                "id": [f"r{first + position}" for position in range(count)],
                "at": start + np.sort(generator.uniform(0, seconds, count)),
                "answer": score > 0.5,
                "score": score,
                "distance": generator.normal(size=count) + shift,
                "delay": np.where(
                    generator.uniform(size=count) < 0.7, 0.0, generator.exponential(size=count)
                ),
                "carrier": generator.choice(["AA", "UA", "DL"], count),
            }
        )

    return make


def labels_of(table: pa.Table, *, wrong: int = 0) -> pa.Table:
    """Labels that agree with the answers, but for the first `wrong`."""
    truth = table["answer"].to_numpy(zero_copy_only=False).copy()
    truth[:wrong] = ~truth[:wrong]
    return pa.table({"id": table["id"], "truth": truth})
