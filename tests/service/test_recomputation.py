"""Labels and rows that come late correct the history of their own windows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exporter.errors import StorageUnavailableError

from .conftest import NOW, Bench, labels_of
from .test_history import asked, settle

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]
DAY = 86_400.0
MIDNIGHT = NOW // DAY * DAY
DAYS = 10
SETTINGS: dict[str, Any] = {
    "segments": [],
    "windows": ["1d", "3d"],
    "lateness": "3d",
    "metrics": ["accuracy"],
}


def days(b: Bench, rows: Rows, count: int = DAYS) -> list[pa.Table]:
    """Push day by day; the labels of every day but the third come at once."""
    tables = []
    for number in range(count):
        table = rows(120, 1000 * (number + 1), start=MIDNIGHT + number * DAY, seconds=DAY - 1)
        b.clock.set(MIDNIGHT + (number + 1) * DAY)
        b.push(table)
        if number != 3:
            b.label(labels_of(table, wrong=10 * number))
        b.service.evaluate("m")
        tables.append(table)
    return tables


def wrong_share(tables: list[pa.Table], wrong: dict[int, int], last: int, length: int) -> float:
    """Accuracy of the window of `length` days that ends with day `last`, counted directly."""
    chosen = [number for number in range(max(0, last - length + 1), last + 1) if number in wrong]
    return 1 - sum(wrong[number] for number in chosen) / sum(tables[number].num_rows for number in chosen)


def test_a_full_disk_delays_corrections(
    bench: Make, rows: Rows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the store does not take is said once, keeps nothing else from being done, and comes later."""
    b = bench(**SETTINGS)
    b.service._housekeeping.stop()
    b.service.create_baseline("m", table=rows(600, 100_000))
    tables = days(b, rows)
    settle(b)
    before = {(point["window"], point["time"]): point["value"] for point in asked(b, metric="accuracy")}
    b.label(labels_of(tables[3], wrong=60))
    b.service.evaluate("m")
    b.service._history.settle("m")

    def full(*_: Any) -> Future[bool]:
        future: Future[bool] = Future()
        future.set_exception(StorageUnavailableError("made to fail: no space left on device"))
        return future

    with monkeypatch.context() as patch:
        patch.setattr(b.store.history, "write", full)
        for _ in range(3):
            b.service._housekeeping._history.tick(b.service._lanes["m"], b.clock.time(), at_once=True)
    assert caplog.text.count("could not be corrected") == 1
    assert b.store.past.marks("m")
    settle(b)
    assert {
        (point["window"], point["time"]): point["value"] for point in asked(b, metric="accuracy")
    } != before


@pytest.mark.parametrize("restart", [False, True])
def test_late_labels_correct_the_windows_that_cover_them(bench: Make, rows: Rows, restart: bool) -> None:
    """Labels of the third day that come a week late change the windows of that day, and no other."""
    b = bench(**SETTINGS)
    b.service.create_baseline("m", table=rows(600, 100_000))
    tables = days(b, rows)
    settle(b)
    before = {(point["window"], point["time"]): point for point in asked(b, metric="accuracy")}
    b.label(labels_of(tables[3], wrong=60))
    if restart:
        b.restart()
    b.service.evaluate("m")
    settle(b)
    after = {(point["window"], point["time"]): point for point in asked(b, metric="accuracy")}
    assert after.keys() == before.keys()
    wrong = {number: 10 * number for number in range(DAYS)} | {3: 60}
    for (window, end), point in after.items():
        last, length = round((end - MIDNIGHT) / DAY) - 1, int(window[0])
        if last - length < 3 <= last:
            assert point["value"] == pytest.approx(wrong_share(tables, wrong, last, length), abs=1e-12)
            assert point != before[window, end]
        else:
            assert point == before[window, end]
    rates = {p["time"]: p["value"] for p in asked(b, "ml_labeled_ratio", window="1d")}
    assert set(rates.values()) == {1.0}


def test_corrected_labels_correct_the_history(bench: Make, rows: Rows) -> None:
    """A label that is replaced counts in old windows with its new value."""
    b = bench(**SETTINGS)
    b.service.create_baseline("m", table=rows(600, 100_000))
    tables = days(b, rows)
    b.label(labels_of(tables[5], wrong=0))
    b.service.evaluate("m")
    settle(b)
    values = {p["time"]: p["value"] for p in asked(b, metric="accuracy", window="1d")}
    assert values[MIDNIGHT + 6 * DAY] == 1.0
    assert values[MIDNIGHT + 7 * DAY] == pytest.approx(0.5)


def test_late_rows_correct_every_measure(bench: Make, rows: Rows) -> None:
    """Rows within the lateness make the records of old windows what one push in order makes them."""
    b, ordered = bench(**SETTINGS), bench(**SETTINGS)
    baseline = rows(600, 100_000)
    late = rows(60, 50_000, start=MIDNIGHT + 1.2 * DAY, seconds=DAY / 2, shift=2.0)
    tables = [rows(120, 1000 * number, start=MIDNIGHT + number * DAY, seconds=DAY - 1) for number in range(4)]
    for each, pushes in (
        (b, [*tables, late]),
        (ordered, [tables[0], pa.concat_tables([tables[1], late]), *tables[2:]]),
    ):
        each.service.create_baseline("m", table=baseline)
        for table in pushes:
            newest = float(np.max(table["at"].to_numpy()))
            each.clock.set(max(each.clock.time(), newest // DAY * DAY + DAY))
            each.push(table)
            each.service.evaluate("m")
        settle(each)
    for measure in ("drift", "ml_window_rows", "quality"):
        assert comparable(asked(b, measure)) == comparable(asked(ordered, measure))
    assert {p["value"] for p in asked(b, "ml_window_rows", window="1d")} == {120, 180}


def comparable(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points whose values do not depend on the order of sums."""
    return [
        {key: round(value, 9) if isinstance(value, float) else value for key, value in point.items()}
        for point in points
        if point.get("check") != "timeliness"
    ]
