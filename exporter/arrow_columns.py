"""Columns of strangers' Arrow and Parquet data in types that every kernel knows, within a bound.

A few bytes can stand for gigabytes: run ends and views repeat a value without holding it again. So do
dictionaries, which stay as they are and are bounded where one has to be undone (`exporter.columns.texts`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.columns import is_usual, is_vector
from exporter.errors import TooLargeError

_OPAQUE = b"\xff"
"""Stands for a value that can be no number, no time and no text."""
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


def bounded(table: pa.Table, maximum_bytes: int) -> pa.Table:
    """The table with views and run ends undone, and values of nested types made opaque.

    Lists of numbers stay as they are, and so do dictionaries.

    Raises
    ------
    TooLargeError
        The texts of one column take more than `maximum_bytes` once every row has its own.
    """
    for index, field in enumerate(table.schema):
        if is_usual(field.type):
            continue
        before = table.column(index).chunks
        chunks = [_bounded(chunk, field.name, maximum_bytes) for chunk in before]
        if any(new is not old for new, old in zip(chunks, before, strict=True)):
            table = table.set_column(index, field.name, pa.chunked_array(chunks))
    return table


def _bounded(array: pa.Array, name: str, maximum_bytes: int) -> pa.Array:
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        storage = _bounded(array.storage, name, maximum_bytes)
        return array if storage is array.storage else storage
    if pa.types.is_run_end_encoded(kind):
        # as a dictionary of its runs
        runs = pa.array(np.arange(len(array.values), dtype=np.int32))
        codes = pc.run_end_decode(
            pa.RunEndEncodedArray.from_arrays(array.run_ends, runs).slice(array.offset, len(array))
        )
        values = _bounded(array.values, name, maximum_bytes)
        _check(name, int(_lengths(values)[codes.to_numpy()].sum()), maximum_bytes)
        return values.take(codes)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        _check(name, int(_lengths(array).sum()), maximum_bytes)
        return array.cast(pa.string() if pa.types.is_string_view(kind) else pa.binary())
    if pa.types.is_nested(kind) and not is_vector(kind):
        return pc.if_else(array.is_valid(), pa.scalar(_OPAQUE), pa.scalar(None, pa.binary()))
    return array


def _lengths(array: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Bytes of each value of a column of texts; of other types none, they are of one small size."""
    kind = array.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        views = np.frombuffer(array.buffers()[1], np.int32)[::4]  # a view begins with its length
        return views[array.offset : array.offset + len(array)].astype(np.int64)
    if any(test(kind) for test in _TEXTS):
        return np.asarray(pc.binary_length(array).fill_null(0).to_numpy(zero_copy_only=False), np.int64)
    return np.zeros(len(array), np.int64)


def _check(name: str, size: int, maximum_bytes: int) -> None:
    if size > maximum_bytes:
        raise TooLargeError(
            f"Expected at most {maximum_bytes} bytes of text in a column, but {size} came in {name!r:.80}."
        )
