"""Rows of several stored chunks of predictions in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.batch import canonical_text
from exporter.service.ingestion.payload import KEPT


def gather(
    payloads: Mapping[int, pa.RecordBatch], chunk: NDArray[np.int64], row: NDArray[np.int64]
) -> pa.Table:
    """Rows of several chunks in the order asked for.

    A chunk from before a column was kept has nulls in it; a kept column that came with other types in other
    chunks is text in all of them.
    """
    ids = np.unique(chunk)
    tables, order = [], []
    for chunk_id in ids:
        positions = np.flatnonzero(chunk == chunk_id)
        tables.append(pa.Table.from_batches([payloads[int(chunk_id)].take(pa.array(row[positions]))]))
        order.append(positions)
    together = pa.concat_tables(_of_one_type(tables), promote_options="default")
    back = np.empty(chunk.size, dtype=np.int64)
    back[np.concatenate(order)] = np.arange(chunk.size)
    return together.take(pa.array(back)).combine_chunks()


def _of_one_type(tables: Sequence[pa.Table]) -> list[pa.Table]:
    types: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            if field.name.startswith(KEPT) and not pa.types.is_null(field.type):
                types.setdefault(field.name, set()).add(field.type)
    clashing = {name for name, kinds in types.items() if len(kinds) > 1}
    return [_as_text(table, clashing) for table in tables] if clashing else list(tables)


def _as_text(table: pa.Table, names: set[str]) -> pa.Table:
    for name in names & set(table.column_names):
        place = table.schema.get_field_index(name)
        if not pa.types.is_null(table.schema.field(place).type):
            table = table.set_column(place, name, canonical_text(table.column(place)))
    return table
