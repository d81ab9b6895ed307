from __future__ import annotations

import datetime as dt
import decimal
import gzip
import io
import json
import math
import struct
import time
import tracemalloc

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.batch import Batch, validate_batch
from exporter.errors import (
    BadRequestError,
    TooLargeError,
    UnreadableError,
    UnsupportedFormatError,
    UnusableBatchError,
)
from exporter.formats import ARROW, CSV, JSON, NDJSON, PARQUET, Limits, decode, encode_table
from exporter.json_rows import decode_json, decode_ndjson
from exporter.schema import Column, Kind, Schema, Task

NOW = 1_700_000_000.0
SCHEMA = Schema(
    model="m",
    task=Task.BINARY,
    prediction="prediction",
    label="label",
    id="id",
    timestamp="time",
    score="score",
    features=(
        Column("amount", Kind.NUMERIC),
        Column("city", Kind.CATEGORICAL),
        Column("member", Kind.BOOLEAN),
        Column("booked", Kind.DATETIME),
    ),
)
ROWS = [
    {
        "id": f"00{row}",
        "time": "2023-11-14T22:13:20Z",
        "prediction": row % 2 == 0,
        "score": row / 10,
        "label": None,
        "amount": None if row == 3 else row * 1.5,
        "city": 'Köln, "am Rhein"' if row == 1 else "Bonn",
        "member": True,
        "booked": "2023-11-01",
    }
    for row in range(5)
]


def bodies() -> dict[str, tuple[bytes, str]]:
    """The same rows in every form that can be pushed."""
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    table = pa.table(columns)
    return {
        "rows": (orjson.dumps({"rows": ROWS}), JSON),
        "spaced rows": (json.dumps({"rows": ROWS}, indent=1).encode(), "application/json; charset=utf-8"),
        "array": (orjson.dumps(ROWS), JSON),
        "columns": (orjson.dumps({"columns": columns}), JSON),
        "ndjson": (b"\n".join(map(orjson.dumps, ROWS)) + b"\n", NDJSON),
        "ndjson with blank lines": (b"\r\n\r\n".join(map(orjson.dumps, ROWS)), NDJSON),
        "csv": (encode_table(table.drop(["label"]), CSV), CSV),
        "arrow": (encode_table(table, ARROW), ARROW),
        "parquet": (encode_table(table, PARQUET), PARQUET),
    }


def rejected(body: bytes, content_type: str = JSON) -> Batch:
    return validate_batch(decode(body, content_type, schema=SCHEMA), SCHEMA, now=NOW)


@pytest.mark.parametrize("form", bodies())
@pytest.mark.parametrize("encoding", [None, "identity", "gzip", "ZSTD"])
def test_every_format_gives_the_same_batch(form, encoding):
    """Rows are the same rows whatever form and encoding they came in."""
    body, content_type = bodies()[form]
    if encoding == "gzip":
        body = gzip.compress(body)
    elif encoding == "ZSTD":
        body = zstandard.compress(body)
    batch = validate_batch(decode(body, content_type, encoding, schema=SCHEMA), SCHEMA, now=NOW)
    assert batch.rejected == batch.invalid == {}
    assert batch.ids.to_pylist() == ["000", "001", "002", "003", "004"]
    assert batch.event_time.tolist() == [NOW] * 5
    np.testing.assert_array_equal(batch.outcomes.prediction, [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(batch.outcomes.score, [row / 10 for row in range(5)])
    np.testing.assert_array_equal(batch.features["amount"], [0, 1.5, 3, math.nan, 6])
    assert batch.features["city"].to_pylist() == ["Bonn", 'Köln, "am Rhein"', "Bonn", "Bonn", "Bonn"]
    assert batch.features["member"].to_pylist() == ["true"] * 5
    assert batch.features["booked"].tolist() == [1698796800.0] * 5


@pytest.mark.parametrize("content_type", [ARROW, PARQUET])
def test_typed_formats_keep_their_types(content_type):
    """Nullable, decimal, boolean, dictionary, temporal and list columns come back with equal values."""
    table = pa.table(
        {
            "int8": pa.array([1, None, 3], pa.int8()),
            "uint64": pa.array([1, 2**64 - 1, None], pa.uint64()),
            "decimal": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal(-2)]),
            "bool": [True, None, False],
            "dictionary": pa.array(["u", None, "u"]).dictionary_encode(),
            "local": pa.array([1, None, 3], pa.timestamp("us")),
            "zoned": pa.array([1, None, 3], pa.timestamp("us", tz="UTC")),
            "date": [dt.date(2024, 1, 1), None, dt.date(2024, 1, 2)],
            "string": ["é", None, ""],
            "large_string": pa.array(["é", None, ""], pa.large_string()),
            "list": [[1.0, 2.0], None, []],
            "nan": [math.nan, math.inf, None],
            "nothing": pa.nulls(3),
        }
    )
    found = decode(encode_table(table, content_type), content_type)
    assert found.column_names == table.column_names
    for name in table.column_names:
        assert repr(found[name].to_pylist()) == repr(table[name].to_pylist())


