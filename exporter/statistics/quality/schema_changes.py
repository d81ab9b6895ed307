"""Columns that come, go or arrive as another type than the baseline's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from exporter.results.findings import SchemaChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.results.findings import ChangeName

MOST_NAMED = 50
"""Changes that are listed of each kind, those of the most rows first."""

LEAST_EXCESS = 0.01
"""By how much the share of rows without a column must exceed the share that is usually missing."""

ERRORS = 4.0
"""The same in standard errors of that share."""


def schema_changes(
    tallies: Mapping[tuple[str, ...], int],
    baseline: Mapping[tuple[str, ...], int] | None,
    *,
    rows: int,
    baseline_rows: int,
    usually_missing: Mapping[str, float],
    usual_types: Mapping[str, str],
) -> tuple[SchemaChange, ...]:
    """What has changed in the shape of the rows.

    `added`: a column that the model does not declare and the baseline's rows did not have.

    `removed`: a declared column that rows came without. One that is missing now and then may be left out by
    its sender where it has no value, so the share of such rows must exceed the share of values missing in the
    baseline by 0.01 and by four standard errors of it.

    `type`: values that came as a type (`number`, `text`, `boolean`, `time`, `list`, `mixed`, `other`) as
    which none came in the baseline, whether they could be read or not. Columns without any value have no
    type.

    Parameters
    ----------
    tallies, baseline : mapping
        ("absent", column), ("undeclared", column) and ("type", column, type), in rows.
    usually_missing : mapping of column to share of the baseline's rows
    usual_types : mapping of column to type
        As what a column arrives in rows of which nothing is tallied.
    """
    before = {} if baseline is None else baseline
    changes = [
        *_added(tallies, before, rows),
        *_removed(tallies, rows, baseline_rows, usually_missing),
    ]
    if baseline is not None:
        changes += _types(tallies, before, rows, baseline_rows, usual_types)
    return tuple(changes)


def _most(changes: Iterable[SchemaChange]) -> list[SchemaChange]:
    return sorted(changes, key=lambda change: (-change.rows, change.column))[:MOST_NAMED]


def _change(name: ChangeName, column: str, count: int, rows: int) -> SchemaChange:
    return SchemaChange(name, column, count, min(1.0, count / rows))


def _added(
    tallies: Mapping[tuple[str, ...], int], baseline: Mapping[tuple[str, ...], int], rows: int
) -> list[SchemaChange]:
    return _most(
        _change("added", key[1], count, rows)
        for key, count in tallies.items()
        if key[0] == "undeclared" and len(key) == 2 and count > 0 and baseline.get(key, 0) <= 0
    )


def _removed(
    tallies: Mapping[tuple[str, ...], int],
    rows: int,
    baseline_rows: int,
    usually_missing: Mapping[str, float],
) -> list[SchemaChange]:
    found = []
    for key, count in tallies.items():
        if key[0] != "absent" or len(key) != 2 or count <= 0:
            continue
        usual = usually_missing.get(key[1], 0.0)
        error = math.sqrt(usual * (1 - usual) * (1 / rows + (1 / baseline_rows if baseline_rows else 0.0)))
        if count / rows > usual + max(LEAST_EXCESS, ERRORS * error):
            found.append(_change("removed", key[1], count, rows))
    return _most(found)


def _types(
    tallies: Mapping[tuple[str, ...], int],
    baseline: Mapping[tuple[str, ...], int],
    rows: int,
    baseline_rows: int,
    usual_types: Mapping[str, str],
) -> list[SchemaChange]:
    columns = {*_columns(tallies), *_columns(baseline)}
    now = _by_column(columns, tallies, rows, usual_types)
    before = _by_column(columns, baseline, baseline_rows, usual_types)
    found = []
    for column in columns:
        earlier = before[column].keys()
        new = {name: count for name, count in now[column].items() if name not in earlier}
        if new and earlier:
            count = sum(new.values())
            found.append(
                SchemaChange("type", column, count, min(1.0, count / rows), new, tuple(sorted(earlier)))
            )
    return _most(found)


def _columns(tallies: Mapping[tuple[str, ...], int]) -> Iterable[str]:
    return (key[1] for key in tallies if key[0] == "type" and len(key) == 3)


def _by_column(
    columns: Iterable[str],
    tallies: Mapping[tuple[str, ...], int],
    rows: int,
    usual_types: Mapping[str, str],
) -> dict[str, dict[str, int]]:
    """Rows of each column by type, the usual one included; rows of batches without any value have none."""
    types: dict[str, dict[str, int]] = {column: {} for column in columns}
    for key, count in tallies.items():
        if key[0] == "type" and len(key) == 3 and count > 0 and key[1] in types:
            types[key[1]][key[2]] = count
    for column, counts in types.items():
        rest = rows - sum(counts.values()) - tallies.get(("absent", column), 0)
        counts.pop("null", None)
        usual = usual_types.get(column)
        if usual is not None and rest > 0:
            counts[usual] = counts.get(usual, 0) + rest
    return types
