"""Segments: which are measured and exported, in what order, and the search for weak ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exporter.errors import BadRequestError, NotFoundError
from exporter.windows import Span

from .conftest import HOUR, NOW

SEARCH = {"columns": ["carrier", "distance", "delay"], "minimum_rows": 50}


def labelled(table: pa.Table, wrong: np.ndarray) -> pa.Table:
    """Labels that disagree with the answers where `wrong`."""
    truth = table["answer"].to_numpy(zero_copy_only=False) ^ wrong
    return pa.table({"id": table["id"], "truth": truth})


@pytest.fixture
def pushed(
    bench: Callable[..., Any], rows: Callable[..., pa.Table], generator: np.random.Generator
) -> Callable[..., Any]:
    """Give a function (wrong(table) -> mask, carriers, **changes) -> bench with labelled rows."""

    def make(
        wrong: Callable[[pa.Table], np.ndarray], carriers: np.ndarray | None = None, **changes: Any
    ) -> Any:
        b = bench(**changes)
        before = rows(800, first=50_000, start=NOW - 5 * HOUR)
        b.service.create_baseline("m", table=before.append_column("truth", before["answer"]))
        table = rows(3000)
        if carriers is not None:
            place = table.column_names.index("carrier")
            table = table.set_column(place, "carrier", pa.array(carriers))
        b.push(table)
        b.label(labelled(table, wrong(table)))
        b.service.evaluate("m")
        return b

    return make


def is_carrier(table: pa.Table, value: str) -> np.ndarray:
    return table["carrier"].to_numpy(zero_copy_only=False) == value


def test_small_segments_are_left_out_and_said(pushed, generator):
    """A segment with fewer rows than `segment_minimum_rows` has the reason insufficient_rows."""
    carriers = np.array(["AA"] * 2900 + ["UA"] * 60 + ["DL"] * 40)
    generator.shuffle(carriers)
    b = pushed(lambda table: np.zeros(table.num_rows, bool), carriers, segment_minimum_rows=50)
    text = b.service.snapshot().text.decode()
    assert 'segment="carrier",value="UA"' in text
    assert 'segment="carrier",value="DL"' not in text
    where = 'model="m",version="default",window="6h"'
    assert (
        f'ml_undefined{{{where},measure="segment",subject="carrier=DL",reason="insufficient_rows"}} 1' in text
    )
    found = b.service.segments("m", window="6h")
    assert [one["segment"] for one in found["segments"]] == ["carrier=UA", "carrier=AA"] or found[
        "total"
    ] == 2
    assert found["too_small"] == [{"version": "default", "segment": "carrier=DL", "rows": 40}]


def test_segments_come_worst_first_by_the_gap_that_is_certain(pushed, generator):
    """A large bad segment stands before a small one that may be bad by chance; pages go on."""
    carriers = np.array(["AA"] * 1500 + ["UA"] * 1200 + ["DL"] * 300)
    generator.shuffle(carriers)
    coin = np.random.default_rng(4).uniform(size=3000)
    rate = {"UA": 0.3, "DL": 0.25, "AA": 0.02}
    b = pushed(
        lambda table: coin < np.array([rate[value] for value in table["carrier"].to_pylist()]), carriers
    )
    found = b.service.segments("m", window="6h", metric="accuracy")
    assert [one["segment"] for one in found["segments"]] == ["carrier=UA", "carrier=DL", "carrier=AA"]
    first = found["segments"][0]
    assert first["gap"] == pytest.approx(first["whole"] - first["value"])
    assert first["certain_gap"] == pytest.approx(first["whole"] - first["upper"])
    assert first["degraded"]
    page = b.service.segments("m", window="6h", metric="accuracy", limit="2")
    rest = b.service.segments("m", window="6h", metric="accuracy", limit="2", offset=page["next"])
    assert [one["segment"] for one in rest["segments"]] == ["carrier=AA"]
    assert (page["total"], rest["next"]) == (3, None)
    errors = b.service.segments("m", window="6h", metric="log_loss")
    assert errors["segments"][0]["metric"] == "log_loss"
    for asked in ({"window": "2h"}, {"version": "other"}, {"metric": "mae"}):
        with pytest.raises(NotFoundError):
            b.service.segments("m", **asked)
    for asked in ({"limit": "0"}, {"limit": "many"}, {"offset": "-1"}):
        with pytest.raises(BadRequestError):
            b.service.segments("m", **asked)


def test_a_budget_keeps_the_worst_segments(pushed, generator):
    """Of the families of segments the healthiest segments go first, and it is said how many went."""
    carriers = generator.choice(["AA", "UA", "DL"], 3000)
    b = pushed(lambda table: is_carrier(table, "DL"), carriers)
    whole = b.service.snapshot().text.decode().count('value="AA"')
    assert whole > 0
    lane = b.service._lanes["m"]
    series = float(
        next(
            line.split()[-1]
            for line in b.service.snapshot().text.decode().splitlines()
            if line.startswith("ml_exporter_series{")
        )
    )
    object.__setattr__(lane.config, "max_series", int(series) - 3)
    b.service.evaluate("m")
    text = b.service.snapshot().text.decode()
    quality = [line for line in text.splitlines() if line.startswith("ml_segment_quality_score{")]
    assert any('value="DL"' in line for line in quality)
    assert len({line.split('value="')[1].split('"')[0] for line in quality}) == 2
    assert 'ml_undefined{model="m",measure="segment_quality_score",reason="budget"} 1' in text


def test_the_most_frequent_values_of_the_baseline_are_followed(bench, rows, generator):
    """Room goes to values that are large in the baseline, not to those that happen to come first."""
    b = bench(max_segment_values=2)
    before = rows(800, first=50_000, start=NOW - 5 * HOUR)
    place = before.column_names.index("carrier")
    before = before.set_column(place, "carrier", pa.array(["DL"] * 500 + ["UA"] * 200 + ["AA"] * 100))
    b.service.create_baseline("m", table=before.append_column("truth", before["answer"]))
    b.push(rows(900))
    b.service.evaluate("m")
    for _ in range(2):
        results = b.service.performance("m", window="6h", segment="*")["results"]
        assert {one["segment"] for one in results} == {None, "carrier=DL", "carrier=UA"}
        b.restart()


def test_the_search_finds_a_weak_pair_and_not_its_neighbours(pushed):
    """Errors in long flights of one carrier are found as that pair, with losses and adjusted p-values."""
    coin = np.random.default_rng(8).uniform(size=3000)

    def wrong(table: pa.Table) -> np.ndarray:
        long = table["distance"].to_numpy() > 0.85  # about the highest quintile
        return coin < np.where(is_carrier(table, "UA") & long, 0.6, 0.05)

    b = pushed(wrong, segment_search=SEARCH)
    for _ in range(2):
        found = b.service.segments("m", window="6h")["weak_segments"]["default"]
        worst = found["slices"][0]
        columns = dict(worst["conditions"])
        assert columns["carrier"] == "UA"
        assert columns["distance"].startswith("> ")
        assert worst["difference"] == pytest.approx(worst["loss"] - worst["rest_loss"])
        assert 0 < worst["lower"] < worst["difference"]
        assert worst["q_value"] < 1e-6
        assert worst["baseline_loss"] == 0.0
        assert len(found["slices"]) <= 2
        assert found["rows"] > 2900
        assert found["tested"] > 10
        b.restart()


def test_the_search_takes_the_losses_of_corrected_labels_back(pushed):
    """Of each row the loss of its last label counts, once."""
    kept = []

    def wrong(table: pa.Table) -> np.ndarray:
        kept.append(table)
        return ~is_carrier(table, "UA")

    b = pushed(wrong, segment_search={**SEARCH, "columns": ["carrier"]})
    b.label(labelled(kept[0], is_carrier(kept[0], "UA")))
    found = b.service.segments("m", window="6h")["weak_segments"]["default"]
    assert [one["conditions"] for one in found["slices"]] == [[["carrier", "UA"]]]
    assert found["slices"][0]["loss"] == 1.0
    state = b.service._lanes["m"].version("default")
    totals = state.whole.merged(Span(0, 4e9)).outcomes.totals
    assert sum(vector[::3].sum() for key, vector in totals.items() if key[0] == "slices") == 3000


def test_without_a_search_there_are_no_weak_segments(pushed):
    """Nothing is configured, nothing is answered."""
    b = pushed(lambda table: is_carrier(table, "UA"))
    assert b.service.segments("m")["weak_segments"] == {"default": None}


def by_carrier(table: pa.Table, *, shift: float = 0.0) -> pa.Table:
    """Distances that depend on the carrier; `shift` moves those of UA."""
    carriers = table["carrier"].to_numpy(zero_copy_only=False)
    usual = np.select([carriers == "AA", carriers == "UA"], [-1.0, 0.5 + shift], 2.0)
    place = table.column_names.index("distance")
    return table.set_column(place, "distance", pa.array(table["distance"].to_numpy() + usual))


def drifted(b: Any, segment: str) -> dict[str, Any]:
    return b.evaluated("drift", window="6h", segment=segment)["columns"]


@pytest.fixture
def compared(bench: Callable[..., Any], rows: Callable[..., pa.Table]) -> Callable[..., Any]:
    """Give a function (shift, **changes) -> bench whose distances depend on the carrier, with labels."""

    def make(shift: float = 0.0, **changes: Any) -> Any:
        b = bench(**changes)
        before = by_carrier(rows(3000, first=50_000, start=NOW - 5 * HOUR))
        wrong = is_carrier(before, "DL") & (np.arange(3000) % 4 == 0)
        b.service.create_baseline("m", table=before.append_column("truth", labelled(before, wrong)["truth"]))
        table = by_carrier(rows(3000), shift=shift)
        b.push(table)
        b.label(labelled(table, is_carrier(table, "DL") & (np.arange(3000) % 4 == 0)))
        return b

    return make


def test_segments_are_compared_with_their_own_part_of_the_baseline(compared):
    """A feature that goes with a segment, and the segment's own column, do not alarm; nor after a restart."""
    b = compared()
    for _ in range(2):
        for carrier in ("AA", "UA", "DL"):
            columns = drifted(b, f"carrier={carrier}")
            assert "carrier" not in columns
            assert columns["distance"]["detected"] is False
        text = b.service.snapshot().text.decode()
        ratios = [line for line in text.splitlines() if line.startswith("ml_segment_drifted_columns_ratio{")]
        assert len(ratios) == 6
        assert all(line.endswith(" 0.0") for line in ratios)
        metric = b.evaluated("performance", window="6h", segment="carrier=DL")["metrics"]["accuracy"]
        assert metric["baseline"] == pytest.approx(0.75, abs=0.05)
        assert metric["drop"] == pytest.approx(0.0, abs=0.07)
        b.restart()


