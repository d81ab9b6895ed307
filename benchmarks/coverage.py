"""How often the 95 % bounds of each performance metric hold its true value, by rows of the window.

Rows are drawn from a known world and counted by the exporter's own profiles. The truth is the metric of
1,000,000 rows of that world. A share is over the windows in which the metric is defined; twice its standard
error is 2 * sqrt(0.05 * 0.95 / windows). For rankings n counts groups of 12 rows.

    python -m benchmarks.coverage [--windows 400] [--seed 1]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from exporter.batch import validate_batch
from exporter.profiles import Grid, Outcome, build_grid, profile_outcomes, profile_rows
from exporter.results import Estimate
from exporter.schema import Schema, Task
from exporter.statistics.performance import performance

SIZES = (100, 1_000, 10_000)
TRUTH_ROWS = 1_000_000
GROUP_ROWS = 12

Rows = dict[str, Any]
Draw = Callable[[np.random.Generator, int], Rows]


@dataclass(frozen=True)
class World:
    """Where rows come from, and how they are read."""

    task: Task
    draw: Draw
    score: Any = None

    def schema(self) -> Schema:
        return Schema(
            model="coverage",
            task=self.task,
            prediction="p",
            label="y",
            score=self.score,
            group="g" if self.task is Task.RANKING else None,
            features=(),
        )

    def rows(self, n: int) -> int:
        return n // GROUP_ROWS if self.task is Task.RANKING else n

    @property
    def sizes(self) -> tuple[int, ...]:
        """Without the largest for rankings, whose truth is of 83,000 groups only."""
        return SIZES[:-1] if self.task is Task.RANKING else SIZES


def _expit(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def binary(share: float, *, bias: float = 0.0) -> Draw:
    """Calibrated scores but for a shift of their logits."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        logit = math.log(share / (1 - share)) + 1.5 * rng.normal(size=n)
        label = rng.random(n) < _expit(logit)
        score = _expit(logit + bias)
        return {"p": score > max(0.5 * share / (1 - share), 0.1) if share < 0.5 else score > 0.5,
                "y": label, "s": score}  # fmt: skip

    return draw


def multiclass(shares: tuple[float, ...]) -> Draw:
    names = np.array([f"c{place}" for place in range(len(shares))])

    def draw(rng: np.random.Generator, n: int) -> Rows:
        logits = np.log(shares) + 1.2 * rng.normal(size=(n, len(shares)))
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        label = (rng.random((n, 1)) > scores.cumsum(axis=1)[:, :-1]).sum(axis=1)
        return {"p": names[scores.argmax(axis=1)], "y": names[label],
                **{name: scores[:, place] for place, name in enumerate(names)}}  # fmt: skip

    return draw


def regression(error: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Rows:
        label = rng.lognormal(2, 0.5, n)
        return {"p": label + error(rng, n), "y": label}

    return draw


def ranking(noise: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Rows:
        groups = max(n, 1)
        skill = np.repeat(rng.normal(1, 0.5, groups), GROUP_ROWS)
        grade = np.minimum(rng.geometric(0.6, groups * GROUP_ROWS) - 1, 4).astype(float)
        grade[::GROUP_ROWS] += grade.reshape(groups, -1).max(axis=1) == 0
        score = skill * grade + noise * rng.normal(size=groups * GROUP_ROWS)
        return {"p": score, "y": grade, "g": np.repeat(np.arange(groups), GROUP_ROWS)}

    return draw


def classes(count: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"c{place}", f"c{place}") for place in range(count))


WORLDS: Mapping[str, World] = {
    "binary, 50 %": World(Task.BINARY, binary(0.5), "s"),
    "binary, 5 %": World(Task.BINARY, binary(0.05), "s"),
    "binary, 20 %, miscalibrated": World(Task.BINARY, binary(0.2, bias=0.7), "s"),
    "4 classes, even": World(Task.MULTICLASS, multiclass((0.25,) * 4), classes(4)),
    "4 classes, uneven": World(Task.MULTICLASS, multiclass((0.6, 0.25, 0.1, 0.05)), classes(4)),
    "regression, normal": World(Task.REGRESSION, regression(lambda rng, n: rng.normal(0.2, 1, n))),
    "regression, heavy tails": World(Task.REGRESSION, regression(lambda rng, n: rng.standard_t(5, n))),
    "ranking, good": World(Task.RANKING, ranking(0.5)),
    "ranking, poor": World(Task.RANKING, ranking(3.0)),
}


def outcome(world: World, rows: Rows, grid: Grid | None = None) -> tuple[Outcome, Grid]:
    """The outcome of rows as the exporter profiles them, on a grid of their own unless one is given."""
    batch = validate_batch(pa.table(rows), world.schema(), now=0.0)
    grid = build_grid(batch) if grid is None else grid
    profile = profile_rows(grid, batch)
    profile.add(profile_outcomes(grid, batch.outcomes))
    return profile.outcome(), grid


def coverage(world: World, windows: int, seed: int) -> dict[tuple[str, int], tuple[float, float]]:
    """(share of windows whose bounds hold the truth, mean width of the bounds) by metric and size."""
    rng = np.random.default_rng(seed)
    whole, grid = outcome(world, world.draw(rng, world.rows(TRUTH_ROWS)))
    truth = {
        name: estimate.value
        for name, estimate in performance(whole).items()
        if isinstance(estimate, Estimate)
    }
    shares = {}
    for n in world.sizes:
        held: dict[str, list[tuple[bool, float]]] = {name: [] for name in truth}
        for _ in range(windows):
            made, _ = outcome(world, world.draw(rng, n), grid)
            for name, estimate in performance(made).items():
                if name in truth and isinstance(estimate, Estimate):
                    inside = estimate.lower <= truth[name] <= estimate.upper
                    held[name].append((inside, estimate.upper - estimate.lower))
        for name, seen in held.items():
            if len(seen) >= windows / 2:
                inside, width = np.mean(seen, axis=0)
                shares[name, n] = float(inside), float(width)
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS))
    arguments = parser.parse_args()
    console = Console(width=120)
    error = 2 * math.sqrt(0.05 * 0.95 / arguments.windows)
    for name in arguments.worlds:
        started = time.perf_counter()
        shares = coverage(WORLDS[name], arguments.windows, arguments.seed)
        table = Table(title=f"{name}: coverage of 95 % bounds (+-{error:.3f}), and their mean width")
        table.add_column("metric")
        for n in SIZES:
            table.add_column(f"n = {n:,}", justify="right")
        for metric in dict.fromkeys(metric for metric, _ in shares):
            cells = [shares.get((metric, n)) for n in SIZES]
            table.add_row(
                metric, *("" if cell is None else f"{cell[0]:.3f}  {cell[1]:.3g}" for cell in cells)
            )
        console.print(table)
        console.print(f"[dim]{time.perf_counter() - started:.0f} s[/dim]\n")


if __name__ == "__main__":
    main()
