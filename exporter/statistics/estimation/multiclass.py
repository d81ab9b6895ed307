"""Expected sums of a multiclass classifier, and what metrics they give.

`chance` is (n, K): the calibrated probability of each class by row, summing to 1. What is kept of rows is
additive: the expected confusion matrix, products of probabilities for its variance, rows and expected
positives of each class by coarse score cell, and the expected losses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from exporter.results import Estimate, Undefined
from exporter.statistics.estimation import confusion
from exporter.statistics.estimation.confidence import (
    LEAST_EXPECTED,
    NO_CALIBRATION_ERROR,
    PROBABILITY_FLOOR,
    Expected,
    Slope,
    average_precision,
    bounded,
    roc_auc,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PRODUCT_CLASSES = 12
"""Up to so many classes products of probabilities are kept; beyond, variances are taken from the expected
confusion matrix, which makes bounds wider than they need be."""

NO_DOUBT: Mapping[str, float] = MappingProxyType({})

LOSS_SUMS = 4
"""Expected log loss and its variance, expected Brier score and its variance, summed over rows."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the sums lie in one vector: rows, losses, confusion, products, ranking.

    Attributes
    ----------
    classes : int
        K.
    scored : int
        Classes with a score, the first ones.
    cells : int
        Coarse score cells of each of them.
    """

    classes: int
    scored: int
    cells: int

    @property
    def products(self) -> int:
        return self.classes**3 if self.classes <= PRODUCT_CLASSES else 0

    @property
    def size(self) -> int:
        return 1 + LOSS_SUMS + self.classes**2 + self.products + 2 * self.scored * self.cells

    def read(self, sums: Floats) -> Sums:
        """The parts of the vector, in their shapes."""
        ends = np.cumsum([1, LOSS_SUMS, self.classes**2, self.products])
        rows, losses, counts, products, ranking = np.split(sums, ends)
        k = self.classes
        return Sums(
            float(rows[0]),
            losses,
            counts.reshape(k, k),
            products.reshape(k, k, k) if self.products else None,
            ranking.reshape(2, self.scored, self.cells),
        )


@dataclass(frozen=True, eq=False)
class Sums:
    """What rows add up to.

    Attributes
    ----------
    rows : float
    losses : float64 (4,)
    confusion : float64 (K, K)
        Expected rows by actual and predicted class.
    products : float64 (K, K, K) or None
        Sum of p p^T by predicted class.
    ranking : float64 (2, classes with a score, cells)
        Rows, and rows expected to be of the class, by its coarse score cell.
    """

    rows: float
    losses: Floats
    confusion: Floats
    products: Floats | None
    ranking: Floats


def accumulate(
    layout: Layout, chance: Floats, predicted: NDArray[np.int64], scores: Floats, cells: NDArray[np.int64]
) -> Floats:
    """The sums of some rows, (layout.size,).

    Parameters
    ----------
    chance : float64 (n, K)
    predicted : int64 (n,)
        Codes of classes.
    scores : float64 (n, K)
        As the model gave them; NaN for classes without a score.
    cells : int64 (scored, n)
        Coarse cell of each scored class.
    """
    k = layout.classes
    by_class = [chance[predicted == code] for code in range(k)]
    counts = np.stack([part.sum(axis=0) for part in by_class], axis=1)
    products = [part.T @ part for part in by_class] if layout.products else []
    rows = np.zeros((layout.scored, layout.cells))
    positives = np.zeros((layout.scored, layout.cells))
    for place in range(layout.scored):
        rows[place] = np.bincount(cells[place], minlength=layout.cells)
        positives[place] = np.bincount(cells[place], chance[:, place], layout.cells)
    pieces = [
        [float(len(chance))],
        _losses(chance, scores),
        counts.ravel(),
        *(one.ravel() for one in products),
    ]
    return np.concatenate([*pieces, rows.ravel(), positives.ravel()])


def _losses(chance: Floats, scores: Floats) -> Floats:
    """Expected losses and their variances; each label is one of the classes with a score."""
    scored = ~np.isnan(scores[0]) if len(scores) else np.zeros(chance.shape[1], bool)
    score, weight = scores[:, scored], chance[:, scored]
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    log = -np.log(np.clip(score, PROBABILITY_FLOOR, 1.0))
    brier = (score**2).sum(axis=1, keepdims=True) - 2 * score + 1
    sums = []
    for loss in (log, brier):
        mean = (weight * loss).sum(axis=1)
        sums += [mean.sum(), ((weight * loss**2).sum(axis=1) - mean**2).sum()]
    return np.asarray(sums)


def estimate(
    layout: Layout,
    sums: Floats,
    *,
    labels: int,
    metrics: Sequence[str],
    z: float,
    doubt: Mapping[str, float] = NO_DOUBT,
) -> dict[str, Estimate | Undefined]:
    """Metrics by name.

    Parameters
    ----------
    labels : int
        Labelled rows that the calibrators were fitted on; they are taken to err as that many rows of the
        window would.
    doubt : mapping of metric to float
        How far the estimates of the baseline itself were from its labels: calibrating one class at a time and
        making the shares sum to 1 is not calibrating them together. Added to the error of the bounds.
    """
    read = layout.read(sums)
    inflation = 1 + read.rows / labels
    results: dict[str, Estimate | Undefined] = {}
    for name in metrics:
        found = _metric(read, name, inflation)
        if isinstance(found, Undefined):
            results[name] = found
        else:
            value, variance = found
            results[name] = bounded(
                name,
                value,
                math.hypot(math.sqrt(max(variance, 0.0)), doubt.get(name, 0.0)),
                z,
                int(read.rows),
            )
    return results


def _metric(sums: Sums, name: str, inflation: float) -> tuple[float, float] | Undefined:
    """A metric and its variance."""
    if name in confusion.MACRO:
        return _of_confusion(sums, name, inflation)
    if name in {"log_loss", "brier"}:
        first = 0 if name == "log_loss" else 2
        value, spread = sums.losses[first : first + 2].tolist()
        return value / sums.rows, inflation * spread / sums.rows**2
    if name in {"roc_auc", "pr_auc"}:
        return _of_ranking(sums, name, inflation)
    return Undefined("not_comparable", NO_CALIBRATION_ERROR if name == "ece" else f"{name} is not estimated")


def _of_confusion(sums: Sums, name: str, inflation: float) -> tuple[float, float] | Undefined:
    counts = np.where(sums.confusion < LEAST_EXPECTED, 0.0, sums.confusion)
    present = (counts.sum(axis=0) > 0) | (counts.sum(axis=1) > 0)
    kept = counts[np.ix_(present, present)]
    if (nothing := confusion.why_undefined(name, kept, binary=False)) is not None:
        return Undefined("single_class", nothing)
    value, slope = confusion.value_and_gradient(confusion.MACRO[name], kept)
    variance = float((slope**2 * kept).sum())
    if sums.products is None:
        rows = np.maximum(kept.sum(axis=0), LEAST_EXPECTED)
        variance -= float(((slope * kept).sum(axis=0) ** 2 / rows).sum())
    else:
        products = sums.products[np.ix_(present, present, present)]
        variance -= float(np.einsum("jk,kjl,lk->", slope, products, slope))
    return value, inflation * variance


def _of_ranking(sums: Sums, name: str, inflation: float) -> tuple[float, float] | Undefined:
    """Mean over the classes; its error is the mean of theirs, as if they erred together."""
    values, errors = [], []
    for rows, positives in zip(*sums.ranking, strict=True):
        expected = Expected(rows[None], positives[None], np.empty(0))
        slope = roc_auc(expected) if name == "roc_auc" else _average_precision(expected)
        if isinstance(slope, str):
            return Undefined("single_class", slope)
        share = np.divide(positives, rows, out=np.zeros_like(rows), where=rows > 0)
        values.append(slope[0])
        errors.append(math.sqrt(inflation * float((rows * slope[1] ** 2 * share * (1 - share)).sum())))
    if not values:
        return Undefined("not_comparable", "no class has a score")
    return float(np.mean(values)), float(np.mean(errors)) ** 2


def _average_precision(expected: Expected) -> Slope | str:
    """Average precision where rows of a coarse cell are in no known order.

    Positives are taken to come evenly among the rows of a cell; precision at the end of each cell, which is
    right for ties, would be 0.003 to 0.005 too low with 128 cells.
    """
    slope = average_precision(expected)
    if isinstance(slope, str):
        return slope
    rows, positives = expected.rows[0][::-1], expected.positives[0][::-1]
    share = np.divide(positives, rows, out=np.zeros_like(rows), where=rows > 0)
    above, hits = np.cumsum(rows) - rows, np.cumsum(positives) - positives
    growth = np.log1p(np.divide(rows, above, out=np.zeros_like(rows), where=above > 0))
    value = float((share * (positives + (hits - share * above) * growth)).sum() / positives.sum())
    return min(value, 1.0), slope[1]
