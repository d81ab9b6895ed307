"""A column of a table as one array of a plain type, or as Python values where they have several types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

JSON_TEXT = {b"ml_exporter.values": b"json"}
"""Field metadata of a column whose values have several types: each value is its JSON text."""

SEVERAL_TYPES = {b"ml_exporter.came_as": b"several types"}
"""Field metadata of a column of texts that came as values of several types."""

UNREADABLE_ROWS = b"ml_exporter.unreadable_rows"
"""Table metadata: rows that came but could not be split into columns, as decimal text."""

MISSING = -1
"""The code of a missing value."""

Mask: TypeAlias = NDArray[np.bool_]
Source: TypeAlias = "pa.Array | list[Any]"


@dataclass(frozen=True, slots=True)
class Reading:
    """A column's values, and which had the wrong type and are missing for that (None: none had)."""

    values: Any
    wrong: Mask | None = None


def source(table: pa.Table, name: str) -> Source:
    """One column of a table as one array, or as Python values when it is marked :data:`JSON_TEXT`."""
    index = table.schema.get_field_index(name)
    column = table.column(index)
    if is_json_text(table.schema.field(index)):
        return _parsed("[" + ",".join(text or "null" for text in column.to_pylist()) + "]")
    return plain(column)


def _parsed(text: str) -> list[Any]:
    try:
        return list(orjson.loads(text))
    except orjson.JSONDecodeError:  # NaN, integers of any size
        return list(json.loads(text))


def is_json_text(field: pa.Field) -> bool:
    """Whether a column's values are JSON texts of several types."""
    metadata = field.metadata
    return metadata is not None and JSON_TEXT.items() <= metadata.items()


def has_several_types(field: pa.Field) -> bool:
    """Whether a column's values came, or still are, of several types."""
    return is_json_text(field) or SEVERAL_TYPES.items() <= (field.metadata or {}).items()


_PLAIN = frozenset(
    kind.id for kind in (pa.float64(), pa.float32(), pa.int64(), pa.int32(), pa.bool_(), pa.string())
)
"""The usual types, which are plain already."""


def is_usual(kind: pa.DataType) -> bool:
    """Whether a type is one of the usual ones, which are plain already."""
    return kind.id in _PLAIN


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array of a plain type: chunks joined, extension types and views undone; no needless copy."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks > 1 and pa.types.is_dictionary(column.type):
            column = column.unify_dictionaries()
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    else:
        array = column
    kind = array.type
    if is_usual(kind):
        return array
    if isinstance(array, pa.ExtensionArray):
        return plain(array.storage)
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(array))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return array.cast(pa.string())
    if pa.types.is_float16(kind):
        return array.cast(pa.float32())
    return array


def by_code(column: pa.DictionaryArray, entries: Reading) -> Reading:
    """The reading of a dictionary column from the reading of its dictionary."""
    codes = codes_of(column)
    values = np.append(entries.values, np.nan)[codes]
    if entries.wrong is None:
        return Reading(values)
    wrong = np.append(entries.wrong, False)[codes]
    return Reading(values, wrong if wrong.any() else None)


def codes_of(column: pa.DictionaryArray) -> NDArray[np.int32]:
    """Codes of a dictionary column, -1 where null."""
    indices = column.indices.cast(pa.int32())
    if indices.null_count:
        indices = indices.fill_null(MISSING)
    codes: NDArray[np.int32] = indices.to_numpy()
    return codes


def all_wrong(column: pa.Array) -> Reading:
    wrong = column.is_valid().to_numpy(zero_copy_only=False)
    return Reading(np.full(len(column), np.nan), wrong if wrong.any() else None)
