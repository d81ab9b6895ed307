"""Whatever is missing, out of date or uncertain says so: on `/metrics`, in the status and in results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from .conftest import MODEL, Bench
from .test_publisher import evaluated, of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]

RULES: dict[str, Any] = {
    "validation_rules": {"distance": {"min": -10}, "gone": {"not_null": True}},
    "consistency_rules": {"sure": "score >= 0", "lost": "gone > 0"},
}


def test_rules_that_fail_are_named(bench: Make, rows: Rows) -> None:
    """A rule on a column that nobody pushes has the reason `error`; the other rules have ratios."""
    b = bench(quality=RULES)
    b.push(rows(600))
    families = evaluated(b)
    for measure, subject in (
        ("quality_validity_ratio", "gone/not_null"),
        ("quality_consistency_ratio", "lost"),
    ):
        assert of(families, "ml_undefined", measure=measure, subject=subject, reason="error") == [1.0, 1.0]
        assert len(of(families, "ml_undefined", measure=measure)) == 2
    assert of(families, "ml_quality_consistency_ratio", rule="sure") == [1.0, 1.0]


def test_rules_fail_for_a_version(bench: Make, rows: Rows) -> None:
    """What one version pushes says nothing about the rules of another."""
    b = bench(quality=RULES)
    whole = rows(600).append_column("gone", pa.array(np.ones(600)))
    b.push(whole, version="good")
    b.push(rows(600, 1000), version="bad")
    b.push(whole.slice(0, 50).set_column(0, "id", pa.array([f"n{n}" for n in range(50)])), version="good")
    families = evaluated(b)
    assert len(of(families, "ml_undefined", reason="error", version="bad")) == 4
    assert of(families, "ml_undefined", reason="error", version="good") == []
    assert set(b.service.status("m")["failures"]) == {"bad"}


def test_rules_without_a_checked_row_are_empty(bench: Make, rows: Rows) -> None:
    """A rule that said nothing of any row has a reason too."""
    b = bench(quality={"consistency_rules": {"silent": "score > NULL"}})
    b.push(rows(600))
    found = of(evaluated(b), "ml_undefined", measure="quality_consistency_ratio", subject="silent")
    assert found == [1.0, 1.0]


def test_without_ids_repeated_rows_are_duplicates(bench: Make, rows: Rows) -> None:
    """Rows that equal an earlier one of their batch in everything that was pushed count as duplicates."""
    b = bench(columns={name: column for name, column in MODEL["columns"].items() if name != "id"})
    table = rows(600).drop_columns(["id"])
    b.push(pa.concat_tables([table, table.slice(0, 200)]))
    families = evaluated(b)
    assert of(families, "ml_quality_duplicate_ratio", window="6h") == [200 / 800]
    b.push(table.drop_columns(["carrier"]).append_column("carrier", pa.array(["AA"] * 600)))
    assert of(evaluated(b), "ml_quality_duplicate_ratio", window="6h") == [200 / 1400]
