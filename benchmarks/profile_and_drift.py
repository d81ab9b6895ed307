"""How long profiles and drift verdicts take, against the floor of sorting and encoding the same columns.

Run as ``python -m benchmarks.profile_and_drift [--rows 1000000] [--threads 2]``. Prints one table; every
ratio is of times measured in the same run. Each time is the best of `--repeats`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from exporter.batch import Batch, Outcomes
from exporter.profiles import Grid, Profile, build_grid, decode, encode, profile_outcomes, profile_rows
from exporter.schema import Column, Kind, Role, Schema, Task
from exporter.statistics.drift.verdict import drift_verdicts

FLOATS, STRINGS = 50, 10
BASELINE_ROWS = 100_000


@dataclass(frozen=True)
class Line:
    """One line of the table; `ratio` of the floor or of a target, whichever `against` names."""

    what: str
    seconds: float
    ratio: float | None = None
    against: str = ""

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:6.2f} of {self.against}"
        return f"{self.what:<62} {self.seconds * 1e3:10.2f} ms {ratio}"


def best(function: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def columns_of(rows: int, seed: int) -> tuple[list[pa.Array], list[pa.Array]]:
    """50 float64 columns of four shapes and 10 string columns of 5 to 50 values, without nulls."""
    rng = np.random.default_rng(seed)
    shapes: list[Callable[[], np.ndarray]] = [
        lambda: rng.normal(100, 15, rows),
        lambda: rng.lognormal(1, 1, rows),
        lambda: rng.random(rows),
        lambda: np.where(rng.random(rows) < 0.3, 0.0, rng.gamma(2, 3, rows)),
    ]
    floats = [pa.array(shapes[place % 4]()) for place in range(FLOATS)]
    strings = []
    for place in range(STRINGS):
        names = np.array([f"value {number}" for number in range(5 + 5 * place)])
        strings.append(pa.array(names[rng.integers(0, len(names), rows)]))
    return floats, strings


def schema() -> Schema:
    features = [Column(f"f{place}", Kind.NUMERIC) for place in range(FLOATS)]
    features += [Column(f"s{place}", Kind.CATEGORICAL) for place in range(STRINGS)]
    return Schema("bench", Task.BINARY, "predicted", "actual", score="p", features=tuple(features))


def batch_of(floats: list[pa.Array], encoded: list[pa.DictionaryArray], seed: int) -> Batch:
    """The columns as a batch, with scores, predictions and labels; floats are views of Arrow's memory."""
    rng = np.random.default_rng(seed)
    rows = len(floats[0])
    score = rng.beta(1, 3, rows)
    outcomes = Outcomes(
        Task.BINARY,
        (score > 0.5).astype(np.int8),
        score,
        (rng.random(rows) < score).astype(np.int8),
        rng.lognormal(8, 1, rows),
    )
    features = {f"f{place}": column.to_numpy(zero_copy_only=True) for place, column in enumerate(floats)}
    features |= {f"s{place}": column for place, column in enumerate(encoded)}
    return Batch(
        schema(), rows, np.full(rows, 1.7e9), features, outcomes, None, pa.table({}), {}, rows, {}, {}, ()
    )


def encode_strings(strings: list[pa.Array], threads: int) -> list[pa.DictionaryArray]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda column: column.dictionary_encode(), strings))


def floor(floats: list[pa.Array], strings: list[pa.Array]) -> None:
    """What everything is compared with, in one thread."""
    for column in floats:
        np.sort(column.to_numpy(zero_copy_only=True))
    for column in strings:
        column.dictionary_encode()


def profile_and_drift(
    grid: Grid, baseline: Profile, batch: Batch, strings: list[pa.Array], threads: int
) -> None:
    """The whole job: strings encoded, rows counted, every column tested against the baseline."""
    encoded = dict(
        zip([f"s{place}" for place in range(STRINGS)], encode_strings(strings, threads), strict=True)
    )
    current = profile_rows(grid, replace(batch, features={**batch.features, **encoded}), threads=threads)
    names = [name for name, column in grid.columns.items() if column.role is not Role.LABEL]
    drift_verdicts(
        {name: baseline.column(name) for name in names},
        {name: current.column(name) for name in names},
        methods="auto",
        alpha=0.05,
        correction="bh",
        minimum_effect="auto",
        minimum_rows=100,
    )


