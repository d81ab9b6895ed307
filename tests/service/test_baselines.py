"""Baselines of a running service: from rows, a past window or a file; active, deleted, and moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exporter.errors import ConflictError, NotFoundError, UnreadableError, UnusableBatchError
from exporter.monitor import ModelMonitor

from .conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]


def labelled(table: pa.Table, *, wrong: int = 0) -> pa.Table:
    return table.append_column("truth", labels_of(table, wrong=wrong)["truth"])


def create(b: Bench, **source: Any) -> dict[str, Any]:
    answer = b.service.create_baseline("m", **source)
    assert answer.status == 201
    return answer.body


def active(b: Bench) -> list[str]:
    return [found["id"] for found in b.service.list_baselines("m")["baselines"] if found["active"]]


def test_rows_become_a_baseline_before_anything_was_pushed(bench: Make, rows: Rows) -> None:
    """A baseline made of rows brings the grid, its labels give the baseline's performance, and it stays."""
    b = bench()
    made = create(b, table=labelled(rows(1000), wrong=100))
    assert (made["rows"], made["source"], made["provisional"], made["active"]) == (1000, "rows", False, True)
    table = rows(600, 2000)
    b.push(table)
    b.label(labels_of(table, wrong=180))
    for _ in range(2):
        result = b.evaluated(window="6h")
        assert result["metrics"]["accuracy"]["baseline"] == pytest.approx(0.9)
        assert result["metrics"]["accuracy"]["drop"] == pytest.approx(0.2)
        assert b.evaluated("drift", window="6h")["detected_columns"] == []
        b.restart()
    shown = b.service.show_baseline("m", made["id"])
    assert shown["columns"]["distance"]["rows"] == 1000
    assert b.service.show_model("m")["rows"] == 600


def test_rows_that_wait_for_the_first_grid_are_counted_on_it(bench: Make, rows: Rows) -> None:
    """A baseline pushed while rows wait takes them into the windows, with their labels and counters."""
    b = bench()
    table = rows(300)
    b.push(table)
    b.push(rows(100, 5000), version="challenger")
    b.label(labels_of(table, wrong=30))
    create(b, table=rows(1000, 8000))
    for _ in range(2):
        result = b.evaluated(window="6h", version="default")
        assert (result["rows"], result["labeled_rows"]) == (300, 300)
        assert result["metrics"]["accuracy"]["value"] == pytest.approx(0.9)
        assert b.evaluated("quality", window="6h", version="challenger")["rows"] == 100
        lane = b.service._lanes["m"]
        named = lane.bin_index(lane.grid).bins
        totals = lane.bins["default", lane.grid.id]
        assert sum(int(n) for (name, _), n in zip(named, totals, strict=True) if name == "distance") == 300
        assert b.service._lanes["m"].raw_rows == 0
        b.restart()


def test_waiting_rows_of_other_columns_or_types_keep_nobody_from_a_baseline(bench: Make, rows: Rows) -> None:
    """Rows that came before the grid and do not fit it are counted with what fits, and never block it."""
    b = bench(features=None, segments=[], baseline={"rows": 1000})
    b.push(rows(50).drop_columns(["carrier"]))
    texts = rows(50, 100)
    as_text = pa.array([f"far{n}" for n in range(50)])
    b.push(texts.set_column(texts.schema.get_field_index("distance"), "distance", as_text))
    made = create(b, table=rows(1000, 8000))
    assert made["rows"] == 1000
    assert b.evaluated("quality", window="6h")["rows"] >= 50
    assert b.push(rows(50, 20000))["accepted"] == 50
    b.restart()
    assert b.evaluated("quality", window="6h")["rows"] >= 100


def test_first_rows_of_several_types_still_make_a_provisional_baseline(bench: Make, rows: Rows) -> None:
    """A column that came as text once and as numbers before does not keep the exporter from working."""
    b = bench()
    b.push(rows(300))
    table = rows(300, 1000)
    place = table.schema.get_field_index("distance")
    texts = pa.array([str(value) for value in table["distance"].to_pylist()])
    assert b.push(table.set_column(place, "distance", texts))["accepted"] == 300
    b.restart()
    assert [found["provisional"] for found in b.service.list_baselines("m")["baselines"]] == [True]
    assert b.evaluated("quality", window="6h")["rows"] == 600


