"""What evaluations said stays, and is read page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exporter.errors import BadRequestError, NotFoundError
from exporter.service.history.questions import Question

from .conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]


def asked(b: Bench, measure: str = "performance", **filters: Any) -> list[dict[str, Any]]:
    """All points of one question."""
    return b.service.history("m", Question(measure, limit=10_000, **filters))["points"]


def hours(b: Bench, rows: Rows, count: int, *, labelled: bool = True) -> list[pa.Table]:
    """Push rows of several hours, one after the other, each evaluated."""
    tables = []
    for number in range(count):
        table = rows(100, 1000 * (number + 1), start=NOW + number * HOUR, seconds=HOUR - 1)
        b.clock.set(NOW + (number + 1) * HOUR)
        b.push(table)
        if labelled:
            b.label(labels_of(table, wrong=number))
        b.service.evaluate("m")
        tables.append(table)
    return tables


def settle(b: Bench) -> None:
    """Evaluate and correct until nothing is left to be done, in the background neither."""
    b.service.evaluate("m")
    for _ in range(1000):
        b.service._history.settle("m")
        b.service._housekeeping._history.tick(b.service._lanes["m"], b.clock.time(), at_once=True)
        if not b.store.past.marks("m"):
            return
    raise AssertionError("marks remain")


def test_every_evaluation_is_kept(bench: Make, rows: Rows) -> None:
    """The history has each window's end once, with what the latest evaluation of that end said."""
    b = bench(segments=[])
    b.service.create_baseline("m", table=rows(600, 100_000))
    hours(b, rows, 5)
    points = asked(b, metric="accuracy", window="1h")
    assert [point["time"] for point in points] == sorted({point["time"] for point in points})
    assert len(points) == 5
    latest = b.evaluated(window="1h")
    assert points[-1]["time"] == latest["performance_window"]["end"]
    for name in ("value", "lower", "upper", "baseline", "drop"):
        assert points[-1][name] == latest["metrics"]["accuracy"][name]
    assert points[-1]["value"] < points[0]["value"]
    drift = b.evaluated("drift", window="1h")
    column = drift["columns"]["distance"]
    newest = [p for p in asked(b, "drift", column="distance", window="1h") if p["time"] == drift["end"]]
    assert column["methods"]["missing"]["q_value"] is None  # no value is missing: not recorded
    assert {point["method"] for point in newest} == set(column["methods"]) - {"missing"}
    for point in newest:
        test = column["methods"][point["method"]]
        assert (point["value"], point["p_value"]) == (test["statistic"], test["p_value"])
        assert (point["detected"], point["q_value"]) == (column["detected"], column["q_value"])
    seen = {point["name"] for point in asked(b, "window", window="1h")}
    assert {"rows", "labeled_rows", "labeled_ratio"} <= seen


@pytest.mark.parametrize(("methods", "deciding"), [("auto", "ks"), (["psi", "ks"], "psi")])
def test_only_the_test_that_decided_has_the_q_value(
    bench: Make, rows: Rows, methods: Any, deciding: str
) -> None:
    """Every other test of the column has its own verdict and no q-value, that of missing values too."""
    b = bench(segments=[], windows=["1h"], drift={"methods": methods})

    def with_gaps(table: pa.Table, share: float) -> pa.Table:
        kept = np.arange(table.num_rows) >= share * table.num_rows
        values = pa.array(table["delay"].to_numpy(), mask=~kept)
        return table.set_column(table.column_names.index("delay"), "delay", values)

    b.service.create_baseline("m", table=with_gaps(rows(600, 100_000, shift=2.0), 0.1))
    b.push(with_gaps(rows(600, shift=0.0), 0.5))
    result = b.evaluated("drift")
    for name, chosen in (("distance", deciding), ("delay", "missing")):
        column = result["columns"][name]
        assert column["method"] == chosen
        for point in asked(b, "drift", column=name):
            test = column["methods"][point["method"]]
            assert point["detected"] == test["detected"]
            assert point["q_value"] == (column["q_value"] if point["method"] == chosen else None)
    assert {point["method"] for point in asked(b, "drift", column="delay")} >= {deciding, "missing"}


def test_a_later_evaluation_replaces_the_one_of_the_same_end(bench: Make, rows: Rows) -> None:
    """Rows that join a window change its record, and make no other one."""
    b = bench(segments=[])
    b.service.create_baseline("m", table=rows(600, 100_000))
    b.push(rows(100, start=NOW, seconds=1))
    b.service.evaluate("m")
    first = asked(b, "ml_window_rows", window="1h")
    b.push(rows(50, 500, start=NOW + 1, seconds=1))
    b.service.evaluate("m")
    second = asked(b, "ml_window_rows", window="1h")
    assert [(point["time"], point["value"]) for point in first] == [(first[0]["time"], 100)]
    assert [(point["time"], point["value"]) for point in second] == [(first[0]["time"], 150)]