def large_batch(grid: Grid, baseline: Profile, rows: int, threads: int, repeats: int) -> list[Line]:
    floats, strings = columns_of(rows, seed=1)
    batch = batch_of(floats, encode_strings(strings, 1), seed=2)
    base = best(lambda: floor(floats, strings), repeats)
    whole = best(lambda: profile_and_drift(grid, baseline, batch, strings, threads), repeats)
    counted = best(lambda: profile_rows(grid, batch, threads=threads), repeats)
    single = best(lambda: profile_rows(grid, batch, threads=1), repeats)
    coded = best(lambda: encode_strings(strings, threads), repeats)
    labels = best(lambda: profile_outcomes(grid, batch.outcomes), repeats)
    name = f"{rows:,} rows x ({FLOATS} float64 + {STRINGS} string)"
    return [
        Line(f"floor: np.sort + dictionary_encode, one thread, {name}", base),
        Line(f"profile and drift, strings encoded in it, {threads} threads", whole, whole / base, "floor"),
        Line(f"  of which encoding strings, {threads} threads", coded, coded / base, "floor"),
        Line(f"  of which counting, {threads} threads", counted, counted / base, "floor"),
        Line("  counting, one thread", single, single / base, "floor"),
        Line("profile of the labels of the same rows", labels, labels / base, "floor"),
    ]


def small_batches(grid: Grid, repeats: int) -> list[Line]:
    lines = []
    for rows, target in ((100, 1.5e-3), (1_000, 5e-3), (10_000, 12e-3)):
        floats, strings = columns_of(rows, seed=3)
        batch = batch_of(floats, encode_strings(strings, 1), seed=4)
        seconds = best(lambda batch=batch: profile_rows(grid, batch, arrival=1.7e9), 10 * repeats)
        lines.append(
            Line(f"profile of {rows:,} rows x 60 columns", seconds, seconds / target, f"{target * 1e3:g} ms")
        )
        labels = best(lambda batch=batch: profile_outcomes(grid, batch.outcomes), 10 * repeats)
        lines.append(Line(f"profile of {rows:,} labels", labels))
        profile = profile_rows(grid, batch, arrival=1.7e9)
        size = len(encode(profile))
        seconds = best(lambda profile=profile: encode(profile), 10 * repeats)
        lines.append(Line(f"encode {rows:,} rows x 60 columns ({size / 1e3:.1f} kB)", seconds))
    return lines


def window(grid: Grid, repeats: int) -> list[Line]:
    buckets = []
    for seed in range(24):
        floats, strings = columns_of(10_000, seed=100 + seed)
        batch = batch_of(floats, encode_strings(strings, 1), seed=200 + seed)
        buckets.append(encode(profile_rows(grid, batch) + profile_outcomes(grid, batch.outcomes)))

    def merged() -> Profile:
        total = Profile.empty(grid)
        for bucket in buckets:
            total.add(decode(bucket, grid, parts=("features",)))
        return total

    seconds = best(merged, 5 * repeats)
    return [Line("merge 24 encoded buckets of 10,000 rows x 60 columns", seconds, seconds / 12e-3, "12 ms")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    floats, strings = columns_of(BASELINE_ROWS, seed=0)
    baseline = batch_of(floats, encode_strings(strings, 1), seed=0)
    start = time.perf_counter()
    grid = build_grid(baseline)
    lines = [Line(f"grid of {BASELINE_ROWS:,} rows", time.perf_counter() - start)]
    profile = profile_rows(grid, baseline) + profile_outcomes(grid, baseline.outcomes)
    lines += large_batch(grid, profile, options.rows, options.threads, options.repeats)
    lines += small_batches(grid, options.repeats)
    lines += window(grid, options.repeats)
    print("\n".join(map(str, lines)))


if __name__ == "__main__":
    main()
