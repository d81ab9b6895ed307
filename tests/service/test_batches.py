"""Rows of predictions, from the request to the windows."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from exporter.errors import ConflictError, KeyReusedError, NotFoundError, UnusableBatchError

from .conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]


def test_first_rows_become_a_provisional_baseline(bench: Make, rows: Rows) -> None:
    """Until there are enough rows the reason is given; then a provisional baseline is made from them."""
    b = bench()
    b.push(rows(300))
    assert "300 of 500" in b.service.drift("m")["reason"]
    assert not b.service.list_baselines("m")["baselines"]
    b.push(rows(300, 300))
    (baseline,) = b.service.list_baselines("m")["baselines"]
    assert (baseline["provisional"], baseline["active"], baseline["rows"]) == (True, True, 500)
    drift = b.evaluated("drift", window="6h")
    assert drift["rows"] == 600
    assert drift["detected_columns"] == []


def test_rows_before_the_grid_survive_a_restart(bench: Make, rows: Rows) -> None:
    """Rows that wait for the first grid are durable, and their labels too."""
    b = bench()
    first = rows(300)
    b.push(first)
    b.label(labels_of(first, wrong=30))
    b.restart()
    second = rows(300, 300)
    b.push(second)
    b.label(labels_of(second, wrong=30))
    result = b.evaluated(window="6h")
    assert (result["rows"], result["labeled_rows"]) == (600, 600)
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(0.9)


def test_a_repeated_key_gets_the_first_answer(bench: Make, rows: Rows) -> None:
    """The same key with the same body changes nothing, also after a restart; another body is refused."""
    b = bench()
    table = rows(600)
    first = b.push(table, key="k", body_hash="a")
    again = b.push(table, key="k", body_hash="a")
    assert again == {**first, "duplicate": True}
    b.restart()
    assert b.push(table, key="k", body_hash="a") == {**first, "duplicate": True}
    with pytest.raises(KeyReusedError):
        b.push(table, key="k", body_hash="b")
    assert b.service.show_model("m")["rows"] == 600


def test_a_key_in_progress_is_a_conflict(bench: Make, rows: Rows) -> None:
    """A second request with a key whose first is still under way is told to come again."""
    b = bench()
    lane = b.service._lanes["m"]
    lane.in_progress.add(("batches", "k"))
    with pytest.raises(ConflictError) as caught:
        b.push(rows(5), key="k", body_hash="a")
    assert caught.value.code == "idempotency_key_in_progress"
    lane.in_progress.clear()


def test_repeated_ids_are_counted_once(bench: Make, rows: Rows) -> None:
    """The first row of an id wins, in one batch, over batches and restarts; each version has its own."""
    b = bench()
    table = rows(600)
    b.push(pa.concat_tables([table, table.slice(0, 100)]))
    answer = b.push(table.slice(0, 50))
    assert (answer["accepted"], answer["reasons"]) == (0, {"duplicate": 50})
    b.restart()
    assert b.push(table.slice(0, 50))["accepted"] == 0
    assert b.push(table.slice(0, 50), version="challenger")["accepted"] == 50
    quality = b.evaluated("quality", window="6h", version="default")
    assert quality["rows"] == 600
    assert quality["duplicate"] == pytest.approx(200 / 800)


def test_late_rows_count_in_their_bucket_until_the_lateness_is_over(bench: Make, rows: Rows) -> None:
    """Rows inside the lateness are merged where they belong; older ones are dropped and counted."""
    b = bench(lateness="2h")
    b.push(rows(600))
    late = b.push(rows(10, 1000, start=NOW - 2 * HOUR, seconds=60))
    assert late["accepted"] == 10
    too_late = b.push(rows(10, 2000, start=NOW - 5 * HOUR, seconds=60))
    assert too_late["reasons"] == {"late": 10}
    assert b.evaluated("quality", window="6h")["rows"] == 610
    assert b.service.show_model("m")["versions"]["default"]["rejected"] == {"late": 10}


def test_a_backfill_leaves_the_windows_of_now_alone(bench: Make, rows: Rows) -> None:
    """Rows older than the lateness enter no window and no counter of bins, also after a restart."""
    b = bench(lateness="2h")
    b.push(rows(600))
    past = pa.concat_tables(
        [rows(10, 3000, start=NOW - 5 * HOUR, seconds=60), rows(7, 4000, start=NOW - HOUR, seconds=60)]
    )
    answer = b.push(past, backfill=True)
    assert (answer["accepted"], answer["history_only"], answer["reasons"]) == (17, 10, {})
    for _ in range(2):
        assert b.evaluated("quality", window="6h")["rows"] == 607
        assert b.service.show_model("m")["rows"] == 617
        lane = b.service._lanes["m"]
        column = [place for place, (name, _) in enumerate(lane.bin_index(lane.grid).bins) if name == "delay"]
        assert lane.bins["default", lane.grid.id][column].sum() == 607
        b.restart()


def test_a_row_from_the_future_never_moves_the_watermark(bench: Make, rows: Rows) -> None:
    """Rows beyond the tolerance are rejected, and the window stays where it was."""
    b = bench()
    b.push(rows(600))
    before = b.service.show_model("m")["versions"]["default"]["watermark"]
    table = pa.concat_tables([rows(5, 700), rows(5, 800, start=NOW + 10 * HOUR, seconds=60)])
    answer = b.push(table)
    assert answer["reasons"] == {"future": 5}
    after = b.service.show_model("m")["versions"]["default"]["watermark"]
    assert before <= after <= NOW


def test_windows_slide_by_event_time(bench: Make, rows: Rows) -> None:
    """A replay of the past gives the windows of the past, whatever the clock says."""
    b = bench()
    for hour in range(8):
        b.push(rows(600, 600 * hour, start=NOW - 100 * HOUR + hour * HOUR))
    one = b.evaluated("quality", window="1h")
    six = b.evaluated("quality", window="6h")
    assert 500 <= one["rows"] <= 700
    assert 3500 <= six["rows"] <= 3700
    assert one["end"] <= NOW - 91 * HOUR


def test_drift_is_found_and_since_is_kept(bench: Make, rows: Rows) -> None:
    """A shifted column is detected, others are not, and the verdict's start stands after a restart."""
    b = bench()
    b.push(rows(3000, start=NOW - 6 * HOUR, seconds=3 * HOUR))
    b.push(rows(1500, 5000, shift=1.0))
    drift = b.evaluated("drift", window="1h")
    assert drift["detected_columns"] == ["distance"]
    since = drift["columns"]["distance"]["since"]
    b.clock.advance(HOUR / 2)
    b.push(rows(500, 9000, start=NOW, seconds=HOUR / 2, shift=1.0))
    assert b.evaluated("drift", window="1h")["end"] > since
    assert b.evaluated("drift", window="1h")["columns"]["distance"]["since"] == since
    b.restart()
    assert b.evaluated("drift", window="1h")["columns"]["distance"]["since"] == since


