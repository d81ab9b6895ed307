"""A challenger against the champion: late labels, corrections, pairs, restarts, expiry and deletion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from .conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]

COMPARED: dict[str, Any] = {
    "champion": "a",
    "segments": [],
    "metrics": ["accuracy", "f1", "roc_auc", "log_loss"],
    "label_horizon": "12h",
}


def compared(bench: Bench, challenger: str = "b") -> dict[str, Any]:
    """The comparison with a challenger, evaluated now."""
    bench.service.evaluate("m")
    results = {one["challenger"]: one for one in bench.service.comparisons("m")["results"]}
    return results[challenger]


def arms_of(rows: Rows, count: int, **when: Any) -> tuple[pa.Table, pa.Table]:
    """Rows of two arms with different ids, of the same time."""
    return rows(count, **when), rows(count, 100_000, **when)


def test_a_challenger_is_compared_with_late_and_corrected_labels(bench: Make, rows: Rows) -> None:
    """The difference is that of the accuracies, follows corrections, and survives a restart."""
    b = bench(**COMPARED)
    first, second = arms_of(rows, 2000)
    b.push(first, version="a")
    b.push(second, version="b")
    assert compared(b)["metrics"]["accuracy"]["reason"] == "insufficient_labels"
    b.label(labels_of(first, wrong=600))
    b.label(labels_of(second, wrong=400))
    b.label(labels_of(second, wrong=200))
    for _ in range(2):
        found = compared(b)
        accuracy = found["metrics"]["accuracy"]
        assert accuracy["difference"] == pytest.approx(0.9 - 0.7)
        assert accuracy["lower"] > 0.1
        assert accuracy["decided"]
        assert not accuracy["paired"]
        assert (accuracy["champion_rows"], accuracy["challenger_rows"]) == (2000, 2000)
        assert found["metrics"]["log_loss"]["difference"] is not None
        assert found["metrics"]["conversion"]["difference"] is not None
        assert found["paired_rows"] == 0
        b.restart()


def test_errors_are_turned_so_that_positive_is_better(bench: Make, rows: Rows) -> None:
    """A challenger with a smaller error has a positive difference."""
    b = bench(
        task="regression",
        champion="a",
        segments=[],
        columns={"id": "id", "timestamp": "at", "prediction": "answer", "label": "truth"},
    )
    generator = np.random.default_rng(3)
    for version, first, spread in (("a", 0, 2.0), ("b", 10_000, 1.0)):
        table = rows(1500, first).drop_columns(["answer", "score"])
        truth = generator.normal(10, 3, 1500)
        answers = truth + generator.normal(0, spread, 1500)
        b.push(table.append_column("answer", pa.array(answers)), version=version)
        b.label(pa.table({"id": table["id"], "truth": truth}))
    metrics = compared(b)["metrics"]
    assert metrics["mae"]["difference"] == pytest.approx(0.8, abs=0.1)
    assert metrics["rmse"]["decided"]
    assert metrics["mean_label"]["champion_value"] == pytest.approx(10, abs=0.3)
    assert not metrics["mean_label"]["decided"]
    assert "bias" not in metrics


@pytest.mark.parametrize("order", ["labels last", "labels between", "labels in the rows", "before a grid"])
def test_ids_that_both_answered_are_paired(bench: Make, rows: Rows, order: str) -> None:
    """Whenever the label comes, pairs are counted once, corrections too, and narrow the bounds."""
    b = bench(**COMPARED)
    if order != "before a grid":
        b.push(rows(600, 50_000), version="a")
    table = rows(400 if order == "before a grid" else 1000)
    n = table.num_rows
    answers = table["answer"].to_numpy(zero_copy_only=False).copy()
    answers[:50] = ~answers[:50]
    other = table.set_column(table.schema.get_field_index("answer"), "answer", pa.array(answers))
    labels = labels_of(table, wrong=n // 5)
    if order == "labels in the rows":
        b.push(table.append_column("truth", labels["truth"]), version="a")
        b.push(other.append_column("truth", labels["truth"]), version="b")
    else:
        b.push(table, version="a")
        if order == "labels between":
            b.label(labels)
        b.push(other, version="b")
        if order != "labels between":
            b.label(labels)
    if order == "before a grid":
        b.push(rows(600, 60_000), version="c")
    for _ in range(2):
        found = compared(b)
        accuracy = found["metrics"]["accuracy"]
        assert found["paired_rows"] == n
        assert accuracy["paired"]
        assert accuracy["difference"] == pytest.approx(50 / n)
        assert accuracy["upper"] - accuracy["lower"] < 0.1 * (1000 / n)
        assert found["metrics"]["conversion"]["reason"] == "not_comparable"
        assert found["sample_ratio"]["reason"] == "not_comparable"
        b.restart()
    b.label(labels_of(table))
    assert compared(b)["metrics"]["accuracy"]["difference"] == pytest.approx(-50 / n)
    assert compared(b)["paired_rows"] == n


def test_what_was_counted_outlives_its_buckets(bench: Make, rows: Rows) -> None:
    """Rows and pairs of buckets that have expired still count, after a restart too, and only once."""
    b = bench(**COMPARED, lateness="1h")
    total = 0
    for day in range(4):
        start = NOW + 24 * HOUR * day - HOUR
        b.clock.advance(start + HOUR - b.clock.time())
        first, second = arms_of(rows, 700, start=start)
        for number, (table, version) in enumerate(((first, "a"), (second, "b"))):
            ids = pa.array([f"{day}-{number}-{row}" for row in range(700)])
            named = table.set_column(0, "id", ids)
            b.push(named, version=version)
            b.label(labels_of(named, wrong=100 if version == "a" else 70))
        total += 700
        b.service.evaluate("m")
        b.service._housekeeping.expire(b.service._lane("m"), b.clock.time())
    assert sum(rows for _, rows, _ in b.service._lane("m").versions["a"].whole.coverage()) < total
    for _ in range(2):
        accuracy = compared(b)["metrics"]["accuracy"]
        assert (accuracy["champion_rows"], accuracy["challenger_rows"]) == (total, total)
        assert accuracy["difference"] == pytest.approx(30 / 700)
        b.restart()


def test_only_rows_since_the_start_count(bench: Make, rows: Rows) -> None:
    """The younger arm's first bucket is the start; a configured one is kept to."""
    b = bench(**COMPARED)
    old = rows(800, 70_000, start=NOW - 6 * HOUR)
    b.push(old, version="a")
    b.label(labels_of(old))
    first, second = arms_of(rows, 500)
    for table, version in ((first, "a"), (second, "b")):
        b.push(table, version=version)
        b.label(labels_of(table, wrong=100))
    found = compared(b)
    assert found["champion_rows"] == 500
    assert found["start"] == pytest.approx(NOW - HOUR, abs=600)
    whole = bench(**COMPARED, comparison={"since": "2023-11-14T12:00:00"})
    for table, version in ((old, "a"), (first, "a"), (second, "b")):
        whole.push(table, version=version)
        whole.label(labels_of(table))
    assert compared(whole)["champion_rows"] == 1300


