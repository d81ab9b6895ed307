"""Which columns go missing in the same rows, and whether they did so in the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from exporter.results.findings import MissingPair, MissingTogether

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    PairCounts = tuple[Sequence[str], NDArray[np.int64], NDArray[np.int64], int]

TOGETHER = 0.8
"""From this phi coefficient on two columns belong to a group."""

LEAST_CHANGE = 0.2
"""Smallest change of phi that counts."""

LEVEL = 0.01
"""Chance that any pair of a window is called changed when none has."""

LEAST_EXPECTED = 5.0
"""Rows to be expected in every cell of a pair's table, in both samples, for its change to be tested."""

MOST_PAIRS = 20
MOST_GROUPS = 20


def phi_coefficients(
    missing: NDArray[np.int64], together: NDArray[np.int64], rows: int
) -> NDArray[np.float64]:
    """Correlations of the indicators "has no value" of k columns, (k, k).

    NaN where a column is always or never missing.

    Parameters
    ----------
    missing : int64 (k,)
        Rows without a value.
    together : int64 (k, k)
        Rows without both values; the diagonal is not looked at.
    """
    n, a = float(rows), missing.astype(np.float64)
    spread = np.sqrt(a * (n - a))
    with np.errstate(divide="ignore", invalid="ignore"):
        phi = (n * together - np.outer(a, a)) / np.outer(spread, spread)
    np.fill_diagonal(phi, 1.0)
    phi[~np.isfinite(phi)] = np.nan
    return np.asarray(np.clip(phi, -1.0, 1.0))


def phi_variance(
    phi: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64], rows: int
) -> NDArray[np.float64]:
    """Variance of a phi coefficient of n rows, to first order.

    From the shares of rows without the first and the second value (Yule, 1912; Bishop, Fienberg and Holland,
    1975, Discrete Multivariate Analysis, section 11.3.1).
    """
    skew_a = (1 - 2 * first) / np.sqrt(first * (1 - first))
    skew_b = (1 - 2 * second) / np.sqrt(second * (1 - second))
    inner = 1 - phi**2 + phi * (1 + phi**2 / 2) * skew_a * skew_b - 0.75 * phi**2 * (skew_a**2 + skew_b**2)
    return np.asarray(np.maximum(inner, 1.0 / rows) / rows)


def missing_together(
    names: Sequence[str],
    missing: NDArray[np.int64],
    together: NDArray[np.int64],
    rows: int,
    *,
    baseline: PairCounts | None = None,
) -> MissingTogether:
    """Groups of columns that go missing together, and pairs whose going together has changed.

    Two columns belong together when the phi coefficient of their missing values is at least 0.8; groups are
    the connected components of that. A pair has changed when its phi differs from the baseline's by at least
    0.2 and by more than chance: a z test with the first-order variances of both, at 0.01 over the number of
    pairs tested (Bonferroni). Pairs of which either sample expects fewer than five rows in some cell are not
    tested.

    Parameters
    ----------
    names : sequence of str
        The k columns with a missing value.
    missing : int64 (k,)
    together : int64 (k, k)
    rows : int
    baseline : (names, missing, together, rows) or None
        The same of the baseline; a column that is not named was never missing.
    """
    if len(names) < 2 or rows <= 0:
        return MissingTogether()
    phi = phi_coefficients(missing, together, rows)
    first, second = np.triu_indices(len(names), 1)
    values = phi[first, second]
    before, changed = np.full(len(values), np.nan), np.zeros(len(values), bool)
    if baseline is not None and baseline[3] > 0:
        before, changed = _against(names, missing, (first, second), values, rows=rows, baseline=baseline)
    strength = np.where(np.isnan(values), 0.0, np.abs(values)) + 2.0 * changed
    order = [
        place for place in np.argsort(-strength, kind="stable")[:MOST_PAIRS].tolist() if strength[place] > 0
    ]
    return MissingTogether(
        groups=_groups(names, phi >= TOGETHER, missing),
        pairs=tuple(
            MissingPair(
                columns=(names[first[place]], names[second[place]]),
                rows=int(together[first[place], second[place]]),
                phi=float(values[place]),
                baseline_phi=None if np.isnan(before[place]) else float(before[place]),
                changed=bool(changed[place]),
            )
            for place in order
            if not np.isnan(values[place])
        ),
        changed_count=int(np.count_nonzero(changed)),
    )


def _against(
    names: Sequence[str],
    missing: NDArray[np.int64],
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    phi: NDArray[np.float64],
    *,
    rows: int,
    baseline: PairCounts,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The baseline's phi of each pair, and which pairs have changed."""
    first, second = pairs
    known, alone, both, m = baseline
    places = {name: place for place, name in enumerate(known)}
    at = np.array([places.get(name, -1) for name in names])
    a = np.append(alone, 0)[at].astype(np.float64)
    c = np.pad(both, (0, 1))[at[first], at[second]].astype(np.float64)
    share, share_before = missing / rows, a / m
    p, q, p0, q0 = share[first], share[second], share_before[first], share_before[second]
    least = np.minimum(_least_expected(p, q, rows), _least_expected(p0, q0, m))
    with np.errstate(divide="ignore", invalid="ignore"):
        before = np.clip((c / m - p0 * q0) / np.sqrt(p0 * (1 - p0) * q0 * (1 - q0)), -1.0, 1.0)
        error = np.sqrt(phi_variance(phi, p, q, rows) + phi_variance(before, p0, q0, m))
        z = np.abs(phi - before) / error
    tested = least >= LEAST_EXPECTED
    critical = special.ndtri(1 - LEVEL / 2 / max(1, int(np.count_nonzero(tested))))
    before[~np.isfinite(before)] = np.nan
    return before, tested & (z > critical) & (np.abs(phi - before) >= LEAST_CHANGE)


def _least_expected(p: NDArray[np.float64], q: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    return np.asarray(rows * np.minimum(p, 1 - p) * np.minimum(q, 1 - q))


def _groups(
    names: Sequence[str], linked: NDArray[np.bool_], missing: NDArray[np.int64]
) -> tuple[tuple[str, ...], ...]:
    """Connected components of more than one column, those with the most missing values first."""
    rest, groups = set(range(len(names))), []
    while rest:
        group, edge = set(), [min(rest)]
        while edge:
            place = edge.pop()
            if place not in group:
                group.add(place)
                edge += np.flatnonzero(linked[place]).tolist()
        rest -= group
        if len(group) > 1:
            groups.append(sorted(group))
    groups.sort(key=lambda group: (-int(missing[group].max()), group))
    return tuple(tuple(names[place] for place in group) for group in groups[:MOST_GROUPS])
