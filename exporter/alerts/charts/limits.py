"""Where the lines of a chart lie: a threshold may be of a drop, and the picture shows the value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from exporter.alerts.records import Facts
from exporter.catalog import PERFORMANCE_METRICS

Side = Literal["above", "below"]

_OF_DROPS = ("performance", "class_performance")
_ABOVE = ("drift", "multivariate", "last_", "quality_duplicate", "quality_outlier", "quality_schema")
_BELOW = ("quality_", "labeled_ratio")
_QUALITY_ABOVE = ("duplicate", "outlier")


@dataclass(frozen=True, slots=True)
class Limit:
    """The value from which on the rule alerts.

    Attributes
    ----------
    value : float
    side : {"above", "below"} or None
        Where it alerts; None when that is not known.
    drop : {"difference", "ratio"} or None
        How the threshold that it comes from is measured, where that is of a drop.
    """

    value: float
    side: Side | None
    drop: Literal["difference", "ratio"] | None = None


def limit_of(facts: Facts, subject: str = "") -> Limit | None:
    """The threshold as a value of the measure; None where there is none, or no place for it.

    Parameters
    ----------
    facts : Facts
        `threshold` is of what the rule compares: for performance a drop, which is a difference to the
        baseline for scores and a ratio of the baseline for errors; else the measure itself.
    subject : str
        The performance metric or quality check. Without it the direction is read off the current value.

    Examples
    --------
    >>> limit_of(Facts("performance", current=0.7, threshold=0.125, baseline=0.875, unit="ratio"), "f1")
    Limit(value=0.75, side='below', drop='difference')
    >>> limit_of(Facts("performance", current=9.0, threshold=0.5, baseline=4.0, unit="label"), "mae")
    Limit(value=6.0, side='above', drop='ratio')
    """
    threshold = _finite(facts.threshold)
    if threshold is None:
        return None
    measure = facts.measure.removeprefix("ml_").removeprefix("segment_")
    if measure.startswith(_OF_DROPS):
        return _of_drop(facts, threshold, subject)
    if measure.startswith(_ABOVE) or (measure == "quality" and subject in _QUALITY_ABOVE):
        return Limit(threshold, "above")
    below = measure == "quality" or measure.startswith(_BELOW)
    return Limit(threshold, "below" if below else None)


def in_percent(facts: Facts) -> bool:
    """Whether a measure is a share of rows or columns, which people read in percent."""
    return facts.unit == "ratio" and ("quality" in facts.measure or facts.measure.endswith("_ratio"))


def _of_drop(facts: Facts, threshold: float, metric: str) -> Limit | None:
    baseline, current = _finite(facts.baseline), _finite(facts.current)
    if baseline is None or metric == "bias":  # the bias has no drop: its baseline is near 0 by design
        return None
    known = PERFORMANCE_METRICS.get(metric)
    if known is not None:
        higher, difference = known.higher_is_better, known.higher_is_better
    else:
        higher = current is None or current <= baseline
        difference = higher and facts.unit in {"", "ratio"}
    step = threshold if difference else threshold * abs(baseline)
    drop: Literal["difference", "ratio"] = "difference" if difference else "ratio"
    return Limit(baseline - step, "below", drop) if higher else Limit(baseline + step, "above", drop)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
