from __future__ import annotations

import datetime as dt
import decimal
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.batch import binary_codes, canonical_text, infer_columns, validate_batch, validate_labels
from exporter.errors import TooLargeError, UnusableBatchError
from exporter.schema import Column, Kind, Schema, ScoreKind, Task

NOW = 1_700_000_000.0


def schema(*features: Column, **changes) -> Schema:
    """A binary model with an id, a timestamp and a score."""
    settings = {
        "model": "m",
        "task": Task.BINARY,
        "prediction": "prediction",
        "label": "label",
        "id": "id",
        "timestamp": "time",
        "score": "score",
        "features": features,
    }
    return Schema(**(settings | changes))


def table(**columns) -> pa.Table:
    """Three sound rows; `columns` replaces or adds some."""
    sound = {
        "id": ["a", "b", "c"],
        "time": [NOW - 30, NOW - 20, NOW - 10],
        "prediction": [True, False, True],
        "score": [0.9, 0.1, 0.8],
    }
    return pa.table({name: values for name, values in (sound | columns).items() if values is not None})


def feature(values, kind: Kind, **changes):
    """One feature's values in a batch of otherwise sound rows."""
    rows = len(values)
    sound = {
        "id": [str(row) for row in range(rows)],
        "time": [NOW] * rows,
        "prediction": [True] * rows,
        "score": [0.5] * rows,
    }
    column = Column("x", kind, size=changes.pop("size", None))
    return validate_batch(pa.table(sound | {"x": values}), schema(column, **changes), now=NOW)


def test_validate_batch_reads_each_role():
    """Ids, times, predictions, scores, labels and features come out in the documented representation."""
    batch = validate_batch(
        table(label=[1, None, 0], x=[1, 2, 3], c=["u", "v", "u"]),
        schema(Column("x", Kind.NUMERIC), Column("c", Kind.CATEGORICAL), segments=("c",)),
        now=NOW,
    )
    assert batch.rows == batch.received == 3
    assert batch.ids.to_pylist() == ["a", "b", "c"]
    np.testing.assert_array_equal(batch.event_time, [NOW - 30, NOW - 20, NOW - 10])
    assert batch.outcomes.prediction.dtype == np.int8
    np.testing.assert_array_equal(batch.outcomes.prediction, [1, 0, 1])
    np.testing.assert_array_equal(batch.outcomes.score, [0.9, 0.1, 0.8])
    np.testing.assert_array_equal(batch.outcomes.label, [1, -1, 0])
    np.testing.assert_array_equal(batch.outcomes.delay_seconds, [30, math.nan, 10])
    np.testing.assert_array_equal(batch.features["x"], [1.0, 2.0, 3.0])
    assert batch.features["c"].type == pa.dictionary(pa.int32(), pa.string())
    assert batch.segments["c"].to_pylist() == ["u", "v", "u"]
    assert batch.rejected == {}
    assert batch.warnings == ()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None, 3], pa.int8()), [1, math.nan, 3]),
        (pa.array([1, 2, 2**53 + 1], pa.uint64()), [1, 2, 2.0**53]),
        (pa.array([1.5, math.nan, math.inf], pa.float32()), [1.5, math.nan, math.inf]),
        (pa.array(np.array([1.5, 2, -math.inf], np.float16)), [1.5, 2, -math.inf]),
        (pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-3.00")]), [1.25, math.nan, -3]),
        (pa.array([True, None, False]), [1, math.nan, 0]),
        (pa.array(["1", " 2.5 ", None]), [1, 2.5, math.nan]),
        (pa.array(["1e3", "nan", "inf"], pa.large_string()), [1000, math.nan, math.inf]),
        (pa.array([1.5, None, 1.5]).dictionary_encode(), [1.5, math.nan, 1.5]),
        (pa.array([None, None, None]), [math.nan] * 3),
        (pa.chunked_array([[1.0], [], [2.0, None]], pa.float64()), [1, 2, math.nan]),
        (pa.chunked_array([pa.array(["4"]), pa.array(["5", "4"])]).dictionary_encode(), [4, 5, 4]),
        (pa.array([1500, None, 0], pa.duration("ms")), [1.5, math.nan, 0]),
    ],
)
def test_numeric_columns_of_every_type(values, expected):
    """A numeric feature is float64 with NaN for missing, whatever its Arrow type."""
    read = feature(values, Kind.NUMERIC).features["x"]
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, expected)


