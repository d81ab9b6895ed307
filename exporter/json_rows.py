"""JSON and NDJSON to Arrow columns.

Two parsers give the same table:

- `orjson`, then columns: takes every JSON text, and looks at the types of every value. A column whose values
  have several types becomes a column of JSON texts (:data:`exporter.columns.JSON_TEXT`), so that
  `validate_batch` can reject single rows.
- Arrow's reader, half as slow, for rows that all have the columns and types of the first ones. Anything else,
  and it gives up in favour of the other. It can be crashed by its input, so only worker processes
  (:mod:`exporter.decoding`) use it.
"""

from __future__ import annotations

import itertools
import json
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json

from exporter.columns.source import JSON_TEXT, UNREADABLE_ROWS
from exporter.compression import Bytes
from exporter.errors import TooLargeError, UnreadableError, UnusableBatchError
from exporter.limits import Limits
from exporter.reading import check_utf8
from exporter.schema import Kind, Schema, Task

_SHAPES = 'an array of objects, {"rows": [{...}, ...]} or {"columns": {"name": [...], ...}}'
_PROBED_ROWS = 20
_OPENING = re.compile(rb'\s*(?:\{\s*"rows"\s*:\s*)?\[\s*(?=\{)')
_CLOSING = re.compile(rb"\}\s*\]\s*\}?\s*\Z")
_SEPARATOR = re.compile(rb"\}\s*,\s*\{")
_TOO_DEEP = "JSON is nested too deeply."


def decode_json(body: Bytes, limits: Limits, schema: Schema | None, *, fast: bool = False) -> pa.Table:
    """A JSON document of rows or columns as a table; `fast` tries Arrow's reader (see above) first."""
    _check_values(body, limits)
    if fast:
        lines = _rows_as_lines(bytes(body))
        table = None if lines is None else _read_lines(*lines, limits, schema)
        if table is not None:
            return table
    document = _parse(body)
    if isinstance(document, dict) and "rows" in document:
        document = document["rows"]
    elif isinstance(document, dict) and "columns" in document:
        return _from_columns(document["columns"], limits, schema)
    if not isinstance(document, list):
        raise UnusableBatchError(f"Expected {_SHAPES}, but {_described(document)} came.")
    return _from_rows(document, limits, schema)


def decode_ndjson(body: Bytes, limits: Limits, schema: Schema | None, *, fast: bool = False) -> pa.Table:
    """Lines of JSON objects as a table; blank lines are skipped."""
    _check_values(body, limits)
    text = bytes(body).strip()
    if fast:
        table = _read_lines(text, text.count(b"\n") + 1, limits, schema)
        if table is not None:
            return table
    lines = [line for line in text.split(b"\n") if line and not line.isspace()]
    if len(lines) > limits.rows:
        raise TooLargeError(f"Expected at most {limits.rows} rows at once, but {len(lines)} came.")
    try:
        rows = [orjson.loads(line) for line in lines]
    except orjson.JSONDecodeError:
        rows = _parse_lines(lines)
    return _from_rows(rows, limits, schema)


def _check_values(body: Bytes, limits: Limits) -> None:
    """Every value but the first of an array or object follows a comma, and takes two bytes."""
    if len(body) > 2 * limits.json_values and bytes(body).count(b",") > limits.json_values:
        raise TooLargeError(
            f"Expected at most {limits.json_values} values in one JSON body; send less at once, or as Arrow."
        )


