"""Arrow columns of any type, read as one of the kinds of :class:`exporter.schema.Kind`.

Each reader takes whole columns; only a column with values of several types is looked at value by value. What
a reader accepts does not depend on the format that the rows came in:

=========== ==========================================================================================
numeric     numbers, decimals, durations (seconds), booleans (0 and 1), texts that are numbers
datetime    timestamps, dates, RFC 3339 texts, numbers and their texts as Unix seconds. Milliseconds are
            not guessed: 1.7e12 is the year 55840. Without a zone: the model's time zone; the earlier of
            two readings when clocks go back.
categorical every scalar, as its canonical text
boolean     true, false, 1 and 0, and their texts in any case
embedding   lists of numbers of the declared length, and their JSON texts
=========== ==========================================================================================

Everything else is of the wrong type. Null, NaN and, where a number or time is expected, blank texts are
missing. Integers and decimals beyond 2**53 are rounded to the nearest float64 in numeric columns and kept
exactly in texts (ids, classes, categories).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter.errors import TooLargeError
from exporter.schema import Kind

JSON_TEXT = {b"ml_exporter.values": b"json"}
"""Field metadata of a column whose values have several types: each value is its JSON text."""

UNREADABLE_ROWS = b"ml_exporter.unreadable_rows"
"""Table metadata: rows that came but could not be split into columns, as decimal text."""

MISSING, WRONG = -1, -2
MAXIMUM_TEXT_BYTES = 1 << 30

_TRUTH = {"true": 1, "1": 1, "1.0": 1, "false": 0, "0": 0, "0.0": 0}
_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_EXACT = 2.0**53

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Source: TypeAlias = "pa.Array | list[Any]"
"""A column: one Arrow array, or Python values where they have several types."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A column's values and which of them had the wrong type (None: none had; they are missing in `values`)."""

    values: Any
    wrong: Mask | None = None


def source(table: pa.Table, name: str) -> Source:
    """One column of a table as one array, or as Python values when it is marked :data:`JSON_TEXT`."""
    index = table.schema.get_field_index(name)
    column = table.column(index)
    if is_json_text(table.schema.field(index)):
        texts = [text or "null" for text in column.to_pylist()]
        return list(orjson.loads("[" + ",".join(texts) + "]"))
    return plain(column)


def is_json_text(field: pa.Field) -> bool:
    """Whether a column's values are JSON texts of several types."""
    return JSON_TEXT.items() <= (field.metadata or {}).items()


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array of a plain type: chunks joined, extension types and views undone; no copy where not needed."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks > 1 and pa.types.is_dictionary(column.type):
            column = column.unify_dictionaries()
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    else:
        array = column
    if isinstance(array, pa.ExtensionArray):
        return plain(array.storage)
    kind = array.type
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(array))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return array.cast(pa.string())
    if pa.types.is_float16(kind):
        return array.cast(pa.float32())
    return array


def read(column: Source, kind: Kind, *, zone: str = "UTC", size: int | None = None) -> Reading:
    """Read a column as `kind`; `zone` is for times without one, `size` the length of embeddings."""
    match kind:
        case Kind.NUMERIC:
            return numeric(column)
        case Kind.DATETIME:
            return instants(column, zone)
        case Kind.CATEGORICAL:
            return categorical(column)
        case Kind.BOOLEAN:
            codes, wrong = truth(column)
            return Reading(_dictionary(np.where(codes < 0, -1, codes), pa.array(["false", "true"])), wrong)
        case Kind.EMBEDDING:
            return embedding(column, size)


def absent(kind: Kind, rows: int, *, size: int | None = None) -> Any:
    """The values of a column in which all `rows` are missing."""
    return read(pa.nulls(rows), kind, size=size).values


# --- numbers and times -----------------------------------------------------------------------------


def numeric(column: Source) -> Reading:
    """float64 values; without a copy when the column is float64 without nulls."""
    if isinstance(column, list):
        return _each(column, _number)
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return Reading(_floats(column))
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return Reading(_floats(column))
    if pa.types.is_duration(kind):
        return Reading(_floats(column.view(pa.int64())) / _UNITS[kind.unit])
    if pa.types.is_dictionary(kind):
        return _by_code(column, numeric(plain(column.dictionary)))
    if pa.types.is_string(kind):
        try:
            return Reading(_floats(column.cast(pa.float64())))
        except pa.ArrowInvalid:
            return _each(column.to_pylist(), _number)
    return _all_wrong(column)


