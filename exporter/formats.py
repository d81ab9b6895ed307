"""Bytes of every content type that can be pushed, as Arrow tables.

=================================== ===============================================================
`application/json`                  `{"rows": [{...}]}`, `{"columns": {"a": [...]}}` or `[{...}]`; NaN and
                                    Infinity, as Python writes them, are taken
`application/x-ndjson`              one object a line
`text/csv`                          comma-separated, with a header; empty = missing, and NA, NaN, null and the
                                    like where a number is expected. Lines with another number of
                                    columns are left out and counted
`application/vnd.apache.arrow.stream`   the IPC stream
`application/vnd.apache.parquet`
=================================== ===============================================================

Nothing is believed that a body declares about itself before it was compared with :class:`Limits`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from exporter.arrow_columns import bounded
from exporter.arrow_messages import declared
from exporter.columns import UNREADABLE_ROWS
from exporter.compression import Bytes
from exporter.errors import TooLargeError, UnreadableError, UnsupportedFormatError
from exporter.json_rows import decode_json, decode_ndjson, numeric_names
from exporter.limits import Limits
from exporter.reading import check_utf8, guarded, opened
from exporter.schema import Kind, Schema, Task

__all__ = [
    "ARROW",
    "CSV",
    "JSON",
    "NDJSON",
    "PARQUET",
    "Limits",
    "decode",
    "encode_table",
    "media_type",
    "read",
]

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"

_NULL_NUMBERS = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "Null", "None", "<NA>"]
_BATCH_ROWS = 131_072
_BLOCK_BYTES = 1 << 20


def decode(
    body: Bytes,
    content_type: str,
    content_encoding: str | None = None,
    *,
    limits: Limits | None = None,
    schema: Schema | None = None,
) -> pa.Table:
    """The rows in a body, as they came, one column a name.

    The schema's kinds choose column types where a format has none (CSV) or several (JSON); what does not fit
    stays as it is, for :func:`exporter.batch.validate_batch` to reject row by row. Arrow's Parquet reader
    ends the process over some damaged files: use :class:`exporter.decoding.Decoder` for bodies of strangers.

    Raises
    ------
    UnsupportedFormatError
        Another content type or encoding.
    UnreadableError
        Bytes that are not of that type, or cut.
    UnusableBatchError
        Readable, but not rows of named columns; or a name comes twice.
    TooLargeError
        Beyond `limits`.
    """
    limits = limits or Limits()
    kind = media_type(content_type)
    return read(opened(body, content_encoding, limits), kind, limits, schema)


def read(content: Bytes, kind: str, limits: Limits, schema: Schema | None, *, fast: bool = False) -> pa.Table:
    """What `decode` does once the body is decompressed; `fast` as in `exporter.json_rows`."""
    if fast and kind in (JSON, NDJSON):
        return guarded(_READERS[kind], content, limits, schema, fast=True)
    return guarded(_READERS[kind], content, limits, schema)


def media_type(content_type: str) -> str:
    """The known media type in a `Content-Type` header, without its parameters."""
    name, _, parameters = content_type.partition(";")
    name = name.strip().lower()
    charset = parameters.lower().partition("charset=")[2].split(";")[0].strip(' "')
    if name not in _READERS or charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise UnsupportedFormatError(
            f"Expected a Content-Type of {', '.join(_READERS)} in UTF-8, but {content_type!r:.120} came."
        )
    return name


def encode_table(table: pa.Table, content_type: str = ARROW) -> bytes:
    """A table as a body of one of the columnar types, or CSV."""
    sink = io.BytesIO()
    if content_type == ARROW:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    elif content_type == PARQUET:
        pyarrow.parquet.write_table(table, sink, compression="zstd")
    elif content_type == CSV:
        pyarrow.csv.write_csv(table, sink)
    else:
        raise UnsupportedFormatError(
            f"Tables are written as {ARROW}, {PARQUET} or {CSV}, not {content_type!r}."
        )
    return sink.getvalue()


def _check(limits: Limits, *, rows: int = 0, columns: int = 0, size: int = 0) -> None:
    for number, maximum, unit in (
        (rows, limits.rows, "rows"),
        (columns, limits.columns, "columns"),
        (size, limits.decoded_bytes, "bytes once decoded"),
    ):
        if number > maximum:
            raise TooLargeError(f"Expected at most {maximum} {unit}, but {number} came.")


# --- Arrow and Parquet -----------------------------------------------------------------------------


def _decode_arrow(body: Bytes, limits: Limits, _schema: Schema | None) -> pa.Table:
    found = declared(body)
    _check(limits, rows=found.rows, size=found.bytes)
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        _check(limits, columns=len(reader.schema))
        table = reader.read_all()
    _check(limits, rows=table.num_rows)
    return _checked(table, limits)


def _decode_parquet(body: Bytes, limits: Limits, _schema: Schema | None) -> pa.Table:
    source = pa.BufferReader(body)
    metadata = pyarrow.parquet.read_metadata(source)
    _check(limits, rows=metadata.num_rows, columns=metadata.num_columns)
    chunks = [
        metadata.row_group(group).column(index)
        for group in range(metadata.num_row_groups)
        for index in range(metadata.num_columns)
    ]
    _check(
        limits,
        size=max(
            sum(one.total_uncompressed_size for one in chunks), 8 * sum(one.num_values for one in chunks)
        ),
    )
    texts = [
        metadata.schema.column(index).path
        for index in range(metadata.num_columns)
        if metadata.schema.column(index).physical_type == "BYTE_ARRAY"
        and metadata.schema.column(index).max_repetition_level == 0
    ]
    with pyarrow.parquet.ParquetFile(source, read_dictionary=texts) as file:
        batches, size = [], 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            size += batch.nbytes
            _check(limits, size=size)
            batches.append(batch)
        schema = batches[0].schema if batches else file.schema_arrow
    table = pa.Table.from_batches(batches, schema)
    return _checked(table, limits)


def _checked(table: pa.Table, limits: Limits) -> pa.Table:
    """The table once every offset, code and text in it was validated, without metadata of the sender."""
    table.validate(full=True)
    schema = table.schema
    if schema.metadata is not None or any(field.metadata for field in schema):
        table = table.cast(pa.schema([field.remove_metadata() for field in schema]))
    return bounded(table, limits.decoded_bytes)


# --- CSV -------------------------------------------------------------------------------------------


def _decode_csv(body: Bytes, limits: Limits, schema: Schema | None) -> pa.Table:
    check_utf8(body)
    names = _header(body)
    _check(limits, columns=len(names))
    types = _csv_types(schema)
    ragged: list[int] = []

    def skip(_row: Any) -> str:
        ragged.append(1)
        return "skip"

    def parse(column_types: dict[str, pa.DataType], block_size: int) -> pa.Table:
        ragged.clear()
        return pyarrow.csv.read_csv(
            pa.BufferReader(body),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=block_size),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=column_types, null_values=_NULL_NUMBERS, strings_can_be_null=False
            ),
        )

    try:
        table = parse(types, _BLOCK_BYTES)
    except pa.ArrowInvalid:
        # Some text is no number, or a row is longer than a block: take all columns as texts, and make numbers
        # of those that are.
        table = parse(dict.fromkeys(names, pa.string()), min(len(body) + 1, 1 << 30))
        table = _converted(table, types)
    _check(limits, rows=table.num_rows, size=table.nbytes)
    table = _without_blanks(table.combine_chunks())
    return table.replace_schema_metadata({UNREADABLE_ROWS: str(len(ragged))} if ragged else None)


def _header(body: Bytes) -> list[str]:
    text = bytes(body[:_BLOCK_BYTES]).partition(b"\n")[0].decode(errors="replace")
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        raise UnreadableError(f"The CSV header cannot be read: {error}") from error


def _csv_types(schema: Schema | None) -> dict[str, pa.DataType]:
    """Types of the columns that must not be guessed: "007" is an id, not a number."""
    if schema is None:
        return {}
    types = dict.fromkeys(numeric_names(schema), pa.float64())
    exact = {Kind.CATEGORICAL, Kind.DATETIME, Kind.EMBEDDING}
    texts = {column.name for column in schema.features or () if column.kind in exact}
    texts.update(name for name in (schema.id, schema.timestamp, schema.group, *schema.segments) if name)
    if schema.task is Task.MULTICLASS:
        texts.update((schema.prediction, schema.label))
    return types | dict.fromkeys(texts, pa.string())


def _converted(table: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:
    absent = pa.array(_NULL_NUMBERS)
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        target = types.get(name)
        if target == pa.string():
            columns.append(column)
            continue
        known = pc.if_else(pc.is_in(column, absent), pa.scalar(None, pa.string()), column)
        columns.append(_cast(known, (target,) if target else (pa.int64(), pa.bool_(), pa.float64())))
    return pa.Table.from_arrays(columns, names=table.column_names)


def _cast(column: pa.ChunkedArray, targets: tuple[pa.DataType, ...]) -> pa.ChunkedArray:
    for target in targets:
        try:
            return column.cast(target)
        except pa.ArrowInvalid:
            continue
    return column


def _without_blanks(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            blank = pc.equal(table.column(index), "")
            if pc.any(blank).as_py():
                column = pc.if_else(blank, pa.scalar(None, pa.string()), table.column(index))
                table = table.set_column(index, field, column)
    return table


_READERS: dict[str, Callable[..., pa.Table]] = {
    JSON: decode_json,
    NDJSON: decode_ndjson,
    CSV: _decode_csv,
    ARROW: _decode_arrow,
    PARQUET: _decode_parquet,
}