def test_a_past_window_becomes_a_baseline(bench: Make, rows: Rows) -> None:
    """Promotion takes what came between two event times, with its labels, and replaces the one of before."""
    b = bench()
    end = NOW // HOUR * HOUR
    first = rows(1000, start=end - 5 * HOUR)
    b.push(first)
    b.push(rows(1000, 2000, start=end - HOUR, shift=2.0))
    b.label(labels_of(first, wrong=200))
    assert b.evaluated("drift", window="1h")["detected_columns"] == ["distance"]
    made = create(b, period=(end - HOUR, end))
    assert (made["source"], made["period"], made["rows"]) == ("window", [end - HOUR, end], 1000)
    assert b.evaluated("drift", window="1h")["detected_columns"] == []
    create(b, period=(end - 5 * HOUR, end - 4 * HOUR))
    b.restart()
    assert b.evaluated("drift", window="1h")["detected_columns"] == ["distance"]
    assert b.evaluated(window="6h")["metrics"]["accuracy"]["baseline"] == pytest.approx(0.8)


def test_a_period_without_rows_or_without_a_grid_is_refused(bench: Make, rows: Rows) -> None:
    """What cannot be promoted is said so: 409 before a grid exists, 422 where nothing is kept."""
    b = bench()
    with pytest.raises(ConflictError) as caught:
        create(b, period=(0.0, NOW))
    assert caught.value.code == "no_grid"
    b.push(rows(600))
    with pytest.raises(UnusableBatchError, match="no rows"):
        create(b, period=(NOW - 100 * HOUR, NOW - 99 * HOUR))
    with pytest.raises(UnusableBatchError, match="made from"):
        create(b)


def test_one_is_active_for_each_version_and_one_for_all_others(bench: Make, rows: Rows) -> None:
    """A version's own baseline goes before the shared one; activation and deletion fall back to it."""
    b = bench()
    shared = create(b, table=rows(1000))
    own = create(b, table=rows(1000, 2000, shift=2.0), version="challenger")
    spare = create(b, table=rows(1000, 4000), activate=False)
    assert active(b) == [shared["id"], own["id"]]
    for version in ("default", "challenger"):
        b.push(rows(500, 6000), version=version)
    for _ in range(2):
        assert b.evaluated("drift", window="6h", version="default")["detected_columns"] == []
        drift = b.evaluated("drift", window="6h", version="challenger")
        assert drift["detected_columns"] == ["distance"]
        b.restart()
    assert b.service.activate_baseline("m", spare["id"]).body["active"]
    assert sorted(active(b)) == sorted([own["id"], spare["id"]])
    b.service.delete_baseline("m", own["id"])
    for _ in range(2):
        assert active(b) == [spare["id"]]
        drift = b.evaluated("drift", window="6h", version="challenger")
        assert drift["detected_columns"] == []
        b.restart()
    with pytest.raises(NotFoundError):
        b.service.show_baseline("m", own["id"])
    with pytest.raises(NotFoundError):
        b.service.delete_baseline("m", own["id"])
    with pytest.raises(NotFoundError):
        b.service.activate_baseline("m", own["id"])


def test_without_an_active_baseline_the_reason_is_given(bench: Make, rows: Rows) -> None:
    """When the only baseline is deleted, drift says `no_baseline` and quality goes on."""
    b = bench()
    made = create(b, table=rows(1000))
    b.push(rows(500, 2000))
    b.service.delete_baseline("m", made["id"])
    drift = b.evaluated("drift", window="6h")
    assert drift["columns"] == {}
    reasons = {(entry["measure"], entry["reason"]) for entry in b.service.status("m")["undefined"]}
    assert ("drift", "no_baseline") in reasons
    assert b.evaluated("quality", window="6h")["completeness"]["distance"] == 1.0


