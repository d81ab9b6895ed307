"""Curves over all thresholds: ROC, precision-recall, gain, and reliability, read off score histograms.

`negatives` and `positives` are int64 (S,): labelled rows by score cell, scores ascending, rows without a
score left out; `values` (S,) is the score that stands for each cell. A threshold predicts positive the rows
whose score is at least it. Points lie at the borders of cells, where curves are exact; between them they are
straight (ROC, gain). At most `most` points are kept, spread over the length of the curve, its ends always.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.results import Undefined
from exporter.statistics.intervals import wilson
from exporter.statistics.performance.scoring import CALIBRATION_BINS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]
    Floats = NDArray[np.float64]

MOST_POINTS = 200
THRESHOLDS = 21
"""Rows of the table of thresholds."""

Point = dict[str, float | int | None]
Curve = list[Point]


def roc_curve(
    negatives: Cells, positives: Cells, values: Floats, z: float, *, most: int = MOST_POINTS
) -> Curve | Undefined:
    """Points (false, true positive rate) from (0, 0) to (1, 1), with bounds of the latter (Wilson).

    `threshold` is None at (0, 0), where nothing is predicted positive.
    """
    n, p = int(negatives.sum()), int(positives.sum())
    if not n or not p:
        return _one_class(n, p)
    false, true, thresholds = _descending(negatives, positives, values)
    chosen = _thinned(false / n + true / p, most)
    return [
        {
            "threshold": None if not place else float(thresholds[place]),
            "false_positive_rate": int(false[place]) / n,
            "true_positive_rate": int(true[place]) / p,
            **_bounds(int(true[place]), p, z),
        }
        for place in chosen.tolist()
    ]


def precision_recall_curve(
    negatives: Cells, positives: Cells, values: Floats, z: float, *, most: int = MOST_POINTS
) -> Curve | Undefined:
    """Points (recall, precision) with falling thresholds, with Wilson's bounds of precision.

    The first is (0, 1), by convention, with a `threshold` of None; the last has a recall of 1.
    """
    p = int(positives.sum())
    if not p:
        return _one_class(int(negatives.sum()), p)
    false, true, thresholds = _descending(negatives, positives, values)
    last = int(np.searchsorted(true, p)) + 1
    false, true, thresholds = false[:last], true[:last], thresholds[:last]
    share = np.divide(true, false + true, out=np.ones(len(true)), where=false + true > 0)
    steps = np.abs(np.diff(share, prepend=share[0])) + np.diff(true, prepend=0) / p
    points: Curve = []
    for place in _thinned(np.cumsum(steps), most).tolist():
        rows = int(false[place] + true[place])
        points.append(
            {
                "threshold": None if not place else float(thresholds[place]),
                "recall": int(true[place]) / p,
                "precision": float(share[place]),
                **_bounds(int(true[place]), rows, z),
            }
        )
    return points


def gain_curve(
    negatives: Cells, positives: Cells, values: Floats, z: float, *, most: int = MOST_POINTS
) -> Curve | Undefined:
    """The share of the positives among the rows of the highest scores, from (0, 0) to (1, 1), and the lift.

    `lift` is that share divided by the share of rows, None at the first point.
    """
    p, rows = int(positives.sum()), int((negatives + positives).sum())
    if not p:
        return _one_class(rows - p, p)
    false, true, thresholds = _descending(negatives, positives, values)
    taken = false + true
    return [
        {
            "threshold": None if not place else float(thresholds[place]),
            "rows_ratio": int(taken[place]) / rows,
            "gain": int(true[place]) / p,
            "lift": None if not place else int(true[place]) / p / (int(taken[place]) / rows),
            **_bounds(int(true[place]), p, z),
        }
        for place in _thinned(taken / rows + true / p, most).tolist()
    ]


def reliability_curve(
    negatives: Cells,
    positives: Cells,
    values: Floats,
    z: float,
    *,
    most: int = MOST_POINTS,  # noqa: ARG001  # all curves are asked alike, this one has ten points
) -> Curve | Undefined:
    """For each of ten bins of equal width the mean probability and the share of positives, with its bounds.

    A bin without rows is there without values.
    """
    rows = negatives + positives
    if not rows.sum():
        return Undefined("empty", "no labelled row has a score")
    bins = np.minimum((values * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    count, hits, total = (np.bincount(bins, of, CALIBRATION_BINS) for of in (rows, positives, values * rows))
    return [
        {
            "from": place / CALIBRATION_BINS,
            "to": (place + 1) / CALIBRATION_BINS,
            "rows": int(n),
            "mean_score": float(score / n) if n else None,
            "observed": float(hit / n) if n else None,
            **_bounds(int(hit), int(n), z),
        }
        for place, (n, hit, score) in enumerate(zip(count, hits, total, strict=True))
    ]


def threshold_table(negatives: Cells, positives: Cells, values: Floats, z: float) -> Curve | Undefined:
    """What would be predicted at 21 thresholds, quantiles of the scores j / 20, at borders of cells.

    Precision, recall, specificity, F1 and the share of rows that is predicted positive; None where one has no
    rows. `lower` and `upper` are of precision.
    """
    n, p = int(negatives.sum()), int(positives.sum())
    if not n + p:
        return Undefined("empty", "no labelled row has a score")
    false, true, thresholds = _descending(negatives, positives, values)
    taken = false + true
    levels = np.ceil(np.arange(1, THRESHOLDS + 1) / THRESHOLDS * (n + p))
    table: Curve = []
    for place in np.unique(np.searchsorted(taken, levels)).tolist():
        hits, rows = int(true[place]), int(taken[place])
        table.append(
            {
                "threshold": float(thresholds[place]),
                "predicted_ratio": rows / (n + p),
                "precision": hits / rows,
                "recall": hits / p if p else None,
                "specificity": 1 - int(false[place]) / n if n else None,
                "f1": 2 * hits / (rows + p),
                **_bounds(hits, rows, z),
            }
        )
    return table[::-1]


CURVES: Mapping[str, Callable[..., Curve | Undefined]] = MappingProxyType(
    {
        "roc": roc_curve,
        "pr": precision_recall_curve,
        "calibration": reliability_curve,
        "gain": gain_curve,
        "thresholds": threshold_table,
    }
)
"""Each takes (negatives, positives, values, z)."""


def shown_scores(values: Floats, *, margins: bool) -> Floats:
    """Scores in their own unit: cells show margins as their sigmoids."""
    if not margins:
        return values
    inside = np.clip(values, 1e-300, 1 - 1e-16)
    return np.log(inside) - np.log1p(-inside)


def _descending(
    negatives: Cells, positives: Cells, values: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Negatives and positives at or above each threshold, from none to all; cells without rows left out."""
    filled = np.flatnonzero(negatives + positives)[::-1]
    false = np.concatenate(([0], np.cumsum(negatives[filled])))
    true = np.concatenate(([0], np.cumsum(positives[filled])))
    return false, true, np.concatenate(([math.inf], values[filled]))


def _thinned(length: Floats, most: int) -> NDArray[np.intp]:
    """Places of at most `most` points of a curve, evenly over its growing length; both ends are there."""
    if len(length) <= most:
        return np.arange(len(length))
    levels = np.linspace(length[0], length[-1], most)
    places = np.clip(np.searchsorted(length, levels), 0, len(length) - 1)
    places[0], places[-1] = 0, len(length) - 1
    return np.unique(places)


def _bounds(hits: int, rows: int, z: float) -> Point:
    if rows <= 0:
        return {"lower": None, "upper": None}
    lower, upper = wilson(hits, rows, z)
    return {"lower": lower, "upper": upper}


def _one_class(negatives: int, positives: int) -> Undefined:
    if negatives + positives <= 0:
        return Undefined("empty", "no labelled row has a score")
    missing = "positive" if positives <= 0 else "negative"
    return Undefined("single_class", f"no {missing} label among the rows with a score")


__all__: list[Any] = [
    "CURVES",
    "MOST_POINTS",
    "gain_curve",
    "precision_recall_curve",
    "reliability_curve",
    "roc_curve",
    "shown_scores",
    "threshold_table",
]
