"""Rows of any accepted kind as request bodies, and the keys under which they are counted once."""

from __future__ import annotations

import gzip
import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import zstandard

from exporter.columns import text_of

ARROW_TYPE = "application/vnd.apache.arrow.stream"
BASELINE_TYPE = "application/vnd.ml-exporter.baseline"
JSON_TYPE = "application/json"
PROFILE_TYPE = "application/vnd.ml-exporter.profile"

_BATCH_BYTES = 16 * 2**20


def as_table(data: Any) -> pa.Table:
    """Columns of any accepted kind of rows; values of several types in one column become text."""
    pandas = sys.modules.get("pandas")
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return data
    if pandas is not None and isinstance(data, pandas.DataFrame):
        columns = {str(name): data.iloc[:, i] for i, name in enumerate(data.columns)}
        if len(columns) != data.shape[1]:
            raise ValueError("expected distinct column names")
    elif isinstance(data, Mapping):
        columns = {str(name): values for name, values in data.items()}
    elif hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    elif isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        if not all(isinstance(row, Mapping) for row in data):
            raise TypeError("expected a sequence of mappings, one a row")
        names = dict.fromkeys(name for row in data for name in row)
        columns = {str(name): [row.get(name) for row in data] for name in names}
    else:
        raise TypeError(f"expected a DataFrame, a Table, a mapping or rows, got {type(data).__name__}")
    return pa.table({name: _array(values) for name, values in columns.items()})


def _array(values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    try:
        return text_of(value)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return str(value)


def arrow_bytes(table: pa.Table) -> bytes:
    """Serialise rows as an Arrow stream whose bytes depend on them alone, not on how they were sliced."""
    table = table.replace_schema_metadata(None).combine_chunks()
    if any(column.num_chunks and column.chunk(0).offset for column in table.columns):
        table = table.take(pa.array(range(table.num_rows), pa.int64())).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def compressed(body: bytes, encoding: str) -> bytes:
    """Compress; the same body always gives the same bytes."""
    if encoding == "gzip":
        return gzip.compress(body, compresslevel=5, mtime=0)
    return zstandard.ZstdCompressor(level=3).compress(body)


def idempotency_key(path: str, query: Mapping[str, str], position: int | str, content: bytes) -> str:
    """SHA-256 over where the content goes, its position in what is pushed, and the content (uncompressed)."""
    digest = hashlib.sha256()
    for part in (path, urlencode(sorted(query.items())), str(position)):
        digest.update(part.encode() + b"\0")
    digest.update(content)
    return digest.hexdigest()


def rows_per_batch(table: pa.Table, batch_rows: int) -> int:
    width = table.nbytes / max(1, table.num_rows)
    return int(max(1, min(batch_rows, _BATCH_BYTES // max(1.0, width))))