def instants(column: Source, zone: str = "UTC") -> Reading:
    """Seconds since the Unix epoch as float64."""
    if isinstance(column, list):
        place = ZoneInfo(zone)
        return _each(column, lambda value: _instant(value, place))
    kind = column.type
    if pa.types.is_timestamp(kind):
        return Reading(_seconds(column, zone))
    if pa.types.is_date(kind):
        return Reading(_seconds(column.cast(pa.timestamp("ms")), zone))
    if pa.types.is_boolean(kind) or pa.types.is_duration(kind):
        return _all_wrong(column)
    if pa.types.is_dictionary(kind):
        return _by_code(column, instants(plain(column.dictionary), zone))
    if pa.types.is_string(kind):
        try:
            return Reading(_seconds(column.cast(_zoned(column)), zone))
        except pa.ArrowInvalid:
            return instants(column.to_pylist(), zone)
    return numeric(column)


def _floats(array: pa.Array) -> Numbers:
    if not pa.types.is_float64(array.type):
        array = array.cast(pa.float64(), safe=False)
    values: Numbers = array.to_numpy(zero_copy_only=array.null_count == 0)
    return values


def _seconds(array: pa.Array, zone: str) -> Numbers:
    if array.type.tz is None and zone != "UTC":
        array = pc.assume_timezone(array, zone, ambiguous="earliest", nonexistent="earliest")
    return _floats(array.view(pa.int64())) / _UNITS[array.type.unit]


def _zoned(texts: pa.StringArray) -> pa.DataType:
    """The timestamp type of RFC 3339 texts, judged by the first one that is there."""
    known = texts if texts.null_count == 0 else texts.drop_null()
    first = known[0].as_py() if len(known) else ""
    has_zone = first[-1:] in {"Z", "z"} or "+" in first or "-" in first[10:]
    return pa.timestamp("us", tz="UTC" if has_zone else None)


def _number(value: Any) -> float | None:
    """A number, NaN when missing, None when it is of the wrong type."""
    if value is None:
        return math.nan
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str) and "_" not in value:
        try:
            return float(value) if value.strip() else math.nan
        except ValueError:
            return None
    return None


def _instant(value: Any, zone: ZoneInfo) -> float | None:
    if isinstance(value, bool):
        return None
    number = _number(value)
    if number is not None or not isinstance(value, str):
        return number
    try:
        moment = datetime.fromisoformat(value.strip().upper())
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None


def _each(values: Sequence[Any], convert: Any) -> Reading:
    converted = [convert(value) for value in values]
    wrong = np.fromiter((value is None for value in converted), np.bool_, len(converted))
    return Reading(np.array(converted, dtype=np.float64), wrong if wrong.any() else None)


def _by_code(column: pa.DictionaryArray, entries: Reading) -> Reading:
    """The reading of a dictionary column from the reading of its dictionary."""
    codes = _codes(column)
    values = np.append(entries.values, np.nan)[codes]
    if entries.wrong is None:
        return Reading(values)
    wrong = np.append(entries.wrong, False)[codes]
    return Reading(values, wrong if wrong.any() else None)


def _codes(column: pa.DictionaryArray) -> NDArray[np.int32]:
    """Codes of a dictionary column, -1 where null."""
    indices = column.indices.cast(pa.int32())
    if indices.null_count:
        indices = indices.fill_null(MISSING)
    codes: NDArray[np.int32] = indices.to_numpy()
    return codes


def _all_wrong(column: pa.Array) -> Reading:
    wrong = column.is_valid().to_numpy(zero_copy_only=False)
    return Reading(np.full(len(column), np.nan), wrong if wrong.any() else None)


# --- texts -----------------------------------------------------------------------------------------


