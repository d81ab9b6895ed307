"""Categories that the baseline did not have, and those of the baseline that no longer come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from exporter.results.findings import CategoryChanges, Vanished

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.statistics.drift.views import CategoricalView

MOST_NAMED = 50
"""New categories and vanished ones that are named, those with the most rows first; the counts are of all."""

LEVEL = 0.01
"""Chance that any category of any column is called vanished when nothing has changed."""


def category_changes(
    columns: Mapping[str, tuple[CategoricalView, CategoricalView]], *, level: float = LEVEL
) -> dict[str, CategoryChanges]:
    """New and vanished categories by column.

    New is a value in the window that the baseline never had. Where the baseline has values that were not kept
    by name, one of these may look new; `exact` is then false.

    Vanished is a category of the baseline without a row in the window although it should have some: given its
    b rows in the m of the baseline and the n of the window, all b fall into the baseline with chance C(m, b)
    / C(m + n, b) (Fisher's exact test, one-sided). That must be at most `level` divided by the number of
    categories of all columns (Bonferroni). It takes rows as independent: a category that only comes on some
    days vanishes on others, so compare windows of whole cycles.

    Parameters
    ----------
    columns : mapping of name to (baseline, current)
        On one grid each, both with values.
    """
    tests = sum(int(np.count_nonzero(baseline.counts)) for baseline, _ in columns.values())
    log_level = np.log(level / max(tests, 1))
    return {name: _changes(baseline, current, log_level) for name, (baseline, current) in columns.items()}


def _changes(baseline: CategoricalView, current: CategoricalView, log_level: float) -> CategoryChanges:
    categories = baseline.grid.categories
    fresh = np.flatnonzero((baseline.counts <= 0) & (current.counts > 0))
    new = {categories[place]: int(current.counts[place]) for place in fresh.tolist()}
    new |= {
        name: int(rows)
        for name, rows in current.novel.items()
        if rows > 0 and baseline.novel.get(name, 0) <= 0
    }
    unnamed = max(0, int(current.other)) if baseline.other <= 0 else 0
    n, m = int(current.n), int(baseline.n)
    gone = np.flatnonzero((baseline.counts > 0) & (current.counts <= 0))
    b = baseline.counts[gone]
    log_chance = (
        special.gammaln(m + 1)
        - special.gammaln(m - b + 1)
        - special.gammaln(m + n + 1)
        + special.gammaln(m + n - b + 1)
    )
    kept = log_chance <= log_level
    gone, b, log_chance = gone[kept], b[kept], log_chance[kept]
    order = np.argsort(-b, kind="stable")[:MOST_NAMED]
    named = sorted(new.items(), key=lambda item: (-item[1], item[0]))
    known = sum(name in baseline.novel for name in current.novel)
    distinct = int(current.distinct) - int(np.count_nonzero(current.counts)) - known if unnamed else 0
    return CategoryChanges(
        new_count=max(len(new), len(fresh) + distinct),
        new_rows=sum(new.values()) + unnamed,
        new=dict(named[:MOST_NAMED]),
        vanished_count=len(gone),
        vanished={
            categories[gone[place]]: Vanished(
                baseline_rows=int(b[place]),
                baseline_ratio=int(b[place]) / m,
                expected_rows=int(b[place]) / m * n,
                p_value=float(np.exp(log_chance[place])),
            )
            for place in order.tolist()
        },
        exact=unnamed == 0 and baseline.other <= 0,
    )
