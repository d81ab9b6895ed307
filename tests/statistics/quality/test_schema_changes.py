"""Columns that come, go and change type, from the tallies of how they arrived."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.statistics.quality.schema_changes import MOST_NAMED, schema_changes

USUAL = {"n": "number", "c": "text", "t": "time"}


def changes(
    now: dict[tuple[str, ...], int],
    before: dict[tuple[str, ...], int] | None = None,
    *,
    missing: dict[str, float] | None = None,
) -> list[dict[str, Any]]:
    found = schema_changes(
        now, before or {}, rows=1000, baseline_rows=500, usually_missing=missing or {}, usual_types=USUAL
    )
    return [change.to_dict() for change in found]


def test_nothing_unusual_is_no_change():
    """Tallies of other things, and what the baseline had too, are no changes."""
    assert changes({("received",): 9, ("rule", "n", "type", "checked"): 3}) == []
    known = {("undeclared", "note"): 5, ("type", "t", "text"): 500}
    assert changes({("undeclared", "note"): 800, ("type", "t", "text"): 1000}, known) == []


def test_added_columns_are_those_that_the_baseline_did_not_have():
    """An undeclared column, with the rows that have it; the most frequent first, and bounded."""
    now = {("undeclared", f"new {place}"): place + 1 for place in range(MOST_NAMED + 9)}
    found = changes({**now, ("undeclared", "old"): 7}, {("undeclared", "old"): 1})
    assert len(found) == MOST_NAMED
    assert (found[0]["change"], found[0]["column"], found[0]["rows"]) == ("added", "new 58", 59)
    assert found[0]["ratio"] == pytest.approx(0.059)


@pytest.mark.parametrize(
    ("absent", "usual", "removed"), [(1000, 0.0, True), (8, 0.0, False), (300, 0.3, False), (500, 0.3, True)]
)
def test_removed_columns_are_absent_more_often_than_values_were(absent, usual, removed):
    """Senders may leave a column out where it has no value: only more than that is a change."""
    found = changes({("absent", "n"): absent}, missing={"n": usual})
    assert [change["change"] for change in found] == (["removed"] if removed else [])


def test_types_are_compared_with_the_baselines():
    """A type that never came before, in either direction, with its rows; rows without values have none."""
    found = changes({("type", "n", "text"): 40, ("type", "c", "null"): 900})
    assert found == [
        {
            "change": "type",
            "column": "n",
            "rows": 40,
            "ratio": 0.04,
            "types": {"text": 40},
            "baseline_types": ["number"],
        }
    ]
    (found,) = changes({}, {("type", "t", "text"): 500})
    assert (found["types"], found["baseline_types"]) == ({"time": 1000}, ["text"])
    assert changes({("type", "t", "text"): 10}, {("type", "t", "text"): 3}) == []
    assert changes({("type", "n", "text"): 10}, {("type", "n", "null"): 500}) == []