def test_a_shift_within_one_segment_alarms_there(compared):
    """Only the segment whose rows moved has drifted."""
    b = compared(0.5)
    found = {name: drifted(b, f"carrier={name}")["distance"]["detected"] for name in ("AA", "UA", "DL")}
    assert found == {"AA": False, "UA": True, "DL": False}


def test_a_promoted_window_and_an_artifact_keep_their_parts(compared):
    """A past window, and a baseline that was exported and imported, have parts for segments too."""
    b = compared()
    made = b.service.create_baseline("m", period=(NOW - HOUR, NOW)).body
    assert drifted(b, "carrier=UA")["distance"]["detected"] is False
    data = b.service.baseline_artifact("m", made["id"])
    b.service.delete_baseline("m", made["id"])
    b.service.create_baseline("m", artifact=data)
    assert drifted(b, "carrier=UA")["distance"]["detected"] is False


def test_a_segment_that_the_baseline_hardly_has_is_not_compared(bench, rows):
    """Too few rows of a value in the baseline are no baseline for it."""
    b = bench()
    before = rows(3000, first=50_000, start=NOW - 5 * HOUR)
    carriers = np.array(["AA"] * 2950 + ["UA"] * 50)
    before = before.set_column(before.column_names.index("carrier"), "carrier", pa.array(carriers))
    b.service.create_baseline("m", table=before.append_column("truth", before["answer"]))
    table = rows(3000)
    b.push(table)
    b.label(labelled(table, is_carrier(table, "XX")))
    for carrier in ("UA", "DL"):
        assert drifted(b, f"carrier={carrier}") == {}
        found = b.evaluated("performance", window="6h", segment=f"carrier={carrier}")
        assert found["metrics"]["accuracy"]["baseline"] is None
    text = b.service.snapshot().text.decode()
    assert 'value="UA",measure="drift",reason="no_baseline"} 1' in text


def test_first_rows_have_parts_whose_labels_come_later(bench, rows):
    """A provisional baseline's segments get their metrics once labels come."""
    b = bench(baseline={"source": "first_rows", "rows": 900})
    first, second = rows(900, start=NOW - 4 * HOUR), rows(1500, first=5000)
    b.push(by_carrier(first))
    b.push(by_carrier(second))
    b.label(labelled(first, is_carrier(first, "UA")))
    b.label(labelled(second, is_carrier(second, "UA")))
    assert drifted(b, "carrier=UA")["distance"]["detected"] is False
    metrics = b.evaluated("performance", window="6h", segment="carrier=UA")["metrics"]
    assert metrics["accuracy"]["baseline"] == 0.0


def test_the_drift_of_segments_has_no_seasons(compared):
    """Of a part it is not known what came at which hour, so with a season it is not comparable."""
    b = compared(baseline={"season": "hour"}, resolution="1h")
    assert drifted(b, "carrier=UA") == {}
