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

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from exporter.columns.embeddings import embedding, is_vector
from exporter.columns.numbers import instants, numeric, zoned
from exporter.columns.source import Reading, Source
from exporter.columns.texts import categorical, dictionary, truth
from exporter.schema import Kind


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
            return Reading(dictionary(np.where(codes < 0, -1, codes), pa.array(["false", "true"])), wrong)
        case Kind.EMBEDDING:
            return embedding(column, size)


def absent(kind: Kind, rows: int, *, size: int | None = None) -> Any:
    """The values of a column in which all `rows` are missing."""
    return read(pa.nulls(rows), kind, size=size).values


def inferred_kind(column: Source) -> tuple[Kind, int | None] | None:
    """The kind of an undeclared column and an embedding's size; None when nothing can be said.

    Texts are datetimes when all that are there are RFC 3339 texts; all-null columns, structs and lists of
    other things than numbers have no kind.
    """
    if isinstance(column, list):
        return None if any(isinstance(value, (list, dict)) for value in column) else (Kind.CATEGORICAL, None)
    kind = column.type
    if column.null_count == len(column):
        return None
    if is_vector(kind):
        size = embedding(column).values.shape[1]
        return (Kind.EMBEDDING, size) if size else None
    found = next((kind_of for test, kind_of in _KINDS if test(kind)), None)
    if found is Kind.CATEGORICAL and pa.types.is_string(kind) and _all_times(column):
        found = Kind.DATETIME
    return None if found is None else (found, None)


_KINDS: tuple[tuple[Callable[[pa.DataType], bool], Kind], ...] = (
    (pa.types.is_boolean, Kind.BOOLEAN),
    (pa.types.is_dictionary, Kind.CATEGORICAL),
    (pa.types.is_string, Kind.CATEGORICAL),
    (pa.types.is_timestamp, Kind.DATETIME),
    (pa.types.is_date, Kind.DATETIME),
    (pa.types.is_integer, Kind.NUMERIC),
    (pa.types.is_floating, Kind.NUMERIC),
    (pa.types.is_decimal, Kind.NUMERIC),
    (pa.types.is_duration, Kind.NUMERIC),
)


def _all_times(column: pa.StringArray) -> bool:
    target = zoned(column)
    try:
        return target is not None and len(column.cast(target)) > 0
    except pa.ArrowInvalid:
        return False