def test_segments_are_further_profiles(bench: Make, rows: Rows) -> None:
    """Segments add up to the whole and have evaluations of their own."""
    b = bench()
    table = rows(900)
    b.push(table)
    b.label(labels_of(table, wrong=90))
    parts = [b.evaluated(window="6h", segment=f"carrier={name}") for name in ("AA", "UA", "DL")]
    assert sum(part["rows"] for part in parts) == 900
    assert sum(part["labeled_rows"] for part in parts) == 900
    right = sum(part["metrics"]["accuracy"]["value"] * part["labeled_rows"] for part in parts)
    assert right == pytest.approx(810)


def test_restart_gives_the_same_values(bench: Make, rows: Rows) -> None:
    """What was evaluated before a restart is evaluated again to the same values."""
    b = bench()
    table = rows(2000, start=NOW - 6 * HOUR, seconds=6 * HOUR)
    b.push(table)
    b.label(labels_of(table.slice(0, 1500), wrong=100))
    before = [b.evaluated(part, window="6h") for part in ("performance", "drift", "quality")]
    counters = b.service._lanes["m"].counters
    b.restart()
    after = [b.evaluated(part, window="6h") for part in ("performance", "drift", "quality")]
    assert dict(b.service._lanes["m"].counters) == dict(counters)
    assert before[0]["confusion"] == after[0]["confusion"]
    for old, new in zip(before, after, strict=True):
        assert old["rows"] == new["rows"]
    for name, column in before[1]["columns"].items():
        assert after[1]["columns"][name]["statistic"] == pytest.approx(column["statistic"])
    assert before[2]["completeness"] == after[2]["completeness"]