def canonical_text(array: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """Ids, classes and categories as text.

    Strings as they are; "true" and "false"; integers and floats without a fraction as digits ("1", never
    "1.0" or "1e+16" below 2**53); decimals without trailing zeros; dates and times as Arrow prints them. Null
    and NaN are null. Equal values of different number types have equal texts.

    Raises
    ------
    TooLargeError
        A dictionary would expand to more than 1 GiB of text.
    ArrowInvalid, ArrowNotImplementedError
        The type has no text (lists, structs, bytes that are not UTF-8).
    """
    array = plain(array)
    kind = array.type
    if pa.types.is_string(kind):
        return array
    if pa.types.is_dictionary(kind):
        return _expand(array)
    if pa.types.is_floating(kind):
        return _float_text(array)
    if pa.types.is_decimal(kind):
        text = array.cast(pa.string())
        fraction = pc.match_substring(text, ".")
        return pc.if_else(fraction, pc.replace_substring_regex(text, r"\.?0+$", ""), text)
    return array.cast(pa.string())


def _expand(array: pa.DictionaryArray) -> pa.StringArray:
    entries = canonical_text(array.dictionary)
    lengths = _floats(pc.binary_length(entries))
    if float(np.nansum(np.append(lengths, 0)[_codes(array)])) > MAXIMUM_TEXT_BYTES:
        raise TooLargeError(f"A dictionary column expands to more than {MAXIMUM_TEXT_BYTES} bytes of text.")
    return entries.take(array.indices)


def _float_text(array: pa.Array) -> pa.StringArray:
    values = _floats(array)
    whole = (np.floor(values) == values) & (np.abs(values) <= _EXACT)
    digits = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
    if whole.all():
        return digits
    text = pc.if_else(pa.array(whole), digits, array.cast(pa.string()))
    return pc.if_else(pa.array(np.isnan(values)), pa.scalar(None, pa.string()), text)


def text_of(value: Any) -> str | None:
    """The canonical text of one Python value; None when it is missing (None, NaN)."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text: str | None = canonical_text(pa.array([value]))[0].as_py()
    return text


def texts(column: Source) -> tuple[pa.StringArray, Mask | None]:
    """A column's canonical texts, and which values have none because of their type."""
    if isinstance(column, list):
        wrong = np.fromiter((isinstance(value, (list, dict)) for value in column), np.bool_, len(column))
        scalars = [None if bad else text_of(value) for value, bad in zip(column, wrong, strict=True)]
        return pa.array(scalars, pa.string()), wrong if wrong.any() else None
    try:
        return canonical_text(column), None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(column), pa.string()), _all_wrong(column).wrong


def inexact(column: Source) -> Mask | None:
    """Which floats are so large that several integers have the same text; None when none is."""
    if isinstance(column, list):
        mask = np.fromiter((isinstance(v, float) and abs(v) > _EXACT for v in column), np.bool_, len(column))
    elif pa.types.is_floating(column.type):
        mask = np.abs(_floats(column)) > _EXACT
    else:
        return None
    return mask if mask.any() else None


def categorical(column: Source) -> Reading:
    """A dictionary of distinct canonical texts with int32 codes; dictionary columns are not decoded."""
    wrong: Mask | None = None
    if isinstance(column, list):
        column, wrong = texts(column)
    kind = column.type
    encoded = column
    if not pa.types.is_dictionary(kind):
        try:
            encoded = column.dictionary_encode()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            encoded = pa.nulls(len(column), pa.string()).dictionary_encode()
            wrong = _all_wrong(column).wrong
        if pa.types.is_string(encoded.type.value_type):
            return Reading(encoded, wrong)
    try:
        dictionary = canonical_text(encoded.dictionary)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return Reading(absent(Kind.CATEGORICAL, len(column)), _all_wrong(column).wrong)
    distinct = dictionary.dictionary_encode()
    if len(distinct.dictionary) == len(dictionary):
        if encoded.type.index_type == pa.int32() and dictionary is encoded.dictionary:
            return Reading(encoded, wrong)
        return Reading(_dictionary(_codes(encoded), dictionary), wrong)
    codes = np.append(_codes(distinct), np.int32(MISSING))[_codes(encoded)]
    return Reading(_dictionary(codes, distinct.dictionary), wrong)


def _dictionary(codes: NDArray[Any], dictionary: pa.StringArray) -> pa.DictionaryArray:
    codes = codes.astype(np.int32, copy=False)
    missing = codes < 0
    indices = pa.array(codes, mask=missing) if missing.any() else pa.array(codes)
    return pa.DictionaryArray.from_arrays(indices, dictionary)


def truth(column: Source) -> tuple[NDArray[np.int8], Mask | None]:
    """1 true, 0 false, -1 missing or wrong; and which values are neither."""
    if not isinstance(column, list) and pa.types.is_boolean(column.type):
        return column.cast(pa.int8()).fill_null(MISSING).to_numpy(), None
    reading = categorical(column)
    entries = [_TRUTH.get(text.lower(), WRONG) for text in reading.values.dictionary.to_pylist()]
    codes = np.array([*entries, MISSING], dtype=np.int8)[_codes(reading.values)]
    wrong = codes == WRONG
    if reading.wrong is not None:
        wrong |= reading.wrong
    return np.maximum(codes, np.int8(MISSING)), wrong if wrong.any() else None


