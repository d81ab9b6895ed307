"""False-alarm rates of every drift method when nothing drifts, and of whole families.

Both samples come from one distribution, a new baseline each time, counted by the exporter's own profiles. A
rate is the share of evaluations whose statistic exceeds the critical value at 5 %, without correction and
minimum effect; twice its standard error is 2 * sqrt(0.05 * 0.95 / repetitions).

    python benchmarks/null_calibration.py [--repetitions 400] [--families 200] [--seed 1]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from exporter.batch import validate_batch
from exporter.profiles import Profile, build_grid, profile_rows
from exporter.results import Undefined
from exporter.schema import Column, Kind, Schema, Task
from exporter.statistics.drift.methods import METHODS, drift_test
from exporter.statistics.drift.verdict import drift_verdicts

ALPHA = 0.05
SIZES = ((100, 1_000), (200, 10_000), (1_000, 1_000), (1_000, 10_000), (10_000, 10_000))
"""(rows of the window, rows of the baseline)."""

Draw = Callable[[np.random.Generator, int], np.ndarray]

ZIPF = 1 / np.arange(1, 31)

COLUMNS: Mapping[str, tuple[Kind, Draw]] = {
    "normal": (Kind.NUMERIC, lambda rng, n: rng.normal(size=n)),
    "lognormal": (Kind.NUMERIC, lambda rng, n: rng.lognormal(0, 1.5, n)),
    "70 % zeros": (Kind.NUMERIC, lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.normal(size=n))),
    "poisson(1)": (Kind.NUMERIC, lambda rng, n: rng.poisson(1, n).astype(float)),
    "integers 0-9": (Kind.NUMERIC, lambda rng, n: rng.integers(0, 10, n).astype(float)),
    "poisson(30)": (Kind.NUMERIC, lambda rng, n: rng.poisson(30, n).astype(float)),
    "2 % missing": (Kind.NUMERIC, lambda rng, n: np.where(rng.random(n) < 0.02, np.nan, rng.normal(size=n))),
    "5 categories": (Kind.CATEGORICAL, lambda rng, n: rng.choice(list("abcde"), n)),
    "30, Zipf": (Kind.CATEGORICAL, lambda rng, n: rng.choice(30, n, p=ZIPF / ZIPF.sum()).astype(str)),
    "1 % true": (Kind.CATEGORICAL, lambda rng, n: np.where(rng.random(n) < 0.01, "yes", "no")),
}


def schema_of(columns: Mapping[str, tuple[Kind, Draw]]) -> Schema:
    features = tuple(Column(name, kind) for name, (kind, _) in columns.items())
    return Schema(model="null", task=Task.BINARY, prediction="p", label="y", features=features)


def profiles(
    columns: Mapping[str, tuple[Kind, Draw]], rng: np.random.Generator, n: int, m: int
) -> tuple[Profile, Profile]:
    """A baseline of m rows and a window of n rows, drawn alike."""
    schema = schema_of(columns)

    def batch(rows: int):
        drawn = {name: pa.array(draw(rng, rows), from_pandas=True) for name, (_, draw) in columns.items()}
        return validate_batch(pa.table({**drawn, "p": np.ones(rows, bool)}), schema, now=0.0)

    baseline = batch(m)
    grid = build_grid(baseline)
    return profile_rows(grid, baseline), profile_rows(grid, batch(n))


def method_rates(n: int, m: int, repetitions: int, seed: int) -> dict[tuple[str, str], float]:
    rng = np.random.default_rng([seed, n, m])
    alarms: dict[tuple[str, str], int] = {}
    for _ in range(repetitions):
        baseline, current = profiles(COLUMNS, rng, n, m)
        for column in COLUMNS:
            before, now = baseline.column(column), current.column(column)
            for method in METHODS:
                test = drift_test(method, before, now)
                if isinstance(test, Undefined):
                    continue
                exceeded = test.statistic > test.null.critical_value(ALPHA)
                alarms[method, column] = alarms.get((method, column), 0) + exceeded
    return {key: count / repetitions for key, count in alarms.items()}


def family_rate(n: int, m: int, repetitions: int, seed: int) -> float:
    """Share of evaluations of 60 columns, six of each type (auto, BH), with any verdict."""
    kinds = list(COLUMNS.items())
    columns = {f"{name} {i}": kind for i in range(6) for name, kind in kinds}
    rng = np.random.default_rng([seed, n, m, 60])
    alarms = 0
    for _ in range(repetitions):
        baseline, current = profiles(columns, rng, n, m)
        report = drift_verdicts(
            {name: baseline.column(name) for name in columns},
            {name: current.column(name) for name in columns},
            alpha=ALPHA,
            minimum_effect=0.0,
        )
        alarms += bool(report.detected_columns)
    return alarms / repetitions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument(
        "--families", type=int, default=200, help="evaluations of 60 columns a size; 0 for none"
    )
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    console = Console(width=150)
    for n, m in SIZES:
        started = time.perf_counter()
        rates = method_rates(n, m, arguments.repetitions, arguments.seed)
        table = Table(title=f"window {n:,} rows, baseline {m:,} rows: share of false alarms at {ALPHA}")
        table.add_column("method")
        for column in COLUMNS:
            table.add_column(column, justify="right")
        for method in METHODS:
            cells = (rates.get((method, column)) for column in COLUMNS)
            table.add_row(method, *("" if rate is None else f"{rate:.3f}" for rate in cells))
        console.print(table)
        if arguments.families:
            family = family_rate(n, m, arguments.families, arguments.seed)
            error = 2 * math.sqrt(ALPHA * (1 - ALPHA) / arguments.families)
            console.print(f"any verdict among 60 columns: {family:.3f} (+-{error:.3f})")
        console.print(f"[dim]{time.perf_counter() - started:.0f} s[/dim]\n")


if __name__ == "__main__":
    main()
