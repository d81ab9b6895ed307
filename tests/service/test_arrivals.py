"""Quality in depth from end to end: pushed rows in, answers of the API and series of the page out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exporter.formats import decode
from exporter.service.evaluation.arrivals import Pace, buckets_behind, complete_until, local_clock

from .conftest import HOUR, NOW, Bench
from .test_publisher import evaluated, of, page, tick

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]

START = NOW // 86_400 * 86_400
DAYS = 4

HOURLY: dict[str, Any] = {"windows": ["1d"], "resolution": "1h", "lateness": "10d", "stale_after": "5d"}


def traffic(rows: Rows, hour: int, count: int) -> pa.Table:
    return rows(count, 100_000 * hour, start=START + hour * HOUR, seconds=HOUR - 1)


def filled(b: Bench, rows: Rows, days: int = DAYS, until: int | None = None) -> int:
    """Hours of traffic with a daily cycle, each pushed when it has ended; the last hour that was pushed.

    Rows come up to an hour after their event, so an hour is known to be complete one hour after its end.
    """
    generator = np.random.default_rng(1)
    last = days * 24 if until is None else until
    for hour in range(last):
        b.clock.set(START + (hour + 1) * HOUR + 1)
        b.push(traffic(rows, hour, int(generator.poisson(60 if hour % 24 < 12 else 15))))
    return last - 1


def test_silence_is_seen_though_no_rows_come(bench: Make, rows: Rows) -> None:
    """The clock goes on without events: the volume turns low by itself, and well again when rows come."""
    b = bench(**HOURLY)
    last = filled(b, rows, until=DAYS * 24 + 8)
    families = evaluated(b)
    assert of(families, "ml_volume_detected", span="3h", direction="low") == [0]
    assert of(families, "ml_volume_expected_rows", span="3h")[0] == pytest.approx(180, rel=0.2)
    b.clock.advance(4 * HOUR + 1800)
    families = tick(b)
    assert of(families, "ml_volume_detected", span="3h", direction="low") == [1]
    assert of(families, "ml_volume_rows", span="3h")[0] < of(families, "ml_volume_lower_rows", span="3h")[0]
    spans = b.evaluated("quality")["volume"]["spans"]
    assert (spans["3h"]["detected"], spans["3h"]["rows"]) == ("low", 0)
    for hour in range(last + 1, last + 4):
        b.push(traffic(rows, hour, 60))
    assert of(evaluated(b), "ml_volume_detected", span="3h", direction="low") == [0]


def test_the_bucket_that_is_still_filling_does_not_alarm(bench: Make, rows: Rows) -> None:
    """A few rows of a new hour say nothing before the hour is over."""
    b = bench(**HOURLY)
    last = filled(b, rows, until=DAYS * 24 + 8)
    b.clock.set(START + (last + 1) * HOUR + 300)
    b.push(rows(2, 9_000_000, start=START + (last + 1) * HOUR, seconds=200))
    families = evaluated(b)
    assert of(families, "ml_volume_detected", direction="low") == [0, 0, 0]
    ends = {name: span["end"] for name, span in b.evaluated("quality")["volume"]["spans"].items()}
    assert set(ends.values()) == {START + last * HOUR}


def test_too_many_rows_are_found(bench: Make, rows: Rows) -> None:
    """An hour with ten times its rows."""
    b = bench(**HOURLY)
    last = filled(b, rows, until=DAYS * 24 + 8)
    b.clock.set(START + (last + 2) * HOUR + 1)
    b.push(traffic(rows, last + 1, 600))
    b.clock.advance(HOUR)
    assert of(evaluated(b), "ml_volume_detected", span="1h", direction="high") == [1]


def test_without_history_the_reason_is_given(bench: Make, rows: Rows) -> None:
    """A new model cannot know how many rows are usual."""
    b = bench(**HOURLY)
    b.push(rows(600))
    families = evaluated(b)
    assert of(families, "ml_undefined", measure="volume", reason="insufficient_rows") == [1]
    assert of(families, "ml_volume_rows") == []


def test_volume_survives_a_restart(bench: Make, rows: Rows) -> None:
    """The history is in the store."""
    b = bench(**HOURLY)
    filled(b, rows)
    before = of(evaluated(b), "ml_volume_expected_rows")
    b.restart()
    assert of(page(b), "ml_volume_expected_rows") == before != []


def test_complete_buckets_follow_order_and_clock() -> None:
    """Replayed rows are taken by their order; with honest delays the clock closes buckets too."""
    assert complete_until(7500.0, Pace(), HOUR, now=1e9) == 7200.0
    assert complete_until(7500.0, Pace(behind_seconds=HOUR), HOUR, now=1e9) == 3600.0
    assert complete_until(7500.0, Pace(0.0, 1e9), HOUR, now=1e9) == 7200.0
    assert complete_until(7500.0, Pace(0.0, 60.0), HOUR, now=14_470.0) == 14_400.0
    assert complete_until(7500.0, Pace(0.0, 60.0), HOUR, now=14_450.0) == 10_800.0


@pytest.mark.parametrize(
    ("bucket", "watermark", "expected"), [(0, None, 0), (3600, 5000.0, 0), (0, 5000.0, 1), (0, 20_000.0, 8)]
)
def test_rows_behind_are_counted_in_powers_of_two(
    bucket: int, watermark: float | None, expected: int
) -> None:
    """Buckets before that of the newest event, rounded up."""
    assert buckets_behind(bucket, watermark, HOUR) == expected


def test_rows_out_of_order_wait(bench: Make, rows: Rows) -> None:
    """Where rows usually come some buckets behind the newest, buckets are complete later."""
    b = bench(**HOURLY)
    b.clock.set(START + 30 * HOUR)
    table = rows(2000, start=START, seconds=24 * HOUR)
    b.push(table.slice(1000))
    b.push(table.slice(0, 1000))
    b.service.evaluate("m")
    assert b.service._lanes["m"].volumes["default"].pace.behind_seconds >= 8 * HOUR


def test_hours_of_a_zone() -> None:
    """What clocks show, in winter and in summer."""
    berlin = local_clock("Europe/Berlin")
    assert berlin(1_768_478_400.0) - 1_768_478_400.0 == HOUR
    assert berlin(1_784_116_800.0) - 1_784_116_800.0 == 2 * HOUR
    assert local_clock("UTC")(5.0) == 5.0


def test_gaps_and_age_are_in_the_answer(bench: Make, rows: Rows) -> None:
    """Two hours without rows inside the window, and the time since the newest event."""
    b = bench(**HOURLY)
    for hour in (0, 1, 4):
        b.push(traffic(rows, hour, 300))
    b.clock.set(START + 6 * HOUR)
    families = evaluated(b)
    assert of(families, "ml_window_empty_buckets") == [2]
    fresh = b.evaluated("quality")["freshness"]
    assert fresh["gaps"] == [[START + 2 * HOUR, START + 4 * HOUR]]
    assert HOUR < fresh["age_seconds"] < HOUR + 120


def test_changes_of_columns_are_named(bench: Make, rows: Rows) -> None:
    """New and vanished categories, a stuck column, outliers, and a schema that changed: in API and page."""
    b = bench(segments=[])
    b.push(rows(2000))
    assert of(evaluated(b), "ml_quality_schema_changes", window="1h") == [0, 0, 0]
    b.clock.advance(2 * HOUR)
    changed = rows(1000, 10_000, start=NOW + HOUR + 300, seconds=3000)
    count = changed.num_rows
    distance = changed["distance"].to_numpy().copy()
    distance[:50] = 1000.0
    changed = changed.set_column(
        changed.column_names.index("distance"), "distance", pa.array([f"{value:.9f}" for value in distance])
    )
    changed = changed.set_column(changed.column_names.index("delay"), "delay", pa.array(np.zeros(count)))
    carrier = pa.array(["AA"] * 900 + ["ZZ"] * 100)
    changed = changed.set_column(changed.column_names.index("carrier"), "carrier", carrier)
    b.push(changed.append_column("fresh", pa.array(np.ones(count))))
    families = evaluated(b)
    answer = b.evaluated("quality", window="1h")
    carriers = answer["categories"]["carrier"]
    assert carriers["new"] == {"ZZ": 100}
    assert set(carriers["vanished"]) == {"UA", "DL"}
    assert of(families, "ml_quality_new_categories", window="1h", column="carrier") == [1]
    assert of(families, "ml_quality_vanished_categories", window="1h", column="carrier") == [2]
    assert {(one["change"], one["column"]) for one in answer["schema_changes"]} == {
        ("added", "fresh"),
        ("type", "distance"),
    }
    for change, expected in (("added", 1), ("removed", 0), ("type", 1)):
        assert of(families, "ml_quality_schema_changes", window="1h", change=change) == [expected]
    assert answer["top_value"]["delay"]["change"] == "constant"
    assert of(families, "ml_quality_constant_columns", window="1h", change="constant") == [1]
    assert of(families, "ml_quality_outlier_ratio", window="1h", column="distance")[0] >= 0.05
    assert 50 <= answer["outliers"]["distance"]["above"] < 55
    assert "ZZ" not in b.service.snapshot().text.decode()


def test_a_column_that_goes_is_removed(bench: Make, rows: Rows) -> None:
    """Rows that come without a declared column."""
    b = bench(segments=[])
    b.push(rows(1000))
    b.clock.advance(2 * HOUR)
    b.push(rows(300, 10_000, start=NOW + HOUR + 300, seconds=3000).drop_columns(["delay"]))
    (change,) = b.evaluated("quality", window="1h")["schema_changes"]
    assert (change["change"], change["column"], change["rows"], change["ratio"]) == (
        "removed",
        "delay",
        300,
        1.0,
    )


def test_numbers_as_json_texts_change_the_type(bench: Make, rows: Rows) -> None:
    """A sender that quotes its numbers is seen, though every value can be read."""
    b = bench(segments=[], columns={"prediction": "answer", "score": "score", "label": "truth"})
    b.push(rows(1000))
    b.clock.advance(2 * HOUR)
    body = b'[{"answer": true, "score": 0.7, "distance": "1.5", "delay": 0, "carrier": "AA"}]'
    b.push(decode(body, "application/json"))
    (change,) = b.evaluated("quality", window="1h")["schema_changes"]
    assert (change["column"], change["types"], change["baseline_types"]) == (
        "distance",
        {"text": 1},
        ["number"],
    )


def test_columns_that_go_missing_together_are_a_group(bench: Make, rows: Rows) -> None:
    """Two columns lose their values in the same rows, which they did not in the baseline."""
    b = bench(segments=[], baseline={"rows": 3000})
    generator = np.random.default_rng(4)

    def spoilt(table: pa.Table, *, together: bool) -> pa.Table:
        first = generator.random(table.num_rows) < 0.1
        second = first if together else generator.random(table.num_rows) < 0.1
        for name, mask in (("distance", first), ("delay", second)):
            values = pa.array(table[name].to_numpy(), mask=mask)
            table = table.set_column(table.column_names.index(name), name, values)
        return table

    b.push(spoilt(rows(3000), together=False))
    assert of(evaluated(b), "ml_quality_missing_pair_changes", window="1h") == [0]
    b.clock.advance(2 * HOUR)
    b.push(spoilt(rows(1500, 10_000, start=NOW + HOUR + 300, seconds=3000), together=True))
    families = evaluated(b)
    found = b.evaluated("quality", window="1h")["missing_together"]
    assert found["groups"] == [["distance", "delay"]]
    assert found["pairs"][0]["changed"]
    assert of(families, "ml_quality_missing_pair_changes", window="1h") == [1]


def test_the_score_says_what_pulls_it_down(bench: Make, rows: Rows) -> None:
    """Parts of the score by check, with the worst columns; losses add up to what it lacks."""
    b = bench(segments=[], quality={"column_weights": {"delay": 3}})
    table = rows(1000)
    half = pa.array(table["delay"].to_numpy(), mask=np.arange(1000) % 2 == 0)
    b.push(table.set_column(table.column_names.index("delay"), "delay", half))
    answer = b.evaluated("quality", window="1h")
    part = answer["score_parts"]["completeness"]
    assert part["worst"] == [["delay", 0.5]]
    assert part["ratio"] == pytest.approx((3 + 0.5 * 3) / 6, abs=0.08)
    lost = sum(one["loss"] for one in answer["score_parts"].values())
    assert answer["score"] + lost == pytest.approx(1.0)
