from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from exporter.batch import validate_batch
from exporter.profiles import Profile, build_grid, decode, encode, profile_outcomes, profile_rows
from exporter.profiles.ranking import group_measures
from exporter.schema import Schema, Task

SCHEMA = Schema(model="m", task=Task.RANKING, prediction="p", label="y", group="g", features=(), ranking_k=3)


def average_precision(order, relevance, k):
    hits = total = 0
    for rank, row in enumerate(order[:k], 1):
        if relevance[row] > 0:
            hits += 1
            total += hits / rank
    relevant = int((relevance > 0).sum())
    return total / min(relevant, k) if relevant else 0.0


def reciprocal_rank(order, relevance):
    return next((1 / rank for rank, row in enumerate(order, 1) if relevance[row] > 0), 0.0)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=2, max_size=6), st.integers(1, 6))
def test_measures_of_a_group_are_means_over_the_orders_of_equal_scores(rows, k):
    """NDCG is scikit-learn's; AP and reciprocal rank are the mean of those of every order that may be."""
    score, relevance = np.array(rows, float).T
    orders = [
        order
        for order in permutations(range(len(score)))
        if all(score[one] >= score[other] for one, other in pairwise(order))
    ]
    measured = group_measures(np.zeros(len(score), np.int64), score, relevance, k)[:, 0]
    assert measured == pytest.approx(
        [
            ndcg_score([relevance], [score], k=k),
            np.mean([average_precision(order, relevance, k) for order in orders]),
            np.mean([reciprocal_rank(order, relevance) for order in orders]),
        ]
    )


def test_average_precision_of_all_rows_is_that_of_scikit_learn():
    """Without a cut and without ties it is the label ranking average precision."""
    rng = np.random.default_rng(1)
    relevance, score = rng.integers(0, 2, (50, 9)), rng.normal(size=(50, 9))
    relevance[:, 0] = 1
    groups = np.repeat(np.arange(50), 9)
    measured = group_measures(groups, score.ravel(), relevance.ravel().astype(float), 9)
    assert measured[1].mean() == pytest.approx(label_ranking_average_precision_score(relevance, score))


def rows_of(groups, seed=0, *, unlabelled=()):
    rng = np.random.default_rng(seed)
    grade = rng.integers(0, 3, (groups, 5)).astype(float)
    grade[:, 0] = 2.0
    for group in unlabelled:
        grade[group, 2] = np.nan
    table = pa.table(
        {
            "p": rng.normal(size=groups * 5),
            "y": pa.array(grade.ravel(), from_pandas=True),
            "g": [f"{seed}/{group}" for group in np.repeat(np.arange(groups), 5)],
        }
    )
    return validate_batch(table.take(pa.array(rng.permutation(groups * 5))), SCHEMA, now=0.0)


def profile_of(grid, batch):
    return profile_rows(grid, batch).merge(profile_outcomes(grid, batch.outcomes))


def test_profiles_of_groups_merge_and_survive_encoding():
    """The sums of two batches are those of both, in any order; bytes give the same outcome back."""
    one, other = rows_of(20, 1, unlabelled=(3,)), rows_of(30, 2)
    grid = build_grid(one)
    total = profile_of(grid, other).merge(profile_of(grid, one))
    outcome = decode(encode(total), grid).outcome()
    assert (outcome.groups, outcome.ranked, outcome.incomplete, outcome.irrelevant) == (50, 49, 1, 0)
    first, second = profile_of(grid, one).outcome(), profile_of(grid, other).outcome()
    assert outcome.sums == pytest.approx(first.sums + second.sums)
    assert outcome.squares == pytest.approx(first.squares + second.squares)


def test_labels_of_groups_can_be_taken_back():
    """Adding the same labels with the other sign leaves nothing."""
    batch = rows_of(20, unlabelled=(1, 2))
    grid = build_grid(batch)
    total = Profile.empty(grid)
    total.add(profile_outcomes(grid, batch.outcomes))
    total.add(profile_outcomes(grid, batch.outcomes, sign=-1))
    outcome = total.outcome()
    assert (outcome.ranked, outcome.incomplete) == (0, 0)
    assert outcome.sums == pytest.approx(np.zeros(3), abs=1e-12)


def test_rows_of_a_group_count_at_one_time():
    """Each row has the latest event time of its group."""
    table = pa.table({"p": [1.0, 2.0, 3.0], "g": ["a", "b", "a"], "at": [10.0, 20.0, 30.0]})
    batch = validate_batch(table, replace(SCHEMA, timestamp="at"), now=100.0)
    assert batch.event_time.tolist() == [30.0, 20.0, 30.0]
