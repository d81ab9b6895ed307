"""Boosted trees as plain arrays, evaluated by columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEPTH = 5
SPLITS, LEAVES = 2**DEPTH - 1, 2**DEPTH

ROWS_BY_COLUMN = 256
"""From this many rows on splits are compared by column; fewer rows go down all trees at once."""

LARGEST = float(np.finfo(np.float64).max)

Bits = NDArray[np.uint8]
"""One bit a row, packed."""


@dataclass(frozen=True, eq=False)
class Trees:
    """A sum of complete binary trees of depth 5; what is shallower repeats its leaves.

    Attributes
    ----------
    feature : int32 (T, 31)
        Column of each split: the root, its two children, their four children, and so on.
    threshold : float64 (T, 31)
        A greater value goes right.
    missing_left : bool (T, 31)
        Whether a missing value goes left.
    leaf : float64 (T, 32)
    start : float
        What the leaves are added to.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    leaf: NDArray[np.float64]
    start: float


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


class Forest:
    """Several sums of trees over the same columns, evaluated together.

    Boosted trees split at few places: each comparison of a column with a threshold is made once for all of
    them, and kept as one bit a row. Which way a row goes is then a choice between bits.

    Parameters
    ----------
    sums : sequence of Trees
    """

    def __init__(self, sums: Sequence[Trees]) -> None:
        self._sums = tuple(sums)
        places: dict[tuple[bool, int, float], int] = {}
        self._splits: list[list[list[int]]] = [
            [
                [
                    places.setdefault((left, feature, threshold), len(places))
                    for left, feature, threshold in zip(*tree, strict=True)
                ]
                for tree in zip(
                    trees.missing_left.tolist(), trees.feature.tolist(), trees.threshold.tolist(), strict=True
                )
            ]
            for trees in self._sums
        ]
        self._distinct = tuple(places)

    def predict(self, columns: Columns) -> list[NDArray[np.float64]]:
        """Each sum for each row, (n,)."""
        if columns.rows < ROWS_BY_COLUMN:
            return [_down(trees, columns) for trees in self._sums]
        right = [
            np.packbits((columns.low if left else columns.high)[feature] > threshold)
            for left, feature, threshold in self._distinct
        ]
        return [
            self._summed(trees, splits, right, columns.rows)
            for trees, splits in zip(self._sums, self._splits, strict=True)
        ]

    @staticmethod
    def _summed(trees: Trees, splits: list[list[int]], right: list[Bits], rows: int) -> NDArray[np.float64]:
        total = np.full(rows, trees.start)
        for tree, leaf in zip(splits, trees.leaf, strict=True):
            place = np.zeros(rows, np.uint8)
            path: list[Bits] = []
            for depth in range(DEPTH):
                first = 2**depth - 1
                level = [right[split] for split in tree[first : 2 * first + 1]]
                for bit in path:
                    half = len(level) // 2
                    level = [
                        no ^ ((no ^ yes) & bit) for no, yes in zip(level[:half], level[half:], strict=True)
                    ]
                path.append(level[0])
                place += place
                place |= np.unpackbits(level[0], count=rows)
            total += leaf.take(place)
        return total


def _down(trees: Trees, columns: Columns) -> NDArray[np.float64]:
    """All trees at once for a few rows."""
    number = np.arange(len(trees.leaf))[:, None]
    rows = np.arange(columns.rows)[None, :]
    node = np.zeros((len(trees.leaf), columns.rows), np.intp)
    for _ in range(DEPTH):
        column = trees.feature[number, node]
        left = trees.missing_left[number, node]
        values = np.where(left, columns.low[column, rows], columns.high[column, rows])
        node = 2 * node + 1 + (values > trees.threshold[number, node])
    total = np.full(columns.rows, trees.start)
    for leaves in trees.leaf[number, node - SPLITS]:  # in the order of the trees: the same to the last digit
        total += leaves
    return total


def exported(model: Any) -> Trees:
    """The trees of a fitted `HistGradientBoostingRegressor` of depth 5 at most, all columns numeric."""
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