@pytest.mark.parametrize("content_type", ["application/xml", "", "text/csv; charset=latin-1", "a/b;c"])
def test_unknown_content_types(content_type):
    """Anything else is told what would be right."""
    with pytest.raises(UnsupportedFormatError, match="application/json"):
        decode(b"x", content_type)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, zstd"])
def test_unknown_encodings(encoding):
    """Only gzip and zstd are undone."""
    with pytest.raises(UnsupportedFormatError, match="gzip or zstd"):
        decode(b"x", JSON, encoding)


@pytest.mark.parametrize("form", bodies())
def test_truncated_bodies_are_unreadable(form):
    """Half a body is never half a batch (CSV, which has no end, loses at most its last row)."""
    body, content_type = bodies()[form]
    for cut in (1, len(body) // 3, len(body) // 2, len(body) - 9):
        if content_type == CSV and cut > 1:
            assert decode(body[:cut], content_type).num_rows <= 5
            continue
        with pytest.raises(UnreadableError):
            decode(body[:cut], content_type)
    for encoding, packed in (("gzip", gzip.compress(body)), ("zstd", zstandard.compress(body))):
        for cut in (1, len(packed) // 2, len(packed) - 1):
            with pytest.raises(UnreadableError):
                decode(packed[:cut], content_type, encoding)
        with pytest.raises(UnreadableError):
            decode(body, content_type, encoding)


@pytest.mark.parametrize("content_type", [JSON, NDJSON, CSV, ARROW, PARQUET])
@pytest.mark.parametrize(
    "body", [b"", b"\x00", b"\xff\xfe\xfd", b"\x00" * 4096, b"[" * 200_000, b"{" * 9, b"PAR1" * 9]
)
def test_junk_is_an_error_of_ours(body, content_type):
    """Junk is unreadable or unusable in every format."""
    with pytest.raises(BadRequestError):
        validate_batch(decode(body, content_type), SCHEMA, now=NOW)


@pytest.mark.parametrize("content_type", [JSON, NDJSON, CSV])
def test_invalid_utf8_is_unreadable(content_type):
    """Bytes that are no UTF-8 are named as such."""
    bad = {JSON: b'[{"a": "\xff"}]', NDJSON: b'{"a": "\xff"}', CSV: b"a,b\n\xff,1\n"}
    with pytest.raises(UnreadableError):
        decode(bad[content_type], content_type)


def test_arrow_texts_are_validated():
    """An Arrow string column of bytes that are no UTF-8, and codes outside of a dictionary, are refused."""
    offsets, data = pa.py_buffer(struct.pack("<ii", 0, 1)), pa.py_buffer(b"\xff")
    text = pa.Array.from_buffers(pa.string(), 1, [None, offsets, data])
    with pytest.raises(UnreadableError):
        decode(encode_table(pa.table({"a": text})), ARROW)
    codes = pa.DictionaryArray.from_arrays(pa.array([9]), pa.array(["a"]), safe=False)
    with pytest.raises(UnreadableError):
        decode(encode_table(pa.table({"a": codes})), ARROW)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": []},
        3,
        None,
        "rows",
        {"rows": 3},
        {"columns": []},
        {"columns": {"a": 1}},
        [1, 2],
        [[1], [2]],
    ],
)
def test_json_of_another_shape_is_unusable(document):
    """Readable JSON that is not rows or columns is of the wrong shape."""
    with pytest.raises(UnusableBatchError):
        rejected(orjson.dumps(document))