def test_a_sample_ratio_that_does_not_fit_is_exported(bench: Make, rows: Rows) -> None:
    """Buckets that have ended for both arms are tested against the split; one arm ahead is no mismatch."""
    b = bench(**COMPARED, comparison={"split": {"a": 1, "b": 1}}, lateness="2h")
    for hour in range(6):
        first, second = arms_of(rows, 600, start=NOW - (6 - hour) * HOUR)
        first = first.set_column(0, "id", pa.array([f"a{hour}-{row}" for row in range(600)]))
        second = second.set_column(0, "id", pa.array([f"b{hour}-{row}" for row in range(600)]))
        b.push(first, version="a")
        assert hour in (0, 4, 5) or not compared(b)["sample_ratio"]["mismatch"]
        b.push(second if hour < 3 else second.take(pa.array(range(0, 600, 2))), version="b")
    b.label(labels_of(first))
    for _ in range(2):
        ratio = compared(b)["sample_ratio"]
        assert ratio["expected"] == 0.5
        assert ratio["mismatch"]
        text = b.service.snapshot().text.decode()
        assert 'ml_comparison_sample_ratio_mismatch{model="m",champion="a",challenger="b"} 1' in text
        b.restart()


def test_without_a_champion_nothing_is_compared(bench: Make, rows: Rows) -> None:
    """The API says what to configure; with a champion alone it is undefined as long as nobody else came."""
    b = bench()
    b.push(rows(600), version="a")
    assert "champion" in b.service.comparisons("m")["reason"]
    alone = bench(**COMPARED)
    alone.push(rows(600), version="a")
    alone.service.evaluate("m")
    text = alone.service.snapshot().text.decode()
    assert 'ml_undefined{model="m",version="a",measure="comparison",reason="empty"} 1' in text