def test_unknown_models_and_bad_versions_are_refused(bench: Make, rows: Rows) -> None:
    """An unknown model is 404, a version with control characters 422."""
    b = bench()
    with pytest.raises(NotFoundError, match="configured are m"):
        b.service.ingest_batch("other", rows(1))
    with pytest.raises(UnusableBatchError, match="printable"):
        b.push(rows(1), version="a\nb")


def test_forgetting_a_version_leaves_the_others(bench: Make, rows: Rows) -> None:
    """Deleting a version removes its rows; deleting a model's data leaves only the configuration."""
    b = bench()
    b.push(rows(600))
    b.push(rows(600), version="challenger")
    b.service.delete_version("m", "challenger")
    assert list(b.service.show_model("m")["versions"]) == ["default"]
    b.restart()
    assert list(b.service.show_model("m")["versions"]) == ["default"]
    b.service.delete_data("m")
    assert b.service.show_model("m")["rows"] == 0
    assert b.push(rows(600))["accepted"] == 600


def test_rules_and_quality_reach_the_report(bench: Make, rows: Rows) -> None:
    """Validation and consistency rules, timeliness and type errors are ratios of the window."""
    b = bench(
        quality={
            "timeliness": "30m",
            "validation_rules": {"distance": {"min": 0}, "carrier": {"allowed": ["AA", "UA"]}},
            "consistency_rules": {"positive_scores_high": "answer = (score > 0.5)"},
        }
    )
    table = rows(1000)
    b.push(table)
    quality = b.evaluated("quality", window="6h")
    expected = sum(value >= 0 for value in table["distance"].to_pylist()) / 1000
    assert quality["validity"]["distance"]["min"] == pytest.approx(expected)
    assert quality["validity"]["carrier"]["allowed"] == pytest.approx(
        sum(value != "DL" for value in table["carrier"].to_pylist()) / 1000
    )
    assert quality["consistency"] == {"positive_scores_high": 1.0}
    timely = sum(NOW - at <= 1800 for at in table["at"].to_pylist()) / 1000
    assert quality["timeliness"] == pytest.approx(timely)


def test_status_is_filtered(bench: Make, rows: Rows) -> None:
    """Each entry of the status is shown for its window, version and segment, and for no other."""
    b = bench()
    b.push(rows(600))
    b.push(rows(600), version="challenger")
    b.service.evaluate("m")
    everything = b.service.status("m")["undefined"]
    for name, values in {
        "window": ("1h", "6h"),
        "version": ("default", "challenger"),
        "segment": ("carrier=AA", "carrier=UA"),
    }.items():
        for value in values:
            found = b.service.status("m", **{name: value})["undefined"]
            assert found == [entry for entry in everything if entry[name] == value]
            assert found
    b.push(rows(2000, 5000, shift=2.0), version="challenger")
    b.service.evaluate("m")
    assert b.service.status("m", version="default")["drifted_columns"] == []
    assert b.service.status("m", version="challenger")["drifted_columns"] == ["distance"]
