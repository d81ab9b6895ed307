"""What a scrape reads: counters, bins, stale models, the budget, and the reasons for what is missing."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families

from .conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]
Labels = tuple[tuple[str, str], ...]
Page = dict[str, dict[Labels, float]]

COUNTERS = (
    "ml_rows_total",
    "ml_labels_total",
    "ml_batches_total",
    "ml_rejected_rows_total",
    "ml_column_rows_total",
)


def page(b: Bench) -> Page:
    """Every sample of the snapshot by name and labels."""
    families: Page = {}
    for family in text_string_to_metric_families(b.service.snapshot().text.decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in families.setdefault(sample.name, {}), "a series came twice"
            families[sample.name][labels] = sample.value
    return families


def of(families: Page, name: str, **labels: str) -> list[float]:
    """Values of the series of a family that have these labels."""
    return [value for found, value in families.get(name, {}).items() if labels.items() <= dict(found).items()]


def evaluated(b: Bench) -> Page:
    b.service.evaluate("m")
    return page(b)


def tick(b: Bench) -> Page:
    """The snapshot after a second of housekeeping."""
    b.service._housekeeping.tick()
    return page(b)


def test_before_a_baseline_the_reasons_are_given(bench: Make, rows: Rows) -> None:
    """A model without rows, and one with too few, says `no_baseline` for both; totals count."""
    b = bench()
    for expected in (0, 300):
        families = evaluated(b)
        for measure in ("performance", "drift"):
            values = of(families, "ml_undefined", measure=measure, reason="no_baseline", version="default")
            assert values == [1.0, 1.0]  # two windows
        assert of(families, "ml_rows_total", version="default") == [expected]
        assert "ml_performance" not in families
        b.push(rows(300))


def test_bins_sum_to_rows_and_shares_to_one(bench: Make, rows: Rows) -> None:
    """For every binned column bins add up to the rows, and the baseline's shares to 1, on the same bins."""
    b = bench()
    b.push(rows(600))
    b.push(rows(250, 1000), version="challenger")
    families = evaluated(b)
    names = {dict(labels)["column"] for labels in families["ml_column_rows_total"]}
    assert names == {"answer", "score", "distance", "delay", "carrier"}
    for version, count in (("default", 600), ("challenger", 250)):
        for column in names:
            where = {"version": version, "column": column}
            assert sum(of(families, "ml_column_rows_total", **where)) == count
            assert sum(of(families, "ml_baseline_ratio", **where)) == pytest.approx(1)
            series = [
                {found for found in families[name] if where.items() <= dict(found).items()}
                for name in ("ml_column_rows_total", "ml_baseline_ratio")
            ]
            assert series[0] == series[1]
    (grid,) = {dict(labels)["grid"] for labels in families["ml_column_rows_total"]}
    assert grid == b.service.show_model("m")["grid"]


def test_bins_are_shown_at_zero_until_they_are_warm(bench: Make, rows: Rows) -> None:
    """A new generation stands at 0 for `counter_warmup`, so that its first rows are an increase."""
    b = bench(counter_warmup="60s")
    b.service.create_baseline("m", table=rows(600))
    b.push(rows(300, 1000))
    first = evaluated(b)
    assert len(of(first, "ml_column_rows_total", column="distance")) >= 10
    assert set(of(first, "ml_column_rows_total")) == {0.0}
    assert of(first, "ml_rows_total") == [300.0]
    b.clock.advance(59)
    assert set(of(evaluated(b), "ml_column_rows_total")) == {0.0}
    b.clock.advance(1)
    assert sum(of(tick(b), "ml_column_rows_total", column="distance")) == 300


def test_bins_warm_up_again_after_data_were_deleted(bench: Make, rows: Rows) -> None:
    """A grid that comes back after a deletion is a new generation: it starts at 0."""
    b = bench(counter_warmup="60s")
    made = b.service.create_baseline("m", table=rows(600)).body
    data = b.service.baseline_artifact("m", made["id"])
    b.push(rows(300, 1000))
    evaluated(b)
    b.clock.advance(61)
    assert sum(of(tick(b), "ml_column_rows_total", column="distance")) == 300
    b.service.delete_data("m")
    assert of(page(b), "ml_column_rows_total") == []
    b.service.create_baseline("m", artifact=data)
    b.push(rows(100, 5000))
    assert set(of(evaluated(b), "ml_column_rows_total")) == {0.0}
    b.clock.advance(61)
    assert sum(of(tick(b), "ml_column_rows_total", column="distance")) == 100