def _parse(text: Bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return _parse_python(bytes(text), error)


def _parse_python(text: bytes, error: orjson.JSONDecodeError) -> Any:
    """Python writes NaN and Infinity, which JSON does not know; they are taken as what they mean."""
    if b"NaN" not in text and b"Infinity" not in text and "infinity" not in error.msg:
        raise UnreadableError(f"The body is not JSON: {error}") from error
    try:
        document = json.loads(text)
        if b"\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise UnreadableError(_TOO_DEEP) from None
    except ValueError as second:  # lone surrogates are UnicodeEncodeErrors
        raise UnreadableError(f"The body is not JSON: {second}") from second
    return document


def _parse_lines(lines: Sequence[bytes]) -> list[Any]:
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(_parse(line))
        except UnreadableError as error:
            raise UnreadableError(f"Row {number} is unreadable: {error.message}") from error
    return rows


# --- orjson, then columns --------------------------------------------------------------------------


def _from_rows(rows: list[Any], limits: Limits, schema: Schema | None) -> pa.Table:
    if len(rows) > limits.rows:
        raise TooLargeError(f"Expected at most {limits.rows} rows at once, but {len(rows)} came.")
    received = len(rows)
    if not all(type(row) is dict for row in rows):
        rows = [row for row in rows if isinstance(row, dict)]
        if not rows:
            raise UnusableBatchError("Expected every row to be an object of column names and values.")
    return _table(_transposed(rows, limits), schema, received - len(rows))


def _transposed(rows: list[dict[str, Any]], limits: Limits) -> dict[str, Sequence[Any]]:
    names: dict[str, None] = dict.fromkeys(rows[0]) if rows else {}
    _check_width(len(names), limits)
    if len(names) > 1 and set(map(len, rows)) == {len(names)}:
        try:
            return dict(zip(names, zip(*map(operator.itemgetter(*names), rows), strict=True), strict=True))
        except KeyError:
            pass  # rows with as many, but other names
    for row in rows:
        if not row.keys() <= names.keys():
            names.update(dict.fromkeys(row))
            _check_width(len(names), limits)
    _check_cells(len(rows), len(names), limits)
    return {name: [row.get(name) for row in rows] for name in names}


def _from_columns(columns: Any, limits: Limits, schema: Schema | None) -> pa.Table:
    if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
        raise UnusableBatchError('Expected {"columns": {"name": [...], ...}} with an array for every name.')
    _check_width(len(columns), limits)
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        details = [{"column": name, "rows": len(values)} for name, values in columns.items()]
        raise UnusableBatchError(
            f"Expected columns of one length, but from {min(lengths)} to {max(lengths)} values came.",
            details=details[:100],
        )
    if lengths and max(lengths) > limits.rows:
        raise TooLargeError(f"Expected at most {limits.rows} rows at once, but {max(lengths)} came.")
    return _table(columns, schema, 0)


def _check_width(width: int, limits: Limits) -> None:
    if width > limits.columns:
        raise TooLargeError(f"Expected at most {limits.columns} columns, but at least {width} came.")


def _check_cells(rows: int, width: int, limits: Limits) -> None:
    if rows * width * 8 > limits.decoded_bytes:
        raise TooLargeError(
            f"{rows} rows of {width} names take more than {limits.decoded_bytes} bytes as columns."
        )


def _table(columns: Mapping[str, Sequence[Any]], schema: Schema | None, unreadable: int) -> pa.Table:
    numeric = numeric_names(schema)
    arrays, fields = [], []
    for name, values in columns.items():
        array = _array(values, as_float=name in numeric)
        mixed = array is None
        if array is None:
            array = pa.array([None if value is None else _dumped(value) for value in values], pa.string())
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata=JSON_TEXT if mixed else None))
    metadata = {UNREADABLE_ROWS: str(unreadable).encode()} if unreadable else None
    try:
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))
    except UnicodeEncodeError as error:
        raise UnreadableError("A column's name is not valid Unicode.") from error


def _array(values: Sequence[Any], *, as_float: bool) -> pa.Array | None:
    """An array of the one type that all values have; None when there is none."""
    types = set(map(type, values))
    types.discard(type(None))
    if not types:
        return pa.nulls(len(values), pa.float64() if as_float else pa.null())
    if types == {int, float} and not as_float and _lose_digits(values):
        return None
    if types <= {int, float} and (as_float or float in types):
        target = pa.float64()
    else:
        target = _ARROW_TYPES.get(types.pop()) if len(types) == 1 else None
    try:
        if target is None or (pa.types.is_list(target) and not _are_vectors(values)):
            return None
        if pa.types.is_float64(target) and int in types:
            values = [None if value is None else float(value) for value in values]
        return pa.array(values, target)
    except (OverflowError, pa.ArrowException, UnicodeEncodeError):
        return None


_ARROW_TYPES = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    list: pa.list_(pa.float64()),
}


def _lose_digits(values: Sequence[Any]) -> bool:
    return any(type(value) is int and abs(value) > 2**53 for value in values)


def _are_vectors(values: Sequence[Any]) -> bool:
    elements = itertools.chain.from_iterable(value for value in values if value is not None)
    return set(map(type, elements)) <= {int, float, type(None)}


