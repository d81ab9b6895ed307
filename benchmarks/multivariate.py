"""Multivariate drift: what it costs, how often it alarms when nothing drifts, and what it finds.

Every rate is of the exporter's own grids, sums and tests, with a new baseline for every five windows. Single
tests are taken at 5 % without correction and minimum effect (false alarms); power is of exported verdicts.

    python -m benchmarks.multivariate [--rows 1000000] [--repetitions 200] [--only cost|null|power|embedding]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.profile_and_drift import BASELINE_ROWS, batch_of, best, columns_of, encode_strings
from exporter.profiles import build_grid, decode, encode, profile_rows
from exporter.profiles.multivariate import (
    MultivariateSums,
    Rows,
    count_embedding,
    fit_embedding,
    fit_multivariate,
)
from exporter.profiles.multivariate.sums import EmbeddingSums
from exporter.results import Undefined
from exporter.statistics.multivariate import (
    maximum_mean_discrepancy,
    multivariate_report,
    reconstruction_error,
)
from exporter.statistics.multivariate.correlation import correlation_changes

ALPHA = 0.05
SIZES = ((100, 1_000), (100, 10_000), (300, 10_000), (1_000, 10_000), (10_000, 10_000), (100_000, 10_000))
"""(rows of the window, rows of the baseline)."""

WINDOWS_EACH = 5
"""Windows that are compared with one baseline."""

Draw = Callable[[np.random.Generator, int], dict[str, Any]]


def numbers(matrix: np.ndarray) -> dict[str, Any]:
    return {f"x{place}": column for place, column in enumerate(matrix.T)}


def normal(rng: np.random.Generator, n: int, d: int = 20) -> dict[str, Any]:
    return numbers(rng.normal(size=(n, d)))


def equicorrelated(rng: np.random.Generator, n: int) -> dict[str, Any]:
    return numbers(np.sqrt(0.5) * (rng.normal(size=(n, 20)) + rng.normal(size=(n, 1))))


def student(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """Columns that are uncorrelated but swing together: one random scale a row."""
    return numbers(rng.normal(size=(n, 20)) / np.sqrt(rng.chisquare(3, size=(n, 1)) / 3))


def heavy(rng: np.random.Generator, n: int) -> dict[str, Any]:
    return numbers(np.exp(1.5 * rng.normal(size=(n, 20))))


def integers(rng: np.random.Generator, n: int) -> dict[str, Any]:
    return numbers(rng.integers(0, 4, (n, 20)).astype(float))


def mixed(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """Zeros, counts, rare flags, missing values, categories."""
    columns = [np.where(rng.random(n) < 0.7, 0.0, rng.gamma(2, 3, n)) for _ in range(5)]
    columns += [rng.poisson(1, n).astype(float) for _ in range(5)]
    columns += [(rng.random(n) < 0.02).astype(float) for _ in range(5)]
    columns += [np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)) for _ in range(5)]
    features: dict[str, Any] = numbers(np.array(columns).T)
    for place in range(5):
        texts = rng.choice(20, n, p=ZIPF).astype(str)
        features[f"c{place}"] = pa.array(texts).dictionary_encode()
    return features


ZIPF = 1 / np.arange(1, 21)
ZIPF /= ZIPF.sum()

NULLS: Mapping[str, Draw] = {
    "20 normal": normal,
    "50 normal": lambda rng, n: normal(rng, n, 50),
    "20 normal, all correlated 0.5": equicorrelated,
    "20 Student t (3), one scale a row": student,
    "20 lognormal": heavy,
    "20 integers 0-3": integers,
    "15 discrete, 5 with missing, 5 categorical": mixed,
}


def sums_of(grid: Any, features: dict[str, Any], rows: int) -> MultivariateSums:
    missing = np.array([int(np.count_nonzero(~np.isfinite(features[name]))) for name in grid.numeric])
    return MultivariateSums(grid, Rows(grid, features, rows).count(0, rows), missing)


def fitted(features: dict[str, Any], rows: int) -> Any:
    categorical = {
        name: [str(value) for value in range(20)]
        for name, values in features.items()
        if isinstance(values, pa.DictionaryArray)
    }
    numeric = [name for name in features if name not in categorical]
    grid = fit_multivariate(numeric, categorical, features, rows)
    assert grid is not None
    return grid


def sampled(draw: Draw, changed: Draw, rng: np.random.Generator, n: int, m: int) -> tuple[Any, Any]:
    before = draw(rng, m)
    grid = fitted(before, m)
    return sums_of(grid, before, m), sums_of(grid, changed(rng, n), n)


def p_values(baseline: Any, current: Any) -> dict[str, float]:
    tests = {
        "mmd": maximum_mean_discrepancy(baseline, current),
        "pca": reconstruction_error(baseline.errors, current.errors),
        "correlation": correlation_changes(baseline, current),
    }
    return {name: test.p_value for name, test in tests.items() if not isinstance(test, Undefined)}


def false_alarms(console: Console, repetitions: int, seed: int) -> None:
    error = 2 * math.sqrt(ALPHA * (1 - ALPHA) / repetitions)
    console.print(f"share of false alarms at {ALPHA} (+-{error:.3f}): mmd / pca / correlation")
    for place, (name, draw) in enumerate(NULLS.items()):
        console.print(f"  {name}")
        for n, m in SIZES:
            runs = repetitions if n < 100_000 else max(repetitions // 4, 1)
            rng = np.random.default_rng([seed, place, n, m])
            found: dict[str, list[float]] = {"mmd": [], "pca": [], "correlation": []}
            for _ in range(max(runs // WINDOWS_EACH, 1)):
                before = draw(rng, m)
                grid = fitted(before, m)
                baseline = sums_of(grid, before, m)
                for _ in range(WINDOWS_EACH):
                    for method, p in p_values(baseline, sums_of(grid, draw(rng, n), n)).items():
                        found[method].append(p)
            rates = [f"{np.mean(np.array(p) <= ALPHA):.3f}" if p else "-" for p in found.values()]
            console.print(f"    n {n:>7,}  m {m:>6,}  {' / '.join(rates)}")


def correlated(rho: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> dict[str, Any]:
        matrix = rng.normal(size=(n, 50))
        matrix[:, 1] = rho * matrix[:, 0] + math.sqrt(1 - rho * rho) * matrix[:, 1]
        return numbers(matrix)

    return draw


def shifted(by: float) -> Draw:
    return lambda rng, n: numbers(rng.normal(by, 1, size=(n, 50)))


def factors(noise: float) -> Draw:
    """50 columns that follow five factors; the noise grows."""

    def draw(rng: np.random.Generator, n: int) -> dict[str, Any]:
        loadings = np.random.default_rng(0).normal(size=(5, 50))
        matrix = rng.normal(size=(n, 5)) @ loadings + noise * rng.normal(size=(n, 50))
        return numbers(matrix / np.sqrt((loadings**2).sum(axis=0) + noise * noise))

    return draw


def product_sign(strength: float) -> Draw:
    """Three columns whose product is more often positive: no pair shows it."""

    def draw(rng: np.random.Generator, n: int) -> dict[str, Any]:
        matrix = rng.normal(size=(n, 10))
        wrong = (matrix[:, :3].prod(axis=1) < 0) & (rng.random(n) < strength)
        matrix[wrong, 2] *= -1
        return numbers(matrix)

    return draw


POWER: Mapping[str, tuple[Draw, Draw]] = {
    "nothing (50 normal)": (correlated(0.0), correlated(0.0)),
    "correlation 0.3 of two in 50": (correlated(0.0), correlated(0.3)),
    "correlation 0.5 of two in 50": (correlated(0.0), correlated(0.5)),
    "all 50 shifted by 0.1 sd": (shifted(0.0), shifted(0.1)),
    "all 50 shifted by 0.2 sd": (shifted(0.0), shifted(0.2)),
    "5 factors in 50: noise 1.0 -> 1.2": (factors(1.0), factors(1.2)),
    "5 factors in 50: noise 1.0 -> 1.5": (factors(1.0), factors(1.5)),
    "sign of a product of 3 in 10": (product_sign(0.0), product_sign(0.6)),
}


def power(console: Console, repetitions: int, seed: int, m: int = 10_000) -> None:
    table = Table(title=f"share of verdicts, baseline {m:,} rows, alpha {ALPHA} for the three tests together")
    table.add_column("change")
    for n in (300, 1_000, 10_000):
        table.add_column(f"n {n:,}\nmmd / pca / correlation / any", justify="right")
    for place, (name, (draw, changed)) in enumerate(POWER.items()):
        cells = []
        for n in (300, 1_000, 10_000):
            rng = np.random.default_rng([seed, 99, place, n])
            hits = np.zeros(4)
            for _ in range(repetitions):
                report = multivariate_report(*sampled(draw, changed, rng, n, m), alpha=ALPHA)
                verdicts = [bool(report[method].detected) for method in ("mmd", "pca", "correlation")]
                hits += (*verdicts, any(verdicts))
            cells.append(" / ".join(f"{share:.2f}" for share in hits / repetitions))
        table.add_row(name, *cells)
    console.print(table)


def vectors(rng: np.random.Generator, n: int, size: int, shift: float = 0.0, topics: int = 20) -> np.ndarray:
    """Unit vectors around some topics, as sentence embeddings are; a share of the rows changes topic."""
    centers = np.random.default_rng(7).normal(size=(topics, size))
    weights = np.ones(topics)
    weights[0] += shift * topics
    topic = rng.choice(topics, n, p=weights / weights.sum())
    matrix = centers[topic] + 1.5 * rng.normal(size=(n, size))
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def embeddings(console: Console, repetitions: int, seed: int, size: int = 384, m: int = 5_000) -> None:
    table = Table(title=f"embedding of {size} elements, baseline {m:,} rows: share of p <= {ALPHA}")
    table.add_column("rows that move to one of 20 topics")
    for n in (100, 1_000, 5_000):
        table.add_column(f"n {n:,}\nmmd / pca", justify="right")
    for shift in (0.0, 0.02, 0.05, 0.1):
        cells = []
        for n in (100, 1_000, 5_000):
            rng = np.random.default_rng([seed, 5, n])
            hits = np.zeros(2)
            for _ in range(repetitions):
                before = vectors(rng, m, size)
                grid = fit_embedding(before)
                assert grid is not None
                baseline = EmbeddingSums(grid, count_embedding(grid, before))
                current = EmbeddingSums(grid, count_embedding(grid, vectors(rng, n, size, shift)))
                tests = (
                    maximum_mean_discrepancy(baseline, current),
                    reconstruction_error(baseline.errors, current.errors),
                )
                hits += [not isinstance(test, Undefined) and test.p_value <= ALPHA for test in tests]
            cells.append(" / ".join(f"{share:.2f}" for share in hits / repetitions))
        table.add_row(f"{shift / (1 + shift):.1%}", *cells)
    console.print(table)


def cost(console: Console, rows: int) -> None:
    floats, strings = columns_of(BASELINE_ROWS, seed=0)
    baseline = batch_of(floats, encode_strings(strings, 1), seed=0)
    start = time.perf_counter()
    build_grid(baseline, multivariate=False, embeddings=False)
    middle = time.perf_counter()
    grid = build_grid(baseline)
    table = Table(title="50 numeric + 10 categorical columns: profile without and with what is seen together")
    for title in ("what", "without", "with"):
        table.add_column(title, justify="right" if title != "what" else "left")
    table.add_row(
        f"grid of {BASELINE_ROWS:,} rows",
        f"{(middle - start) * 1e3:.0f} ms",
        f"{(time.perf_counter() - middle) * 1e3:.0f} ms",
    )
    for count in (1, 100, 1_000, 10_000, rows):
        floats, strings = columns_of(count, seed=1)
        batch = batch_of(floats, encode_strings(strings, 1), seed=2)
        repeats = 3 if count == rows else 30
        for threads in (1, 2) if count == rows else (1,):
            times = [
                best(partial(profile_rows, grid, batch, threads=threads, multivariate=measured), repeats)
                for measured in (False, True)
            ]
            name = f"{count:,} rows" + (f", {threads} threads" if count == rows else "")
            table.add_row(name, *(f"{seconds * 1e3:.2f} ms" for seconds in times))
        profiles = [profile_rows(grid, batch, multivariate=measured) for measured in (False, True)]
        table.add_row(f"  encoded, {count:,} rows", *(f"{len(encode(one)) / 1e3:.1f} kB" for one in profiles))
    encoded = [encode(one) for one in profiles]
    table.add_row("  decode", *(f"{best(lambda e=e: decode(e, grid), 20) * 1e3:.2f} ms" for e in encoded))
    baseline_sums, current = profile_rows(grid, baseline).multivariate(), profiles[1].multivariate()
    seconds = best(lambda: multivariate_report(baseline_sums, current), 20)
    table.add_row("  the three tests, contributions included", "", f"{seconds * 1e3:.2f} ms")
    console.print(table)
    wide(console)


def wide(console: Console) -> None:
    rng = np.random.default_rng(3)
    before = numbers(rng.normal(size=(20_000, 256)))
    start = time.perf_counter()
    grid = fitted(before, 20_000)
    console.print(f"256 numeric columns: grid of 20,000 rows {time.perf_counter() - start:.2f} s")
    baseline = sums_of(grid, before, 20_000)
    after = numbers(rng.normal(size=(10_000, 256)))
    seconds = best(lambda: Rows(grid, after, 10_000).count(0, 10_000), 3)
    console.print(f"  sums of 10,000 rows {seconds * 1e3:.0f} ms, {8 * grid.size / 1e3:.0f} kB in memory")
    current = sums_of(grid, after, 10_000)
    seconds = best(lambda: multivariate_report(baseline, current), 5)
    console.print(f"  the three tests {seconds * 1e3:.1f} ms")
    for size in (384, 1_536, 4_096):
        matrix = vectors(rng, 10_000, size)
        start = time.perf_counter()
        of_column = fit_embedding(matrix)
        assert of_column is not None
        made = time.perf_counter() - start
        seconds = best(lambda g=of_column, v=matrix: count_embedding(g, v), 3)
        console.print(f"embedding of {size:,}: grid of 10,000 rows {made:.2f} s, sums {seconds * 1e3:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("cost", "null", "power", "embedding"))
    options = parser.parse_args()
    console = Console(width=150)
    if options.only in (None, "cost"):
        cost(console, options.rows)
    if options.only in (None, "null"):
        false_alarms(console, options.repetitions, options.seed)
    if options.only in (None, "power"):
        power(console, max(options.repetitions // 4, 1), options.seed)
    if options.only in (None, "embedding"):
        embeddings(console, max(options.repetitions // 4, 1), options.seed)


if __name__ == "__main__":
    main()