def test_numeric_float_column_is_not_copied():
    """A float64 column without nulls shares its memory with the batch."""
    values = pa.array(np.arange(3.0))
    assert np.shares_memory(feature(values, Kind.NUMERIC).features["x"], values.to_numpy())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["u", None, "u"]), ["u", None, "u"]),
        (pa.array(["u", "v", ""], pa.large_string()), ["u", "v", ""]),
        (pa.array([1.0, math.nan, 2.5]), ["1", None, "2.5"]),
        (pa.array([10, 9, None], pa.int16()), ["10", "9", None]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array(["u", None, "v"]).dictionary_encode(), ["u", None, "v"]),
        (pa.array([dt.date(2024, 5, 1)] * 3), ["2024-05-01"] * 3),
        (pa.array([decimal.Decimal("1.50"), decimal.Decimal("2.00"), None]), ["1.5", "2", None]),
        (pa.array([None, None, None]), [None, None, None]),
        (
            pa.chunked_array([pa.array(["a"]).dictionary_encode(), pa.array(["b", "a"]).dictionary_encode()]),
            ["a", "b", "a"],
        ),
        (
            pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.uint8()), pa.array(["a", "a", None])),
            ["a", "a", None],
        ),
        (pa.array([b"abc", None, "é".encode()]), ["abc", None, "é"]),
    ],
)
def test_categorical_columns_of_every_type(values, expected):
    """A categorical feature is a dictionary of distinct texts with int32 codes."""
    read = feature(values, Kind.CATEGORICAL).features["x"]
    assert read.type == pa.dictionary(pa.int32(), pa.string())
    assert read.to_pylist() == expected
    assert len(set(read.dictionary.to_pylist())) == len(read.dictionary)
    assert read.dictionary.null_count == 0


def test_categorical_dictionary_is_not_decoded():
    """A dictionary of distinct strings with int32 codes is handed through as it is."""
    values = pa.array(["u", "v", "u"]).dictionary_encode()
    read = feature(values, Kind.CATEGORICAL).features["x"]
    assert read.indices.buffers()[1].address == values.indices.buffers()[1].address
    assert read.dictionary.buffers()[2].address == values.dictionary.buffers()[2].address


def test_boolean_columns_take_texts_and_numbers():
    """true, "True", 1 and "1" are one value, and what is neither true nor false is of the wrong type."""
    batch = feature(pa.array(["True", "0", "perhaps", None]), Kind.BOOLEAN)
    assert batch.features["x"].to_pylist() == ["true", "false", None]
    assert batch.invalid == {"x": 1}
    assert feature(pa.array([1.0, 0.0, None]), Kind.BOOLEAN).features["x"].to_pylist() == [
        "true",
        "false",
        None,
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1704067200000], pa.timestamp("ms")), 1704067200),
        (pa.array([1704067200 * 10**9], pa.timestamp("ns", tz="Asia/Tokyo")), 1704067200),
        (pa.array([dt.date(2024, 1, 1)]), 1704067200),
        (pa.array([dt.date(2024, 1, 1)], pa.date64()), 1704067200),
        (pa.array(["2024-01-01T00:00:00Z"]), 1704067200),
        (pa.array(["2024-01-01T02:00:00.5+02:00"]), 1704067200.5),
        (pa.array(["2024-01-01t00:00:00.123456789z"]), 1704067200.123456),
        (pa.array(["2024-01-01"]), 1704067200),
        (pa.array(["1704067200"]), 1704067200),
        (pa.array([1704067200], pa.int32()), 1704067200),
        (pa.array([1704067200.25]), 1704067200.25),
        (pa.array([1704067200], pa.timestamp("s")).dictionary_encode(), 1704067200),
    ],
)
def test_event_times_of_every_type(values, expected):
    """RFC 3339, Unix seconds and Arrow times are seconds since the epoch; zone-less ones are UTC."""
    row = {"id": ["a"], "time": values, "prediction": [1]}
    batch = validate_batch(pa.table(row), schema(score=None), now=1_800_000_000.0)
    assert batch.event_time.tolist() == [expected]