def _dumped(value: Any) -> str:
    """JSON text of any value; what `orjson` cannot write (integers beyond 64 bits, NaN) as Python does."""
    try:
        if not isinstance(value, float):
            return orjson.dumps(value).decode()
        return json.dumps(value)
    except orjson.JSONEncodeError:
        try:
            return json.dumps(value)
        except RecursionError:
            raise UnreadableError(_TOO_DEEP) from None


def _described(document: Any) -> str:
    if isinstance(document, dict):
        return "an object without these names"
    return {list: "an array", str: "a string", type(None): "null"}.get(type(document), "a single value")


# --- Arrow's reader --------------------------------------------------------------------------------


def _rows_as_lines(body: bytes) -> tuple[bytes, int] | None:
    """Rows of a JSON document one a line, and their number; None when its outer shape is another.

    The separator of the first two rows is replaced everywhere. Where it stood inside a string or a nested
    array, that is no longer valid JSON, and the reader gives up.
    """
    opening = _OPENING.match(body)
    closing = _CLOSING.search(body, max(0, len(body) - 64))
    if opening is None or closing is None:
        return None
    enclosed = body[: opening.end()].lstrip().startswith(b"{")
    rows = body[opening.end() : closing.start() + 1]
    separator = _SEPARATOR.search(rows)
    if separator is None or enclosed != (closing.group().count(b"}") == 2):
        return None
    found = separator.group()
    padding = b"\n" * max(1, len(found) - 2)
    count = rows.count(found) + 1
    return rows.replace(found, b"}" + padding + b"{"), count


def _read_lines(text: bytes, rows: int, limits: Limits, schema: Schema | None) -> pa.Table | None:
    check_utf8(text)
    types = _probe(text, schema)
    if types is None or len(types) > limits.columns or rows > limits.rows:
        return None
    _check_cells(rows, len(types), limits)
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(text),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=1 << 20),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="error"
            ),
        )
    except pa.ArrowException:
        return None
    return table if table.num_rows == rows else None


def _probe(text: bytes, schema: Schema | None) -> dict[str, pa.DataType] | None:
    """The columns and types of the first rows, as :func:`_array` would choose them."""
    lines: list[bytes] = []
    for start in _starts(text):
        end = text.find(b"\n", start)
        lines.append(text[start : len(text) if end < 0 else end])
    try:
        rows = [orjson.loads(line) for line in lines]
    except orjson.JSONDecodeError:
        return None
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    numeric = numeric_names(schema)
    texts = _text_names(schema)
    types = {}
    for name in dict.fromkeys(itertools.chain.from_iterable(rows)):
        array = _array([row.get(name) for row in rows], as_float=name in numeric)
        if array is None or (name in texts and pa.types.is_floating(array.type)):
            return None  # several types, or numbers of which every digit counts
        types[name] = pa.string() if pa.types.is_null(array.type) and name in texts else array.type
    return types


def _starts(text: bytes) -> list[int]:
    """Where the first rows and, spread over the text, some later ones begin."""
    starts, position = [0], 0
    while len(starts) < _PROBED_ROWS:
        position = text.find(b"\n", position) + 1
        if position == 0:
            return starts
        while text[position : position + 1] == b"\n":
            position += 1
        starts.append(position)
    for part in range(1, _PROBED_ROWS):
        later = text.find(b"\n{", len(text) * part // _PROBED_ROWS) + 1
        if later:
            starts.append(later)
    return starts


def numeric_names(schema: Schema | None) -> frozenset[str]:
    """Columns that are read as float64 whatever numbers they hold."""
    if schema is None:
        return frozenset()
    names = {column.name for column in schema.features or () if column.kind is Kind.NUMERIC}
    if isinstance(schema.score, str):
        names.add(schema.score)
    elif schema.score is not None:
        names.update(name for _, name in schema.score)
    if schema.task in (Task.REGRESSION, Task.RANKING):
        names.update((schema.prediction, schema.label))
    return frozenset(names)


def _text_names(schema: Schema | None) -> frozenset[str]:
    """Columns of which every value's exact text matters."""
    if schema is None:
        return frozenset()
    names = {column.name for column in schema.features or () if column.kind is Kind.CATEGORICAL}
    names.update(schema.segments)
    names.update(name for name in (schema.id, schema.group) if name is not None)
    return frozenset(names)