def test_json_columns_of_different_lengths_are_unusable():
    """Columns must have one length; the details give them."""
    with pytest.raises(UnusableBatchError, match="one length") as caught:
        decode(b'{"columns": {"a": [1, 2], "b": [1]}}', JSON)
    assert {"column": "b", "rows": 1} in caught.value.details


def test_json_rows_that_are_no_objects_are_counted():
    """What is no object among the rows is rejected as unreadable, the others stay."""
    batch = rejected(orjson.dumps([ROWS[0], 7, ROWS[1], None]))
    assert batch.rows == 2
    assert batch.received == 4
    assert batch.rejected == {"unreadable": 2}


def test_json_columns_of_several_types_reject_single_rows():
    """Numbers, texts, nested values and booleans in one column: only what does not fit goes."""
    amounts = [1, "2.5", "much", [1], {"a": 1}, None, 10**400, math.nan]
    rows = [ROWS[0] | {"amount": amount} for amount in amounts]
    batch = rejected(json.dumps(rows).encode())
    np.testing.assert_array_equal(batch.features["amount"], [1, 2.5, math.nan, math.inf, math.nan])
    assert batch.invalid == {"amount": 3}
    assert batch.rejected == {"type": 3}
    cities = [1, "u", True, None, [1], {"a": 1}, 1.5, 2**63]
    batch = rejected(orjson.dumps([ROWS[0] | {"city": city} for city in cities]))
    assert batch.features["city"].to_pylist() == ["1", "u", "true", None, "1.5", "9223372036854775808"]
    assert batch.table["city"].to_pylist() == batch.features["city"].to_pylist()
    assert batch.invalid == {"city": 2}


def test_json_integers_of_any_size():
    """Ids are exact up to 64 bits; larger ones lost digits and are rejected; numbers are rounded."""
    ids = [2**53 + 1, 2**63, 2**64 - 1, 2**64 + 1, 2**70]
    body = json.dumps([ROWS[0] | {"id": identifier, "amount": identifier} for identifier in ids]).encode()
    batch = rejected(body)
    assert batch.ids.to_pylist() == [str(identifier) for identifier in ids[:3]]
    assert batch.invalid == {"id": 2}
    np.testing.assert_array_equal(batch.features["amount"], [float(identifier) for identifier in ids[:3]])


def test_json_rows_may_lack_names():
    """A name that a row lacks is missing there."""
    table = decode(b'[{"a": 1}, {"b": "x"}, {}, {"a": 2, "b": "y"}]', JSON)
    assert table.to_pydict() == {"a": [1, None, None, 2], "b": [None, "x", None, "y"]}
    assert decode(b'[{"a": 1, "b": 2}, {"b": 3, "c": 4}]', JSON)["c"].to_pylist() == [None, 4]


def test_json_of_python_may_hold_nan():
    """NaN and Infinity, as Python's json writes them, are what they mean."""
    body = json.dumps(
        [ROWS[0] | {"amount": amount} for amount in (math.nan, math.inf, -math.inf, 1.0)]
    ).encode()
    for content_type, text in (
        (JSON, body),
        (NDJSON, b"\n".join(body[1:-1].split(b", {")).replace(b'\n"', b'\n{"')),
    ):
        values = rejected(text, content_type).features["amount"]
        np.testing.assert_array_equal(values, [math.nan, math.inf, -math.inf, 1.0])


def test_json_too_deep_is_unreadable():
    """Depth beyond the parsers' limits is an error, and what is below it is rejected by type."""
    for depth in (900, 1_500, 100_000):
        deep = b"[" * depth + b"]" * depth
        with pytest.raises(BadRequestError):
            rejected(b'[{"amount": %b}]' % deep)
        with pytest.raises(BadRequestError):
            rejected(b'[{"amount": %b, "id": NaN}, {"amount": 1}]' % deep)