@pytest.mark.parametrize(
    "values",
    [["2024-07-01T12:00:00"], pa.array([1719835200], pa.timestamp("s")), ["2024-07-01 12:00:00.0000001"]],
)
def test_event_times_without_zone_use_the_models(values):
    """Noon in New York in July is 16:00 UTC."""
    row = {"id": ["a"], "time": values, "prediction": [1]}
    model = schema(score=None, timezone="America/New_York")
    assert validate_batch(pa.table(row), model, now=1_800_000_000.0).event_time.tolist() == [1719849600.0]


def test_event_times_of_several_forms():
    """Zones, numbers and nonsense in one text column are told apart row by row."""
    values = ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00", "1704067200", "yesterday", None]
    rows = {"id": list("abcde"), "time": values, "prediction": [1] * 5}
    batch = validate_batch(pa.table(rows), schema(score=None), now=1_800_000_000.0)
    assert batch.event_time.tolist() == [1704067200.0] * 3
    assert batch.rejected == {"type": 1, "missing_timestamp": 1}
    assert batch.invalid == {"time": 1}


def test_event_time_is_arrival_without_timestamp():
    """A model without `timestamp` takes the time of arrival."""
    batch = validate_batch(table(time=None), schema(timestamp=None), now=NOW)
    assert batch.event_time.tolist() == [NOW] * 3


def test_every_reason_for_rejection():
    """Each bad row has one reason, and the sound ones stay."""
    rows = {
        "id": ["ok", None, "t", "p", "o", "f", "x", ""],
        "time": [NOW, NOW, None, NOW, NOW, NOW + 301, NOW, NOW],
        "prediction": [1, 1, 1, None, 1, 1, 1, 1],
        "score": [0.5, 0.5, 0.5, 0.5, 1.5, 0.5, 0.5, 0.5],
        "x": ["1", "2", "3", "4", "5", "6", "seven", "8"],
    }
    batch = validate_batch(pa.table(rows), schema(Column("x", Kind.NUMERIC)), now=NOW)
    assert batch.ids.to_pylist() == ["ok"]
    assert batch.table.num_rows == batch.rows == 1
    assert batch.received == 8
    assert batch.rejected == {
        "type": 1,
        "missing_id": 2,
        "missing_timestamp": 1,
        "missing_prediction": 1,
        "out_of_range": 1,
        "future": 1,
    }
    assert batch.invalid == {"x": 1}


def test_future_tolerance_is_a_setting():
    """A row that is five minutes ahead is within the default tolerance, and not within none."""
    ahead = table(time=[NOW + 300, NOW, NOW])
    assert validate_batch(ahead, schema(), now=NOW).rows == 3
    assert validate_batch(ahead, schema(), now=NOW, future_tolerance=0).rejected == {"future": 1}


def test_milliseconds_are_not_guessed():
    """Unix milliseconds are far in the future; the error says how many rows were."""
    with pytest.raises(UnusableBatchError, match="future"):
        validate_batch(table(time=[NOW * 1e3] * 3), schema(), now=NOW)
    batch = validate_batch(table(time=[NOW * 1e3, NOW, NOW]), schema(), now=NOW)
    assert "milliseconds" in batch.warnings[-1]


def test_margins_may_lie_outside_of_0_and_1():
    """Only probabilities have a range."""
    batch = validate_batch(table(score=[-3.0, 7.0, 0.0]), schema(score_kind=ScoreKind.MARGIN), now=NOW)
    assert batch.rows == 3


