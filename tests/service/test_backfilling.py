"""Rows of the past make a history, and touch nothing of now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from .conftest import NOW, Bench, labels_of
from .test_history import asked, settle
from .test_recomputation import DAY, comparable

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]
MIDNIGHT = NOW // DAY * DAY
SETTINGS: dict[str, Any] = {
    "segments": [],
    "windows": ["1d", "7d"],
    "lateness": "7d",
    "metrics": ["accuracy"],
    "label_horizon": "5d",
}
MONTH = 30


def past_days(rows: Rows, count: int, *, before: float = MIDNIGHT - 20 * DAY) -> list[pa.Table]:
    """Rows of days that end with an instant, forty a day, the last one in the last hour."""
    days = []
    for number in range(count):
        start = before - (count - number) * DAY
        table = rows(40, 1_000_000 + 1000 * number, start=start, seconds=DAY - 60)
        at = table["at"].to_numpy().copy()
        at[-1] = start + DAY - 30
        days.append(table.set_column(1, "at", pa.array(at)))
    return days


@pytest.mark.slow
def test_a_month_day_by_day_gives_a_month_of_history(bench: Make, rows: Rows) -> None:
    """Each day of the past has the records that direct computation makes; now stays as it is."""
    b = bench(**SETTINGS)
    b.service.create_baseline("m", table=rows(600, 100_000))
    b.clock.set(MIDNIGHT + DAY)
    b.push(rows(100, start=MIDNIGHT, seconds=DAY - 1))
    now = {part: b.evaluated(part, window="7d") for part in ("drift", "quality")}
    watermark = b.service.show_model("m")["versions"]["default"]["watermark"]
    days = past_days(rows, MONTH)
    for number, day in enumerate(days):
        with_labels = day.append_column("truth", labels_of(day, wrong=number)["truth"])
        answer = b.push(with_labels, backfill=True)
        assert (answer["accepted"], answer["history_only"], answer["rejected"]) == (40, 40, 0)
    settle(b)
    first = MIDNIGHT - (20 + MONTH) * DAY
    ends = [first + (number + 1) * DAY for number in range(MONTH)]
    for window, length in (("1d", 1), ("7d", 7)):
        past = {"window": window, "end": MIDNIGHT - 20 * DAY}
        points = asked(b, metric="accuracy", **past)
        assert [point["time"] for point in points] == ends
        for number, point in enumerate(points):
            covered = range(max(0, number - length + 1), number + 1)
            wrong, count = sum(covered), 40 * len(covered)
            assert point["value"] == pytest.approx(1 - wrong / count, abs=1e-12)
        assert [point["value"] for point in asked(b, "ml_window_rows", **past)] == [
            40.0 * min(number + 1, length) for number in range(MONTH)
        ]
    for part, before in now.items():
        after = b.evaluated(part, window="7d")
        assert {**after, "made_at": 0} == {**before, "made_at": 0}
    assert b.service.show_model("m")["versions"]["default"]["watermark"] == watermark
    assert b.service.show_model("m")["rows"] == 100 + 40 * MONTH


def test_a_backfill_says_what_was_said_live(bench: Make, rows: Rows) -> None:
    """Rows that are backfilled in any order have the records that they had when they came day by day."""
    live, late = (bench(**{**SETTINGS, "segments": ["carrier"], "segment_minimum_rows": 5}) for _ in range(2))
    baseline, days = rows(600, 100_000), past_days(rows, 6)
    for b in (live, late):
        b.service.create_baseline("m", table=baseline)
    for day in days:
        live.clock.set(float(np.max(day["at"].to_numpy())) // DAY * DAY + DAY)
        live.push(day.append_column("truth", labels_of(day, wrong=3)["truth"]))
        live.service.evaluate("m")
    settle(live)
    late.clock.set(MIDNIGHT + DAY)
    late.push(rows(100, start=MIDNIGHT, seconds=DAY - 1))
    for day in (days[number] for number in (4, 0, 5, 2, 1, 3)):
        late.push(day.append_column("truth", labels_of(day, wrong=3)["truth"]), backfill=True)
    settle(late)
    where = {"end": MIDNIGHT - 20 * DAY}
    for measure in ("performance", "drift", "quality", "ml_window_rows"):
        # concept drift follows all errors of a version in their order, and is not made of those of the past
        said, again = (
            [point for point in comparable(asked(b, measure, **where)) if point.get("column") != "error"]
            for b in (live, late)
        )
        assert said
        assert again == said
    for measure in ("quality", "ml_window_rows"):  # labels of a segment end with its own rows
        said = comparable(asked(live, measure, segment="carrier=AA", **where))
        assert said
        assert comparable(asked(late, measure, segment="carrier=AA", **where)) == said


@pytest.mark.parametrize("restart", [False, True])
def test_labels_by_id_reach_rows_of_the_past(bench: Make, rows: Rows, restart: bool) -> None:
    """They are joined for the label horizon from when the rows came, and correct the history only."""
    b = bench(**SETTINGS)
    b.service.create_baseline("m", table=rows(600, 100_000))
    b.clock.set(MIDNIGHT + DAY)
    b.push(rows(100, start=MIDNIGHT, seconds=DAY - 1))
    days = past_days(rows, 3)
    for day in days:
        b.push(day, backfill=True)
    settle(b)
    b.clock.advance(61)
    b.service._housekeeping.tick()
    assert {point["value"] for point in asked(b, metric="accuracy", end=MIDNIGHT - 19 * DAY)} == {None}
    if restart:
        b.restart()
    answer = b.label(labels_of(days[1], wrong=10))
    assert (answer["matched"], answer["pending"]) == (40, 0)
    assert b.label(labels_of(days[1], wrong=10))["duplicates"] == 40
    settle(b)
    values = {
        p["time"]: p["value"] for p in asked(b, metric="accuracy", window="1d", end=MIDNIGHT - 19 * DAY)
    }
    assert list(values.values()) == [None, 0.75, None]
    b.label(labels_of(days[1], wrong=0))
    settle(b)
    values = {
        p["time"]: p["value"] for p in asked(b, metric="accuracy", window="1d", end=MIDNIGHT - 19 * DAY)
    }
    assert list(values.values()) == [None, 1.0, None]
    b.service.evaluate("m")
    assert b.evaluated(window="7d")["labeled_rows"] == 0


def test_a_repeated_row_of_the_past_counts_once(bench: Make, rows: Rows) -> None:
    """Idempotency keys and ids hold for rows of the past too."""
    b = bench(**SETTINGS)
    b.service.create_baseline("m", table=rows(600, 100_000))
    b.clock.set(MIDNIGHT + DAY)
    b.push(rows(100, start=MIDNIGHT, seconds=DAY - 1))
    (day,) = past_days(rows, 1)
    first = b.push(day, backfill=True, key="k", body_hash="h")
    assert b.push(day, backfill=True, key="k", body_hash="h") == {**first, "duplicate": True}
    b.restart()
    again = b.push(day, backfill=True)
    assert (again["accepted"], again["reasons"]) == (0, {"duplicate": 40})
    settle(b)
    assert {p["value"] for p in asked(b, "ml_window_rows", window="1d", end=MIDNIGHT - 19 * DAY)} == {40.0}


def test_the_past_may_come_before_everything_else(bench: Make, rows: Rows) -> None:
    """Without rows of now the first rows of the past make the baseline, and all a history."""
    b = bench(**SETTINGS, baseline={"rows": 100})
    days = past_days(rows, 5)
    for day in days:
        assert b.push(day, backfill=True)["accepted"] == 40
    settle(b)
    points = asked(b, "ml_window_rows", window="1d")
    assert [(p["time"], p["value"]) for p in points if p["time"] % DAY == 0] == [
        (MIDNIGHT - (25 - number - 1) * DAY, 40.0) for number in range(5)
    ]
    assert b.service.snapshot().text.count(b"ml_window_rows{") == 0
    b.restart()
    assert asked(b, "ml_window_rows", window="1d") == points
    b.service.delete_version("m", "default")
    assert b.store.run(lambda c: c.execute("SELECT count(*) FROM past_deltas").fetchone()[0]) == 0


def test_rows_of_the_past_count_in_windows_of_now_that_reach_them(bench: Make, rows: Rows) -> None:
    """A record of a window that rows of now and of the past share has both; `/metrics` has those of now."""
    b = bench(**{**SETTINGS, "lateness": "1d"})
    b.service.create_baseline("m", table=rows(600, 100_000))
    b.clock.set(MIDNIGHT + DAY)
    b.push(rows(100, start=MIDNIGHT, seconds=DAY - 1))
    b.push(rows(30, 5000, start=MIDNIGHT - 3 * DAY, seconds=DAY - 1), backfill=True)
    b.service.evaluate("m")
    settle(b)
    assert b.evaluated("drift", window="7d")["rows"] == 100
    (newest,) = [p for p in asked(b, "ml_window_rows", window="7d") if p["time"] == MIDNIGHT + DAY]
    assert newest["value"] == 130


def test_profiles_of_the_past_go_when_no_label_can_come(bench: Make, rows: Rows) -> None:
    """After the label horizon only the records are left, and they stay as they are."""
    b = bench(**SETTINGS)
    b.service.create_baseline("m", table=rows(600, 100_000))
    b.clock.set(MIDNIGHT + DAY)
    b.push(rows(100, start=MIDNIGHT, seconds=DAY - 1))
    (day,) = past_days(rows, 1)
    b.push(day, backfill=True)
    settle(b)
    before = asked(b, "drift", end=MIDNIGHT - 19 * DAY)
    assert before
    b.clock.advance(6 * DAY)
    b.push(rows(10, 700, start=MIDNIGHT + 7 * DAY - 100, seconds=1))
    b.service._housekeeping.tick()
    assert b.store.run(lambda c: c.execute("SELECT count(*) FROM past_deltas").fetchone()[0]) == 0
    again = rows(5, 2_000_000, start=float(np.min(day["at"].to_numpy())), seconds=10)
    b.push(again, backfill=True)
    settle(b)
    assert asked(b, "drift", end=MIDNIGHT - 19 * DAY) == before


def test_history_is_thinned_and_dropped(bench: Make, rows: Rows) -> None:
    """Older records are thinned to the last of each step, and go after the retention."""
    b = bench(
        **{**SETTINGS, "windows": ["6h"], "lateness": "6h"},
        history={"retention": "6d", "full_resolution": "2d", "thinned_to": "1d"},
        resolution="1h",
    )
    b.service.create_baseline("m", table=rows(600, 100_000))
    for step in range(8 * 4):
        start = MIDNIGHT + step * DAY / 4
        b.clock.set(start + DAY / 4)
        b.push(rows(20, 1000 * step, start=start, seconds=DAY / 4 - 1))
        b.service.evaluate("m")
    b.service._history.settle("m")
    b.clock.advance(61)
    b.service._housekeeping.tick()
    hours = [(point["time"] - MIDNIGHT) / DAY for point in asked(b, "ml_window_rows")]
    assert hours == [2, 3, 4, *np.arange(5, 8.25, 0.25)]
