"""Detectors of concept drift: false alarms without a change, and what share of changes they find.

A week of hourly buckets, of which the last day is looked at; errors are Bernoulli. A rate is the share of
streams in which a detector's statistic exceeds its critical value at 5 %; twice its standard error is
2 * sqrt(0.05 * 0.95 / repetitions).

    python -m benchmarks.concept [--repetitions 1000] [--seed 1]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import numpy as np
from rich.console import Console
from rich.table import Table

from exporter.results import Undefined
from exporter.statistics.concept import DETECTORS, ErrorStream, concept_drift

HOURS, LOOKED_AT, HOUR = 168, 24, 3600.0
T = np.arange(HOURS)

SCENES: Mapping[str, tuple[int, np.ndarray]] = {
    "none, 10 % errors, 60 rows an hour": (60, np.full(HOURS, 0.1)),
    "none, 10 % errors, 8 rows an hour": (8, np.full(HOURS, 0.1)),
    "none, 0.5 % errors, 60 rows": (60, np.full(HOURS, 0.005)),
    "none, 0.2 % errors, 60 rows": (60, np.full(HOURS, 0.002)),
    "none, 1,000 rows": (1000, np.full(HOURS, 0.1)),
    "none, rhythm of +-50 % a day, 60 rows": (60, 0.1 * (1 + 0.5 * np.sin(T / 24 * 2 * np.pi))),
    "none, rhythm of +-50 % a day, 600 rows": (600, 0.1 * (1 + 0.5 * np.sin(T / 24 * 2 * np.pi))),
    "10 % -> 13 %, 12 h ago, 60 rows": (60, np.where(T < HOURS - 12, 0.1, 0.13)),
    "10 % -> 15 %, 12 h ago, 60 rows": (60, np.where(T < HOURS - 12, 0.1, 0.15)),
    "10 % -> 20 %, 6 h ago, 60 rows": (60, np.where(T < HOURS - 6, 0.1, 0.2)),
    "10 % -> 13 % by and by in a day, 600 rows": (600, 0.1 + 0.03 * np.clip((T - HOURS + 24) / 24, 0, 1)),
    "15 % -> 10 %, 12 h ago, 60 rows": (60, np.where(T < HOURS - 12, 0.15, 0.1)),
}
"""Rows an hour, and the share of errors by hour."""


def stream(rng: np.random.Generator, rows: int, share: np.ndarray) -> ErrorStream:
    came = rng.poisson(rows, HOURS) + 1.0
    losses = rng.binomial(came.astype(int), share).astype(float)
    return ErrorStream(T * HOUR, came, losses, losses, losses)


def rates(rows: int, share: np.ndarray, *, repetitions: int, seed: int) -> tuple[dict[str, float], float]:
    """Share of streams in which each detector finds a change, and milliseconds a stream."""
    rng = np.random.default_rng(seed)
    found = dict.fromkeys(DETECTORS, 0)
    taken = 0.0
    for _ in range(repetitions):
        drawn = stream(rng, rows, share)
        begun = time.perf_counter()
        results = concept_drift(drawn, since=(HOURS - LOOKED_AT) * HOUR)
        taken += time.perf_counter() - begun
        if not isinstance(results, Undefined):
            for name, result in results.items():
                found[name] += result.detected
    return {name: count / repetitions for name, count in found.items()}, 1e3 * taken / repetitions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    table = Table("change of the errors", *DETECTORS, "ms")
    for name, (rows, share) in SCENES.items():
        found, cost = rates(rows, share, repetitions=given.repetitions, seed=given.seed)
        table.add_row(name, *(f"{rate:.3f}" for rate in found.values()), f"{cost:.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