def test_multiclass_scores_are_columns_in_the_schemas_order():
    """Scores of classes become one array; one outside of [0, 1] rejects its row."""
    model = schema(task=Task.MULTICLASS, score=(("u", "pu"), ("v", "pv")))
    rows = table(
        prediction=["u", "v", "u"], score=None, pv=[0.1, 0.7, 2.0], pu=[0.9, 0.3, 0.5], label=["u", None, "v"]
    )
    batch = validate_batch(rows, model, now=NOW)
    np.testing.assert_array_equal(batch.outcomes.score, [[0.9, 0.1], [0.3, 0.7]])
    assert batch.outcomes.prediction.to_pylist() == ["u", "v"]
    assert batch.outcomes.label.to_pylist() == ["u", None]
    assert batch.rejected == {"out_of_range": 1}


def test_regression_takes_numbers():
    """Predictions and labels of a regression are float64."""
    model = schema(task=Task.REGRESSION, score=None)
    batch = validate_batch(table(prediction=[1, 2, None], label=["3", None, "4"]), model, now=NOW)
    np.testing.assert_array_equal(batch.outcomes.prediction, [1.0, 2.0])
    np.testing.assert_array_equal(batch.outcomes.label, [3.0, math.nan])
    assert batch.outcomes.score is None


def test_absent_and_undeclared_columns_warn_once():
    """Absent features are missing, undeclared columns are ignored; each with one sentence for all."""
    model = schema(
        Column("x", Kind.NUMERIC), Column("c", Kind.CATEGORICAL), segments=("s",), extra_columns=("e",)
    )
    batch = validate_batch(table(y=[1, 2, 3], z=[1, 2, 3], e=[1, 2, 3]), model, now=NOW)
    assert np.isnan(batch.features["x"]).all()
    assert batch.features["c"].null_count == batch.segments["s"].null_count == 3
    assert len(batch.warnings) == 2
    assert "'x', 'c', 's'" in batch.warnings[0]
    assert "'y', 'z'" in batch.warnings[1]
    assert batch.table.column_names[-3:] == ["y", "z", "e"]


@pytest.mark.parametrize("name", ["id", "time", "prediction"])
def test_required_columns(name):
    """Without a column that has a role the whole batch is refused, and the details name it."""
    with pytest.raises(UnusableBatchError, match=name) as caught:
        validate_batch(table(**{name: None}), schema(), now=NOW)
    assert caught.value.details == [{"column": name, "reason": "absent"}]


def test_unusable_batches_say_why():
    """No rows, no usable row and a repeated name are errors with counts in their details."""
    with pytest.raises(UnusableBatchError, match="no rows"):
        validate_batch(table().slice(0, 0), schema(), now=NOW)
    with pytest.raises(UnusableBatchError, match="None of 3 rows") as caught:
        validate_batch(table(prediction=[None] * 3), schema(), now=NOW)
    assert caught.value.details == [{"reason": "missing_prediction", "rows": 3}]
    twice = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(UnusableBatchError, match="twice"):
        validate_batch(twice, schema(), now=NOW)


@pytest.mark.parametrize(
    ("positive", "values", "expected"),
    [
        (True, pa.array([True, False, None]), [1, 0, -1]),
        (True, pa.array(["true", "False", "TRUE"]), [1, 0, 1]),
        (True, pa.array([1, 0, 1]), [1, 0, 1]),
        ("true", pa.array([1.0, 0.0, math.nan]), [1, 0, -1]),
        (1, pa.array(["1", "0", "1.0"]), [1, 0, 1]),
        ("1", pa.array([True, False, None]), [1, 0, -1]),
        (1.0, pa.array(["1", "0", None]).dictionary_encode(), [1, 0, -1]),
        (0, pa.array([0, 1, None]), [1, 0, -1]),
        (False, pa.array([False, True, None]), [1, 0, -1]),
        ("yes", pa.array(["yes", "no", None]), [1, 0, -1]),
        (2, pa.array([2.0, 1.0, 3.0]), [1, 0, 0]),
        (True, pa.array([1, 2, 0.7]), [1, -1, -1]),
    ],
)
def test_binary_codes(positive, values, expected):
    """Values are positive by canonical text, truth values by what they mean."""
    codes = binary_codes(values, positive)
    assert codes.dtype == np.int8
    assert codes.tolist() == expected


