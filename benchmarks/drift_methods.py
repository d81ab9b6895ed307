"""What each drift method costs a column, and how long 2,000 columns take to a verdict.

Columns are profiled once; measured is from two profiles' columns to statistic, p-value and critical value.

    python -m benchmarks.drift_methods [--columns 2000] [--rows 20000] [--window 2000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from exporter.batch import validate_batch
from exporter.profiles import Profile, build_grid, profile_rows
from exporter.schema import Column, Kind, Schema, Task
from exporter.statistics.drift.methods import METHODS, drift_test
from exporter.statistics.drift.verdict import drift_verdicts

LEVEL = 0.05 / 2000

KINDS = {
    "continuous": (Kind.NUMERIC, lambda rng, n: rng.normal(size=n)),
    "heavy tails": (Kind.NUMERIC, lambda rng, n: rng.lognormal(0, 1.5, n)),
    "dozen integers": (Kind.NUMERIC, lambda rng, n: rng.poisson(3, n).astype(float)),
    "70 % zeros": (Kind.NUMERIC, lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.normal(size=n))),
    "10 categories": (Kind.CATEGORICAL, lambda rng, n: rng.integers(0, 10, n).astype(str)),
    "1,000 categories": (
        Kind.CATEGORICAL,
        lambda rng, n: (1000 * rng.random(n) ** 2).astype(int).astype(str),
    ),
}


def profiles(kinds: dict[str, str], baseline_rows: int, rows: int, seed: int) -> tuple[Profile, Profile]:
    """A baseline and a window of columns (name -> name of its kind) that do not drift."""
    features = tuple(Column(name, KINDS[kind][0]) for name, kind in kinds.items())
    schema = Schema(model="m", task=Task.BINARY, prediction="p", label="y", features=features)
    rng = np.random.default_rng(seed)

    def batch(size: int):
        drawn = {name: pa.array(KINDS[kind][1](rng, size)) for name, kind in kinds.items()}
        return validate_batch(pa.table({**drawn, "p": np.ones(size, bool)}), schema, now=0.0)

    before = batch(baseline_rows)
    grid = build_grid(before)
    return profile_rows(grid, before), profile_rows(grid, batch(rows))


def each_method(rows: int, window: int, columns: int) -> Table:
    """Milliseconds a column of statistic, p-value and critical value, by method and kind of column."""
    table = Table(title=f"ms a column: baseline of {rows:,} rows, window of {window:,}")
    table.add_column("method")
    times: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        table.add_column(kind, justify="right")
        names = {f"x{place}": kind for place in range(columns)}
        before, now = profiles(names, rows, window, 1)
        pairs = [(before.column(name), now.column(name)) for name in names]
        for method in METHODS:
            if not METHODS[method].defined_for(KINDS[kind][0]):
                continue
            start = time.perf_counter()
            for baseline, current in pairs:
                test = drift_test(method, baseline, current)
                _ = test.p_value, test.null.critical_value(LEVEL)
            times.setdefault(method, {})[kind] = 1e3 * (time.perf_counter() - start) / columns
    for method, by_kind in times.items():
        table.add_row(method, *(f"{by_kind[kind]:.2f}" if kind in by_kind else "" for kind in KINDS))
    return table


def many_columns(rows: int, window: int, columns: int) -> Table:
    """Seconds for the verdicts on many numeric columns, by method."""
    table = Table(title=f"seconds for verdicts on {columns:,} numeric columns, a quarter of each kind")
    table.add_column("method")
    table.add_column("seconds", justify="right")
    kinds = [kind for kind, (column, _) in KINDS.items() if column is Kind.NUMERIC]
    names = {f"x{place}": kinds[place % len(kinds)] for place in range(columns)}
    before, now = profiles(names, rows, window, 2)
    baseline = {name: before.column(name) for name in names}
    current = {name: now.column(name) for name in names}
    for method in METHODS:
        if METHODS[method].defined_for(Kind.NUMERIC):
            start = time.perf_counter()
            drift_verdicts(baseline, current, methods=[method])
            table.add_row(method, f"{time.perf_counter() - start:.2f}")
    start = time.perf_counter()
    drift_verdicts(baseline, current)
    table.add_row("auto", f"{time.perf_counter() - start:.2f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--window", type=int, default=2_000)
    options = parser.parse_args()
    console = Console(width=130)
    for window in (100, options.window):
        console.print(each_method(options.rows, window, 40))
    console.print(many_columns(options.rows, options.window, options.columns))


if __name__ == "__main__":
    main()
