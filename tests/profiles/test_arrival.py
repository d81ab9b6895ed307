"""In what shape columns came: absent, undeclared, of another type; in rows, bounded, and mergeable."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from exporter.batch import validate_batch
from exporter.formats import decode as decode_table
from exporter.profiles import Profile, build_grid, profile_rows
from exporter.profiles.arrival import MOST_UNDECLARED, arrival_tallies, bound_undeclared
from exporter.schema import Column, Kind, Schema, Task

SCHEMA = Schema(
    "m",
    Task.REGRESSION,
    "p",
    "y",
    features=(
        Column("n", Kind.NUMERIC),
        Column("c", Kind.CATEGORICAL),
        Column("b", Kind.BOOLEAN),
        Column("t", Kind.DATETIME),
    ),
    extra_columns=("known",),
)
USUAL = {"p": [0.5], "n": [1], "c": ["x"], "b": [True], "t": [datetime(2026, 1, 1, tzinfo=UTC)]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"known": [1], "y": [2.0]}, {}),
        ({"n": ["1.5"]}, {("type", "n", "text"): 1}),
        ({"n": pa.array(["1", "1"]).dictionary_encode()[:1]}, {("type", "n", "text"): 1}),
        ({"c": pa.array(["x"]).dictionary_encode()}, {}),
        ({"c": [7], "b": [1]}, {("type", "c", "number"): 1, ("type", "b", "number"): 1}),
        ({"t": ["2026-01-01"], "n": [None]}, {("type", "t", "text"): 1, ("type", "n", "null"): 1}),
        ({"n": [[1]]}, {("type", "n", "list"): 1}),
        ({"fresh": [3]}, {("undeclared", "fresh"): 1}),
    ],
)
def test_tallies_name_what_is_unusual(change, expected):
    """Each kind has one type that needs no tally; roles, rules' columns and features are declared."""
    assert arrival_tallies(SCHEMA, pa.table({**USUAL, **change}), 1) == expected


def test_an_absent_column_is_tallied():
    """Declared features that did not come are counted in rows."""
    table = pa.table({name: values for name, values in USUAL.items() if name != "c"})
    assert arrival_tallies(SCHEMA, table, 1) == {("absent", "c"): 1}


def test_values_of_several_types_are_mixed():
    """JSON numbers among texts: the batch's column is of mixed type, though all values can be read."""
    body = b'[{"p": 1, "n": 1, "c": "x", "b": true}, {"p": 2, "n": "2", "c": "x", "b": true}]'
    batch = validate_batch(decode_table(body, "application/json"), SCHEMA, now=0.0)
    assert arrival_tallies(SCHEMA, batch.table, 2)["type", "n", "mixed"] == 2
    assert batch.features["n"].tolist() == [1.0, 2.0]


def test_undeclared_names_are_bounded_in_any_order():
    """However many names come and whichever come first, the same fifty are kept, with exact counts."""
    grid = build_grid(validate_batch(pa.table(USUAL), SCHEMA, now=0.0))
    parts = []
    for number in range(6):
        names = [f"new {(20 * number + place) % 90}" for place in range(40)]
        table = pa.table({**USUAL, **{name: [1] for name in names}})
        parts.append(profile_rows(grid, validate_batch(table, SCHEMA, now=0.0)))
    kept = []
    for order in (parts, parts[::-1]):
        merged = Profile.empty(grid)
        for part in order:
            merged.add(part)
        kept.append({key: rows for key, rows in merged.tallies.items() if key[0] == "undeclared"})
    assert kept[0] == kept[1]
    assert len(kept[0]) == MOST_UNDECLARED
    together = {("undeclared", f"new {place}"): 0 for place in range(90)}
    for number in range(6):
        for place in range(40):
            together["undeclared", f"new {(20 * number + place) % 90}"] += 1
    bound_undeclared(together)
    assert kept[0] == together