def matches(column: Source, positive: Any) -> tuple[NDArray[np.int8], Mask | None]:
    """1 where a value is `positive`, 0 where it is something else, -1 missing; and wrong values.

    When `positive` is true, false, 1 or 0, or one of their texts, then values must be boolean in that sense
    and 1, 1.0, "1", true and "true" are the same. Otherwise canonical texts are compared.
    """
    text = text_of(positive)
    if text is not None and text.lower() in _TRUTH:
        codes, wrong = truth(column)
        if not _TRUTH[text.lower()]:
            codes = np.where(codes < 0, codes, 1 - codes).astype(np.int8)
        return codes, wrong
    reading = categorical(column)
    entries = [int(entry == text) for entry in reading.values.dictionary.to_pylist()]
    return np.array([*entries, MISSING], dtype=np.int8)[_codes(reading.values)], reading.wrong


# --- embeddings ------------------------------------------------------------------------------------


def embedding(column: Source, size: int | None = None) -> Reading:
    """float32 (rows, size); without `size` the first list's length counts. Missing rows are all NaN."""
    if not isinstance(column, list):
        kind = column.type
        if pa.types.is_string(kind):
            column = column.to_pylist()
        elif pa.types.is_null(kind):
            column = [None] * len(column)
        elif not _is_vector(kind):
            return Reading(np.full((len(column), size or 0), np.nan, np.float32), _all_wrong(column).wrong)
        else:
            return _lists(column, size)
    vectors = [_vector(value) for value in column]
    lists = pa.array([vector or None for vector in vectors], pa.list_(pa.float32()))
    reading = _lists(lists, size)
    wrong = np.fromiter((vector == [] for vector in vectors), np.bool_, len(vectors))
    if reading.wrong is not None:
        wrong |= reading.wrong
    return Reading(reading.values, wrong if wrong.any() else None)


def _is_vector(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _lists(array: pa.Array, size: int | None) -> Reading:
    lengths = pc.list_value_length(array).fill_null(MISSING).to_numpy(zero_copy_only=False)
    if size is None:
        known = lengths[lengths > 0]
        size = int(known[0]) if len(known) else 0
    fits = lengths == size
    wrong = (lengths != MISSING) & ~fits
    rows = array if fits.all() else array.filter(pa.array(fits))
    flat = rows.flatten().cast(pa.float32(), safe=False)
    vectors = flat.to_numpy(zero_copy_only=False).reshape(len(rows), size)
    if not fits.all():
        whole = np.full((len(array), size), np.nan, np.float32)
        whole[fits] = vectors
        vectors = whole
    return Reading(vectors, wrong if wrong.any() else None)


def _vector(value: Any) -> list[float] | None:
    """A list of numbers; [] when it is something else; None when missing."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return []
    if value is None or value == "":
        return None
    if not isinstance(value, list):
        return []
    numbers = [math.nan if item is None else item for item in value]
    scalar = all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in numbers)
    try:
        return [float(item) for item in numbers] if scalar else []
    except OverflowError:
        return []


def inferred_kind(column: Source) -> tuple[Kind, int | None] | None:
    """The kind of an undeclared column and an embedding's size; None when nothing can be said.

    Texts are datetimes when all that are there are RFC 3339 texts; all-null columns, structs and lists of
    other things than numbers have no kind.
    """
    if isinstance(column, list):
        return None if any(isinstance(value, (list, dict)) for value in column) else (Kind.CATEGORICAL, None)
    kind = column.type
    if pa.types.is_null(kind) or column.null_count == len(column):
        return None
    if pa.types.is_boolean(kind):
        return Kind.BOOLEAN, None
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Kind.DATETIME, None
    if _is_vector(kind):
        size = embedding(column).values.shape[1]
        return (Kind.EMBEDDING, size) if size else None
    if pa.types.is_dictionary(kind):
        return Kind.CATEGORICAL, None
    if pa.types.is_string(kind):
        return (Kind.DATETIME if _all_times(column) else Kind.CATEGORICAL), None
    if pa.types.is_duration(kind) or not pa.types.is_primitive(kind):
        return (Kind.NUMERIC, None) if pa.types.is_duration(kind) or pa.types.is_decimal(kind) else None
    return None if pa.types.is_temporal(kind) else (Kind.NUMERIC, None)


def _all_times(column: pa.StringArray) -> bool:
    try:
        column.drop_null().cast(_zoned(column))
    except pa.ArrowInvalid:
        return False
    return True
