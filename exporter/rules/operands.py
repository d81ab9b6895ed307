"""Pushed columns as the worker's database reads them.

Declared numeric, boolean and datetime columns are read as what they are declared, whatever type they
came in; a value that is not of that kind is NULL. Other columns keep the type they came in. NaN is NULL
(DuckDB puts NaN above every number), times become UTC without a zone, columns of mixed types become
texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.columns import instants, numeric, source, texts, truth
from exporter.columns.source import Source
from exporter.schema import Kind

PIECE_ROWS = 65_536
PIECE_BYTES = 32 * 2**20
"""The worker gets at most so many rows and about so many bytes at once."""


def operand(column: Source, kind: Kind | None, zone: str = "UTC") -> pa.Array:
    """Return one column for the database.

    Raises
    ------
    TypeError
        The column holds lists, structs or maps.
    """
    if kind is Kind.DATETIME and not _is_timestamp(column):
        return _timestamps(instants(column, zone).values)
    if kind is Kind.BOOLEAN:
        codes, _ = truth(column)
        return pa.array(codes == 1, mask=codes < 0)
    if kind is Kind.NUMERIC and not _is_exact(column):
        return pa.array(numeric(column).values, from_pandas=True)
    return texts(column)[0] if isinstance(column, list) else _as_pushed(column, zone)


def _as_pushed(column: pa.Array, zone: str) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return _as_pushed(column.dictionary_decode(), zone)
    if pa.types.is_nested(column.type):
        raise TypeError(f"expected single values, got {column.type}")
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if _is_timestamp(column):
        return _utc(column, zone)
    return column.cast(pa.float64()) if pa.types.is_decimal256(column.type) else column


def pieces(table: pa.Table, columns: Mapping[str, Kind | None], zone: str) -> Iterator[pa.Table]:
    """Cut the rows into pieces, with column i of `columns` read by `operand` and called ``k<i>``."""
    step = _piece_rows(table.select(list(columns)))
    for start in range(0, table.num_rows, step):
        part = table.slice(start, step)
        arrays = [operand(source(part, name), kind, zone) for name, kind in columns.items()]
        yield pa.table(arrays, names=[f"k{i}" for i in range(len(arrays))])


def _piece_rows(table: pa.Table) -> int:
    width = 0.0
    for column in table.columns:
        if pa.types.is_dictionary(column.type) and column.num_chunks:
            entries = (chunk.dictionary for chunk in column.chunks)
            width += max(
                max((len(str(text)) for text in dictionary.to_pylist()), default=1) for dictionary in entries
            )
        else:
            width += column.nbytes / max(1, table.num_rows)
    return int(max(1, min(PIECE_ROWS, PIECE_BYTES // max(1.0, width))))


def _is_timestamp(column: Source) -> bool:
    return not isinstance(column, list) and bool(pa.types.is_timestamp(column.type))


def _is_exact(column: Source) -> bool:
    if isinstance(column, list):
        return False
    return bool(pa.types.is_integer(column.type) or pa.types.is_decimal128(column.type))


def _timestamps(seconds: Any) -> pa.Array:
    micros = seconds * 1e6
    known = np.abs(micros) < 2**62
    return pa.array(np.where(known, micros, 0).round().astype(np.int64), mask=~known).cast(pa.timestamp("us"))


def _utc(column: pa.Array, zone: str) -> pa.Array:
    if column.type.tz is None and zone != "UTC":
        column = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="earliest")
    zoned = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return zoned.view(pa.int64()).cast(pa.timestamp("us"))
