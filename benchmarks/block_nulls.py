"""False alarms and power on rows that depend on their hour, with nulls of independent rows and of blocks.

A value is an hourly level plus noise of standard deviation 1. The level follows the hour of day, or an
autoregression, or both. Blocks of the baseline as long as the window give the null; many windows after it are
tested. A rate is the share of windows whose statistic exceeds its critical value at 5 %,
without minimum effect; power is the same with every value of the window moved.

    python -m benchmarks.block_nulls [--baselines 20] [--windows 40] [--seed 1]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from exporter.batch import validate_batch
from exporter.profiles import Profile, build_grid, profile_rows
from exporter.schema import Column, Kind, Schema, Task
from exporter.statistics.drift.blocks import block_effects
from exporter.statistics.drift.verdict import drift_verdicts

ALPHA = 0.05
DAY = 24
SHIFT = 0.5
METHODS = ("ks", "cvm", "anderson", "wasserstein", "js", "chi2")
SCHEMA = Schema(
    model="blocks",
    task=Task.BINARY,
    prediction="p",
    label="y",
    features=(Column("x", Kind.NUMERIC), Column("c", Kind.CATEGORICAL)),
)

LEVELS: Mapping[str, tuple[float, float, float]] = {
    "independent rows": (0.0, 0.0, 0.0),
    "day cycle": (0.5, 0.0, 0.0),
    "autoregression .7": (0.0, 0.2, 0.7),
    "autoregression .95": (0.0, 0.2, 0.95),
    "cycle + autoregression .7": (0.5, 0.2, 0.7),
}
"""Amplitude of the day's sine; standard deviation and hourly correlation of the autoregression."""


def hourly_levels(kind: str, hours: int, rng: np.random.Generator) -> np.ndarray:
    amplitude, deviation, correlation = LEVELS[kind]
    season = amplitude * np.sin(2 * np.pi * np.arange(hours) / DAY)
    noise = rng.normal(size=hours)
    level = np.empty(hours)
    level[0] = noise[0]
    for hour in range(1, hours):
        level[hour] = correlation * level[hour - 1] + np.sqrt(1 - correlation**2) * noise[hour]
    return season + deviation * level


def batch_of(levels: np.ndarray, rows: int, rng: np.random.Generator):
    values = np.repeat(levels, rows) + rng.normal(size=rows * len(levels))
    cut = np.repeat(levels, rows) + rng.normal(size=len(values))
    names = np.array(["low", "middling", "high"])[np.digitize(cut, [-0.5, 1.0])]
    table = pa.table({"x": values, "c": names, "p": np.ones(len(values), bool)})
    return validate_batch(table, SCHEMA, now=0.0)


def columns(profile: Profile) -> dict[str, object]:
    return {name: profile.column(name) for name in ("x", "c")}


def rates(
    kind: str, length: int, days: int, rows: int, arguments: argparse.Namespace
) -> dict[tuple[str, str, bool], float]:
    """(method, null, shifted) -> share of windows that alarm."""
    rng = np.random.default_rng([arguments.seed, length, days, list(LEVELS).index(kind)])
    found: dict[tuple[str, str, bool], int] = {}
    for _ in range(arguments.baselines):
        hours = days * DAY
        levels = hourly_levels(kind, hours + 40 * max(length, DAY), rng)
        parts = [batch_of(levels[at : at + length], rows, rng) for at in range(0, hours - length + 1, length)]
        grid = build_grid(batch_of(levels[:hours], rows, rng))
        blocks = [profile_rows(grid, part) for part in parts]
        total = Profile.empty(grid)
        for block in blocks:
            total.add(block)
        baseline = columns(total)
        effects = block_effects([columns(block) for block in blocks], baseline, METHODS)
        for _ in range(arguments.windows):
            start = int(rng.integers(hours, len(levels) - length))
            for shifted in (False, True):
                window = levels[start : start + length] + SHIFT * shifted
                current = columns(profile_rows(grid, batch_of(window, rows, rng)))
                for null, known in (("independent", None), ("blocks", effects)):
                    report = drift_verdicts(
                        baseline, current, methods=METHODS, alpha=ALPHA, correction="none",
                        minimum_effect=0.0, block_nulls=known,
                    )  # fmt: skip
                    for method, test in report["x"].methods.items():
                        key = (method, null, shifted)
                        found[key] = found.get(key, 0) + test.detected
                    key = ("js of c", null, shifted)
                    found[key] = found.get(key, 0) + report["c"].methods["js"].detected
    return {key: count / arguments.baselines / arguments.windows for key, count in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baselines", type=int, default=20)
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--rows", type=int, default=200, help="rows an hour")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    console = Console(width=150)
    for length, days in ((1, 7), (6, 7), (24, 7), (24, 28), (72, 28)):
        title = f"windows of {length} h, baseline of {days} d ({days * DAY // length} blocks)"
        title += f", {arguments.rows} rows an hour"
        table = Table(title=f"{title}: false alarms, then power at a shift of {SHIFT}, independent / blocks")
        table.add_column("levels")
        names = [*METHODS, "js of c"]
        for name in names:
            table.add_column(name, justify="right")
        for kind in LEVELS:
            found = rates(kind, length, days, arguments.rows, arguments)
            cells = [
                "\n".join(
                    f"{found[name, 'independent', shifted]:.2f} / {found[name, 'blocks', shifted]:.2f}"
                    for shifted in (False, True)
                )
                for name in names
            ]
            table.add_row(kind, *cells)
        console.print(table)


if __name__ == "__main__":
    main()
