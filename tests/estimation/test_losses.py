"""Direct loss estimation: exported trees, what is learned, the merge law, and bytes from strangers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingRegressor

from exporter.batch import Batch, validate_batch
from exporter.errors import UnreadableError
from exporter.estimation import LossEstimator, fit_losses, read_estimator, write_estimator
from exporter.estimation.encoding import Feature, matrix
from exporter.estimation.storage import MAGIC
from exporter.estimation.trees import DEPTH, LEAVES, ROWS_BY_COLUMN, Columns, Forest, exported
from exporter.profiles.envelope import open_envelope, seal
from exporter.results import Undefined
from exporter.schema import Column, Kind, Schema, Task

SCHEMA = Schema(
    model="m",
    task=Task.REGRESSION,
    prediction="answer",
    label="truth",
    features=(Column("x", Kind.NUMERIC), Column("kind", Kind.CATEGORICAL), Column("at", Kind.DATETIME)),
)


def rows(count: int, seed: int, *, shift: float = 0.0) -> tuple[Batch, np.ndarray]:
    """A batch whose errors grow with `x` and differ by `kind`, and its labels."""
    generator = np.random.default_rng(seed)
    x, kind = generator.normal(shift, 1, count), generator.choice(["calm", "wild", None], count)
    answer = 50 + 5 * x
    truth = answer + np.exp(0.5 * x) * np.where(kind == "wild", 3.0, 1.0) * generator.normal(size=count)
    x[generator.uniform(size=count) < 0.05] = np.nan
    at = generator.integers(0, 10**9, count)
    table = pa.table({"x": x, "kind": kind, "at": pa.array(at, pa.timestamp("s")), "answer": answer})
    return validate_batch(table, SCHEMA, now=0.0), truth


@pytest.fixture(scope="module")
def estimator() -> LossEstimator:
    batch, truth = rows(4000, 1)
    made = fit_losses(batch, truth, 5.0, minimum_labels=100)
    assert isinstance(made, LossEstimator)
    return made


def test_a_column_without_values_teaches_nothing():
    """Where a feature is missing in every row, or has one value, the others are learned all the same."""
    batch, truth = rows(600, 1)
    table = batch.table.drop_columns(["x", "at"]).append_column("x", pa.nulls(600, pa.float64()))
    table = table.append_column("at", pa.array([7] * 600, pa.timestamp("s")))
    assert isinstance(
        fit_losses(validate_batch(table, SCHEMA, now=0.0), truth, 5.0, minimum_labels=100), LossEstimator
    )


@pytest.mark.parametrize("count", [1, 50, ROWS_BY_COLUMN, 1000])
def test_exported_trees_predict_what_the_model_predicts(count):
    """By row and by column, with missing values, infinities and ties at thresholds."""
    generator = np.random.default_rng(count)
    train = np.round(generator.normal(size=(2000, 4)), 1)
    train[generator.uniform(size=train.shape) < 0.1] = np.nan
    target = np.nan_to_num(train[:, 0]) ** 2 + np.isnan(train[:, 1])
    model = HistGradientBoostingRegressor(max_iter=20, max_depth=DEPTH, max_leaf_nodes=LEAVES).fit(
        train, target
    )
    test = np.round(generator.normal(0, 2, (count, 4)), 1)
    test[generator.uniform(size=test.shape) < 0.1] = np.nan
    test[generator.uniform(size=test.shape) < 0.05] = np.inf
    expected = model.predict(test)
    assert Forest([exported(model)]).predict(Columns.of(test.T))[0] == pytest.approx(expected, abs=1e-9)


def test_harder_rows_are_expected_to_err_more(estimator):
    """The estimated mean of each loss is that of the labels, where rows are as before and where harder."""
    for shift in (0.0, 0.7):
        batch, truth = rows(20_000, 2, shift=shift)
        sums = estimator.measure(batch)[estimator.key]
        answer = np.asarray(batch.outcomes.prediction)
        error = np.abs(answer - truth)
        realised = {
            "mae": error.mean() / 5,
            "rmse": (error**2).mean() / 25,
            "mape": (error / np.abs(truth)).mean(),
            "smape": (2 * error / (np.abs(truth) + np.abs(answer))).mean(),
        }
        for place, loss in enumerate(estimator.losses):
            assert sums[1 + 2 * place] / sums[0] == pytest.approx(realised[loss.name], rel=0.12), loss.name


def test_sums_merge(estimator):
    """Measured in two parts or at once: the same sums."""
    batch, _ = rows(700, 3)
    halves = [batch.take(np.arange(0, 100)), batch.take(np.arange(100, 700))]
    added = sum(estimator.measure(half)[estimator.key] for half in halves)
    assert added == pytest.approx(estimator.measure(batch)[estimator.key], rel=1e-9)


def test_fitting_is_deterministic(estimator):
    """The same rows give the same estimator, and the same name of its sums."""
    batch, truth = rows(4000, 1)
    again = fit_losses(batch, truth, 5.0, minimum_labels=100)
    assert isinstance(again, LossEstimator)
    assert again.key == estimator.key


def test_too_few_labels_have_a_reason():
    """Nothing is learned from fewer labels than a verdict needs rows."""
    batch, truth = rows(300, 4)
    truth[50:] = np.nan
    made = fit_losses(batch, truth, 5.0, minimum_labels=100)
    assert isinstance(made, Undefined)
    assert made.reason == "insufficient_labels"


def test_other_columns_than_the_learned_ones_are_missing(estimator):
    """New categories, other types and absent columns go where missing values go."""
    batch, _ = rows(50, 5)
    strange = {"x": pa.array(["text"] * 50).dictionary_encode(), "kind": np.ones(50)}
    read = matrix(estimator.features, replace(batch, features=strange))
    assert np.isnan(read[1:]).all()
    assert np.isfinite(estimator.measure(replace(batch, features=strange))[estimator.key]).all()


def test_round_trip(estimator):
    """What is written is read back as the same estimator."""
    read = read_estimator(write_estimator(estimator))
    assert read.key == estimator.key
    batch, _ = rows(500, 6)
    assert (read.measure(batch)[read.key] == estimator.measure(batch)[estimator.key]).all()


def document(estimator: LossEstimator) -> dict[str, Any]:
    return orjson.loads(open_envelope(MAGIC, write_estimator(estimator), 2**24, "estimator"))


HOSTILE = [
    lambda d: d.update(features=[]),
    lambda d: d.update(features=[["", "number", []]] * 5000),
    lambda d: d["features"][1].__setitem__(1, "code"),
    lambda d: d["features"][1].__setitem__(0, {"a": 1}),
    lambda d: d.update(scale=0),
    lambda d: d.update(scale="1"),
    lambda d: d.update(rows=-5),
    lambda d: d.update(rows=True and 1.5),
    lambda d: d.update(losses=d["losses"] * 2),
    lambda d: d.update(losses=7),
    lambda d: d["losses"][0].update(name="accuracy"),
    lambda d: d["losses"][0].update(name=["mae"]),
    lambda d: d["losses"][0].update(spread=-1.0),
    lambda d: d["losses"][0].update(start=1e300),
    lambda d: d["losses"][0].update(slope=None),
    lambda d: d["losses"][0].pop("leaf"),
    lambda d: d["losses"][0].update(leaf=d["losses"][0]["leaf"][:-1]),
    lambda d: d["losses"][0].update(leaf=[1e200] * len(d["losses"][0]["leaf"])),
    lambda d: d["losses"][0].update(leaf=[[1.0]] * len(d["losses"][0]["leaf"])),
    lambda d: d["losses"][0].update(feature=[99] * len(d["losses"][0]["feature"])),
    lambda d: d["losses"][0].update(feature=[-1] * len(d["losses"][0]["feature"])),
    lambda d: d["losses"][0].update(feature=[0.5] * len(d["losses"][0]["feature"])),
    lambda d: d["losses"][0].update(missing_left=[2] * len(d["losses"][0]["missing_left"])),
    lambda d: d["losses"][0].update(feature=[], threshold=[], missing_left=[], leaf=[]),
]


@pytest.mark.parametrize("change", HOSTILE)
def test_what_cannot_be_an_estimator_is_refused(estimator, change):
    """Each field out of its range or type is found when the bytes are read, not when rows come."""
    content = document(estimator)
    change(content)
    with pytest.raises(UnreadableError):
        read_estimator(seal(MAGIC, orjson.dumps(content)))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(data):
    """Bytes at random, in an envelope or not."""
    for hostile in (data, seal(MAGIC, data)):
        with pytest.raises(UnreadableError):
            read_estimator(hostile)


def test_documents_of_any_shape_are_refused():
    """JSON that is no object, or an object of other things."""
    for value in (None, 1, "x", [], [1, 2], {}, {"features": 1}, {"features": [[1, 2]]}):
        with pytest.raises(UnreadableError):
            read_estimator(seal(MAGIC, orjson.dumps(value)))


def test_levels_are_ordered_by_their_errors(estimator):
    """Categories stand from calm to wild, so that one split tells them apart."""
    kinds = {feature.name: feature for feature in estimator.features}
    assert kinds["kind"] == Feature("kind", "category", ("calm", "wild"))
    assert kinds["at"].kind == "time"
