"""Baselines that are replaced by themselves, compared, and taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from exporter.errors import ConflictError
from tests.service.conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]

BEGIN = NOW + HOUR - NOW % HOUR

REFRESH = {"rows": 500, "refresh": {"every": "6h", "window": "6h", "keep": 2}}


@pytest.fixture
def begun(bench: Make, rows: Rows) -> Callable[..., Bench]:
    """Give a function (**baseline settings) -> a bench with a baseline of 500 rows that was pushed NOW."""

    def make(**changes: Any) -> Bench:
        b = bench(baseline={**REFRESH, **changes}, resolution="1h", lateness="1d")
        b.service.create_baseline("m", table=rows(500, 900_000))
        b.clock.advance(BEGIN - b.clock.time())
        b.service._housekeeping.stop()  # what is due is done where a test says so
        return b

    return make


def hours(b: Bench, rows: Rows, count: int, *, shift: float = 0.0, **options: Any) -> None:
    """Push so many hours of rows after what came, with labels, and let the clock advance with them."""
    for _ in range(count):
        start = b.clock.time()
        table = rows(200, first=int(start) * 10, start=start, seconds=HOUR, shift=shift)
        b.clock.advance(HOUR)
        b.push(table, **options)
        b.label(labels_of(table, wrong=10))
    b.service.evaluate("m")


def tick(b: Bench) -> None:
    b.service._housekeeping.tick()
    b.service.evaluate("m")


def active(b: Bench, version: str | None = None) -> dict[str, Any]:
    listed = b.service.list_baselines("m")["baselines"]
    (found,) = [one for one in listed if one["active"] and one["version"] == version]
    return found


def metric(b: Bench, name: str) -> float:
    b.service._publisher.update(b.service._lanes["m"])
    lines = b.service.snapshot().text.decode().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}{{")]
    return float(line.rsplit(" ", 1)[1])


def test_a_baseline_is_refreshed_from_a_healthy_window(begun: Callable[..., Bench], rows: Rows) -> None:
    """Once it is old enough the newest labelled window takes its place, on the same grid; not before."""
    b = begun()
    first = active(b)
    hours(b, rows, 5)
    tick(b)
    assert active(b)["id"] == first["id"]
    hours(b, rows, 2)
    tick(b)
    second = active(b)
    assert (second["source"], second["grid"], second["rows"]) == ("refresh", first["grid"], 1200)
    assert second["period"] == [BEGIN + HOUR, BEGIN + 7 * HOUR]
    assert second["previous"] == first["id"]
    assert b.evaluated("performance", window="6h")["metrics"]["accuracy"]["baseline"] == pytest.approx(0.95)
    assert metric(b, "ml_baseline_refresh_blocked") == 0


def test_a_drifted_window_does_not_become_a_baseline(begun: Callable[..., Bench], rows: Rows) -> None:
    """The refresh waits, says why, and happens as soon as a window is healthy again."""
    b = begun()
    first = active(b)
    hours(b, rows, 7, shift=2.0)
    tick(b)
    assert active(b)["id"] == first["id"]
    (blocked,) = b.service.list_baselines("m")["blocked"]
    assert "drift of distance" in blocked["reasons"][0]
    assert any("due for a refresh" in note for note in b.service.status("m")["notes"])
    assert metric(b, "ml_baseline_refresh_blocked") == 1
    hours(b, rows, 7)
    tick(b)
    assert active(b)["source"] == "refresh"
    assert not b.service.list_baselines("m")["blocked"]


def test_unless_told_so(begun: Callable[..., Bench], rows: Rows) -> None:
    """`only_if: always` takes the window as it is; so does a refresh that is forced."""
    b = begun(refresh={"every": "6h", "window": "6h", "only_if": "always"})
    hours(b, rows, 7, shift=2.0)
    tick(b)
    assert active(b)["source"] == "refresh"
    other = begun()
    hours(other, rows, 3, shift=2.0)
    with pytest.raises(ConflictError, match="drift of distance") as refused:
        other.service.refresh_baseline("m")
    assert refused.value.code == "unhealthy_window"
    assert other.service.refresh_baseline("m", force=True).status == 201


def test_poor_quality_blocks(begun: Callable[..., Bench], rows: Rows) -> None:
    """A window of which a third of a column is missing is not what others are compared with."""
    b = begun()
    for _ in range(7):
        start = b.clock.time()
        table = rows(200, first=int(start) * 10, start=start, seconds=HOUR)
        holes = [None if place % 3 == 0 else value for place, value in enumerate(table["delay"].to_pylist())]
        b.clock.advance(HOUR)
        b.push(table.set_column(table.schema.get_field_index("delay"), "delay", pa.array(holes)))
    b.service.evaluate("m")
    tick(b)
    (blocked,) = b.service.list_baselines("m")["blocked"]
    assert any("completeness of delay" in reason for reason in blocked["reasons"])


def test_too_few_rows_are_no_baseline(begun: Callable[..., Bench], rows: Rows) -> None:
    """Not even by force: verdicts against ten rows mean nothing."""
    b = begun()
    b.push(rows(10, start=NOW, seconds=60))
    with pytest.raises(ConflictError, match="10 rows, 250 are needed"):
        b.service.refresh_baseline("m", force=True)


def test_only_so_many_are_kept(begun: Callable[..., Bench], rows: Rows) -> None:
    """The oldest of those that were made by themselves go; what somebody pushed stays."""
    b = begun()
    pushed = active(b)["id"]
    for _ in range(5):
        hours(b, rows, 3)
        b.service.refresh_baseline("m", force=True)
    found = b.service.list_baselines("m")["baselines"]
    assert pushed in {one["id"] for one in found}
    assert sum(one["source"] == "refresh" for one in found) == 3


def test_a_new_version_gets_a_baseline_of_its_own(begun: Callable[..., Bench], rows: Rows) -> None:
    """From its own first rows, once there are enough and their labels have come."""
    b = begun(refresh={"every": "30d", "on_new_version": True})
    hours(b, rows, 3)
    hours(b, rows, 2, version="v2")
    tick(b)
    assert {one["version"] for one in b.service.list_baselines("m")["baselines"]} == {None}
    hours(b, rows, 2, version="v2")
    b.clock.advance(86_400)
    tick(b)
    own = active(b, "v2")
    assert (own["source"], own["rows"]) == ("new_version", 600)
    assert active(b)["source"] == "rows"


def test_the_way_back(begun: Callable[..., Bench], rows: Rows) -> None:
    """Rollback activates what was active before, also after a restart, and says when there is nothing."""
    b = begun()
    first = active(b)["id"]
    with pytest.raises(ConflictError, match="no baseline of all versions was active before"):
        b.service.roll_back_baseline("m")
    hours(b, rows, 3)
    b.service.refresh_baseline("m")
    second = active(b)["id"]
    b.restart()
    assert b.service.roll_back_baseline("m").body["id"] == first
    assert active(b)["id"] == first
    assert b.service.roll_back_baseline("m").body["id"] == second


def test_the_difference_of_two_baselines(begun: Callable[..., Bench], rows: Rows) -> None:
    """Drift by column, performance and categories from one to the other."""
    b = begun()
    first = active(b)["id"]
    hours(b, rows, 3, shift=1.0)
    second = b.service.refresh_baseline("m", force=True).body["id"]
    found = b.service.compare_baselines("m", second, first)
    assert found["drift"]["detected_columns"] == ["distance"]
    assert found["rows"] == {"baseline": 600, "with": 500}
    assert found["performance"]["accuracy"]["baseline"] == pytest.approx(0.95)
    assert b.service.compare_baselines("m", first)["with"] == second
    with pytest.raises(ConflictError, match="no other active baseline"):
        b.service.compare_baselines("m", second)
