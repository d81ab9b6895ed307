"""Search for weak segments: slices of one or two columns in which the loss is larger than elsewhere.

A table holds, for each combination of levels of one or two columns, rows, sum of loss and of squared loss.
Every slice with enough rows is tested against the rows outside it; a slice of two columns must also be worse
than the rest of each of the two slices that contain it, else these explain it. Benjamini-Hochberg over all
slices tested keeps the share of false ones at the level asked for. A slice of one column that is only weak
because of weak slices inside it is left out: its remainder is tested without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import special

from exporter.results.records import Record
from exporter.statistics.drift.multiplicity import benjamini_hochberg

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Tables = Mapping[tuple[str, ...], "NDArray[np.float64]"]
"""By one or two columns: (levels, 3) or (levels, levels, 3) of rows, loss and squared loss."""

MOST_SLICES = 50
"""Weak slices in one answer, worst first."""

ONE_SIDED_95 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class WeakSlice(Record):
    """Rows of certain levels whose mean loss exceeds that of the others.

    `difference` is its mean loss minus that of the rest, `lower` its one-sided 95 % bound, `q_value` the
    false-discovery rate at which it would still be named.
    """

    conditions: tuple[tuple[str, str], ...]
    rows: int
    loss: float
    rest_loss: float
    difference: float
    lower: float
    p_value: float
    q_value: float
    baseline_loss: float | None = None


@dataclass(frozen=True, slots=True)
class SliceSearch(Record):
    """Weak slices, worst first, of `tested` ones; `loss` is the mean over all rows."""

    rows: int = 0
    loss: float | None = None
    tested: int = 0
    slices: tuple[WeakSlice, ...] = field(default=())
    reason: str | None = None


def weak_slices(
    tables: Tables,
    levels: Mapping[str, tuple[str, ...]],
    *,
    minimum_rows: int = 100,
    alpha: float = 0.05,
    binary: bool = False,
    baseline: Tables | None = None,
    most: int = MOST_SLICES,
) -> SliceSearch:
    """Slices whose mean loss is larger than that of the rows outside.

    Parameters
    ----------
    tables : mapping of columns to arrays
        Tables of single columns, of pairs, or both. All are of the same rows.
    levels : mapping of column to the names of its levels
    minimum_rows : int
        A slice needs so many rows, inside and outside.
    alpha : float
        Share of false slices among those named.
    binary : bool
        Losses are 0 or 1: tails of the binomial distribution instead of Welch's test.
    baseline : mapping, optional
        The same tables of the baseline, for the loss that each slice had there.
    most : int
        Slices named, the worst.

    Notes
    -----
    Welch, doi:10.1093/biomet/34.1-2.28. The hypergeometric tail of 0/1 losses is bounded by that of the
    binomial distribution that samples the smallest share, which is conservative.
    """
    if not tables:
        return SliceSearch(reason="empty")
    first = next(iter(tables.values()))
    whole = first.reshape(-1, 3).sum(axis=0)
    rows = round(float(whole[0]))
    if rows < 2 * minimum_rows:
        return SliceSearch(rows, reason="insufficient_labels")
    singles, pairs = _tables(tables)
    tests = [_test_single(name, table, whole, minimum_rows, binary=binary) for name, table in singles.items()]
    tests += [_test_pair(names, pairs[names], whole, minimum_rows, binary=binary) for names in pairs]
    p_values = np.concatenate([test.p_values for test in tests])
    rejected, q_values = benjamini_hochberg(p_values, alpha)
    loss = float(whole[1] / whole[0])
    if not rejected:
        return SliceSearch(rows, loss, p_values.size)
    found = _named(tests, q_values, alpha)
    kept = [
        one
        for one in found
        if len(one.columns) > 1
        or all(
            p_value <= alpha
            for p_value in _without_inner(one, found, singles, pairs, whole - one.cell, binary=binary)
        )
    ]
    slices = [_described(one, whole, levels, baseline) for one in kept]
    slices.sort(key=lambda one: (-one.lower, -one.rows, one.conditions))
    return SliceSearch(rows, loss, p_values.size, tuple(slices[:most]))


@dataclass(frozen=True, slots=True)
class _Test:
    """Slices of one table that have enough rows: their places, cells and p-values."""

    columns: tuple[str, ...]
    places: NDArray[np.intp]
    cells: Floats
    p_values: Floats


@dataclass(frozen=True, slots=True)
class _Found:
    columns: tuple[str, ...]
    place: tuple[int, ...]
    cell: Floats
    p_value: float
    q_value: float


def _tables(tables: Tables) -> tuple[dict[str, Floats], dict[tuple[str, str], Floats]]:
    """Tables of single columns, from those of pairs where they are not given, and of pairs."""
    pairs = {(names[0], names[1]): table for names, table in tables.items() if len(names) == 2}
    singles = {names[0]: table for names, table in tables.items() if len(names) == 1}
    for (a, b), table in pairs.items():
        singles.setdefault(a, table.sum(axis=1))
        singles.setdefault(b, table.sum(axis=0))
    return singles, pairs


def _test_single(name: str, table: Floats, whole: Floats, minimum: int, *, binary: bool) -> _Test:
    places = np.flatnonzero((table[:, 0] >= minimum) & (whole[0] - table[:, 0] >= minimum))
    cells = table[places]
    return _Test((name,), places[:, None], cells, worse(cells, whole - cells, binary=binary))


def _test_pair(names: tuple[str, str], table: Floats, whole: Floats, minimum: int, *, binary: bool) -> _Test:
    """The larger of three p-values: against the rest, and against the rest of each slice around it."""
    enough = (table[..., 0] >= minimum) & (whole[0] - table[..., 0] >= minimum)
    places = np.argwhere(enough)
    cells = table[enough]
    p_values = worse(cells, whole - cells, binary=binary)
    for axis in (0, 1):
        around = table.sum(axis=1 - axis)[places[:, axis]]
        others = around - cells
        inside = worse(cells, others, binary=binary)
        p_values = np.where(others[:, 0] > 0, np.maximum(p_values, inside), 1.0)
    return _Test(names, places, cells, p_values)


def worse(cells: Floats, others: Floats, *, binary: bool) -> Floats:
    """One-sided p-values that the mean loss of `cells` (k, 3) is not larger than that of `others` (k, 3)."""
    n, m = cells[:, 0], others[:, 0]
    if binary:
        wrong = np.rint(cells[:, 1] + others[:, 1])
        return _binary_tail(np.rint(n), np.rint(cells[:, 1]), np.rint(n + m), wrong)
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = _mean_variance(cells), _mean_variance(others)
        error = first[1] + second[1]
        statistic = (first[0] - second[0]) / np.sqrt(error)
        freedom = error**2 / (first[1] ** 2 / (n - 1) + second[1] ** 2 / (m - 1))
        p_values = special.stdtr(freedom, -statistic)
    return np.where(np.isfinite(p_values) & (n > 1) & (m > 1), p_values, 1.0)


def _mean_variance(cells: Floats) -> tuple[Floats, Floats]:
    """Means, and variances of the means."""
    mean = cells[:, 1] / cells[:, 0]
    spread = np.maximum(cells[:, 2] / cells[:, 0] - mean**2, 0.0)
    return mean, spread / (cells[:, 0] - 1)


def _binary_tail(n: Floats, x: Floats, total: Floats, wrong: Floats) -> Floats:
    """P(X >= x) of x wrong among n when `wrong` of `total` are, conservatively."""
    total = np.maximum(total, 1)
    rate, share = wrong / total, n / total
    tails = np.stack(
        [
            _at_least(x, n, rate),
            _at_least(x, wrong, share),
            _at_least(total - n - wrong + x, total - n, 1 - rate),
            _at_least(total - wrong - n + x, total - wrong, 1 - share),
        ]
    )
    best = np.argmin(np.stack([share, rate, 1 - share, 1 - rate]), axis=0)
    tail = np.take_along_axis(tails, best[None], axis=0)[0]
    return np.where((x > 0) & np.isfinite(tail), np.clip(tail, 0.0, 1.0), 1.0)


def _at_least(x: Floats, draws: Floats, rate: Floats) -> Floats:
    """P(X >= x) of a binomial distribution."""
    tail = special.betainc(np.maximum(x, 1), np.maximum(draws - x + 1, 1e-9), np.clip(rate, 0, 1))
    return np.where(x <= 0, 1.0, np.where(x > draws, 0.0, tail))


def _named(tests: list[_Test], q_values: Floats, alpha: float) -> list[_Found]:
    found: list[_Found] = []
    first = 0
    for test in tests:
        mine = q_values[first : first + test.p_values.size]
        first += test.p_values.size
        for index in np.flatnonzero(mine <= alpha):
            place = tuple(int(level) for level in test.places[index])
            p_value, q_value = float(test.p_values[index]), float(mine[index])
            found.append(_Found(test.columns, place, test.cells[index], p_value, q_value))
    return found


def _without_inner(
    one: _Found,
    found: list[_Found],
    singles: Mapping[str, Floats],
    pairs: Mapping[tuple[str, str], Floats],
    rest: Floats,
    *,
    binary: bool,
) -> Iterator[float]:
    """p-values of a slice of one column without the weak slices of two columns inside it, by other column."""
    column, level = one.columns[0], one.place[0]
    for names, inside in _inside(found, column, level, pairs):
        remainder = singles[column][level] - sum(pairs[names][place] for place in inside)
        yield float(worse(remainder[None], rest[None], binary=binary)[0])


def _inside(
    found: list[_Found], column: str, level: int, pairs: Mapping[tuple[str, str], Floats]
) -> Iterator[tuple[tuple[str, str], list[tuple[int, ...]]]]:
    """By table, the places of the weak slices inside one slice of a column."""
    for names in pairs:
        if column in names:
            axis = names.index(column)
            places = [one.place for one in found if one.columns == names and one.place[axis] == level]
            if places:
                yield names, places


def _described(
    one: _Found, whole: Floats, levels: Mapping[str, tuple[str, ...]], baseline: Tables | None
) -> WeakSlice:
    rest = whole - one.cell
    (mean,), (variance,) = _mean_variance(one.cell[None])
    (rest_mean,), (rest_variance,) = _mean_variance(rest[None])
    difference = float(mean - rest_mean)
    return WeakSlice(
        conditions=tuple(
            (column, levels[column][level]) for column, level in zip(one.columns, one.place, strict=True)
        ),
        rows=round(float(one.cell[0])),
        loss=float(mean),
        rest_loss=float(rest_mean),
        difference=difference,
        lower=difference - ONE_SIDED_95 * float(np.sqrt(variance + rest_variance)),
        p_value=one.p_value,
        q_value=one.q_value,
        baseline_loss=_baseline_loss(one, baseline),
    )


def _baseline_loss(one: _Found, baseline: Tables | None) -> float | None:
    if not baseline:
        return None
    singles, pairs = _tables(baseline)
    first, *second = one.columns
    table = pairs.get((first, second[0])) if second else singles.get(first)
    if table is None or not table[one.place][0] > 0:
        return None
    return float(table[one.place][1] / table[one.place][0])