def test_an_artifact_moves_to_another_exporter(bench: Make, rows: Rows) -> None:
    """An exported baseline imported elsewhere brings its grid and gives the same verdicts and references."""
    one, other = bench(), bench()
    create(one, table=labelled(rows(1000), wrong=100), version="v1")
    (found,) = one.service.list_baselines("m")["baselines"]
    data = one.service.baseline_artifact("m", found["id"])
    waiting = rows(200, 9000)
    other.push(waiting, version="v1")
    made = create(other, artifact=data)
    assert (made["source"], made["rows"], made["version"], made["grid"]) == (
        "artifact",
        1000,
        "v1",
        found["grid"],
    )
    table = rows(500, 2000, shift=0.5)
    for b in (one, other):
        b.push(table, version="v1")
        b.label(labels_of(table))
    one.push(waiting, version="v1")
    other.restart()
    drift = [b.evaluated("drift", window="6h") for b in (one, other)]
    assert drift[0]["rows"] == drift[1]["rows"] == 700
    for name, column in drift[0]["columns"].items():
        assert drift[1]["columns"][name]["statistic"] == pytest.approx(column["statistic"])
    assert other.evaluated(window="6h")["metrics"]["accuracy"]["baseline"] == pytest.approx(0.9)
    again = create(other, artifact=other.service.baseline_artifact("m", made["id"]), version="v2")
    assert (again["version"], again["grid"]) == ("v2", found["grid"])


def test_an_artifact_of_another_grid_needs_a_regrid(bench: Make, rows: Rows) -> None:
    """A foreign grid is 409 until a re-grid is asked for; then the windows start anew, over a restart too."""
    one, other = bench(), bench()
    made = create(one, table=rows(1000, shift=1.0))
    data = one.service.baseline_artifact("m", made["id"])
    before = create(other, table=rows(1000))
    other.push(rows(500, 2000))
    with pytest.raises(ConflictError) as caught:
        create(other, artifact=data)
    assert caught.value.code == "other_grid"
    other.clock.advance(1)
    create(other, artifact=data, regrid=True)
    other.service.evaluate("m")
    for _ in range(2):
        assert other.service.drift("m")["results"] == []
        with pytest.raises(ConflictError) as caught:
            other.service.activate_baseline("m", before["id"])
        assert caught.value.code == "other_grid"
        other.restart()
    other.push(rows(400, 4000, shift=1.0))
    for _ in range(2):
        drift = other.evaluated("drift", window="6h")
        assert (drift["rows"], drift["detected_columns"]) == (400, [])
        other.restart()
    assert other.service.show_model("m")["rows"] == 900


def test_back_on_an_earlier_grid_the_windows_start_anew(bench: Make, rows: Rows) -> None:
    """A re-grid to a grid of before does not bring its old rows back, neither at once nor after a restart."""
    b = bench()
    first = create(b, table=rows(1000))
    b.push(rows(500, 2000))
    data = b.service.baseline_artifact("m", first["id"])
    for source in ({"table": rows(1000, 4000, shift=1.0)}, {"artifact": data}):
        b.clock.advance(1)
        create(b, **source, regrid=True)
    b.push(rows(300, 6000))
    for _ in range(2):
        assert b.service.show_model("m")["grid"] == first["grid"]
        assert b.evaluated("drift", window="6h")["rows"] == 300
        b.restart()


def test_labels_over_a_regrid_count_what_is_comparable(bench: Make, rows: Rows) -> None:
    """A label for a prediction of before the re-grid is answered, and values stand over a restart."""
    b = bench()
    create(b, table=rows(1000))
    old = rows(200, 2000)
    b.push(old)
    b.label(labels_of(old.slice(0, 100)))
    b.clock.advance(1)
    create(b, table=rows(1000, 4000), regrid=True)
    new = rows(300, 6000)
    b.push(new)
    b.label(labels_of(new))
    assert b.label(labels_of(old, wrong=50))["corrected"] == 50
    results = []
    for _ in range(2):
        result = b.evaluated(window="6h")
        results.append((result["rows"], result["labeled_rows"], result["metrics"]["accuracy"]["value"]))
        b.restart()
    assert results[0] == results[1]
    assert results[0][0] == 300


def test_an_artifact_of_another_kind_of_model_is_refused(bench: Make, rows: Rows) -> None:
    """A baseline of another task or of other features cannot be imported, whatever grid the model has."""
    columns = {"id": "id", "timestamp": "at", "prediction": "score", "label": "truth"}
    one = bench(task="regression", columns=columns)
    made = create(one, table=rows(600))
    binary = bench()
    with pytest.raises(ConflictError) as caught:
        create(binary, artifact=one.service.baseline_artifact("m", made["id"]))
    assert caught.value.code == "other_schema"
    fewer = bench(features={"distance": "numeric"}, segments=[])
    made = create(fewer, table=rows(600))
    with pytest.raises(ConflictError, match="carrier"):
        create(binary, artifact=fewer.service.baseline_artifact("m", made["id"]))
    assert binary.service.list_baselines("m")["baselines"] == []
    binary.push(rows(600))
    assert binary.evaluated("quality", window="6h")["rows"] == 600


