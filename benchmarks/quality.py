"""Volume verdicts under simulation, and what the deeper quality checks cost.

``python -m benchmarks.quality volume``: false alarms a week and power, by traffic and length of history.
``python -m benchmarks.quality cost``: profile and evaluation time of wide rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from exporter.batch import Batch, validate_batch
from exporter.evaluation import Settings, log_failure, measure_quality
from exporter.evaluation.inspection import inspected
from exporter.profiles import Profile, build_grid, profile_rows
from exporter.schema import Column, Kind, Schema, Task
from exporter.statistics.quality.volume import SPANS, History, volume

HOURS = 168
LONGEST = max(SPANS)

TRAFFIC = (
    ("flat, 20 an hour, Poisson", 20, 0.0, 0.0, False),
    ("daily cycle, 200 an hour, 10 % noise", 200, 0.01, 0.0, True),
    ("week and days, 1,000 an hour, 10 % hours, 10 % days", 1000, 0.01, 0.01, True),
    ("week and days, 10,000 an hour, 14 % hours, 14 % days", 10_000, 0.02, 0.02, True),
    ("week and days, 1,000 an hour, 30 % hours, 20 % days", 1000, 0.1, 0.04, True),
)
"""Title, mean rows an hour, squared coefficient of variation of hours and of whole days, cycles."""


def traffic(
    generator: np.random.Generator, weeks: int, mean: float, hourly: float, daily: float, *, cycles: bool
) -> np.ndarray:
    """Rows by hour; at night a quarter, on two days of the week half."""
    hour = np.arange(weeks * HOURS)
    shape = np.ones(len(hour))
    if cycles:
        shape = 1 + 0.6 * np.sin(2 * np.pi * (hour % 24) / 24 - 2)
        shape *= np.where((hour // 24) % 7 >= 5, 0.5, 1.0)
    if daily:
        shape *= np.repeat(generator.gamma(1 / daily, daily, len(hour) // 24), 24)
    if hourly:
        shape *= generator.gamma(1 / hourly, hourly, len(hour))
    return generator.poisson(mean * shape).astype(float)


def looks(rows: np.ndarray, weeks: int, at: int) -> tuple[History, History]:
    """History of so many weeks and the last day, as they are seen at an hour."""
    first = at - LONGEST - weeks * HOURS
    past = History(3600.0 * first, 3600.0, rows[first : at - LONGEST])
    return past, History(3600.0 * (at - LONGEST), 3600.0, rows[at - LONGEST : at])


def simulate(series: int) -> None:
    """False alarms of every hour of a week, and power against three hours, by traffic and history."""
    generator = np.random.default_rng(20261124)
    print(f"{'traffic':<54}{'weeks':>6}{'false/week':>12}{'episodes':>10}{'half':>7}{'none':>7}{'double':>8}")
    for title, mean, hourly, daily, cycles in TRAFFIC:
        for weeks in (1, 2, 5):
            false = episodes = 0
            seen = {"half": 0, "none": 0, "double": 0}
            tried = 0
            for _ in range(series):
                rows = traffic(generator, weeks + 3, mean, hourly, daily, cycles=cycles)
                start = (weeks + 1) * HOURS + LONGEST
                before = False
                for at in range(start, start + HOURS):
                    past, now = looks(rows, weeks, at)
                    found = [span.detected for span in volume(past, now, source="history").spans.values()]
                    false += sum(one is not None for one in found)
                    episodes += any(found) and not before
                    before = any(found)
                for at in generator.integers(start, start + HOURS, 20).tolist():
                    past, now = looks(rows, weeks, at)
                    tried += 1
                    for name, factor in (("half", 0.5), ("none", 0.0), ("double", 2.0)):
                        changed = now.rows.copy()
                        changed[-3:] = np.round(changed[-3:] * factor)
                        report = volume(past, History(now.start, 3600.0, changed), source="history")
                        wanted = "high" if factor > 1 else "low"
                        seen[name] += any(span.detected == wanted for span in report.spans.values())
            power = "".join(f"{seen[name] / tried:>7.0%}" for name in ("half", "none"))
            print(
                f"{title:<54}{weeks:>6}{false / series:>12.2f}{episodes / series:>10.2f}{power}"
                f"{seen['double'] / tried:>8.0%}",
                flush=True,
            )


def wide(columns: int, rows: int, *, missing: float, seed: int) -> pa.Table:
    """Half numeric, half categorical columns, with a share of missing values."""
    generator = np.random.default_rng(seed)
    data = {"p": pa.array(generator.normal(size=rows))}
    for place in range(columns):
        mask = generator.random(rows) < missing if missing else None
        values = (
            generator.normal(size=rows)
            if place % 2
            else np.array([f"v{code}" for code in range(12)])[generator.integers(0, 12, rows)]
        )
        data[f"x{place}"] = pa.array(values, mask=mask)
    return pa.table(data)


def cost() -> None:
    """Milliseconds to profile and to inspect, by columns and share of missing values."""
    for columns in (60, 2000):
        features = tuple(
            Column(f"x{place}", Kind.NUMERIC if place % 2 else Kind.CATEGORICAL) for place in range(columns)
        )
        schema = Schema("m", Task.REGRESSION, "p", "y", features=features)
        first = validate_batch(wide(columns, 5000, missing=0.05, seed=1), schema, now=0.0)
        grid = build_grid(first)
        for rows, missing in ((1, 0.0), (100, 0.05), (5000, 0.0), (5000, 0.05)):
            made = validate_batch(wide(columns, rows, missing=missing, seed=2), schema, now=0.0)
            profiled, ratios, deeper = milliseconds(profile_rows(grid, first), made)
            print(
                f"{columns:>5} columns {rows:>6} rows, {missing:4.0%} missing: profile {profiled:8.2f} ms, "
                f"ratios {ratios:7.1f} ms, deeper checks {deeper:7.1f} ms",
                flush=True,
            )


def milliseconds(baseline: Profile, batch: Batch) -> tuple[float, float, float]:
    """Least of three runs: the profile, the quality ratios, and the deeper checks."""
    profile, settings = profile_rows(baseline.grid, batch), Settings()
    report = measure_quality(profile, baseline, settings)
    work = (
        lambda: profile_rows(baseline.grid, batch),
        lambda: measure_quality(profile, baseline, settings),
        lambda: inspected(report, profile, baseline, log_failure),
    )
    profiled, ratios, deeper = (min(1e3 * timed(one) for _ in range(3)) for one in work)
    return profiled, ratios, deeper


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("volume", "cost"))
    parser.add_argument("--series", type=int, default=12, help="simulated series by line")
    options = parser.parse_args()
    if options.what != "volume":
        cost()
    if options.what != "cost":
        simulate(options.series)


if __name__ == "__main__":
    main()
