"""Columns to draw rows from, and what can happen to them. Knows NumPy and pandas only: the peers' too."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

Draw = Callable[[np.random.Generator, int], np.ndarray]


def zipf(count: int) -> np.ndarray:
    shares = 1 / np.arange(1, count + 1)
    return shares / shares.sum()


def categories(shares: np.ndarray) -> Draw:
    names = np.array([f"c{number:03d}" for number in range(len(shares))], object)
    return lambda rng, n: names[rng.choice(len(shares), n, p=shares)]


def with_missing(draw: Draw, share: float) -> Draw:
    return lambda rng, n: np.where(rng.random(n) < share, np.nan, draw(rng, n))


def normal(mean: float = 0.0, deviation: float = 1.0) -> Draw:
    return lambda rng, n: rng.normal(mean, deviation, n)


def zero_inflated(zeros: float) -> Draw:
    return lambda rng, n: np.where(rng.random(n) < zeros, 0.0, rng.lognormal(0, 1, n))


def two_humps(rng: np.random.Generator, n: int) -> np.ndarray:
    """Mean 0 and variance 1 like a standard normal, with two modes."""
    return np.where(rng.random(n) < 0.5, -0.8, 0.8) + 0.6 * rng.normal(size=n)


def longer_tail(values: np.ndarray) -> np.ndarray:
    """The top 2 % of a lognormal column three times as large."""
    return np.where(values > 7.8, 3 * values, values)


STABLE: Mapping[str, Draw] = {
    "normal": normal(),
    "uniform": lambda rng, n: rng.random(n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1.5, n),
    "Cauchy": lambda rng, n: rng.standard_cauchy(n),
    "70 % zeros": zero_inflated(0.7),
    "integers 0-9": lambda rng, n: rng.integers(0, 10, n).astype(float),
    "Poisson(1)": lambda rng, n: rng.poisson(1, n).astype(float),
    "Poisson(30)": lambda rng, n: rng.poisson(30, n).astype(float),
    "2 % missing": with_missing(normal(), 0.02),
    "2 categories": categories(np.array([0.9, 0.1])),
    "5 categories": categories(np.full(5, 0.2)),
    "20 categories, Zipf": categories(zipf(20)),
    "200 categories, Zipf": categories(zipf(200)),
}
"""Columns that do not change: continuous, heavy-tailed, zero-inflated, discrete, categorical."""

SHIFTS: Mapping[str, tuple[Draw, Draw]] = {
    "location +0.2 sd": (normal(), normal(0.2)),
    "scale x1.25": (normal(), normal(0.0, 1.25)),
    "shape: two humps": (normal(), two_humps),
    "zeros 70 -> 75 %": (zero_inflated(0.7), zero_inflated(0.75)),
    "tail: top 2 % x3": (
        lambda rng, n: rng.lognormal(0, 1, n),
        lambda rng, n: longer_tail(rng.lognormal(0, 1, n)),
    ),
    "category 20 -> 26 %": (
        categories(np.full(5, 0.2)),
        categories(np.array([0.26, 0.185, 0.185, 0.185, 0.185])),
    ),
    "new category, 2 %": (categories(zipf(20)), categories(np.append(0.98 * zipf(20), 0.02))),
    "missing 2 -> 5 %": (with_missing(normal(), 0.02), with_missing(normal(), 0.05)),
}
"""Columns before and after a change."""


def table(rng: np.random.Generator, rows: int, *, changed: bool) -> pd.DataFrame:
    """Rows of all stable columns and all shifted ones, before or after the change."""
    columns = {name: draw(rng, rows) for name, draw in STABLE.items()}
    columns |= {name: draws[changed](rng, rows) for name, draws in SHIFTS.items()}
    return pd.DataFrame(columns)


def is_categorical(frame: pd.DataFrame, name: str) -> bool:
    return frame[name].dtype == object or str(frame[name].dtype) in {"str", "string", "category"}
