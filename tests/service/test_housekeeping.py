"""What happens by itself: expiry, compaction, and what a restart finds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest

from exporter.service.evaluation.evaluator import label_watermark, note_drift_since
from exporter.service.lane import Lane

from .conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]
DAY = 24 * HOUR


def stored(b: Bench, table: str) -> int:
    """Rows of a table of the store."""

    def count(connection: sqlite3.Connection) -> int:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    return b.store.run(count)


def clean(b: Bench) -> None:
    """One tick, late enough for expiry to be due."""
    b.clock.advance(61)
    b.service._housekeeping.tick()


def test_what_nobody_can_ask_for_is_dropped(bench: Make, rows: Rows) -> None:
    """Predictions beyond the label horizon and buckets beyond every window go, in memory and in the store."""
    b = bench(label_horizon="2d", segments=[])
    b.service._housekeeping.stop()  # nothing goes before its tick
    b.service._housekeeping.stop()  # it would clean before late labels come where this takes a second
    b.service.create_baseline("m", table=rows(600, 100_000))
    old = rows(500)
    b.push(old)
    b.label(labels_of(old.slice(0, 200)))
    lane = b.service._lanes["m"]
    clean(b)
    assert lane.index.pending == 500
    for day in range(1, 5):
        b.clock.advance(DAY)
        b.push(rows(100, 1000 * day, start=NOW - HOUR + day * DAY))
    assert b.label(labels_of(old.slice(300, 10)))["matched"] == 10
    clean(b)
    assert lane.index.pending <= 300
    assert stored(b, "predictions") <= 3
    oldest = NOW + 4 * DAY - HOUR - lane.retention_seconds
    assert min(start for start, *_ in lane.versions["default"].whole.coverage()) >= oldest - lane.resolution
    before = b.evaluated("drift", window="6h")["rows"]
    for _ in range(2):
        assert b.label(labels_of(old.slice(400, 10)))["matched"] == 0
        assert b.service.show_model("m")["rows"] == 900
        assert b.evaluated("drift", window="6h")["rows"] == before == 100
        b.restart()


def test_labels_without_a_prediction_are_dropped_after_the_horizon(bench: Make, rows: Rows) -> None:
    """An early label waits for the horizon and no longer, over restarts too."""
    b = bench(label_horizon="1d", segments=[])
    b.push(rows(600))
    b.label(pa.table({"id": ["never"], "truth": [True]}))
    clean(b)
    assert b.service._lanes["m"].index.held == 1
    b.clock.advance(DAY)
    clean(b)
    assert b.service._lanes["m"].index.held == 0
    b.clock.advance(2 * DAY)
    clean(b)
    assert stored(b, "labels") == 0
    b.restart()
    assert b.service._lanes["m"].index.held == 0


def test_answers_are_kept_for_their_retention(bench: Make, rows: Rows) -> None:
    """A repeat within `idempotency_retention` is answered; later the key is new."""
    b = bench(idempotency_retention="24h")
    b.push(rows(600), key="k", body_hash="a")
    b.clock.advance(23 * HOUR)
    clean(b)
    assert b.push(rows(1), key="k", body_hash="a")["duplicate"]
    b.clock.advance(2 * HOUR)
    clean(b)
    assert stored(b, "answers") == 0


def test_compaction_changes_no_value(bench: Make, rows: Rows) -> None:
    """Many small deltas become one a bucket, and windows say the same before and after a restart."""
    b = bench()
    b.service.create_baseline("m", table=rows(600, 100_000))
    for number in range(12):
        table = rows(40, 100 * number)
        b.push(table)
        b.label(labels_of(table, wrong=4))
    before = b.evaluated(window="6h")
    many = stored(b, "deltas")
    clean(b)
    assert stored(b, "deltas") < many
    b.restart()
    after = b.evaluated(window="6h")
    assert (after["rows"], after["confusion"]) == (before["rows"], before["confusion"])


def test_the_exporter_tells_of_itself(bench: Make, rows: Rows) -> None:
    """Bytes, pending predictions and held labels are gauges of the snapshot."""
    b = bench()
    table = rows(600)
    b.push(table)
    b.label(pa.table({"id": ["early"], "truth": [True]}))
    b.service._housekeeping.tick()
    text = b.service.snapshot().text.decode()
    assert 'ml_exporter_pending_predictions{model="m"} 600.0' in text
    assert 'ml_exporter_held_labels{model="m"} 1.0' in text
    size = next(line for line in text.splitlines() if line.startswith("ml_exporter_store_bytes "))
    assert float(size.split()[1]) == pytest.approx(b.store.size_bytes(), rel=0.5)


def test_recovery_gives_back_the_whole_lane(bench: Make, rows: Rows) -> None:
    """Counters, state, watermarks, grids, baselines, classes, index and buckets are those of before."""
    b = bench()
    table = rows(800)
    b.push(table)
    b.push(rows(50, 5000), version="challenger")
    b.label(labels_of(table.slice(0, 300)))
    b.label(pa.table({"id": ["early"], "truth": [True]}))
    b.service.evaluate("m")

    def known(lane: Lane) -> dict[str, object]:
        return {
            "counters": {key: n for key, n in lane.counters.items() if n},
            "bins": {key: bins.tolist() for key, bins in lane.bins.items()},
            "watermarks": {name: state.watermark for name, state in lane.versions.items()},
            "grid": lane.grid and lane.grid.id,
            "baselines": [(x.id, x.active, x.rows) for x in lane.baselines.values()],
            "index": (lane.index.pending, lane.index.held),
            "state": {key: value for key, value in lane.state.items() if key[0] != "drift_since"},
            "schema": lane.schema,
            "coverage": {
                (name, segment): series.coverage()
                for name, state in lane.versions.items()
                for segment, series in state.series.items()
            },
        }

    before = known(b.service._lanes["m"])
    b.restart()
    assert known(b.service._lanes["m"]) == before


def test_a_lane_that_becomes_another_keeps_its_locks(bench: Make, rows: Rows) -> None:
    """After data are deleted, who waited on the lane's lock or gate goes on with the new state."""
    b = bench()
    lane = b.service._lanes["m"]
    kept = (lane.lock, lane.gate, lane.in_progress)
    b.push(rows(600))
    b.service.delete_data("m")
    assert b.service._lanes["m"] is lane
    assert (lane.lock, lane.gate, lane.in_progress) == kept
    assert lane.grid is None
    assert {entry.name for entry in fields(Lane)} >= {"lock", "gate", "in_progress"}
    assert b.push(rows(600))["accepted"] == 600
    assert len(b.service.list_baselines("m")["baselines"]) == 1


