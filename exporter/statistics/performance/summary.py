"""What outcomes say beside the metrics: groups that were ranked, and residuals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from exporter.statistics.performance.ranking import RankingView
from exporter.statistics.performance.regression import ERROR, ONE, SQUARED, RegressionView, error_quantile

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def ranking_groups(outcome: RankingView) -> Mapping[str, int]:
    """Groups that came, and how many were ranked, lacked labels, or had nothing relevant.

    Keys: `k`, `groups`, `ranked`, `incomplete`, `irrelevant`.
    """
    return {
        "k": outcome.k,
        "groups": outcome.groups,
        "ranked": outcome.ranked,
        "incomplete": outcome.incomplete,
        "irrelevant": outcome.irrelevant,
    }


def residual_summary(outcome: RegressionView) -> Mapping[str, Any] | None:
    """Residuals (prediction - label) in the label's unit; None without labelled rows.

    Returns
    -------
    mapping
        `rows`, `mean` and `standard_deviation` of the residuals, `bias_share` of the mean
        squared error, and `absolute`: quantiles of their sizes, at most 1.2 % off.
    """
    n = outcome.n
    if n <= 0:
        return None
    mean = float(outcome.moments[ONE, ERROR]) / n
    square = float(outcome.moments[ONE, SQUARED]) / n
    return {
        "rows": n,
        "mean": mean,
        "standard_deviation": math.sqrt(max(square - mean * mean, 0.0)),
        "bias_share": min(mean * mean / square, 1.0) if square > 0 else 0.0,
        "absolute": {f"p{100 * q:.0f}": error_quantile(outcome, q) for q in QUANTILES},
    }