@pytest.mark.parametrize("first_rows", [False, True])
def test_counters_never_go_down_over_a_restart(bench: Make, rows: Rows, first_rows: bool) -> None:
    """Every counter starts again where it was, warm bins too, whatever made the grid."""
    b = bench(counter_warmup="60s")
    if not first_rows:
        b.service.create_baseline("m", table=rows(600))
    table = rows(600, 1000)
    b.push(table)
    b.label(labels_of(table))
    b.push(rows(3, 1000))  # repeated
    evaluated(b)
    b.clock.advance(61)
    before = tick(b)
    assert sum(of(before, "ml_column_rows_total", column="distance")) == 600
    assert of(before, "ml_rejected_rows_total", reason="duplicate") == [3.0]
    for _ in range(2):
        b.restart()
        after = page(b)
        for name in COUNTERS:
            for labels, value in before[name].items():
                assert after[name][labels] >= value, (name, labels)
        b.clock.advance(5)
    b.push(rows(100, 5000))
    assert sum(of(evaluated(b), "ml_column_rows_total", column="distance")) == 700


def test_a_retired_generation_of_bins_stays_for_one_window(bench: Make, rows: Rows) -> None:
    """After a re-grid the old bins keep their last value for the largest window, beside the new."""
    b = bench()
    b.service.create_baseline("m", table=rows(600))
    b.push(rows(300, 1000))
    old = b.service.show_model("m")["grid"]
    b.clock.advance(10)
    b.service.create_baseline("m", table=rows(600, 2000, shift=3.0), regrid=True)
    b.push(rows(200, 4000))
    new = b.service.show_model("m")["grid"]
    families = evaluated(b)
    assert sum(of(families, "ml_column_rows_total", column="distance", grid=old)) == 300
    assert sum(of(families, "ml_column_rows_total", column="distance", grid=new)) == 200
    b.restart()
    assert sum(of(page(b), "ml_column_rows_total", column="distance", grid=old)) == 300
    b.clock.advance(6 * HOUR)
    families = evaluated(b)
    assert of(families, "ml_column_rows_total", grid=old) == []
    assert sum(of(families, "ml_column_rows_total", column="distance", grid=new)) == 200


def test_a_stale_model_keeps_its_totals(bench: Make, rows: Rows) -> None:
    """Without arrivals windowed families go and say `stale`; totals and times stay; rows bring them back."""
    b = bench(stale_after="2h")
    table = rows(600)
    b.push(table)
    b.label(labels_of(table))
    fresh = evaluated(b)
    assert of(fresh, "ml_performance", metric="accuracy") == [1.0, 1.0]
    b.clock.advance(2 * HOUR)
    assert "ml_performance" in tick(b)
    b.clock.advance(1)
    for _ in range(2):
        stale = tick(b)
        gone = {"ml_performance", "ml_drift_detected", "ml_quality_completeness_ratio", "ml_window_rows"}
        assert not gone & stale.keys()
        assert not [name for name in stale if name.startswith("ml_segment_")]
        assert of(stale, "ml_undefined", reason="stale") == [1.0, 1.0]
        for name in (*COUNTERS[:3], "ml_last_batch_timestamp_seconds", "ml_last_label_timestamp_seconds"):
            assert stale[name] == fresh[name]
        assert "ml_model_info" in stale
        b.restart()
    b.push(rows(50, 5000, start=NOW + HOUR))
    back = evaluated(b)
    assert "ml_performance" in back
    assert of(back, "ml_undefined", reason="stale") == []


