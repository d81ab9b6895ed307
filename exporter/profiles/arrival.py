"""In what shape the columns of rows arrived: absent, undeclared, or of another type than usual.

Tallies of a profile, each in rows: ``("absent", column)``, ``("undeclared", column)`` and
``("type", column, type)``. A type that is a kind's usual one is not tallied: it is what is left of the rows.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa

from exporter.columns.source import has_several_types
from exporter.profiles.categorical import canonical_name, name_hashes
from exporter.schema import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.schema import Schema

MOST_UNDECLARED = 50
"""Names of undeclared columns that a profile keeps: those with the lowest hashes, so that merges agree."""

USUAL_TYPE: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.NUMERIC: "number",
        Kind.CATEGORICAL: "text",
        Kind.BOOLEAN: "boolean",
        Kind.DATETIME: "time",
        Kind.EMBEDDING: "list",
    }
)
"""What a column of a kind arrives as where nothing is tallied."""

UNDECLARED = "undeclared"
_HASH_KEY = "undeclaredcolumn"

_TYPES = {
    **dict.fromkeys(
        (
            pa.int8().id, pa.int16().id, pa.int32().id, pa.int64().id,
            pa.uint8().id, pa.uint16().id, pa.uint32().id, pa.uint64().id,
            pa.float16().id, pa.float32().id, pa.float64().id,
            pa.decimal128(1).id, pa.decimal256(1).id,
        ),
        "number",
    ),
    **dict.fromkeys((pa.string().id, pa.large_string().id, pa.string_view().id), "text"),
    **dict.fromkeys((pa.timestamp("s").id, pa.date32().id, pa.date64().id), "time"),
    **dict.fromkeys(
        (pa.list_(pa.null()).id, pa.large_list(pa.null()).id, pa.list_(pa.null(), 1).id), "list"
    ),
    pa.bool_().id: "boolean",
    pa.null().id: "null",
}  # fmt: skip


def type_name(field: pa.Field) -> str:
    """`number`, `text`, `boolean`, `time`, `list`, `null` (no value at all), `mixed` or `other`."""
    if field.metadata is not None and has_several_types(field):
        return "mixed"
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return _TYPES.get(kind.id, "other")


def arrival_tallies(schema: Schema, table: pa.Table, rows: int) -> dict[tuple[str, ...], int]:
    """Tallies of `rows` rows of a table with respect to the columns that a schema declares."""
    if table.num_rows != rows:
        return {}  # rows that did not come as a table
    came: dict[str, pa.Field] = {field.name: field for field in table.schema}
    tallies: dict[tuple[str, ...], int] = {}
    for column in schema.features or ():
        field = came.pop(column.name, None)
        if field is None:
            tallies["absent", column.name] = rows
        elif (arrived := type_name(field)) != USUAL_TYPE[column.kind]:
            tallies["type", column.name, arrived] = rows
    known = {*schema.reserved, *schema.segments, *schema.extra_columns, *schema.kept}
    for name in came:
        if name not in known:
            tallies[UNDECLARED, canonical_name(name)] = rows
    bound_undeclared(tallies)
    return tallies


def bound_undeclared(tallies: dict[tuple[str, ...], int]) -> None:
    """Drop undeclared columns beyond the most that are kept."""
    if len(tallies) <= MOST_UNDECLARED:
        return
    names = [key[1] for key in tallies if key[0] == UNDECLARED]
    if len(names) <= MOST_UNDECLARED:
        return
    hashes = name_hashes(names, _HASH_KEY)
    for place in hashes.argsort(kind="stable")[MOST_UNDECLARED:].tolist():
        del tallies[UNDECLARED, names[place]]
