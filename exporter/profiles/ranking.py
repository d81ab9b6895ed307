"""Groups of ranked rows: how well each is ranked, and what the groups of a profile add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.batch import Outcomes
    from exporter.profiles.grid import Grid
    from exporter.profiles.vectors import Counter
    from exporter.schema import Schema

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

MEASURES = ("ndcg_at_k", "map_at_k", "mrr")
"""What is measured of a group, in the order of the sums."""

RANKING_SUMS = 2 * len(MEASURES)
"""The sum of each measure over the groups, then the sums of squares."""

ALL_GROUPS, RANKED_GROUPS, INCOMPLETE_GROUPS, IRRELEVANT_GROUPS = range(4)
GROUP_COUNTS = 4
"""Groups seen; with all labels and a relevant row; with some labels; with all labels and no relevant row."""


@dataclass(frozen=True, eq=False)
class RankingOutcome:
    """Groups of rows that are ranked together.

    Attributes
    ----------
    k : int
        How many of a group's first rows `ndcg_at_k` and `map_at_k` look at.
    rows, labelled_rows : int
        Rows with a prediction, and those of them with a label.
    groups : int
        Groups that came, with or without labels.
    ranked : int
        Groups of which every row has a label and at least one is relevant: what the sums are over.
    incomplete : int
        Groups of which some rows have a label and others have none.
    irrelevant : int
        Groups of which every row has a label and none is relevant; no order of them is better than another.
    sums, squares : float64 (3,)
        Of `ndcg_at_k`, `map_at_k` and `mrr` of each group.
    """

    k: int
    rows: int
    labelled_rows: int
    groups: int
    ranked: int
    incomplete: int
    irrelevant: int
    sums: Floats
    squares: Floats


def ranked_by(schema: Schema, outcomes: Outcomes) -> Floats:
    """What rows are ranked by, (n,): the score where there is one, else the prediction."""
    values: Any = outcomes.prediction if outcomes.score is None or schema.score is None else outcomes.score
    return np.asarray(values, np.float64)


def group_codes(groups: pa.Array) -> Places:
    """Each row's group as a number from 0 on, (n,)."""
    codes: Places = groups.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def count_seen_groups(grid: Grid, outcomes: Outcomes, counter: Counter) -> None:
    """Count the groups of rows whose predictions came."""
    groups = outcomes.kept.get(grid.schema.group or "")
    if groups is not None and len(groups):
        start = grid.layout.outcomes.blocks["groups"].start
        counter.block(start + ALL_GROUPS, [len(groups.unique())])


def count_groups(grid: Grid, outcomes: Outcomes, counter: Counter, sums: Floats) -> None:
    """Count the groups whose labels came, and add what is measured of those that have all.

    Rows without `kept[group]` belong to no group and add nothing.
    """
    groups = outcomes.kept.get(grid.schema.group or "")
    label: Any = outcomes.label
    if groups is None or label is None or not len(groups):
        return
    codes = group_codes(groups)
    label = np.asarray(label, np.float64)
    known = ~np.isnan(label)
    rows, labelled = np.bincount(codes), np.bincount(codes, known)
    complete = labelled == rows
    relevant = np.bincount(codes, known & (label > 0)) > 0
    ranked = complete & relevant
    layout = grid.layout.outcomes
    counter.block(
        layout.blocks["groups"].start + RANKED_GROUPS,
        [
            int(np.count_nonzero(ranked)),
            int(np.count_nonzero((labelled > 0) & ~complete)),
            int(np.count_nonzero(complete & ~relevant)),
        ],
    )
    chosen = ranked[codes]
    if chosen.any():
        score = ranked_by(grid.schema, outcomes)[chosen]
        measured = group_measures(codes[chosen], score, label[chosen], grid.schema.ranking_k)
        sums[layout.sum_blocks["ranking"]] += np.concatenate(
            (measured.sum(axis=1), (measured * measured).sum(axis=1))
        )


def group_measures(groups: Places, score: Floats, relevance: Floats, k: int) -> Floats:
    """NDCG@k, AP@k and the reciprocal rank of each group, (3, groups), in the order of the groups' numbers.

    Rows of equal score stand in no order; each measure is its expectation over all orders of these.

    Parameters
    ----------
    groups : int64 (n,)
        Any numbers; rows of one group need not follow each other.
    score : float64 (n,)
        The greater one comes first; NaN comes last.
    relevance : float64 (n,), finite, >= 0
        Relevant are rows above 0; a group without one has 0 in all measures.
    k : int

    Notes
    -----
    NDCG: gains are linear, discounts log2(1 + rank). AP@k: the sum of the precisions at the ranks of the
    relevant rows among the first k, divided by the most that could be there, min(k, relevant rows).
    The expectations are those of McSherry & Najork (2008), doi:10.1007/978-3-540-78646-7_38.
    """
    _, groups = np.unique(groups, return_inverse=True)
    score = np.where(np.isnan(score), -np.inf, score)
    order = np.lexsort((-score, groups))
    groups, score, relevance = groups[order], score[order], relevance[order]
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    rows = np.diff(first, append=len(groups))
    largest = np.maximum.reduceat(relevance, first)
    gain = relevance / np.where(largest > 0, largest, 1.0)[groups]
    rank = np.arange(len(groups)) - first[groups] + 1
    ties = _Ties.of(groups, score, rank, relevance > 0)
    return np.stack(
        (
            _ndcg(groups, gain, rank, ties, k),
            _average_precision(groups, relevance > 0, rank, ties, k),
            _reciprocal_rank(ties, len(rows)),
        )
    )


