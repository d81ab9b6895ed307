"""Whether one value holds (nearly) all rows of a column now, and did not before; or the reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from exporter.results.findings import TopValue
from exporter.statistics.drift.views import is_categorical, is_numeric

if TYPE_CHECKING:
    from exporter.statistics.drift.views import ColumnView

NEARLY = 0.99
"""A column is nearly constant when one value holds at least this share of its values."""

LEAST_FACTOR = 2.0
"""The share of the other values must change by at least this factor."""

LEVEL = 1e-4
"""Largest chance, in one column, of a change of this size when nothing has changed."""


def top_value(current: ColumnView, baseline: ColumnView | None = None) -> TopValue:
    """The most frequent value of a column and its share of the rows with a value.

    Numeric values that lie between two neighbouring edges of the grid count as one value, which at most
    overstates the share: the grid's cells hold about a thousandth of the baseline each. What lies outside
    of all edges counts only when all values are equal.

    `change` is `constant` when one value holds at least 99 % now, did not in the baseline, and the others'
    share has at least halved; `varied` for the reverse. Both need a chance of at most 1e-4 under the null
    that the counts of both are of one binomial distribution (one-sided Fisher's exact test on the others'
    rows).

    Parameters
    ----------
    current : ColumnView
        With at least one value.
    baseline : ColumnView or None
        On the same grid.
    """
    value, rows = _top(current)
    n = int(current.n)
    ratio = rows / n
    if baseline is None or baseline.n <= 0:
        return TopValue(value, ratio)
    _, before = _top(baseline)
    m = int(baseline.n)
    own = before / m
    others, others_before = n - rows, m - before
    change = None
    if ratio >= NEARLY > own and LEAST_FACTOR * (1 - ratio) <= 1 - own:
        change = "constant" if _fewer(others, n, others_before, m) <= LEVEL else None
    elif own >= NEARLY > ratio and LEAST_FACTOR * (1 - own) <= 1 - ratio:
        change = "varied" if _fewer(others_before, m, others, n) <= LEVEL else None
    return TopValue(value, ratio, own, change)


def _top(column: ColumnView) -> tuple[str, int]:
    """Name and rows of the most frequent value."""
    if is_categorical(column):
        return _top_category(column.grid.categories, column.counts, column.novel)
    if not is_numeric(column):
        return "", 0
    if column.minimum == column.maximum:
        return f"{column.minimum:.12g}", int(column.n)
    edges, inside = column.grid.edges, column.cells[1:-1]
    cell = int(inside.argmax())
    if cell % 2 == 0:
        return f"{edges[cell // 2]:.12g}", int(inside[cell])
    return f"({edges[cell // 2]:.12g}, {edges[cell // 2 + 1]:.12g})", int(inside[cell])


def _top_category(categories: tuple[str, ...], counts: np.ndarray, novel: object) -> tuple[str, int]:
    named = dict(novel) if isinstance(novel, dict) else {}
    value, rows = max(named.items(), key=lambda item: item[1], default=("", 0))
    if len(counts):
        place = int(np.argmax(counts))
        if int(counts[place]) >= rows:
            return categories[place], int(counts[place])
    return value, int(rows)


def _fewer(a: int, n: int, b: int, m: int) -> float:
    """Chance of at most `a` of the a + b rare rows among n of n + m rows: hypergeometric, exact."""
    total = a + b
    x = np.arange(max(0, total - m), a + 1)
    log = _log_choose(total, x) + _log_choose(n + m - total, n - x) - _log_choose(n + m, np.array([n]))
    return float(min(1.0, np.exp(log).sum()))


def _log_choose(total: int, chosen: np.ndarray) -> np.ndarray:
    return np.asarray(
        special.gammaln(total + 1) - special.gammaln(chosen + 1) - special.gammaln(total - chosen + 1)
    )
