"""Counting predictions and labels, by task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.profiles.categorical import dictionary_codes, grid_codes
from exporter.profiles.histogram import histogram
from exporter.profiles.layout import MOMENTS
from exporter.profiles.outcome import abs_error_edges
from exporter.profiles.ranking import count_groups, count_seen_groups
from exporter.profiles.scores import count_scores
from exporter.schema import ScoreKind, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from exporter.batch import Outcomes
    from exporter.profiles.grid import Grid
    from exporter.profiles.vectors import Counter

PROBABILITY_FLOOR = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 in the log loss, as scikit-learn does."""

ERROR_LIMIT = 1e70
"""Larger errors count as this large, so that their fourth powers are finite."""


def known_labels(grid: Grid, outcomes: Outcomes) -> NDArray[np.bool_] | None:
    """Which rows have a label, (n,); None when there are no labels at all."""
    label: Any = outcomes.label
    if label is None:
        return None
    match grid.schema.task:
        case Task.BINARY:
            known = label >= 0
        case Task.MULTICLASS:
            known = class_codes(label, {}, other=0) >= 0
        case _:
            known = ~np.isnan(label)
    return np.asarray(known)


def class_codes(column: pa.DictionaryArray, codes: Mapping[str, int], *, other: int) -> NDArray[np.int64]:
    """Each row's code: `other` where the class has none, -1 where it is missing; (n,)."""
    names = grid_codes(column.dictionary.to_pylist(), codes, other, -1)
    rows: NDArray[np.int64] = np.append(names, -1)[dictionary_codes(column)]
    return rows


def count_predicted(grid: Grid, outcomes: Outcomes, counter: Counter) -> None:
    """Count predictions, by score where there is one task's worth of it, over all rows."""
    blocks, prediction = grid.layout.outcomes.blocks, outcomes.prediction
    if grid.schema.task is Task.BINARY:
        groups = np.asarray(prediction)
        count_scores(grid.score, outcomes.score, groups, counter, number=2, start=blocks["all_rows"].start)
    elif grid.schema.task is Task.MULTICLASS:
        count = len(grid.classes)
        codes = class_codes(prediction, grid.class_codes, other=count - 1)
        counter.block(blocks["predicted_all"].start, np.bincount(codes + 1, minlength=count + 1)[1:])
    else:
        rows = np.count_nonzero(~np.isnan(np.asarray(prediction, np.float64)))
        counter.block(blocks["predicted_rows"].start, [int(rows)])
        if grid.schema.task is Task.RANKING:
            count_seen_groups(grid, outcomes, counter)


def count_labelled(
    grid: Grid, outcomes: Outcomes, counter: Counter, sums: NDArray[np.float64], *, groups: bool = True
) -> None:
    """Count rows with a label, and add to the part's sums; in rankings, unless told not to, groups too."""
    match grid.schema.task:
        case Task.BINARY:
            _count_binary(grid, outcomes, counter, sums)
        case Task.MULTICLASS:
            _count_multiclass(grid, outcomes, counter, sums)
        case Task.RANKING:
            rows = np.count_nonzero(~np.isnan(np.asarray(outcomes.label, np.float64)))
            counter.block(grid.layout.outcomes.blocks["labelled_rows"].start, [int(rows)])
            if groups:
                count_groups(grid, outcomes, counter, sums)
        case _:
            _count_regression(grid, outcomes, counter, sums)


def _count_binary(grid: Grid, outcomes: Outcomes, counter: Counter, sums: NDArray[np.float64]) -> None:
    layout = grid.layout.outcomes
    label, prediction = np.asarray(outcomes.label, np.int8), np.asarray(outcomes.prediction, np.int8)
    groups = 2 * label + prediction
    groups[(label < 0) | (prediction < 0)] = -1
    count_scores(grid.score, outcomes.score, groups, counter, number=4, start=layout.blocks["labelled"].start)
    score = outcomes.score
    if grid.score is None or score is None or grid.score.kind is not ScoreKind.PROBABILITY:
        return
    rows = (groups >= 0) & ~np.isnan(score)
    actual = label
    if not rows.all():
        score, actual = score[rows], label[rows]
    brier = (score - actual) ** 2
    _add_losses(grid, np.where(actual == 1, score, 1 - score), brier, counter, sums)


