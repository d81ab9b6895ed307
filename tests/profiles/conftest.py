"""Batches made by hand, so that these tests need no decoder, and the definition of a column's cells."""

from __future__ import annotations

from bisect import bisect_left
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from exporter.batch import Batch, Outcomes
from exporter.schema import Column, Kind, Role, Schema, ScoreKind, Task

CLASSES = ("cat", "dog", "emu")

FEATURES = (
    Column("amount", Kind.NUMERIC),
    Column("single", Kind.NUMERIC),
    Column("count", Kind.NUMERIC),
    Column("colour", Kind.CATEGORICAL),
    Column("flag", Kind.BOOLEAN),
    Column("when", Kind.DATETIME),
    Column("vector", Kind.EMBEDDING, Role.EMBEDDING, 4),
)


def dictionary(values) -> pa.DictionaryArray:
    """Strings (None missing) as a dictionary array of int32 codes."""
    return pa.array(values, pa.string()).dictionary_encode()


def schema_of(task: Task, score_kind: ScoreKind = ScoreKind.PROBABILITY) -> Schema:
    score = {
        Task.BINARY: "p",
        Task.MULTICLASS: tuple((name, f"p_{name}") for name in CLASSES),
    }.get(task)
    return Schema(
        model="m",
        task=task,
        prediction="predicted",
        label="actual",
        id="id",
        score=score,
        score_kind=score_kind,
        features=FEATURES,
    )


def features_of(rng: np.random.Generator, n: int) -> dict:
    amount = rng.normal(50, 20, n)
    amount[rng.random(n) < 0.1] = 0.0
    amount[rng.random(n) < 0.05] = np.nan
    amount[rng.random(n) < 0.02] = np.inf
    amount[rng.random(n) < 0.02] = -np.inf
    vector = rng.normal(size=(n, 4)).astype(np.float32)
    vector[rng.random(n) < 0.1] = np.nan
    colours = np.array(["red", "green", "blue", *(f"new {k}" for k in range(40))], object)
    colour = colours[np.minimum(rng.geometric(0.3, n) - 1, len(colours) - 1)]
    colour[rng.random(n) < 0.1] = None
    return {
        "amount": amount,
        "single": rng.normal(size=n).astype(np.float32),
        "count": rng.poisson(3, n).astype(np.float64),
        "colour": dictionary(colour.tolist()),
        "flag": dictionary(np.where(rng.random(n) < 0.3, "true", "false").tolist()),
        "when": 1.7e9 + np.floor(rng.random(n) * 1e5),
        "vector": vector,
    }


def outcomes_of(rng: np.random.Generator, n: int, task: Task) -> Outcomes:
    delay = rng.lognormal(8, 2, n)
    if task is Task.BINARY:
        score = rng.beta(1, 3, n)
        label = (rng.random(n) < score).astype(np.int8)
        label[rng.random(n) < 0.2] = -1
        score[rng.random(n) < 0.05] = np.nan
        prediction = np.where(np.isnan(score), 0, score > 0.5).astype(np.int8)
        return Outcomes(task, prediction, score, label, delay)
    if task is Task.MULTICLASS:
        score = rng.dirichlet(np.ones(3), n)
        label = np.array([CLASSES[k] for k in score.argmax(axis=1)], object)
        label[rng.random(n) < 0.1] = "yak"
        label[rng.random(n) < 0.2] = None
        predicted = dictionary([CLASSES[k] for k in rng.integers(0, 3, n)])
        return Outcomes(task, predicted, score, dictionary(label.tolist()), delay)
    label = rng.normal(10, 3, n)
    label[rng.random(n) < 0.05] = 0.0
    prediction = label + rng.normal(0, 1, n)
    label[rng.random(n) < 0.2] = np.nan
    return Outcomes(task, prediction, None, label, delay)


def batch_of(seed: int, n: int, task: Task = Task.BINARY, **changes) -> Batch:
    rng = np.random.default_rng(seed)
    fields = {
        "schema": schema_of(task),
        "rows": n,
        "event_time": 1.7e9 - rng.lognormal(3, 2, n),
        "features": features_of(rng, n),
        "outcomes": outcomes_of(rng, n, task),
        "ids": None,
        "table": pa.table({}),
        "segments": {},
        "received": n + 1,
        "rejected": {"type": 1},
        "invalid": {"amount": 2},
        "warnings": (),
    }
    return Batch(**(fields | changes))


def rows_of(values, chosen):
    """The chosen rows of a column or of none."""
    if values is None:
        return None
    return values.take(pa.array(chosen)) if isinstance(values, pa.DictionaryArray) else values[chosen]


def take(batch: Batch, chosen: np.ndarray) -> Batch:
    """Some rows of a batch."""
    o = batch.outcomes
    return Batch(
        schema=batch.schema,
        rows=len(chosen),
        event_time=batch.event_time[chosen],
        features={name: rows_of(values, chosen) for name, values in batch.features.items()},
        outcomes=take_outcomes(o, chosen),
        ids=None,
        table=batch.table,
        segments={},
        received=len(chosen),
        rejected={},
        invalid={},
        warnings=(),
    )


def take_outcomes(outcomes: Outcomes, chosen: np.ndarray) -> Outcomes:
    return Outcomes(
        outcomes.task,
        rows_of(outcomes.prediction, chosen),
        rows_of(outcomes.score, chosen),
        rows_of(outcomes.label, chosen),
        rows_of(outcomes.delay_seconds, chosen),
    )


def cells_of(edges, values) -> np.ndarray:
    """Rows below, at and between edges, value by value: the definition."""
    edges = list(edges)
    cells = np.zeros(2 * len(edges) + 1, np.int64)
    for value in values:
        if np.isfinite(value):
            place = bisect_left(edges, float(value))
            cells[2 * place + (place < len(edges) and edges[place] == value)] += 1
    return cells


def assert_same(left, right, *, rtol=1e-9) -> None:
    """Counts, new names and tallies are equal, extremes too, sums to rounding."""
    assert (left.rows, left.labeled_rows, left.tallies) == (right.rows, right.labeled_rows, right.tallies)
    for one, other in ((left.features, right.features), (left.outcomes, right.outcomes)):
        np.testing.assert_array_equal(one.counts.dense(), other.counts.dense())
        np.testing.assert_array_equal(one.extremes, other.extremes)
        np.testing.assert_allclose(one.sums, other.sums, rtol=rtol, atol=1e-6 * (1 + np.abs(one.sums).max()))
        held = [{name: dict(kept) for name, kept in part.novel.items() if kept} for part in (one, other)]
        assert held[0] == held[1]


@pytest.fixture(scope="session")
def rows() -> SimpleNamespace:
    """What makes batches, columns and outcomes here."""
    return SimpleNamespace(
        batch=batch_of,
        take=take,
        take_outcomes=take_outcomes,
        outcomes=outcomes_of,
        dictionary=dictionary,
        cells=cells_of,
        assert_same=assert_same,
    )