def test_since_ends_with_the_verdict(bench: Make, rows: Rows) -> None:
    """A verdict that no longer stands is forgotten; when it comes again it begins anew."""
    b = bench()
    b.service.create_baseline("m", table=rows(1000, 100_000))
    b.push(rows(500, shift=1.0))
    b.service.evaluate("m")
    lane = b.service._lanes["m"]
    first = {key: at for key, at in lane.drift_since.items() if key[2] == "distance"}
    assert first
    b.clock.advance(8 * HOUR)
    b.push(rows(3000, 5000, start=NOW + 7 * HOUR, seconds=600))
    b.service.evaluate("m")
    assert not {key for key in lane.drift_since if key[2] == "distance"}
    b.push(rows(9000, 20_000, start=NOW + 7 * HOUR, seconds=600, shift=1.0))
    b.service.evaluate("m")
    again = {key: at for key, at in lane.drift_since.items() if key[2] == "distance"}
    assert again
    assert min(again.values()) > max(first.values())
    note_drift_since(lane)
    assert {key: at for key, at in lane.drift_since.items() if key[2] == "distance"} == again


def test_the_label_watermark_follows_the_configured_coverage(bench: Make, rows: Rows) -> None:
    """With `min_label_coverage` as a share, a bucket with fewer labels does not move the window."""
    b = bench(min_label_coverage=0.5)
    b.service.create_baseline("m", table=rows(600, 100_000))
    older, newer = rows(300, start=NOW - 3 * HOUR), rows(300, 1000)
    for table in (older, newer):
        b.push(table)
    b.label(labels_of(older))
    some = np.flatnonzero(np.arange(300) % 5 == 0)
    b.label(labels_of(newer).take(pa.array(some)))
    end = b.evaluated(window="1h")["performance_window"]["end"]
    assert end <= NOW - 1.9 * HOUR
    coverage = b.service._lanes["m"].versions["default"].whole.coverage()
    assert label_watermark(coverage, "auto", horizon_start=0) is not None
    b.label(labels_of(newer))
    assert b.evaluated(window="1h")["performance_window"]["end"] >= NOW - 600


def test_a_silent_version_keeps_nothing_for_ever(bench: Make, rows: Rows) -> None:
    """A version that was taken out of service ages with the clock, and does not keep the others' old data."""
    b = bench(label_horizon="2d", stale_after="1d", segments=[])
    b.service.create_baseline("m", table=rows(600, 100_000))
    b.push(rows(100), version="retired")
    for day in range(1, 7):
        b.clock.advance(DAY)
        b.push(rows(100, 1000 * day, start=NOW - HOUR + day * DAY), version="current")
    clean(b)
    lane = b.service._lanes["m"]
    assert not lane.versions["retired"].whole.coverage()
    assert lane.index.pending <= 400
    assert stored(b, "predictions") <= 5
    assert b.service.show_model("m")["versions"]["retired"]["rows"] == 100