def test_a_damaged_artifact_is_refused(bench: Make, rows: Rows) -> None:
    """A flipped bit or another file is 400 and changes nothing."""
    b = bench()
    made = create(b, table=rows(600))
    data = bytearray(b.service.baseline_artifact("m", made["id"]))
    data[len(data) // 2] ^= 1
    for wrong in (bytes(data), b"", b"MLXB\x01", b"PK\x03\x04 something"):
        with pytest.raises(UnreadableError):
            create(b, artifact=wrong)
    assert len(b.service.list_baselines("m")["baselines"]) == 1


def test_the_baseline_of_a_monitor_is_imported(bench: Make, rows: Rows) -> None:
    """A ModelMonitor's artifact serves a model whose columns have other names; rows and baselines go on."""
    b = bench()
    waiting = rows(200)
    b.push(waiting)
    table = labelled(rows(1000, 2000), wrong=100)
    frame = table.to_pandas()
    monitor = ModelMonitor("m")
    monitor.set_baseline(
        frame["truth"], frame["answer"], frame[["distance", "delay", "carrier"]], y_score=frame["score"]
    )
    made = create(b, artifact=monitor.baseline_artifact())
    assert (made["rows"], made["grid"]) == (1000, monitor.grid.id)
    more = rows(400, 6000)
    b.push(more)
    b.label(labels_of(more))
    for _ in range(2):
        result = b.evaluated(window="6h")
        assert (result["rows"], result["labeled_rows"]) == (600, 400)
        assert result["metrics"]["accuracy"]["baseline"] == pytest.approx(0.9)
        assert result["metrics"]["roc_auc"]["value"] == pytest.approx(1.0)
        b.restart()
    assert create(b, table=labelled(rows(800, 9000)))["grid"] == monitor.grid.id


def test_a_repeated_key_makes_no_second_baseline(bench: Make, rows: Rows) -> None:
    """The same key gets the first answer, also after a restart."""
    b = bench()
    table = rows(600)
    first = create(b, table=table, key="k", body_hash="a")
    b.restart()
    answer = b.service.create_baseline("m", table=table, key="k", body_hash="a")
    assert (answer.status, answer.body) == (200, {**first, "duplicate": True})
    assert len(b.service.list_baselines("m")["baselines"]) == 1


def test_rows_that_cannot_be_used_are_named(bench: Make, rows: Rows) -> None:
    """A baseline leaves unusable rows out and says how many."""
    b = bench()
    table = rows(600)
    score = table["score"].to_numpy().copy()
    score[:7] = 2.0
    made = create(b, table=table.set_column(table.schema.get_field_index("score"), "score", pa.array(score)))
    assert made["rows"] == 593
    assert any("7" in warning and "out_of_range" in warning for warning in made["warnings"])


def test_features_are_inferred_from_the_baseline(bench: Make, rows: Rows) -> None:
    """Without configured features those of the baseline count, and rows without one lack its values."""
    b = bench(features=None, segments=[])
    create(b, table=rows(600))
    names = {column["name"] for column in b.service.show_model("m")["columns"] if column["role"] == "feature"}
    assert names == {"distance", "delay", "carrier"}
    b.push(rows(200, 1000).drop_columns(["delay"]))
    quality = b.evaluated("quality", window="6h")
    assert (quality["completeness"]["delay"], quality["completeness"]["distance"]) == (0.0, 1.0)
    with pytest.raises(UnusableBatchError, match="feature"):
        bench(features=None, segments=[]).service.create_baseline(
            "m", table=rows(10).select(["id", "at", "answer", "score"])
        )


def test_a_baseline_of_a_multiclass_model_moves_too(bench: Make, rows: Rows) -> None:
    """Classes of an artifact are those of the model that imports it, and labels keep their codes."""
    changes: dict[str, Any] = {
        "task": "multiclass",
        "columns": {"id": "id", "timestamp": "at", "prediction": "answer", "label": "truth"},
        "features": {"distance": "numeric"},
        "segments": [],
    }
    one, other = bench(**changes), bench(**changes)
    table = rows(600)
    table = table.set_column(table.schema.get_field_index("answer"), "answer", table["carrier"])
    made = create(one, table=table.append_column("truth", table["carrier"]))
    create(other, artifact=one.service.baseline_artifact("m", made["id"]))
    pushed = table.set_column(0, "id", pa.array([f"x{n}" for n in range(600)]))
    other.push(pushed)
    truth = np.where(np.arange(600) < 60, "UA", pushed["answer"].to_numpy(zero_copy_only=False))
    other.label(pa.table({"id": pushed["id"], "truth": truth}))
    right = np.mean(truth == pushed["answer"].to_numpy(zero_copy_only=False))
    other.restart()
    metrics = other.evaluated(window="6h")["metrics"]
    assert metrics["accuracy"]["value"] == pytest.approx(right)
    assert metrics["accuracy"]["baseline"] == 1.0


def test_a_promoted_window_keeps_its_buckets(bench: Make, rows: Rows) -> None:
    """A past window becomes a baseline with the buckets it is the sum of, which its file carries along."""
    b = bench()
    b.push(rows(600))
    answer = b.service.create_baseline("m", period=(NOW - 2 * HOUR, NOW + HOUR))
    assert answer.body["rows"] == 600
    assert answer.body["buckets"] >= 20
    data = b.service.baseline_artifact("m", answer.body["id"])
    again = b.service.create_baseline("m", artifact=data)
    assert again.body["buckets"] == answer.body["buckets"]


@pytest.mark.parametrize(
    ("kind", "first", "then"),
    [
        ("numeric", pa.array([2**62 + 1] * 300), pa.array([0.5] * 300)),
        ("numeric", pa.array([2**63] * 300, pa.uint64()), pa.array([-1] * 300)),
        ("datetime", pa.array([2**36] * 300, pa.timestamp("s")), pa.array([0] * 300, pa.timestamp("ns"))),
    ],
)
def test_first_rows_whose_types_hold_each_other_badly_make_a_baseline(
    bench: Make, rows: Rows, kind: str, first: pa.Array, then: pa.Array
) -> None:
    """Numbers and times that the common type cannot hold exactly cost no push."""
    b = bench(features={"odd": kind}, segments=[])
    b.push(rows(300).append_column("odd", first))
    b.push(rows(300, 300).append_column("odd", then))
    assert [found["provisional"] for found in b.service.list_baselines("m")["baselines"]] == [True]
    assert b.service.show_model("m")["rows"] == 600


def test_the_newest_grid_is_in_use_though_the_clock_went_back(bench: Make, rows: Rows) -> None:
    """Which grid and which baseline came last does not depend on the clock."""
    b = bench(segments=[])
    first = b.service.create_baseline("m", table=rows(600)).body["id"]
    b.clock.advance(-120)
    b.service.create_baseline("m", table=rows(600, 1000, shift=2.0), regrid=True)
    b.push(rows(300, 5000, shift=2.0))
    for _ in range(2):
        assert b.evaluated("drift", window="6h")["columns"]["distance"]["detected"] is False
        b.restart()
    second = b.service.create_baseline("m", table=rows(600, 9000, shift=2.0)).body["id"]
    b.clock.advance(-120)
    third = b.service.create_baseline("m", table=rows(600, 12_000, shift=2.0)).body["id"]
    assert b.service.roll_back_baseline("m").body["id"] == second
    assert b.service.roll_back_baseline("m").body["id"] == third
    assert first not in {second, third}


def test_first_rows_of_undeclared_features_bring_no_column_of_ours(bench: Make, rows: Rows) -> None:
    """Inferred features are the user's columns only, and a restart keeps them; the same rows do not drift."""
    b = bench(features=None)
    b.push(rows(400))
    b.restart()
    b.push(rows(400, 400))
    columns = {column["name"] for column in b.service.show_model("m")["columns"]}
    assert columns == {"answer", "score", "truth", "distance", "delay", "carrier"}
    b.push(rows(400, 800, start=NOW - HOUR / 2, seconds=HOUR / 2))
    assert b.evaluated("drift", window="1h")["detected_columns"] == []
