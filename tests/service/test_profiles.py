"""Profiles that were made elsewhere, on the exporter's grid."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from exporter.baseline import build
from exporter.batch import validate_batch
from exporter.errors import ConflictError, UnreadableError, UnusableBatchError
from exporter.profilefile import write_profiles
from exporter.profiles import Grid, Meters, decode
from exporter.statistics.concept import error_sums

from .conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]


@pytest.fixture
def ready(bench: Make, rows: Rows) -> Callable[..., Bench]:
    """Give a function that makes a service with a baseline."""

    def make(**changes: Any) -> Bench:
        b = bench(segments=[], **changes)
        b.service.create_baseline("m", table=rows(1000, 100_000))
        return b

    return make


def profiled(b: Bench, table: pa.Table, *, resolution: float | None = None, **changes: Any) -> bytes:
    """A profile file of rows as a remote profiler makes it, from what `GET .../grid` says."""
    told = b.service.grid("m")
    grid = Grid.from_bytes(base64.b64decode(told["data"]))
    width = resolution or told["resolution"]
    batch = validate_batch(table, b.service.schema("m"), now=NOW + 100 * HOUR)
    meters = Meters(whole_outcomes=(error_sums,))
    built = build(grid, batch, batch.outcomes.label, resolution=width, meters=meters)
    buckets = [(start, decode(data, grid)) for start, data in built.buckets]
    settings = {"newest_event": float(batch.event_time.max()), "resolution": width, **changes}
    return write_profiles(grid, buckets, **settings)


def test_profiles_count_as_their_rows_would(ready: Make, rows: Rows) -> None:
    """A pushed profile gives the windows, verdicts, counters and watermark of the pushed rows."""
    pushed, profiles = ready(), ready(counter_warmup="60s")
    table = rows(2000, start=NOW - 3 * HOUR, seconds=3 * HOUR)
    table = table.append_column("truth", labels_of(table, wrong=200)["truth"])
    pushed.push(table)
    profiles.service.delete_data("m")
    (found,) = pushed.service.list_baselines("m")["baselines"]
    profiles.service.create_baseline("m", artifact=pushed.service.baseline_artifact("m", found["id"]))
    answer = profiles.service.ingest_profile("m", profiled(profiles, table))
    assert (answer.status, answer.body["accepted"], answer.body["rejected"]) == (202, 2000, 0)
    for _ in range(2):
        for window in ("1h", "6h"):
            drift = [b.evaluated("drift", window=window) for b in (pushed, profiles)]
            assert (drift[0]["rows"], drift[0]["end"]) == (drift[1]["rows"], drift[1]["end"])
            for name, column in drift[0]["columns"].items():
                assert drift[1]["columns"][name]["statistic"] == pytest.approx(column["statistic"])
            performance = [b.evaluated(window=window) for b in (pushed, profiles)]
            assert performance[0]["confusion"] == performance[1]["confusion"]
        counters = [
            {key: n for key, n in b.service._lanes["m"].counters.items() if n} for b in (pushed, profiles)
        ]
        assert counters[0] == counters[1]
        profiles.clock.advance(61)
        profiles.restart()
    assert (
        b'ml_column_rows_total{model="m",version="default",column="distance"'
        in profiles.service.snapshot().text
    )
    lines = [
        float(line.split()[-1])
        for line in profiles.service.snapshot().text.decode().splitlines()
        if line.startswith('ml_column_rows_total{model="m",version="default",column="distance"')
    ]
    assert sum(lines) == 2000, "warm bins must not go back to 0 after a restart"


def test_a_repeated_profile_counts_once(ready: Make, rows: Rows) -> None:
    """The same key gets the first answer."""
    b = ready()
    data = profiled(b, rows(500))
    first = b.service.ingest_profile("m", data, key="k", body_hash="a")
    again = b.service.ingest_profile("m", data, key="k", body_hash="a")
    assert (again.status, again.body) == (200, {**first.body, "duplicate": True})
    assert b.evaluated("drift", window="6h")["rows"] == 500


def test_another_grid_is_a_conflict(ready: Make, bench: Make, rows: Rows) -> None:
    """A profile of an earlier grid, or one before any grid, is 409 and says which grid there is."""
    b = ready()
    data = profiled(b, rows(100))
    with pytest.raises(ConflictError) as caught:
        bench().service.ingest_profile("m", data)
    assert caught.value.code == "stale_grid"
    b.clock.advance(1)
    b.service.create_baseline("m", table=rows(1000), regrid=True)
    with pytest.raises(ConflictError) as caught:
        b.service.ingest_profile("m", data)
    assert caught.value.details[0]["current"] == b.service.show_model("m")["grid"]
    with pytest.raises(UnreadableError):
        b.service.ingest_profile("m", data[:-1])


def test_times_that_cannot_be_are_refused(ready: Make, rows: Rows) -> None:
    """The future, buckets after the newest event, and buckets that do not fit the model's are 422."""
    b = ready()
    table = rows(100)
    for wrong in (
        profiled(b, rows(100, start=NOW + 2 * HOUR)),
        profiled(b, table, newest_event=NOW - 90 * HOUR),
        profiled(b, rows(100, start=NOW - 9 * HOUR), newest_event=NOW),
        profiled(b, table, resolution=b.service.grid("m")["resolution"] * 1.5),
    ):
        with pytest.raises(UnusableBatchError):
            b.service.ingest_profile("m", wrong)
    finer = profiled(b, table, resolution=b.service.grid("m")["resolution"] / 3)
    assert b.service.ingest_profile("m", finer).body["accepted"] == 100
    assert b.service.show_model("m")["rows"] == 100


def test_late_buckets_are_dropped_and_counted(ready: Make, rows: Rows) -> None:
    """What lies beyond the lateness is left out, as late rows are."""
    b = ready(lateness="2h")
    b.push(rows(100))
    table = pa.concat_tables([rows(30, 5000, start=NOW - 9 * HOUR, seconds=60), rows(20, 6000)])
    body = b.service.ingest_profile("m", profiled(b, table)).body
    assert (body["rows"], body["accepted"], body["reasons"]) == (50, 20, {"late": 30})
    assert b.service.show_model("m")["versions"]["default"]["rejected"] == {"late": 30}
    only_late = profiled(b, rows(10, 7000, start=NOW - 9 * HOUR, seconds=60))
    watermark = b.service.show_model("m")["versions"]["default"]["watermark"]
    assert b.service.ingest_profile("m", only_late).body["accepted"] == 0
    assert b.service.show_model("m")["versions"]["default"]["watermark"] == watermark