@pytest.mark.parametrize("content_type", [JSON, NDJSON, CSV, ARROW, PARQUET])
def test_too_many_columns(content_type):
    """100,000 columns are refused by their number, fast."""
    names = [f"c{number}" for number in range(100_000)]
    if content_type == JSON:
        body = orjson.dumps([dict.fromkeys(names, 1)])
    elif content_type == NDJSON:
        body = b"\n".join(b'{"%b": 1}' % name.encode() for name in names)
    elif content_type == CSV:
        body = ",".join(names).encode() + b"\n" + b",".join([b"1"] * 100_000)
    else:
        width = 100_000 if content_type == ARROW else 6_000
        body = encode_table(pa.table({name: [1] for name in names[:width]}), content_type)
    start = time.monotonic()
    with pytest.raises(TooLargeError, match="columns"):
        decode(body, content_type)
    assert time.monotonic() - start < 5


def test_sparse_json_is_refused_before_it_is_dense():
    """A few bytes a row with thousands of names would take gigabytes as columns."""
    rows = [b"{}"] * 300_000 + [orjson.dumps({f"c{number}": 1 for number in range(4_000)})]
    for body, content_type in ((b"[" + b",".join(rows) + b"]", JSON), (b"\n".join(rows), NDJSON)):
        with pytest.raises(TooLargeError):
            decode(body, content_type)
        with pytest.raises(TooLargeError):
            (decode_json if content_type == JSON else decode_ndjson)(body, Limits(), None, fast=True)


@pytest.mark.parametrize("content_type", [JSON, NDJSON, CSV, ARROW, PARQUET])
def test_too_many_rows(content_type):
    """More rows than the limit are refused."""
    table = pa.table({"a": range(11)})
    bodies = {
        JSON: orjson.dumps(table.to_pylist()),
        NDJSON: b"\n".join(map(orjson.dumps, table.to_pylist())),
    }
    body = bodies.get(content_type) or encode_table(table, content_type)
    limits = Limits(rows=10)
    with pytest.raises(TooLargeError, match="rows"):
        decode(body, content_type, limits=limits)
    assert decode(body, content_type, limits=Limits(rows=11)).num_rows == 11


def test_too_many_json_values():
    """A JSON body has a limit of values, for each takes many times its bytes."""
    body = b"[" + b",".join([b"[]"] * 1_000) + b"]"
    with pytest.raises(TooLargeError, match="values"):
        decode(body, JSON, limits=Limits(json_values=500))


def test_too_many_bytes():
    """A body beyond the limit is refused as sent."""
    with pytest.raises(TooLargeError):
        decode(b"x" * 11, JSON, limits=Limits(body_bytes=10))


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compression_bombs_are_cut_short(encoding):
    """Gigabytes of zeros stop at the limit, in memory and time."""
    limits = Limits(decoded_bytes=8 << 20)
    zeros = b"\0" * (64 << 20)
    bomb = gzip.compress(zeros, 6) if encoding == "gzip" else zstandard.compress(zeros) * 16
    del zeros
    tracemalloc.start()
    arrow = pa.total_allocated_bytes()
    with pytest.raises(TooLargeError):
        decode(bomb, CSV, encoding, limits=limits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20
    assert pa.total_allocated_bytes() - arrow < 24 << 20


def test_parquet_bombs_are_refused_by_their_footer():
    """A kilobyte of Parquet that holds a gigabyte is refused before it is read."""
    sink = io.BytesIO()
    pyarrow.parquet.write_table(
        pa.table({"a": np.zeros(1 << 21)}), sink, compression="zstd", use_dictionary=False
    )
    assert len(sink.getvalue()) < 1 << 20
    before = pa.total_allocated_bytes()
    with pytest.raises(TooLargeError):
        decode(sink.getvalue(), PARQUET, limits=Limits(rows=1 << 22, decoded_bytes=1 << 20))
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_parquet_dictionaries_stay_dictionaries():
    """One long text that is repeated a million times is kept once."""
    sink = io.BytesIO()
    repeated = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(1 << 20, np.int32)), pa.array(["x" * 100_000])
    )
    pyarrow.parquet.write_table(pa.table({"a": repeated}), sink)
    table = decode(sink.getvalue(), PARQUET)
    assert pa.types.is_dictionary(table["a"].type)
    assert table.nbytes < 64 << 20