def test_binary_predictions_must_be_truth_values_when_the_positive_label_is():
    """A probability in place of a prediction is of the wrong type, not negative."""
    batch = validate_batch(table(prediction=[1.0, 0.0, 0.7]), schema(), now=NOW)
    assert batch.invalid == {"prediction": 1}
    assert batch.rejected == {"type": 1}


def test_ids_of_every_type_have_one_text():
    """An id is the same whether it came as integer, text or float."""
    for ids in ([7, 8, 9], ["7", "8", "9"], [7.0, 8.0, 9.0], pa.array(["7", "8", "9"]).dictionary_encode()):
        assert validate_batch(table(id=ids), schema(), now=NOW).ids.to_pylist() == ["7", "8", "9"]


def test_ids_that_lost_digits_are_wrong():
    """A float beyond 2**53 may stand for several integers and is no id."""
    batch = validate_batch(table(id=[1.0, 2.0**53 + 2, 3.0]), schema(), now=NOW)
    assert batch.invalid == {"id": 1}
    assert batch.ids.to_pylist() == ["1", "3"]


@given(st.lists(st.integers(-(2**53), 2**53), min_size=1))
def test_canonical_text_of_numbers_is_that_of_integers(numbers):
    """Integers, floats and decimals of one value have one text."""
    expected = [str(number) for number in numbers]
    assert canonical_text(pa.array(numbers, pa.int64())).to_pylist() == expected
    assert canonical_text(pa.array([float(number) for number in numbers])).to_pylist() == expected
    decimals = pa.array([decimal.Decimal(number) for number in numbers], pa.decimal128(20, 2))
    assert canonical_text(decimals).to_pylist() == expected


@given(st.lists(st.floats(allow_nan=False)))
def test_canonical_text_of_floats_is_exact(numbers):
    """The text of a float reads back as the float."""
    texts = canonical_text(pa.array(numbers, pa.float64())).to_pylist()
    assert [float(text) for text in texts] == numbers


def test_canonical_text_refuses_expanding_dictionaries():
    """A dictionary that would expand to gigabytes is refused before it does."""
    bomb = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3_000, np.int32)), pa.array(["x" * 1_000_000]))
    with pytest.raises(TooLargeError):
        canonical_text(bomb)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1.0, 2.0], None, [3.0, 4.0]]),
        pa.array([[1, 2], None, [3, 4]], pa.large_list(pa.int64())),
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)),
        pa.array(["[1, 2]", None, "[3.0, 4]"]),
        pa.chunked_array(
            [
                pa.array([[9.0, 9.0], [1.0, 2.0]]).slice(1),
                pa.array([None, [3.0, 4.0]], pa.list_(pa.float64())),
            ]
        ),
    ],
)
def test_embeddings_of_every_type(values):
    """An embedding is a float32 matrix; a missing row is all NaN."""
    read = feature(values, Kind.EMBEDDING, size=2).features["x"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, [[1, 2], [math.nan, math.nan], [3, 4]])


def test_embeddings_of_another_length_are_wrong():
    """A vector that is too short, and a text that is none, reject their rows."""
    batch = feature(pa.array([[1.0, 2.0], [1.0], []]), Kind.EMBEDDING, size=2)
    assert batch.invalid == {"x": 2}
    assert feature(pa.array(["[1, 2]", "[1, true]", "no"]), Kind.EMBEDDING, size=2).invalid == {"x": 2}


