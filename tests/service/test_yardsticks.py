"""Windows measured against the same season of the baseline, or against how restless its blocks are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.service.conftest import HOUR, NOW, Bench

Make = Callable[..., Bench]

DAY = 24 * HOUR
MIDNIGHT = NOW - NOW % DAY


def daily(generator: np.random.Generator, start: float, hours: int, *, rows: int = 60) -> pa.Table:
    """Rows whose distance follows the hour of the day."""
    at = start + np.sort(generator.uniform(0, hours * HOUR, hours * rows))
    wave = 1.5 * np.sin(2 * np.pi * (at % DAY) / DAY)
    score = generator.uniform(size=at.size)
    return pa.table(
        {
            "id": [f"d{start:.0f}-{place}" for place in range(at.size)],
            "at": at,
            "answer": score > 0.5,
            "score": score,
            "distance": generator.normal(size=at.size) + wave,
            "delay": generator.exponential(size=at.size),
            "carrier": generator.choice(["AA", "UA", "DL"], at.size),
        }
    )


@pytest.fixture
def measured(bench: Make, generator: np.random.Generator) -> Callable[..., tuple[Bench, list[bool]]]:
    """Give a function (**changes) -> the bench, and whether distance drifted in each quarter of a day."""

    def make(**changes: Any) -> tuple[Bench, list[bool]]:
        b = bench(resolution="1h", windows=["6h"], lateness="2d", segments=[], **changes)
        b.service.create_baseline("m", table=daily(generator, MIDNIGHT - 10 * DAY, 240))
        found = []
        for quarter in range(4):
            b.clock.advance(MIDNIGHT + (quarter + 1) * 6 * HOUR - b.clock.time() + DAY)
            b.push(daily(generator, MIDNIGHT + DAY + quarter * 6 * HOUR, 6))
            found.append(b.evaluated("drift", window="6h")["columns"]["distance"]["detected"])
        return b, found

    return make


def test_a_rhythm_alarms_where_rows_count_as_independent(measured: Callable[..., Any]) -> None:
    """Six hours of a day are not like the whole day: every window alarms."""
    assert all(measured()[1])


def test_the_same_hours_are_alike(measured: Callable[..., Any]) -> None:
    """Against the baseline's rows of the same hours nothing has drifted."""
    b, found = measured(baseline={"season": "hour"})
    assert not any(found)
    assert not [note for note in b.service.status("m")["notes"] if "season" in note]


def test_hours_of_the_week_need_more_of_a_baseline(measured: Callable[..., Any]) -> None:
    """Ten days hold each hour of the week once or twice, which is enough for these windows."""
    assert not any(measured(baseline={"season": "weekday"})[1])


def test_a_shift_within_the_season_is_still_drift(bench: Make, generator: np.random.Generator) -> None:
    """The same hours, shifted, alarm."""
    b = bench(resolution="1h", windows=["6h"], segments=[], baseline={"season": "hour"})
    b.service.create_baseline("m", table=daily(generator, MIDNIGHT - 10 * DAY, 240))
    table = daily(generator, MIDNIGHT + 6 * HOUR, 6)
    b.clock.advance(DAY)
    moved = pa.array(table["distance"].to_numpy() + 0.6)
    b.push(table.set_column(table.schema.get_field_index("distance"), "distance", moved))
    assert b.evaluated("drift", window="6h")["columns"]["distance"]["detected"]


def test_seasons_without_rows_fall_back_and_say_so(bench: Make, generator: np.random.Generator) -> None:
    """A baseline of a morning knows nothing of the evening: the whole of it is taken, with a note."""
    b = bench(resolution="1h", windows=["6h"], segments=[], baseline={"season": "hour"})
    b.service.create_baseline("m", table=daily(generator, MIDNIGHT - DAY, 8))
    b.clock.advance(DAY)
    b.push(daily(generator, MIDNIGHT + 14 * HOUR, 6))
    assert b.evaluated("drift", window="6h")["columns"]["distance"]["detected"] is not None
    assert any("too few rows of some seasons" in note for note in b.service.status("m")["notes"])


def test_restless_blocks_make_thresholds_wider(measured: Callable[..., Any]) -> None:
    """With `drift.null: blocks` a daily rhythm is what chance may do, and alarms no more."""
    b, found = measured(drift={"null": "blocks"})
    assert not any(found)
    assert not [note for note in b.service.status("m")["notes"] if "blocks" in note]


def test_too_few_blocks_are_said(bench: Make, generator: np.random.Generator) -> None:
    """A baseline of half a day has two blocks of six hours: not enough to know their spread."""
    b = bench(resolution="1h", windows=["6h"], segments=[], drift={"null": "blocks"})
    b.service.create_baseline("m", table=daily(generator, MIDNIGHT - DAY, 12))
    b.clock.advance(DAY)
    b.push(daily(generator, MIDNIGHT + 6 * HOUR, 6))
    b.service.evaluate("m")
    assert any("drift.null: blocks" in note for note in b.service.status("m")["notes"])


def test_restless_blocks_leave_nothing_to_test_columns_together_with(measured: Callable[..., Any]) -> None:
    """A rhythm alarms tests of whole rows; with `drift.null: blocks` they say why they have no verdict."""
    b, _ = measured()
    assert any(
        test["detected"] for test in b.evaluated("drift", window="6h")["multivariate"]["methods"].values()
    )
    b, _ = measured(drift={"null": "blocks"})
    tests = b.evaluated("drift", window="6h")["multivariate"]["methods"].values()
    assert {test["reason"] for test in tests} == {"not_comparable"}
    assert all("blocks" in test["detail"] for test in tests)
    text = b.service.snapshot().text.decode()
    assert 'measure="multivariate_drift",subject="mmd",reason="not_comparable"} 1' in text


@pytest.mark.parametrize("changes", [{"drift": {"null": "blocks"}}, {"season": "hour"}])
def test_a_rhythm_does_not_block_a_refresh(measured: Callable[..., Any], changes: dict[str, Any]) -> None:
    """A window that is judged with what its verdicts are made with is healthy, and becomes a baseline."""
    season = changes.pop("season", "none")
    b, _ = measured(baseline={"rows": 300, "season": season, "refresh": {"every": "30d"}}, **changes)
    assert b.service.refresh_baseline("m").body["source"] == "refresh"


@pytest.mark.parametrize("asked", ["auto", []])
def test_columns_are_counted_together_only_where_that_is_asked_for(
    bench: Make, generator: np.random.Generator, asked: Any
) -> None:
    """Counting them costs as much as all the rest, so `multivariate: []` spares it."""
    b = bench(segments=[], drift={"multivariate": asked})
    b.service.create_baseline("m", table=daily(generator, MIDNIGHT - DAY, 12))
    assert (b.service._lanes["m"].grid.multivariate is not None) == (asked == "auto")