def test_a_version_of_last_year_keeps_nobody_elses_data(bench: Make, rows: Rows) -> None:
    """Rows of a version whose event times lie a year back stay, and those of the others go in their time."""
    b = bench(label_horizon="2d", segments=[], stale_after="30d")
    b.service.create_baseline("m", table=rows(600, 100_000))
    b.push(rows(100, 50_000, start=NOW - 365 * DAY), version="replayed")
    b.push(rows(100), version="current")
    for day in range(1, 7):
        b.clock.advance(DAY)
        b.push(rows(100, 1000 * day, start=NOW - HOUR + day * DAY), version="current")
        b.push(rows(10, 60_000 + 10 * day, start=NOW - 365 * DAY + day * HOUR), version="replayed")
    clean(b)
    lane = b.service._lanes["m"]
    assert lane.versions["replayed"].whole.coverage()
    assert 100 < lane.index.pending <= 560
    assert stored(b, "predictions") <= 13
    oldest = b.store.run(
        lambda connection: connection.execute(
            "SELECT min(bucket) FROM deltas WHERE version = 'current'"
        ).fetchone()[0]
    )
    assert oldest >= NOW + 6 * DAY - HOUR - lane.retention_seconds


def test_buckets_wait_for_comparisons_only(bench: Make, rows: Rows) -> None:
    """With a champion, buckets stay in the store until its contests are open, and then go too."""
    b = bench(label_horizon="2d", segments=[], champion="old")
    b.service.create_baseline("m", table=rows(600, 100_000))
    b.service._housekeeping.stop()
    for day in range(7):
        for arm, version in enumerate(("old", "new")):
            table = rows(100, 1000 * day + 500 * arm, start=NOW - HOUR + day * DAY)
            b.push(table, version=version)
            b.label(labels_of(table))
        b.service.evaluate("m")
        b.clock.advance(DAY)
    lane = b.service._lanes["m"]
    (before,) = b.service.comparisons("m")["results"]

    def oldest() -> float:
        select = "SELECT min(bucket) FROM deltas WHERE version = 'old'"
        return float(b.store.run(lambda connection: connection.execute(select).fetchone()[0]))

    with lane.lock:
        lane.contests.complete = False  # as right after a start
        clean(b)
        assert oldest() < NOW
    b.service.evaluate("m")
    clean(b)
    assert oldest() >= NOW + 6 * DAY - 2 * HOUR - lane.retention_seconds
    b.restart()
    b.service.evaluate("m")
    (compared,) = b.service.comparisons("m")["results"]
    assert compared["start"] < NOW
    assert compared["champion_rows"] > 600
    for name in ("start", "end", "champion_rows", "challenger_rows", "sample_ratio"):
        assert compared[name] == before[name]
    assert compared["metrics"]["accuracy"] == before["metrics"]["accuracy"]


def test_since_ends_with_the_baseline(bench: Make, rows: Rows) -> None:
    """A verdict against another baseline began when it was first reached against that one."""
    b = bench()
    b.service.create_baseline("m", table=rows(1000, 100_000))
    b.push(rows(500, shift=1.0))
    b.service.evaluate("m")
    lane = b.service._lanes["m"]
    before = {key: at for key, at in lane.drift_since.items() if key[2] == "distance"}
    b.push(rows(500, 5000, start=NOW, seconds=240, shift=1.0))
    b.service.evaluate("m")
    assert {key: at for key, at in lane.drift_since.items() if key[2] == "distance"} == before
    b.clock.advance(2 * HOUR)
    b.push(rows(500, 9000, start=NOW + HOUR, shift=1.0))
    b.service.create_baseline("m", table=rows(1000, 200_000, shift=-1.0))
    b.service.evaluate("m")
    after = {key: at for key, at in lane.drift_since.items() if key[2] == "distance"}
    assert after.keys() == before.keys()
    assert min(after.values()) > max(before.values())


def test_labelled_rows_are_of_the_window(bench: Make, rows: Rows) -> None:
    """While performance is measured on an earlier window, the rows with labels are those of this one."""
    b = bench(min_label_coverage=0.5)
    b.service.create_baseline("m", table=rows(600, 100_000))
    older, newer = rows(300, start=NOW - 4 * HOUR), rows(400, 1000)
    for table in (older, newer):
        b.push(table)
    b.label(labels_of(older))
    b.label(labels_of(newer).take(pa.array(np.arange(0, 400, 10))))
    made = b.evaluated(window="1h")
    assert made["rows"] > 0
    assert 30 <= made["labeled_rows"] <= 40
    assert made["labeled_ratio"] == made["labeled_rows"] / made["rows"]
    assert made["performance_window"]["rows"] > 200


def test_a_failed_evaluation_is_tried_again(bench: Make, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits longer after each failure, and the model is not given up."""
    b = bench()
    b.push(rows(600))
    lane, evaluator = b.service._lanes["m"], b.service._evaluator
    evaluator.stop()

    def fail(*_: object) -> None:
        raise ArithmeticError("made to fail")

    with monkeypatch.context() as patched:
        patched.setattr("exporter.service.evaluation.evaluator.evaluate_lane", fail)
        for _ in range(2):
            b.service.evaluate("m")
            assert lane.dirty
        assert evaluator._retry["m"][1] == 2.0
    b.service.evaluate("m")
    assert not lane.dirty
    assert "m" not in evaluator._retry