def _add_losses(
    grid: Grid,
    actual_probability: NDArray[np.float64],
    brier: NDArray[np.float64],
    counter: Counter,
    sums: NDArray[np.float64],
) -> None:
    """Add the losses of rows, given the probability that each one's actual class had."""
    layout = grid.layout.outcomes
    log_loss = -np.log(np.clip(actual_probability, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR))
    if len(brier):
        counter.block(layout.blocks["scored"].start, [len(brier)])
        sums[layout.sum_blocks["loss"]] += [
            log_loss.sum(),
            (log_loss * log_loss).sum(),
            brier.sum(),
            (brier * brier).sum(),
        ]


def _count_multiclass(grid: Grid, outcomes: Outcomes, counter: Counter, sums: NDArray[np.float64]) -> None:
    blocks, count = grid.layout.outcomes.blocks, len(grid.classes)
    actual = class_codes(outcomes.label, grid.class_codes, other=count - 1)
    predicted = class_codes(outcomes.prediction, grid.class_codes, other=count - 1)
    both = (actual >= 0) & (predicted >= 0)
    confusion = np.bincount(count * actual[both] + predicted[both], minlength=count * count)
    counter.block(blocks["confusion"].start, confusion)
    score, columns = outcomes.score, grid.schema.score
    if grid.score is None or score is None or not isinstance(columns, tuple):
        return
    places = {name: place for place, (name, _) in enumerate(columns)}
    groups = np.where(both, actual, -1)
    for code, name in enumerate(grid.classes[:-1]):
        if name in places:
            start = blocks["class_scores"].start + 2 * code * grid.score.cells
            one = np.where(groups < 0, -1, groups == code)
            count_scores(grid.score, score[:, places[name]], one, counter, number=2, start=start)
    if grid.score.kind is ScoreKind.PROBABILITY:
        own = class_codes(outcomes.label, places, other=-1)
        rows = np.flatnonzero(both & (own >= 0) & ~np.isnan(score).any(axis=1))
        probability = score[rows, own[rows]]
        brier = (score[rows] ** 2).sum(axis=1) - 2 * probability + 1
        _add_losses(grid, probability, brier, counter, sums)


def _count_regression(grid: Grid, outcomes: Outcomes, counter: Counter, sums: NDArray[np.float64]) -> None:
    layout = grid.layout.outcomes
    label, prediction = np.asarray(outcomes.label, np.float64), np.asarray(outcomes.prediction, np.float64)
    rows = np.isfinite(label) & np.isfinite(prediction)
    label, prediction = label[rows], prediction[rows]
    if not len(label):
        return
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        error = np.clip(prediction - label, -ERROR_LIMIT, ERROR_LIMIT)
        size = np.abs(error)
        target = np.clip((label - grid.target_center) / grid.target_scale, -ERROR_LIMIT, ERROR_LIMIT)
        ape = np.where(label == 0, 0.0, np.minimum(size / np.abs(label), ERROR_LIMIT))
        whole = np.abs(label) + np.abs(prediction)
        smape = np.where(whole == 0, 0.0, 2 * size / np.where(whole == 0, 1.0, whole))
    vectors = np.stack((np.ones(len(error)), error, size, error * error, target, target * target, ape, smape))
    sums[layout.sum_blocks["moments"]] += (vectors @ vectors.T)[np.triu_indices(MOMENTS)]
    counter.block(layout.blocks["labelled_rows"].start, [len(error)])
    counter.block(layout.blocks["ape_rows"].start, [int(np.count_nonzero(label))])
    cells = histogram(size, abs_error_edges(grid.target_scale))[:-1]
    counter.block(layout.blocks["abs_error"].start, cells)