def test_types_without_a_reading_are_wrong():
    """Structs, maps and nested lists reject their rows, whatever the declared kind; null ones are missing."""
    for kind in Kind:
        values = pa.array([{"a": 1}, None], pa.struct([("a", pa.int64())]))
        batch = feature(values, kind, size=2)
        assert batch.invalid == {"x": 1}
        assert batch.rows == 1


def test_extension_and_encoded_types_are_read_by_their_storage():
    """Run-end encoding and Arrow's own extension types do not matter."""
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array([1.5, 2.5]))
    np.testing.assert_array_equal(feature(runs, Kind.NUMERIC).features["x"], [1.5, 1.5, 2.5])
    extended = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8()))
    assert feature(extended, Kind.BOOLEAN).features["x"].to_pylist() == ["true", "false", None]


def test_infer_columns_gives_each_type_its_kind():
    """Kinds follow types; roles, extra columns and columns without a value are left out."""
    rows = table(
        number=[1, 2, 3],
        money=pa.array([decimal.Decimal("1.5")] * 3),
        word=["u", "v", "w"],
        flag=[True, False, None],
        moment=pa.array([1704067200] * 3, pa.timestamp("s")),
        written=["2024-01-01T00:00:00Z", None, "2024-01-02T00:00:00Z"],
        vector=[[1.0, 2.0], None, [3.0, 4.0]],
        code=pa.array(["x", "y", "x"]).dictionary_encode(),
        nothing=[None, None, None],
        nested=pa.array([{"a": 1}] * 3),
        extra=[1, 2, 3],
        label=[1, 0, 1],
    )
    found = infer_columns(rows, schema(features=None, extra_columns=("extra",)))
    assert {column.name: column.kind.value for column in found} == {
        "number": "numeric",
        "money": "numeric",
        "word": "categorical",
        "flag": "boolean",
        "moment": "datetime",
        "written": "datetime",
        "vector": "embedding",
        "code": "categorical",
    }
    assert next(column.size for column in found if column.name == "vector") == 2
    assert set(validate_batch(rows, schema(features=None), now=NOW).features) >= {"number", "extra"}


def test_take_keeps_rows_together():
    """Every part of a batch is taken alike, and the accounting starts anew."""
    model = schema(
        Column("x", Kind.NUMERIC),
        Column("c", Kind.CATEGORICAL),
        Column("v", Kind.EMBEDDING, size=1),
        segments=("c",),
    )
    rows = table(x=[1, 2, 3], c=["u", "v", "w"], v=[[1.0], [2.0], [3.0]], label=[0, 1, 1], other=[7, 8, 9])
    batch = validate_batch(rows, model, now=NOW).take(np.array([2, 0]))
    assert batch.ids.to_pylist() == ["c", "a"]
    assert batch.features["x"].tolist() == [3, 1]
    assert batch.features["c"].to_pylist() == batch.segments["c"].to_pylist() == ["w", "u"]
    assert batch.features["v"].tolist() == [[3], [1]]
    assert batch.table["other"].to_pylist() == [9, 7]
    assert batch.outcomes.label.tolist() == [1, 0]
    assert batch.outcomes.delay_seconds.tolist() == [10, 30]
    assert (batch.rows, batch.received, batch.warnings) == (2, 2, ())


def test_validate_labels():
    """Labels need an id and a value of the right type."""
    rows = pa.table({"id": ["a", None, "c", "d"], "label": ["1", "0", None, "what"]})
    labels = validate_labels(rows, schema())
    assert labels.ids.to_pylist() == ["a"]
    assert labels.label.tolist() == [1]
    assert labels.received == 4
    assert labels.rejected == {"type": 1, "missing_id": 1, "missing_label": 1}
    with pytest.raises(UnusableBatchError, match="id"):
        validate_labels(rows, schema(id=None))
    with pytest.raises(UnusableBatchError, match="label"):
        validate_labels(rows.drop(["label"]), schema())
    with pytest.raises(UnusableBatchError, match="None of 1 rows"):
        validate_labels(rows.slice(1, 1), schema())