@dataclass(frozen=True, slots=True)
class _Ties:
    """Runs of rows of one group and one score.

    `of_row` (n,) is each row's run; the others have one element a run: its group, its first row, how many
    rows and relevant rows it has, how many rows and relevant rows its group has before it.
    """

    of_row: Places
    group: Places
    first: Places
    rows: Places
    relevant: Places
    before: Places
    relevant_before: Places

    @classmethod
    def of(cls, groups: Places, score: Floats, rank: Places, relevant: NDArray[np.bool_]) -> _Ties:
        starts = np.ones(len(groups), bool)
        starts[1:] = (np.diff(groups) != 0) | (score[1:] != score[:-1])
        first = np.flatnonzero(starts)
        hits = np.add.reduceat(relevant.astype(np.int64), first)
        before = np.cumsum(hits) - hits
        group = groups[first]
        of_group = np.flatnonzero(np.diff(group, prepend=-1))
        return cls(
            of_row=np.cumsum(starts) - 1,
            group=group,
            first=first,
            rows=np.diff(first, append=len(groups)),
            relevant=hits,
            before=rank[first] - 1,
            relevant_before=before - before[of_group][group],
        )


def _discount(rank: Places, k: int) -> Floats:
    return np.where(rank <= k, 1 / np.log2(rank + 1.0), 0.0)


def _ndcg(groups: Places, gain: Floats, rank: Places, ties: _Ties, k: int) -> Floats:
    mean = np.add.reduceat(gain, ties.first) / ties.rows
    discount = _discount(rank, k)
    reached = np.bincount(groups, mean[ties.of_row] * discount)
    best = np.bincount(groups, gain[np.lexsort((-gain, groups))] * discount)
    share: Floats = np.divide(reached, best, out=np.zeros_like(best), where=best > 0)
    return np.clip(share, 0.0, 1.0)


def _average_precision(
    groups: Places, relevant: NDArray[np.bool_], rank: Places, ties: _Ties, k: int
) -> Floats:
    run = ties.of_row
    size, hits = ties.rows[run], ties.relevant[run]
    inside = (rank - ties.before[run] - 1) * (hits - 1) / np.maximum(size - 1, 1)
    expected = hits / size * (ties.relevant_before[run] + inside + 1) / rank
    total = np.bincount(groups, np.where(rank <= k, expected, 0.0))
    most = np.minimum(np.bincount(groups, relevant), k)
    return np.divide(total, most, out=np.zeros_like(total), where=most > 0)


def _reciprocal_rank(ties: _Ties, groups: int) -> Floats:
    """1 / rank of the first relevant row, expected over the orders of the run that it is in."""
    expected = np.zeros(groups)
    runs = np.flatnonzero((ties.relevant > 0) & (ties.relevant_before == 0))
    alone = ties.rows[runs] == ties.relevant[runs]
    expected[ties.group[runs[alone]]] = 1 / (ties.before[runs[alone]] + 1)
    runs = runs[~alone]
    if len(runs):
        rows, hits, before = ties.rows[runs], ties.relevant[runs], ties.before[runs]
        of = np.repeat(np.arange(len(runs)), rows - hits + 1)  # places where the first relevant row can be
        place = np.arange(len(of)) - np.repeat(
            np.cumsum(rows - hits + 1) - (rows - hits + 1), rows - hits + 1
        )
        after = (rows[of] - place - 1).astype(np.float64)
        log_chance = _log_choose(after, hits[of] - 1.0) - _log_choose(
            rows[of].astype(np.float64), hits[of].astype(np.float64)
        )
        expected[ties.group[runs]] = np.bincount(of, np.exp(log_chance) / (before[of] + place + 1))
    return expected


def _log_choose(of: Floats, chosen: Floats) -> Floats:
    logarithm: Floats = (
        special.gammaln(of + 1) - special.gammaln(chosen + 1) - special.gammaln(of - chosen + 1)
    )
    return logarithm