def test_arrow_bombs_are_refused_by_their_messages():
    """Compressed Arrow buffers are believed only within the limits, and rows likewise."""
    sink = io.BytesIO()
    table = pa.table({"a": np.zeros(1 << 21)})
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    assert len(sink.getvalue()) < 1 << 20
    assert decode(sink.getvalue(), ARROW, limits=Limits(rows=1 << 22)).equals(table)
    before = pa.total_allocated_bytes()
    with pytest.raises(TooLargeError, match="bytes"):
        decode(sink.getvalue(), ARROW, limits=Limits(rows=1 << 22, decoded_bytes=1 << 20))
    nothing = encode_table(pa.table({"a": pa.nulls(1 << 28)}))
    with pytest.raises(TooLargeError, match="rows"):
        decode(nothing, ARROW)
    assert pa.total_allocated_bytes() - before < 1 << 20


@pytest.mark.parametrize("content_type", [CSV, ARROW, PARQUET])
def test_duplicate_names_are_unusable(content_type):
    """Two columns of one name have the wrong shape."""
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    body = b"a,a\n1,2\n" if content_type == CSV else encode_table(twice, content_type)
    with pytest.raises(UnusableBatchError, match="twice"):
        decode(body, content_type)


def test_duplicate_json_keys_take_the_last():
    """As in every JSON library."""
    assert decode(b'[{"a": 1, "a": 2}]', JSON)["a"].to_pylist() == [2]


def test_foreign_metadata_is_dropped():
    """Nobody can pass off a column as one of ours by its metadata."""
    field = pa.field("amount", pa.int64(), metadata={"ml_exporter.values": "json"})
    table = pa.table(
        [pa.array([1])], schema=pa.schema([field], metadata={"ml_exporter.unreadable_rows": "7"})
    )
    for content_type in (ARROW, PARQUET):
        found = decode(encode_table(table, content_type), content_type)
        assert found.schema.metadata is None
        assert found.schema.field(0).metadata is None


def test_ragged_csv_lines_are_counted():
    """Lines with too many or too few columns are left out and counted as rejected."""
    rows = [f"{row},2023-11-14T22:13:20Z,1,0.5,{row}" for row in range(3)]
    body = "\n".join(
        ["id,time,prediction,score,amount", rows[0], "x,y", rows[1], "1,2,3,4,5,6,7", rows[2], ""]
    )
    batch = rejected(body.encode(), CSV)
    assert batch.rows == 3
    assert batch.received == 5
    assert batch.rejected == {"unreadable": 2}


def test_csv_values_that_do_not_fit_reject_single_rows():
    """One text among the numbers costs its row; NA and the like are missing; texts keep them."""
    values = ["1.5", "NA", "much", "", "nan", "inf", "-0"]
    rows = [f"{row},2023-11-14T22:13:20Z,true,,{value},NA" for row, value in enumerate(values)]
    body = "\n".join(["id,time,prediction,score,amount,city", *rows])
    batch = rejected(body.encode(), CSV)
    assert batch.invalid == {"amount": 1}
    np.testing.assert_array_equal(
        batch.features["amount"], [1.5, math.nan, math.nan, math.nan, math.inf, 0.0]
    )
    assert set(batch.features["city"].to_pylist()) == {"NA"}
    assert np.isnan(batch.outcomes.score).all()


def test_csv_quotes_newlines_byte_order_mark_and_long_rows():
    """Fields may hold separators, newlines and a megabyte of text."""
    long = "x" * 3_000_000
    body = f'\ufeffid,city\r\n"a","one, two\nthree ""four"""\r\nb,{long}\r\n'.encode()
    table = decode(body, CSV, schema=SCHEMA)
    assert table.column_names == ["id", "city"]
    assert table["city"].to_pylist() == ['one, two\nthree "four"', long]


def test_csv_ids_and_categories_are_not_guessed():
    """Leading zeros belong to an id; without a schema columns are guessed."""
    body = b"id,city,amount\n007,01,1\n"
    assert decode(body, CSV, schema=SCHEMA).to_pylist() == [{"id": "007", "city": "01", "amount": 1.0}]
    assert decode(body, CSV).to_pylist() == [{"id": 7, "city": 1, "amount": 1}]


