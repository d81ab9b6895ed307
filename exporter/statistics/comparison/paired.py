"""Two versions' answers to the same ids: sums that merge, and the variance of a difference within pairs.

The sums of a set of pairs are one float64 vector, additive like everything in a profile. `first` is the
champion, `second` the challenger.

========== ==========================================================================================
task       elements
========== ==========================================================================================
binary     8 pairs by actual class, first and second answer; 15 of losses
multiclass 4 pairs by whether the first and the second answer is right; 15 of losses
regression 55 of errors
========== ==========================================================================================

Sums of losses are the upper triangle of the sum of u u^T, u = (1, log loss of first and second, Brier of
both) over pairs with two probabilities; of errors, u = (1, |e| of both, e^2 of both, smape of both, ape of
both, whether the label is not 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter.batch import Outcomes
from exporter.results import Undefined
from exporter.schema import Schema, ScoreKind, Task
from exporter.statistics.comparison.delta import Function, row_variance, share_variance
from exporter.statistics.comparison.measures import (
    BINARY_RATES,
    CONVERSION,
    SHARE,
    ArmMeasure,
    smoothed_shares,
)

Floats = NDArray[np.float64]

BINARY_CELLS, CORRECT_CELLS, LOSSES, ERRORS = 8, 4, 5, 10
LOSS_SUMS, ERROR_SUMS = LOSSES * (LOSSES + 1) // 2, ERRORS * (ERRORS + 1) // 2

PROBABILITY_FLOOR = float(np.finfo(np.float64).eps)
ERROR_LIMIT = 1e70
"""As in the profiles: probabilities are kept this far from 0 and 1, larger errors count as this large."""

PAIR_SMOOTHING_ROWS = 4.0
"""Pairs spread evenly over the table before variances are taken."""


def pair_sums(schema: Schema, first: Outcomes, second: Outcomes) -> Floats | None:
    """The sums of pairs of answers to the same ids, whose labels are those of `first`.

    None for a task without pairs (ranking).
    """
    if schema.task is Task.BINARY:
        return _binary_sums(schema, first, second)
    if schema.task is Task.MULTICLASS:
        return _multiclass_sums(schema, first, second)
    return _regression_sums(first, second) if schema.task is Task.REGRESSION else None


def _triangle(columns: list[Floats]) -> Floats:
    vectors = np.stack(columns)
    return np.asarray((vectors @ vectors.T)[np.triu_indices(len(columns))], np.float64)


def _binary_sums(schema: Schema, first: Outcomes, second: Outcomes) -> Floats:
    actual, one, two = (
        np.asarray(codes, np.int64) for codes in (first.label, first.prediction, second.prediction)
    )
    whole = (actual >= 0) & (one >= 0) & (two >= 0)
    table = np.bincount((4 * actual + 2 * one + two)[whole], minlength=BINARY_CELLS).astype(np.float64)
    a, b = first.score, second.score
    if schema.score_kind is not ScoreKind.PROBABILITY or a is None or b is None:
        return np.concatenate((table, np.zeros(LOSS_SUMS)))
    rows = whole & ~np.isnan(a) & ~np.isnan(b)
    y = actual[rows].astype(np.float64)
    p, q = a[rows], b[rows]
    own = np.where(y == 1, p, 1 - p), np.where(y == 1, q, 1 - q)
    return np.concatenate((table, _loss_sums(own, ((p - y) ** 2, (q - y) ** 2))))


def _loss_sums(own: tuple[Floats, Floats], brier: tuple[Floats, Floats]) -> Floats:
    """From the probabilities that the actual class had, and Brier scores, of both."""
    logs = [-np.log(np.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)) for p in own]
    return _triangle([np.ones(len(own[0])), *logs, *brier])


def _multiclass_sums(schema: Schema, first: Outcomes, second: Outcomes) -> Floats:
    label: Any = first.label
    actual, one, two = (_texts(column) for column in (label, first.prediction, second.prediction))
    whole = (actual != "") & (one != "") & (two != "")
    cells = 2 * (one == actual) + (two == actual)
    table = np.bincount(cells[whole].astype(np.int64), minlength=CORRECT_CELLS).astype(np.float64)
    a, b = first.score, second.score
    if (
        schema.score_kind is not ScoreKind.PROBABILITY
        or a is None
        or b is None
        or not isinstance(schema.score, tuple)
    ):
        return np.concatenate((table, np.zeros(LOSS_SUMS)))
    places = {name: place for place, (name, _) in enumerate(schema.score)}
    place = np.array([places.get(name, -1) for name in actual], np.int64)
    rows = np.flatnonzero(whole & (place >= 0) & ~np.isnan(a).any(axis=1) & ~np.isnan(b).any(axis=1))
    own = a[rows, place[rows]], b[rows, place[rows]]
    brier = [(score[rows] ** 2).sum(axis=1) - 2 * p + 1 for score, p in zip((a, b), own, strict=True)]
    return np.concatenate((table, _loss_sums(own, (brier[0], brier[1]))))


def _texts(column: Any) -> NDArray[Any]:
    plain = column.cast(pa.string()) if isinstance(column, pa.DictionaryArray) else column
    return np.asarray(pc.fill_null(plain, "").to_numpy(zero_copy_only=False))


def _regression_sums(first: Outcomes, second: Outcomes) -> Floats:
    label, one, two = (
        np.asarray(values, np.float64) for values in (first.label, first.prediction, second.prediction)
    )
    rows = np.isfinite(label) & np.isfinite(one) & np.isfinite(two)
    label, one, two = label[rows], one[rows], two[rows]
    size, squares, symmetric, relative = [], [], [], []
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for prediction in (one, two):
            error = np.abs(np.clip(prediction - label, -ERROR_LIMIT, ERROR_LIMIT))
            both = np.abs(label) + np.abs(prediction)
            size.append(error)
            squares.append(error * error)
            symmetric.append(np.where(both == 0, 0.0, 2 * error / np.where(both == 0, 1.0, both)))
            relative.append(np.where(label == 0, 0.0, np.minimum(error / np.abs(label), ERROR_LIMIT)))
    counted = (label != 0).astype(np.float64)
    return _triangle([np.ones(len(label)), *size, *squares, *symmetric, *relative, counted])


# -- differences ---------------------------------------------------------------------------------------


def pair_count(sums: Floats | None) -> int:
    """Labelled ids that both versions answered."""
    if sums is None or not len(sums):
        return 0
    if len(sums) == ERROR_SUMS:
        return round(float(sums[0]))
    return round(float(sums[: len(sums) - LOSS_SUMS].sum()))


def measure_pairs(sums: Floats, metric: str) -> tuple[ArmMeasure, ArmMeasure, float] | Undefined | None:
    """A metric of both versions over their pairs, and the row variance of the difference.

    None for metrics of which nothing is known within pairs: they are compared as if the arms were
    independent, which is careful where both versions err on the same rows.
    """
    if metric in (CONVERSION, "mean_label"):
        return Undefined("not_comparable", "both versions answered the same ids, whose labels are the same")
    if len(sums) == ERROR_SUMS:
        return _errors(sums, metric)
    if metric in ("log_loss", "brier"):
        return _losses(sums[-LOSS_SUMS:], 1 if metric == "log_loss" else 3)
    table = sums[:-LOSS_SUMS]
    if len(table) == BINARY_CELLS and metric in BINARY_RATES:
        return _rates(np.rint(table).astype(np.int64).reshape(2, 2, 2), metric)
    if len(table) == CORRECT_CELLS and metric == "accuracy":
        return _correct(np.rint(table).astype(np.int64).reshape(2, 2))
    return None


def _rates(table: NDArray[np.int64], metric: str) -> tuple[ArmMeasure, ArmMeasure, float] | Undefined:
    """`table` is (2, 2, 2): pairs by actual class, first and second answer."""
    rate, rows = BINARY_RATES[metric], int(table.sum())
    shares = smoothed_shares(table, PAIR_SMOOTHING_ROWS).ravel()

    def of(axis: int) -> Function:
        return lambda cells: rate.function(cells.reshape((*cells.shape[:-1], 2, 2, 2)).sum(axis=axis))

    first, second = of(-1), of(-2)
    variance = share_variance(lambda cells: second(cells) - first(cells), shares)
    arms = []
    for function, confusion in ((first, table.sum(axis=2)), (second, table.sum(axis=1))):
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(rate.function(confusion.astype(np.float64)))
        if not np.isfinite(value):
            return Undefined("single_class", "the pairs have no class that the metric needs")
        own = share_variance(function, shares)
        arms.append(ArmMeasure(value, own, rows, rate.support(confusion), rate.scale))
    return arms[0], arms[1], variance


def _correct(table: NDArray[np.int64]) -> tuple[ArmMeasure, ArmMeasure, float]:
    """`table` is (2, 2): pairs by whether the first and the second answer is right."""
    rows = int(table.sum())
    shares = smoothed_shares(table, PAIR_SMOOTHING_ROWS)
    discordant, gap = float(shares[0, 1] + shares[1, 0]), float(shares[0, 1] - shares[1, 0])
    values = (float(table[1].sum()) / max(rows, 1), float(table[:, 1].sum()) / max(rows, 1))
    first, second = (ArmMeasure(value, value * (1 - value), rows, rows, SHARE) for value in values)
    return first, second, discordant - gap * gap


def _losses(sums: Floats, place: int) -> tuple[ArmMeasure, ArmMeasure, float] | Undefined:
    moments = _symmetric(sums, LOSSES)
    if moments[0, 0] < 2:
        return Undefined("empty", "no pair has two probabilities")
    return _means(moments, (place,), (place + 1,), lambda x: x[..., 0])


_OF_ERRORS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...], Function]] = MappingProxyType(
    {
        "mae": ((1,), (2,), lambda x: x[..., 0]),
        "rmse": ((3,), (4,), lambda x: np.sqrt(x[..., 0])),
        "smape": ((5,), (6,), lambda x: x[..., 0]),
        "mape": ((7, 9), (8, 9), lambda x: x[..., 0] / x[..., 1]),
    }
)
"""Places among the moments of the first and of the second, and what the metric is of the means there."""


def _errors(sums: Floats, metric: str) -> tuple[ArmMeasure, ArmMeasure, float] | Undefined | None:
    if metric not in _OF_ERRORS:
        return None
    moments = _symmetric(sums, ERRORS)
    first, second, function = _OF_ERRORS[metric]
    if metric == "mape" and moments[0, 9] <= 0:
        return Undefined("empty", "every label is 0")
    if metric == "rmse" and min(moments[0, 3], moments[0, 4]) <= 0:
        return None
    return _means(moments, first, second, function)


def _symmetric(triangle: Floats, size: int) -> Floats:
    moments = np.zeros((size, size))
    moments[np.triu_indices(size)] = triangle
    return moments + np.triu(moments, 1).T


def _means(
    moments: Floats, first: tuple[int, ...], second: tuple[int, ...], function: Function
) -> tuple[ArmMeasure, ArmMeasure, float]:
    """A function of the means at some places of the moments, for both versions."""
    rows = round(float(moments[0, 0]))
    picked, width = [*first, *second], len(first)
    means, products = moments[0, picked] / rows, moments[np.ix_(picked, picked)] / rows
    parts: tuple[Function, Function] = (
        lambda x: function(x[..., :width]),
        lambda x: function(x[..., width:]),
    )
    own = [row_variance(part, means, products) for part in parts]
    arms = [
        ArmMeasure(float(part(means)), spread, rows, rows) for part, spread in zip(parts, own, strict=True)
    ]
    variance = row_variance(lambda x: parts[1](x) - parts[0](x), means, products)
    return arms[0], arms[1], variance
