"""False alarms of each method and of whole families when nothing has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle, islice

import numpy as np
import pyarrow as pa

from benchmarks.calibration.scenes import STABLE, Draw
from exporter.batch import validate_batch
from exporter.profiles import Grid, Profile, build_grid, profile_rows
from exporter.results import Undefined
from exporter.schema import Column, Kind, Schema, Task
from exporter.statistics.drift.methods import METHODS, drift_test
from exporter.statistics.drift.verdict import drift_verdicts

ALPHA = 0.05

SIZES = (
    (50, 500),
    (50, 10_000),
    (100, 1_000),
    (500, 500),
    (1_000, 500),
    (1_000, 10_000),
    (10_000, 10_000),
    (10_000, 100_000),
    (100_000, 100_000),
    (100_000, 1_000_000),
    (1_000_000, 1_000_000),
)
"""(rows of the window, rows of the baseline)."""

WINDOWS_PER_BASELINE = {1_000_000: 8, 100_000: 4}
"""So many windows are compared with one baseline of so many rows; with smaller ones each has its own."""

FAMILIES = (5, 50, 500)
FAMILY_SIZES = ((50, 500), (100, 1_000), (1_000, 10_000), (10_000, 10_000))


def _schema(columns: Mapping[str, Draw]) -> Schema:
    rng = np.random.default_rng(0)
    features = tuple(
        Column(name, Kind.NUMERIC if np.issubdtype(draw(rng, 1).dtype, np.number) else Kind.CATEGORICAL)
        for name, draw in columns.items()
    )
    return Schema(model="null", task=Task.BINARY, prediction="p", label="y", features=features)


class Pairs:
    """Baselines and windows drawn from the same columns, as profiles."""

    def __init__(self, columns: Mapping[str, Draw], seed: int) -> None:
        self.columns = columns
        self.schema = _schema(columns)
        self._rng = np.random.default_rng(seed)

    def _batch(self, rows: int):
        drawn = {
            name: pa.array(draw(self._rng, rows), from_pandas=True) for name, draw in self.columns.items()
        }
        return validate_batch(pa.table({**drawn, "p": np.ones(rows, bool)}), self.schema, now=0.0)

    def draw(self, n: int, m: int, count: int) -> Iterator[tuple[Profile, Profile]]:
        """`count` pairs of (baseline of m rows, window of n rows)."""
        repeats = WINDOWS_PER_BASELINE.get(m, 1)
        grid: Grid | None = None
        baseline: Profile | None = None
        for number in range(count):
            if number % repeats == 0 or grid is None:
                rows = self._batch(m)
                grid = build_grid(rows)
                baseline = profile_rows(grid, rows)
            assert baseline is not None
            yield baseline, profile_rows(grid, self._batch(n))


def repetitions(n: int, m: int, wanted: int) -> int:
    """Fewer pairs of large samples, so that no pair of sizes takes for ever."""
    return max(40, min(wanted, int(wanted * 200_000 / (n + m))))


def method_rates(n: int, m: int, *, wanted: int, seed: int) -> tuple[int, dict[str, dict[str, float]]]:
    """Repetitions, and the share of false alarms by method and column at `ALPHA`, without minimum effect."""
    count = repetitions(n, m, wanted)
    alarms: dict[str, dict[str, int]] = {name: dict.fromkeys(STABLE, 0) for name in METHODS}
    defined: dict[str, dict[str, int]] = {name: dict.fromkeys(STABLE, 0) for name in METHODS}
    for baseline, window in Pairs(STABLE, seed).draw(n, m, count):
        for column in STABLE:
            before, now = baseline.column(column), window.column(column)
            for method in METHODS:
                test = drift_test(method, before, now, minimum_rows=2)
                if not isinstance(test, Undefined):
                    defined[method][column] += 1
                    alarms[method][column] += test.statistic > test.null.critical_value(ALPHA, 0.0)
    return count, {
        method: {
            column: alarms[method][column] / defined[method][column]
            for column in STABLE
            if defined[method][column] >= count / 2
        }
        for method in METHODS
    }


def family_rate(columns: int, n: int, m: int, *, wanted: int, seed: int) -> tuple[int, float]:
    """Repetitions, and the share of windows with any false verdict among so many columns."""
    count = max(40, min(wanted, int(wanted * 2_000_000 / ((n + m) * columns))))
    chosen = dict(
        islice(((f"{name} {k}", draw) for k, (name, draw) in enumerate(cycle(STABLE.items()))), columns)
    )
    any_false = 0
    for baseline, window in Pairs(chosen, seed).draw(n, m, count):
        names = [column.name for column in baseline.grid.schema.features or ()]
        report = drift_verdicts(
            {name: baseline.column(name) for name in names},
            {name: window.column(name) for name in names},
            alpha=ALPHA,
            minimum_effect=0.0,
            minimum_rows=2,
        )
        any_false += bool(report.detected_columns)
    return count, any_false / count
