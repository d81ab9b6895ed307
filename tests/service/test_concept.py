"""Concept drift through the service: labels that land late, corrections, restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from tests.service.conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]

HOURS = 72


@pytest.fixture
def pushed(rows: Rows) -> list[pa.Table]:
    """Three days of rows, one table an hour."""
    return [rows(60, first=60 * hour, start=NOW - (HOURS - hour) * HOUR) for hour in range(HOURS)]


@pytest.fixture
def labelled(bench: Make, pushed: list[pa.Table]) -> Bench:
    """The rows with labels: one in twenty answers is wrong, and of the last six hours' four in ten."""
    b = bench(lateness="7d", resolution="1h")
    for hour, table in enumerate(pushed):
        b.push(table)
        b.label(labels_of(table, wrong=24 if hour >= HOURS - 6 else 3))
    return b


def errors(b: Bench, window: str = "6h") -> dict[str, Any]:
    column: dict[str, Any] = b.evaluated("drift", window=window)["columns"]["error"]
    return column


def test_more_errors_are_drift_of_the_errors(labelled: Bench) -> None:
    """The verdict stands in the same families and in the API as a column of role `error`."""
    found = errors(labelled)
    assert (found["role"], found["method"], found["detected"]) == ("error", "adwin", True)
    assert set(found["methods"]) == {"adwin", "page_hinkley", "ddm"}
    text = labelled.service.snapshot().text.decode()
    assert 'ml_drift_detected{model="m",version="default",window="6h",column="error",role="error"} 1' in text
    assert 'column="error",role="error",method="page_hinkley"' in text


def test_a_restart_finds_the_same(labelled: Bench) -> None:
    """The stream of errors is read back from the stored buckets."""
    before = errors(labelled)
    labelled.restart()
    after = errors(labelled)
    assert after["statistic"] == pytest.approx(before["statistic"])
    assert after["detected"] == before["detected"]


def test_corrected_labels_take_the_drift_back(labelled: Bench, pushed: list[pa.Table]) -> None:
    """Labels that turn out to have been wrong are taken back from the stream, not only from the windows."""
    assert errors(labelled)["detected"]
    for table in pushed[-6:]:
        assert labelled.label(labels_of(table, wrong=3))["corrected"] == 21
    assert not errors(labelled)["detected"]


def test_few_labels_have_a_reason(bench: Make, rows: Rows) -> None:
    """Without errors from before the window there is nothing to compare with."""
    b = bench()
    b.service.create_baseline("m", table=rows(1000, 100_000))
    table = rows(300)
    b.push(table)
    b.label(labels_of(table, wrong=10))
    found = errors(b, "1h")
    assert found["reason"] == "insufficient_labels"
    assert found["detected"] is None
