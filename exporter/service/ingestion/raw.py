"""Rows that waited for a first grid: read back, put together, and validated as when they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from exporter import columns
from exporter.batch import Batch, infer_columns, validate_batch
from exporter.schema import Schema
from exporter.service.ingestion.batches import RAW_EVENT_TIME


def together(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of several; columns whose types have nothing in common become text."""
    tables = [_without_exactness(table, tables) for table in tables]
    clashing = {
        name for name in {field for table in tables for field in table.column_names} if _clash(name, tables)
    }
    if clashing:
        tables = [_as_text(table, clashing) for table in tables]
    return pa.concat_tables(tables, promote_options="permissive")


def _without_exactness(table: pa.Table, others: Sequence[pa.Table]) -> pa.Table:
    """Whole numbers of columns that came with fractions too, rounded where a fraction has fewer digits."""
    for place, field in enumerate(table.schema):
        if pa.types.is_integer(field.type) and any(
            pa.types.is_floating(other.schema.field(field.name).type)
            for other in others
            if field.name in other.column_names
        ):
            table = table.set_column(place, field.name, table.column(place).cast(pa.float64(), safe=False))
    return table


def _clash(name: str, tables: Sequence[pa.Table]) -> bool:
    """Whether a column's values have no type in common that holds them all."""
    found = [
        table.select([name]).replace_schema_metadata(None) for table in tables if name in table.column_names
    ]
    if all(table.schema.field(0).type == found[0].schema.field(0).type for table in found):
        return False
    try:
        pa.concat_tables(found, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return True
    return False


def _as_text(table: pa.Table, names: set[str]) -> pa.Table:
    for name in names & set(table.column_names):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, columns.texts(columns.source(table, name))[0])
    return table


def replace_schema(batch: Batch, schema: Any, now: float) -> Batch:
    """The batch read again with the columns of another schema, when they differ."""
    if batch.schema == schema:
        return batch
    again = validate_batch(batch.table, schema, now=now, future_tolerance=float("inf"))
    return replace(again, warnings=batch.warnings)


def read_raw(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()


def validate_raw(table: pa.Table, schema: Schema) -> Batch:
    """Rows that were kept before a grid existed, with the event time they had on arrival.

    The column that carries it is none of the user's: it is gone from the batch's table.
    """
    own = schema
    if schema.features is None:
        own = schema.with_features(infer_columns(table.drop_columns([RAW_EVENT_TIME]), schema))
    timed = replace(own, timestamp=RAW_EVENT_TIME)
    batch = validate_batch(table, timed, now=0.0, future_tolerance=float("inf"))
    return replace(
        batch,
        schema=own,
        table=batch.table.drop_columns([RAW_EVENT_TIME]),
        outcomes=replace(batch.outcomes, delay_seconds=None),
        warnings=(),
    )