def test_the_budget_bounds_a_model(bench: Make, rows: Rows) -> None:
    """Beyond `max_series` whole families go, are counted, and are named by `ml_undefined`."""
    b = bench(max_series=300)
    table = rows(600)
    b.push(table)
    b.label(labels_of(table))
    families = evaluated(b)
    (series,) = of(families, "ml_exporter_series", model="m")
    mine = sum(
        1
        for name, found in families.items()
        for labels in found
        if dict(labels).get("model") == "m" and not name.startswith("ml_exporter")
    )
    assert series == mine <= 300
    named = {
        dict(labels)["measure"] for labels in families["ml_undefined"] if dict(labels)["reason"] == "budget"
    }
    dropped = {
        dict(labels)["family"].removeprefix("ml_") for labels in families["ml_exporter_series_dropped_total"]
    }
    assert named == dropped
    assert named
    assert not {f"ml_{name}" for name in named} & families.keys()
    assert of(families, "ml_rows_total") == [600.0]


def test_only_the_newest_versions_are_exposed(bench: Make, rows: Rows) -> None:
    """`max_versions` bounds the series; the versions with the newest rows stay."""
    b = bench(max_versions=2)
    b.push(rows(600, start=NOW - 3 * HOUR), version="a")
    for number, version in enumerate("bcd"):
        b.push(rows(50, 1000, start=NOW - 2 * HOUR + number * 600, seconds=60), version=version)
    families = evaluated(b)
    assert {dict(labels)["version"] for labels in families["ml_window_rows"]} == {"c", "d"}
    assert {dict(labels)["version"] for labels in families["ml_rows_total"]} == {"c", "d"}


def test_times_are_those_of_the_last_arrivals(bench: Make, rows: Rows) -> None:
    """Batch, label, event, evaluation and baseline have their times, also after a restart."""
    b = bench()
    b.service.create_baseline("m", table=rows(600))
    table = rows(300, 1000)
    b.clock.advance(10)
    b.push(table)
    b.clock.advance(20)
    b.label(labels_of(table))
    for _ in range(2):
        families = evaluated(b)
        times = {
            "baseline": NOW,
            "last_batch": NOW + 10,
            "last_label": NOW + 30,
            "last_evaluation": b.clock.time(),
            "last_event": max(table["at"].to_pylist()),
        }
        for name, at in times.items():
            assert of(families, f"ml_{name}_timestamp_seconds") == [at]
        b.restart()


def test_too_few_rows_are_a_reason(bench: Make, rows: Rows) -> None:
    """A window with fewer rows than a verdict needs says `insufficient_rows`, and has no verdict."""
    b = bench()
    b.service.create_baseline("m", table=rows(600))
    b.push(rows(50, 1000))
    families = evaluated(b)
    assert "ml_drift_detected" not in families
    assert of(families, "ml_undefined", reason="insufficient_rows", measure="drift", subject="distance") == [
        1.0,
        1.0,
    ]
    assert of(families, "ml_undefined", reason="insufficient_labels", measure="performance") == [1.0, 1.0]
    assert of(families, "ml_undefined", reason="no_baseline") == []


def test_a_failed_evaluation_leaves_the_values_of_before(
    bench: Make, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When an evaluation fails it is counted, and a scrape still reads what was there."""
    b = bench()
    b.push(rows(600))
    before = evaluated(b)

    def fail(*_: object) -> None:
        raise ArithmeticError("made to fail")

    monkeypatch.setattr("exporter.service.evaluation.evaluator.evaluate_lane", fail)
    evaluated(b)
    after = tick(b)
    assert after["ml_window_rows"] == before["ml_window_rows"]
    assert of(after, "ml_exporter_errors_total", model="m") == [1.0]


def test_segments_have_families_of_their_own(bench: Make, rows: Rows) -> None:
    """Segments add up to the whole, and never stand in its families."""
    b = bench()
    b.push(rows(600))
    families = evaluated(b)
    assert (
        sum(of(families, "ml_segment_window_rows", window="6h"))
        == of(families, "ml_window_rows", window="6h")[0]
    )
    assert {dict(labels)["value"] for labels in families["ml_segment_window_rows"]} == {"AA", "UA", "DL"}
    assert "segment" not in dict(next(iter(families["ml_window_rows"])))
