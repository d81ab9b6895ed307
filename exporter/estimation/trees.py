"""Boosted trees as plain arrays, evaluated by columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEPTH = 3
SPLITS, LEAVES = 2**DEPTH - 1, 2**DEPTH

ROWS_BY_COLUMN = 256
"""From this many rows on each split compares a whole column; fewer rows go down all trees at once."""

LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class Trees:
    """A sum of complete binary trees of depth 3; what is shallower repeats its leaves.

    Attributes
    ----------
    feature : int32 (T, 7)
        Column of each split: the root, its two children, their four children.
    threshold : float64 (T, 7)
        A greater value goes right.
    missing_left : bool (T, 7)
        Whether a missing value goes left.
    leaf : float64 (T, 8)
    start : float
        What the leaves are added to.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    leaf: NDArray[np.float64]
    start: float

    def predict(self, columns: Columns) -> NDArray[np.float64]:
        """The sum for each row, (n,)."""
        if columns.rows >= ROWS_BY_COLUMN:
            return self._by_column(columns)
        return self._by_row(columns)

    def _by_column(self, columns: Columns) -> NDArray[np.float64]:
        total = np.full(columns.rows, self.start)
        for feature, threshold, missing_left, leaf in zip(
            self.feature.tolist(),
            self.threshold.tolist(),
            self.missing_left.tolist(),
            self.leaf,
            strict=True,
        ):
            right = [
                (columns.low if left else columns.high)[column] > value
                for column, value, left in zip(feature, threshold, missing_left, strict=True)
            ]
            second = np.where(right[0], right[2], right[1])
            third = np.where(
                right[0], np.where(second, right[6], right[5]), np.where(second, right[4], right[3])
            )
            place = (right[0].view(np.uint8) << 2) | (second.view(np.uint8) << 1) | third.view(np.uint8)
            total += leaf.take(place)
        return total

    def _by_row(self, columns: Columns) -> NDArray[np.float64]:
        trees = np.arange(len(self.leaf))[:, None]
        rows = np.arange(columns.rows)[None, :]
        node = np.zeros((len(self.leaf), columns.rows), np.intp)
        for _ in range(DEPTH):
            column = self.feature[trees, node]
            left = self.missing_left[trees, node]
            values = np.where(left, columns.low[column, rows], columns.high[column, rows])
            node = 2 * node + 1 + (values > self.threshold[trees, node])
        leaves = self.leaf[trees, node - SPLITS]
        total = np.full(columns.rows, self.start)
        for tree in leaves:  # in the same order as by columns: the sum is the same to the last digit
            total += tree
        return total


@dataclass(frozen=True, eq=False)
class Columns:
    """A matrix by columns, with missing values below and above all others.

    Attributes
    ----------
    low, high : float64 (F, n)
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def rows(self) -> int:
        return int(self.low.shape[1])

    @classmethod
    def of(cls, matrix: NDArray[np.float64]) -> Columns:
        """From (F, n) with NaN for what is missing; infinities become the largest numbers."""
        known = np.clip(matrix, -LARGEST, LARGEST)
        missing = np.isnan(matrix)
        return cls(np.where(missing, -np.inf, known), np.where(missing, np.inf, known))


def exported(model: Any) -> Trees:
    """The trees of a fitted `HistGradientBoostingRegressor` of depth 3 at most, all columns numeric."""
    predictors = [iteration[0] for iteration in model._predictors]  # noqa: SLF001  # checked by the caller
    count = len(predictors)
    trees = Trees(
        feature=np.zeros((count, SPLITS), np.int32),
        threshold=np.zeros((count, SPLITS)),
        missing_left=np.ones((count, SPLITS), np.bool_),
        leaf=np.zeros((count, LEAVES)),
        start=float(np.asarray(model._baseline_prediction).ravel()[0]),  # noqa: SLF001  # as above
    )
    for number, predictor in enumerate(predictors):
        _fill(trees, number, predictor.nodes, 0, 0)
    return trees


def _fill(trees: Trees, number: int, nodes: Any, node: int, place: int) -> None:
    """Copy a node and what is below it; a leaf above the last level is a split whose sides are equal."""
    entry = nodes[node]
    if place >= SPLITS:
        if not entry["is_leaf"]:
            raise ValueError(f"expected trees of depth {DEPTH} at most")
        trees.leaf[number, place - SPLITS] = entry["value"]
        return
    if entry["is_leaf"]:
        left = right = node
    else:
        left, right = int(entry["left"]), int(entry["right"])
        trees.feature[number, place] = entry["feature_idx"]
        trees.threshold[number, place] = np.clip(entry["num_threshold"], -LARGEST, LARGEST)
        trees.missing_left[number, place] = bool(entry["missing_go_to_left"])
    _fill(trees, number, nodes, left, 2 * place + 1)
    _fill(trees, number, nodes, right, 2 * place + 2)