def test_nothing_is_written_when_nothing_changed(bench: Make, rows: Rows) -> None:
    """An evaluation that says the same again makes no transaction."""
    b = bench()
    b.service.create_baseline("m", table=rows(600, 100_000))
    hours(b, rows, 1)
    b.service._history.settle("m")
    future = b.service._history._last["m"]
    b.service.evaluate("m")
    assert b.service._history._last["m"] is future


def test_pages_hold_every_point_once(bench: Make, rows: Rows) -> None:
    """Following `next` gives the points of one large answer in the same order, whatever the limit."""
    b = bench()
    b.service.create_baseline("m", table=rows(600, 100_000))
    hours(b, rows, 4)
    settle(b)
    for measure in ("performance", "drift", "quality", "window"):
        whole = b.service.history("m", Question(measure, limit=10_000))
        assert whole["next"] is None
        assert whole["points"]
        for limit in (1, 7, 50):
            points: list[dict[str, Any]] = []
            cursor = None
            while True:
                page = b.service.history("m", Question(measure, limit=limit, next=cursor))
                assert len(page["points"]) <= limit
                points += page["points"]
                cursor = page["next"]
                if cursor is None:
                    break
            assert points == whole["points"]


def test_filters_choose(bench: Make, rows: Rows) -> None:
    """Window, version, segment, metric, column, method and times leave the other points out."""
    b = bench(segment_minimum_rows=10)
    b.service.create_baseline("m", table=rows(600, 100_000))
    hours(b, rows, 3)
    settle(b)
    for name, value in (("window", "6h"), ("version", "default"), ("metric", "recall")):
        points = asked(b, **{name: value})
        assert points
        assert {point[name] for point in points} == {value}
    segment = asked(b, segment="carrier=AA")
    assert {point["segment"] for point in segment} == {"carrier=AA"}
    assert {point["column"] for point in asked(b, "drift", column="delay")} == {"delay"}
    every = sorted({point["time"] for point in asked(b)})
    assert {point["time"] for point in asked(b, start=every[1], end=every[1])} == {every[1]}


def test_what_is_undefined_has_a_reason(bench: Make, rows: Rows) -> None:
    """A window without labels has points without value that say why."""
    b = bench(segments=[])
    b.service.create_baseline("m", table=rows(600, 100_000))
    hours(b, rows, 1, labelled=False)
    points = asked(b, metric="accuracy")
    assert [(point["metric"], point["value"], point["reason"]) for point in points] == [
        ("accuracy", None, "insufficient_labels")
    ] * 2


@pytest.mark.parametrize(
    ("filters", "listed"),
    [
        ({"measure": "nothing"}, "performance"),
        ({"window": "3d"}, "1h, 6h"),
        ({"version": "v9"}, "default"),
        ({"metric": "f2"}, "accuracy"),
        ({"measure": "drift", "column": "height"}, "distance"),
        ({"measure": "drift", "method": "magic"}, "psi"),
        ({"segment": "planet=earth"}, "carrier"),
    ],
)
def test_unknown_names_are_refused(bench: Make, rows: Rows, filters: dict[str, str], listed: str) -> None:
    """An error names what there is."""
    b = bench()
    b.service.create_baseline("m", table=rows(600, 100_000))
    hours(b, rows, 1)
    with pytest.raises(NotFoundError, match=listed):
        b.service.history("m", Question(**{"measure": "performance", **filters}))


def test_a_cursor_of_another_hand_is_refused(bench: Make, rows: Rows) -> None:
    """Whatever is no cursor is a bad request."""
    b = bench()
    for cursor in ("x", "!!!", "W10", "WzEsMl0", "eyJhIjoxfQ"):
        with pytest.raises(BadRequestError):
            b.service.history("m", Question("performance", next=cursor))
    for limit in (0, 100_000):
        with pytest.raises(BadRequestError):
            b.service.history("m", Question("performance", limit=limit))


def test_history_outlives_a_restart_and_goes_with_the_data(bench: Make, rows: Rows) -> None:
    """A restart changes nothing; deleting a version or all data deletes its history."""
    b = bench()
    b.service.create_baseline("m", table=rows(600, 100_000))
    hours(b, rows, 2)
    b.push(rows(100, 9000, start=NOW, seconds=HOUR), version="other")
    b.service.evaluate("m")
    before = asked(b, "drift")
    assert {point["version"] for point in before} == {"default", "other"}
    b.restart()
    assert asked(b, "drift") == before
    b.service.delete_version("m", "other")
    b.service.evaluate("m")
    assert asked(b, "drift") == [point for point in before if point["version"] == "default"]
    b.service.delete_data("m")
    b.service.evaluate("m")
    assert asked(b, "drift") == []
    assert b.store.run(lambda c: c.execute("SELECT count(*) FROM history").fetchone()[0]) == 0