@pytest.mark.parametrize("gone", ["a", "b"])
def test_a_deleted_version_starts_anew(bench: Make, rows: Rows, gone: str) -> None:
    """Nothing of a deleted arm is left, of the champion or of a challenger; a later one is counted alone."""
    b = bench(**COMPARED)
    for table, version in zip(arms_of(rows, 700), "ab", strict=True):
        b.push(table, version=version)
        b.label(labels_of(table, wrong=100))
    assert compared(b)["champion_rows"] == 700
    b.service.delete_version("m", gone)
    assert b.service.comparisons("m")["results"] == []
    b.restart()
    b.clock.advance(HOUR)
    table = rows(300, 300_000, start=NOW)
    b.push(table, version=gone)
    b.label(labels_of(table, wrong=30))
    b.push(rows(300, 400_000, start=NOW + 1, seconds=HOUR - 1), version="b" if gone == "a" else "a")
    found = compared(b)
    assert found["champion_rows" if gone == "a" else "challenger_rows"] == pytest.approx(300, abs=20)
    assert found["start"] >= NOW - 600


def test_families_are_exported(bench: Make, rows: Rows) -> None:
    """Differences, bounds, decisions, rows by arm and the start are on the page of metrics."""
    b = bench(**COMPARED)
    for table, version in zip(arms_of(rows, 700), "ab", strict=True):
        b.push(table, version=version)
        b.label(labels_of(table, wrong=300 if version == "a" else 10))
    b.service.evaluate("m")
    text = b.service.snapshot().text.decode()
    where = 'model="m",champion="a",challenger="b",metric="accuracy"'
    for family in ("difference", "lower", "upper", "start_timestamp_seconds"):
        assert f"ml_comparison_{family}{{{where}}} " in text
    assert f"ml_comparison_decided{{{where}}} 1" in text
    assert f'ml_comparison_rows{{{where},arm="challenger"}} 700' in text


def test_a_comparison_that_fails_takes_nothing_else_with_it(bench: Make, rows: Rows) -> None:
    """Damaged sums are an `error` of the comparison; the windows are evaluated, and nothing is expired."""
    b = bench(**COMPARED)
    for table, version in zip(arms_of(rows, 700), "ab", strict=True):
        b.push(table, version=version)
        b.label(labels_of(table))
    contests = b.service._lane("m").contests
    start = compared(b)["start"]
    contests.clear()
    grid = b.service._lane("m").grid
    assert grid is not None
    contests.carried = {("a", int(start)): [(grid.id, b"damaged")]}
    b.service.evaluate("m")
    assert "failed" in b.service.comparisons("m")["reason"]
    text = b.service.snapshot().text.decode()
    assert 'ml_undefined{model="m",version="a",measure="comparison",reason="error"} 1' in text
    assert 'ml_performance{model="m",version="a",window="6h",metric="accuracy"} 1' in text
    assert not contests.complete
    contests.carried = {}
    assert compared(b)["champion_rows"] == 700


def test_rows_for_history_only_are_not_paired(bench: Make, rows: Rows) -> None:
    """Rows of the past that both arms backfill do not count, whenever their labels come."""
    b = bench(**COMPARED, lateness="1h")
    for table, version in zip(arms_of(rows, 700), "ab", strict=True):
        b.push(table, version=version)
        b.label(labels_of(table))
    past = rows(200, 500_000, start=NOW - 72 * HOUR)
    b.push(past, version="a", backfill=True)
    b.label(labels_of(past.slice(0, 100)))
    b.push(past, version="b", backfill=True)
    b.label(labels_of(past.slice(100)))
    for _ in range(2):
        found = compared(b)
        assert (found["paired_rows"], found["champion_rows"]) == (0, 700)
        b.restart()


@pytest.mark.parametrize("split", [None, "equal"])
def test_a_sample_ratio_is_missing_where_a_split_is_configured(
    bench: Make, rows: Rows, split: str | None
) -> None:
    """Versions that answer the same ids have no ratio, with the reason; nobody asked without a split."""
    b = bench(**COMPARED, **({} if split is None else {"comparison": {"split": split}}))
    table, other = arms_of(rows, 600)
    b.push(table, version="a")
    b.push(other.set_column(0, "id", table["id"]), version="b")
    b.label(labels_of(table))
    assert compared(b)["sample_ratio"]["reason"] is not None
    text = b.service.snapshot().text.decode()
    assert ('measure="comparison_sample_ratio"' in text) == (split is not None)
