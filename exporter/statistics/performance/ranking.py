"""Metrics of rankers: means over groups of rows that are ranked together, from an outcome profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from scipy import special

from exporter.results import Estimate, Undefined
from exporter.statistics.intervals import enclose, logit_bounds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES = ("ndcg_at_k", "map_at_k", "mrr")
"""In the order of the profile's sums."""

SMOOTHING_GROUPS = 1.0
"""Groups added half at 0 and half at 1 before the error is taken, so that perfect groups have a width too."""


class RankingView(Protocol):
    """Sums over the groups that could be ranked; see the profiles."""

    @property
    def k(self) -> int: ...
    @property
    def labelled_rows(self) -> int: ...
    @property
    def groups(self) -> int: ...
    @property
    def ranked(self) -> int: ...
    @property
    def incomplete(self) -> int: ...
    @property
    def irrelevant(self) -> int: ...
    @property
    def sums(self) -> NDArray[np.float64]: ...
    @property
    def squares(self) -> NDArray[np.float64]: ...


def mean_of_groups(outcome: RankingView, z: float, *, place: int) -> Estimate | Undefined:
    """Mean of one measure over the groups, in [0, 1]; bounds from the variance between groups.

    Groups are the units that are drawn, not rows, so `n` is the number of groups. The bounds are Student's in
    the logit of the mean with one more group, half at 0 and half at 1.
    """
    n = outcome.ranked
    if n < 2:
        return Undefined("insufficient_labels", _why(outcome))
    total, squares = float(outcome.sums[place]), float(outcome.squares[place])
    value = min(max(total / n, 0.0), 1.0)
    count = n + SMOOTHING_GROUPS
    mean = (total + SMOOTHING_GROUPS / 2) / count
    variance = max((squares + SMOOTHING_GROUPS / 2) / count - mean * mean, 0.0)
    quantile = float(special.stdtrit(n - 1, special.ndtr(z)))
    bounds = logit_bounds(mean, math.sqrt(variance / n), quantile)
    return Estimate(value, *enclose(value, bounds, least=0.0, most=1.0), n)


def _why(outcome: RankingView) -> str:
    parts = [f"{outcome.ranked} groups have all their labels and a relevant row, 2 are needed"]
    if outcome.incomplete:
        parts.append(f"{outcome.incomplete} lack labels of some rows")
    if outcome.irrelevant:
        parts.append(f"{outcome.irrelevant} have no relevant row")
    return "; ".join(parts)


RANKING_METRICS: Mapping[str, Callable[[RankingView, float], Estimate | Undefined]] = MappingProxyType(
    {name: partial(mean_of_groups, place=place) for place, name in enumerate(NAMES)}
)
