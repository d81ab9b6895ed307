"""The quality score: a weighted mean of the checks, and what each check takes from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from exporter.results.findings import ScorePart

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_WORST = 5
"""Subjects that are named of each check."""

Ratios = Mapping[str, Any]
"""Ratio by column or rule, or by column and rule."""


def quality_score(
    checks: Mapping[str, Ratios],
    timeliness: float | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    column_weights: Mapping[str, float] | None = None,
) -> tuple[float | None, dict[str, ScorePart]]:
    r"""The score and its parts, by check.

    With weights :math:`w_c` of the checks and :math:`v_j` of the columns, all 1 unless given, and ratios
    :math:`r_{cj}`,

    .. math:: score = \frac{\sum_c w_c \bar r_c}{\sum_c w_c}, \qquad
              \bar r_c = \frac{\sum_j v_j r_{cj}}{\sum_j v_j}

    over the checks that have a ratio. Rules across columns weigh 1 each. The score is 1 minus the sum of the
    parts' losses :math:`w_c (1 - \bar r_c) / \sum_c w_c`.

    Returns
    -------
    float or None, dict of str to ScorePart
        None when no check has a ratio and a weight.
    """
    weights, column_weights = weights or {}, column_weights or {}
    means: dict[str, tuple[float, tuple[tuple[str, float], ...]]] = {}
    for check, ratios in checks.items():
        flat = list(_flat(ratios, column_weights))
        total = sum(weight for _, _, weight in flat)
        if total > 0:
            mean = sum(ratio * weight for _, ratio, weight in flat) / total
            low = sorted((ratio, subject) for subject, ratio, weight in flat if ratio < 1 and weight > 0)
            means[check] = mean, tuple((subject, ratio) for ratio, subject in low[:MOST_WORST])
    if timeliness is not None:
        means["timeliness"] = timeliness, ()
    total = sum(weights.get(check, 1.0) for check in means)
    if total <= 0:
        return None, {}
    parts = {}
    for check, (mean, worst) in means.items():
        weight = weights.get(check, 1.0)
        parts[check] = ScorePart(mean, weight, weight * (1 - mean) / total, worst)
    return sum(part.ratio * part.weight for part in parts.values()) / total, parts


def _flat(ratios: Ratios, column_weights: Mapping[str, float]) -> Iterator[tuple[str, float, float]]:
    """(subject, ratio, weight) of every ratio; a subject is a column, a rule, or both."""
    for name, entry in ratios.items():
        weight = column_weights.get(name, 1.0)
        if isinstance(entry, Mapping):
            for rule, ratio in entry.items():
                yield f"{name}/{rule}", float(ratio), weight
        else:
            yield name, float(entry), weight
