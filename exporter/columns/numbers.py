"""Numbers and times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter.columns.source import Reading, Source, all_wrong, by_code, plain

Numbers = NDArray[np.float64]
_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def numeric(column: Source) -> Reading:
    """float64 values; without a copy when the column is float64 without nulls."""
    if isinstance(column, list):
        return _each(column, _number)
    kind = column.type
    if pa.types.is_float64(kind):
        return Reading(floats(column))
    if pa.types.is_dictionary(kind):
        return by_code(column, numeric(plain(column.dictionary)))
    if pa.types.is_string(kind):
        return _number_texts(column)
    if pa.types.is_duration(kind):
        return Reading(floats(column.view(pa.int64())) / _UNITS[kind.unit])
    return Reading(floats(column)) if _is_number(kind) else all_wrong(column)


def instants(column: Source, zone: str = "UTC") -> Reading:
    """Seconds since the Unix epoch as float64."""
    if isinstance(column, list):
        place = ZoneInfo(zone)
        return _each(column, lambda value: _instant(value, place))
    kind = column.type
    if pa.types.is_dictionary(kind):
        return by_code(column, instants(plain(column.dictionary), zone))
    if pa.types.is_string(kind):
        return _time_texts(column, zone)
    if pa.types.is_timestamp(kind):
        return Reading(_seconds(column, zone))
    if pa.types.is_date(kind):
        return Reading(_seconds(column.cast(pa.timestamp("ms")), zone))
    return Reading(floats(column)) if _is_number(kind, truth=False) else all_wrong(column)


def _is_number(kind: pa.DataType, *, truth: bool = True) -> bool:
    """Whether Arrow casts the type to float64; null is missing, `truth` says whether booleans are numbers."""
    tests = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null)
    return any(test(kind) for test in tests) or (truth and pa.types.is_boolean(kind))


def _number_texts(column: pa.StringArray) -> Reading:
    try:
        return Reading(floats(column.cast(pa.float64())))
    except pa.ArrowInvalid:
        return _each(column.to_pylist(), _number)


def _time_texts(column: pa.StringArray, zone: str) -> Reading:
    """Texts that are all of the first one's form at once, others one by one."""
    target = zoned(column)
    try:
        if target is None:
            return Reading(floats(column.cast(pa.float64())))
        return Reading(_seconds(column.cast(target), zone))
    except pa.ArrowInvalid:
        return instants(column.to_pylist(), zone)


def floats(array: pa.Array) -> Numbers:
    if not pa.types.is_float64(array.type):
        array = array.cast(pa.float64(), safe=False)
    values: Numbers = array.to_numpy(zero_copy_only=array.null_count == 0)
    return values


def _seconds(array: pa.Array, zone: str) -> Numbers:
    if array.type.tz is None and zone != "UTC":
        array = pc.assume_timezone(array, zone, ambiguous="earliest", nonexistent="earliest")
    return floats(array.view(pa.int64())) / _UNITS[array.type.unit]


def zoned(texts: pa.StringArray) -> pa.DataType | None:
    """The timestamp type of RFC 3339 texts, judged by the first one that is there; None: it is a number."""
    known = texts if texts.null_count == 0 else texts.drop_null()
    first = known[0].as_py() if len(known) else ""
    if first.replace(".", "", 1).isdigit():
        return None
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


def _each(values: Sequence[Any], convert: Callable[[Any], float | None]) -> Reading:
    converted = [convert(value) for value in values]
    wrong = np.fromiter((value is None for value in converted), np.bool_, len(converted))
    return Reading(np.array(converted, dtype=np.float64), wrong if wrong.any() else None)