def test_csv_with_a_header_alone_has_no_rows():
    """No line is no row, and so an unusable batch."""
    with pytest.raises(UnusableBatchError, match="no rows"):
        rejected(b"id,time,prediction\n", CSV)


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["id", "time", "prediction", "score", "label", "amount", "city", "member", "booked"])
SOUND = st.fixed_dictionaries(
    {"id": st.integers(0, 99) | st.text(max_size=3), "time": st.floats(0, NOW), "prediction": st.booleans()},
    optional={"score": st.floats(0, 1), "amount": st.floats() | st.integers(), "city": st.text(max_size=5)},
)
DOCUMENTS = st.lists(
    SOUND | st.dictionaries(NAMES | st.text(max_size=3), VALUES, max_size=5) | VALUES, max_size=8
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.sampled_from(["rows", "bare", "lines"]))
def test_any_json_gives_a_batch_or_an_error_of_ours(rows, form):
    """Whatever the values are, rows are accounted for or the whole is refused with a reason."""
    document = {"rows": rows} if form == "rows" else rows
    body = json.dumps(document).encode()
    if form == "lines":
        body = b"\n".join(json.dumps(row).encode() for row in rows)
    try:
        batch = rejected(body, NDJSON if form == "lines" else JSON)
    except BadRequestError as error:
        assert error.message  # noqa: PT017  # both outcomes are right
        return
    assert batch.received == len(rows)
    assert batch.rows + sum(batch.rejected.values()) == batch.received
    assert batch.table.num_rows == len(batch.ids) == len(batch.event_time) == batch.rows


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(["rows", "columns", "ndjson", "csv", "arrow"]))
def test_damaged_bodies_give_a_batch_or_an_error_of_ours(data, form):
    """Bytes changed at random places never raise anything else (Parquet: see test_decoding)."""
    body, content_type = bodies()[form]
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        batch = rejected(bytes(damaged), content_type)
    except BadRequestError:
        return
    assert batch.rows + sum(batch.rejected.values()) == batch.received


@settings(max_examples=60, deadline=None)
@given(st.lists(SOUND, min_size=2, max_size=30), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_fast_and_tolerant_parsers_agree(rows, separators):
    """Arrow's reader gives the table that orjson gives, or hands over to it."""
    document = json.dumps(rows, separators=separators, ensure_ascii=False).encode()
    lines = b"\n".join(json.dumps(row).encode() for row in rows)
    for reader, body in ((decode_json, document), (decode_ndjson, lines)):
        tolerant = reader(body, Limits(), SCHEMA)
        fast = reader(body, Limits(), SCHEMA, fast=True)
        assert repr(fast.to_pydict()) == repr(tolerant.to_pydict())
        assert fast.schema.equals(tolerant.schema)


@pytest.mark.parametrize("separator", [b"},{", b"}, {", b"} ,\n {"])
def test_fast_parser_is_not_misled_by_texts(separator):
    """A separator inside a text or a nested array is no separator."""
    rows = [{"a": f"x{separator.decode()}y", "n": 1}, {"a": "z", "n": 2}, {"a": "w", "n": 3}]
    body = b"[" + separator[1:-1].join(map(orjson.dumps, rows)) + b"]"
    assert decode_json(body, Limits(), None, fast=True).to_pylist() == rows
    nested = b'[{"a":1},{"a":[{"b":1},{"b":2}]},{"a":3}]'.replace(b"},{", separator)
    expected = decode_json(nested, Limits(), None)
    assert decode_json(nested, Limits(), None, fast=True).equals(expected)
    with pytest.raises(UnreadableError):
        decode_json(b'[{"a":1}' + separator + b'"a":2}]', Limits(), None, fast=True)


def test_encode_table_refuses_other_formats():
    """JSON is not a table's format."""
    with pytest.raises(UnsupportedFormatError):
        encode_table(pa.table({"a": [1]}), JSON)
    assert pc.sum(decode(encode_table(pa.table({"a": [1, 2]})), ARROW)["a"]).as_py() == 3
