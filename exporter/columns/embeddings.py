"""Embeddings: lists of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from exporter.columns.source import MISSING, Reading, Source, all_wrong


def embedding(column: Source, size: int | None = None) -> Reading:
    """float32 (rows, size); without `size` the first list's length counts. Missing rows are all NaN."""
    if not isinstance(column, list):
        kind = column.type
        if pa.types.is_string(kind):
            column = column.to_pylist()
        elif pa.types.is_null(kind):
            column = [None] * len(column)
        elif not is_vector(kind):
            return Reading(np.full((len(column), size or 0), np.nan, np.float32), all_wrong(column).wrong)
        else:
            return _lists(column, size)
    vectors = [_vector(value) for value in column]
    lists = pa.array([vector or None for vector in vectors], pa.list_(pa.float32()))
    reading = _lists(lists, size)
    wrong = np.fromiter((vector == [] for vector in vectors), np.bool_, len(vectors))
    if reading.wrong is not None:
        wrong |= reading.wrong
    return Reading(reading.values, wrong if wrong.any() else None)


def is_vector(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


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
