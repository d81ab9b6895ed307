"""The search for weak segments: false discoveries, power and cost; what a custom metric costs.

python -m benchmarks.segments [--repeats 500]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from exporter import custom_metric
from exporter.batch import Outcomes
from exporter.config import CustomMetric, SegmentSearch
from exporter.custommetrics import CustomMetrics
from exporter.rules import RuleWorker
from exporter.schema import Task
from exporter.service.ingestion.slices import MISSING, OTHER, Axis, SliceMeter
from exporter.statistics.slices import SliceSearch, Tables, weak_slices

Codes = np.ndarray


def tables_of(codes: Codes, loss: np.ndarray, levels: int) -> Tables:
    tables = {}
    for a, b in combinations(range(len(codes)), 2):
        cell = codes[a] * levels + codes[b]
        sums = [
            np.bincount(cell, weight, levels * levels) for weight in (np.ones_like(loss), loss, loss * loss)
        ]
        tables[f"c{a}", f"c{b}"] = np.stack(sums, axis=-1).reshape(levels, levels, 3)
    return tables


def search(codes: Codes, loss: np.ndarray, levels: int, *, binary: bool) -> SliceSearch:
    names = {f"c{a}": tuple(str(level) for level in range(levels)) for a in range(len(codes))}
    return weak_slices(tables_of(codes, loss, levels), names, binary=binary)


def false_discoveries(repeats: int) -> None:
    print(f"no slice is weak: share of searches that name one, nominal 5 % ({repeats} searches each)")
    print(
        "| rows | columns x values | slices | errors 1 % | errors 10 % | errors 50 % | normal | lognormal |"
    )
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for rows, columns, levels in ((2_000, 5, 5), (20_000, 5, 10), (100_000, 10, 10)):
        times = max(20, repeats // (1 if rows < 50_000 else 10))
        shares, tested = [], 0
        for kind in (0.01, 0.1, 0.5, "normal", "lognormal"):
            generator = np.random.default_rng(11)
            named = 0
            for _ in range(times):
                codes = generator.integers(0, levels, (columns, rows))
                if isinstance(kind, float):
                    loss = (generator.uniform(size=rows) < kind).astype(float)
                else:
                    loss = (
                        np.abs(generator.normal(size=rows))
                        if kind == "normal"
                        else generator.lognormal(size=rows)
                    )
                found = search(codes, loss, levels, binary=isinstance(kind, float))
                named += bool(found.slices)
                tested = found.tested
            shares.append(f"{100 * named / times:.1f} %")
        print(f"| {rows:,} | {columns} x {levels} | {tested:,} | {' | '.join(shares)} |", flush=True)


def power(repeats: int) -> None:
    times = max(20, repeats // 10)
    print("\n10 % errors, 5 columns of 5 values, more in one slice:")
    print(f"share of searches that name it, and that name only it ({times} searches each)")
    print("| rows | one value, +5 | +10 | +20 points | one pair, +5 | +10 | +20 points |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    kinds: list[tuple[Callable[[Codes], np.ndarray], tuple[tuple[str, str], ...]]] = [
        (lambda c: c[0] == 3, (("c0", "3"),)),
        (lambda c: (c[0] == 3) & (c[1] == 4), (("c0", "3"), ("c1", "4"))),
    ]
    for rows in (5_000, 20_000, 100_000):
        cells = []
        for weak, wanted in kinds:
            for more in (0.05, 0.1, 0.2):
                generator = np.random.default_rng(12)
                found = alone = 0
                for _ in range(times):
                    codes = generator.integers(0, 5, (5, rows))
                    loss = (generator.uniform(size=rows) < np.where(weak(codes), 0.1 + more, 0.1)).astype(
                        float
                    )
                    names = [one.conditions for one in search(codes, loss, 5, binary=True).slices]
                    found += wanted in names
                    alone += names == [wanted]
                cells.append(f"{100 * found / times:.0f} %, {100 * alone / times:.0f} %")
        print(f"| {rows:,} | {' | '.join(cells)} |", flush=True)


def cost() -> None:
    generator = np.random.default_rng(13)
    rows, columns, values = 100_000, 10, 10
    names = [f"value {code}" for code in range(values)]
    axes = tuple(Axis(f"c{a}", (*names, OTHER, MISSING)) for a in range(columns))
    meter = SliceMeter(axes, SegmentSearch(columns=tuple(axis.column for axis in axes)))
    kept = {axis.column: pa.array(generator.choice(names, rows)) for axis in axes}
    label = generator.integers(0, 2, rows).astype(np.int8)
    answer = np.where(generator.uniform(size=rows) < 0.1, 1 - label, label).astype(np.int8)
    kept["amount"] = pa.array(generator.exponential(20, rows))
    outcomes = Outcomes(Task.BINARY, answer, None, label, None, kept)
    start = time.perf_counter()
    totals = meter(outcomes)
    counted = time.perf_counter() - start
    start = time.perf_counter()
    found = meter.search(totals, {}, binary=True)
    searched = time.perf_counter() - start
    size = sum(vector.nbytes for vector in totals.values())
    print(f"\n{rows:,} labelled rows, {columns} columns of {values} values, pairs")
    print(f"  counting {1e3 * counted:.0f} ms, {size / 1e3:.0f} kB of sums")
    print(f"  searching {found.tested:,} slices {1e3 * searched:.0f} ms")
    with RuleWorker() as worker:
        metrics = CustomMetrics.compile(
            [CustomMetric(name="cost", sql="sum(case when prediction <> label then amount end) / count(*)")],
            worker=worker,
        )
        functions = CustomMetrics.of_functions([cost_of])
        for title, custom in (("SQL", metrics), ("Python", functions)):
            custom.meter("v")(outcomes)
            start = time.perf_counter()
            custom.meter("v")(outcomes)
            print(f"  a custom metric in {title:<6} {1e3 * (time.perf_counter() - start):.0f} ms")


@custom_metric(unit="eur", higher_is_better=False, columns=["amount"])
def cost_of(rows: Any) -> Any:
    return (rows["prediction"] != rows["label"]) * rows["amount"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=500)
    options = parser.parse_args()
    false_discoveries(options.repeats)
    power(options.repeats)
    cost()


if __name__ == "__main__":
    main()
