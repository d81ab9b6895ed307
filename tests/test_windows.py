"""Windows are merges of buckets: in any order, at any width, restored or added, they say the same."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.baseline import grid_of
from exporter.batch import validate_batch
from exporter.profiles import Grid, Profile, encode, profile_outcomes, profile_rows, row_counts
from exporter.schema import Column, Kind, Schema, Task
from exporter.windows import (
    FEWEST_BUCKETS_PER_WINDOW,
    MAX_BUCKETS_PER_WINDOW,
    MOST_ENCODED,
    OPEN_BUCKETS,
    OPEN_BUCKETS_COMPACT,
    Part,
    ProfileSeries,
    Span,
    bucket_starts,
    label_watermark,
    tier_width,
    window_span,
)

SCHEMA = Schema(
    "m",
    Task.BINARY,
    prediction="answer",
    label="truth",
    timestamp="at",
    features=(Column("x", Kind.NUMERIC), Column("c", Kind.CATEGORICAL)),
)
ROWS = 400
WINDOWS = {"5": 5.0, "20": 20.0, "1000": 1000.0}


def table(seed: int = 5, rows: int = ROWS, seconds: float = 60.0) -> pa.Table:
    generator = np.random.default_rng(seed)
    answer = generator.uniform(size=rows) < 0.4
    return pa.table(
        {
            "at": np.sort(generator.uniform(0, seconds, rows)),
            "answer": answer,
            "truth": answer ^ (generator.uniform(size=rows) < 0.2),
            "x": generator.normal(size=rows).round(1),
            "c": generator.choice(["a", "b", "new"], rows),
        }
    )


def profiled(grid: Grid, rows: pa.Table) -> Profile:
    batch = validate_batch(rows, SCHEMA, now=1e4)
    return profile_rows(grid, batch).merge(profile_outcomes(grid, batch.outcomes))


GRID = grid_of(validate_batch(table(1), SCHEMA, now=1e4))
TABLE = table()
EVENTS = TABLE["at"].to_numpy()


def same(one: Profile, other: Profile, part: str) -> None:
    """Counts exactly, sums to rounding."""
    assert (one.rows, one.labeled_rows) == (other.rows, other.labeled_rows)
    left, right = getattr(one, part), getattr(other, part)
    np.testing.assert_array_equal(left.counts.dense(), right.counts.dense())
    np.testing.assert_allclose(left.sums, right.sums, atol=1e-9)
    np.testing.assert_array_equal(left.extremes, right.extremes)
    assert left.novel == right.novel


def between(span: Span) -> Profile:
    """One pass over the rows of a span."""
    chosen = np.flatnonzero([at in span for at in EVENTS])
    if not chosen.size:
        return Profile.empty(GRID)
    return profiled(GRID, TABLE.take(pa.array(chosen)))


def deltas(pieces: Iterable[np.ndarray], resolution: float) -> list[tuple[int, Profile]]:
    """Each piece of the rows as a push: one delta a bucket."""
    made = []
    for piece in pieces:
        starts = bucket_starts(EVENTS[piece], resolution)
        for start in np.unique(starts):
            rows = TABLE.take(pa.array(piece[starts == start]))
            made.append((int(start), profiled(GRID, rows)))
    return made


PIECES = np.array_split(np.random.default_rng(2).permutation(ROWS), 7)
DELTAS = deltas(PIECES, 1.0)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(len(DELTAS))), newest=st.floats(0, 70), asked=st.integers(0, len(DELTAS)))
def test_any_order_of_adding_gives_the_window_of_one_pass(
    order: list[int], newest: float, asked: int
) -> None:
    """Deltas in any order, a window asked for at any time: the same as one pass over the rows."""
    series = ProfileSeries(GRID, 1.0, WINDOWS)
    for count, position in enumerate(order):
        if count == asked:
            for name in WINDOWS:
                series.window(name, newest, "features")
                series.window(name, newest, "outcomes")
        series.add(*DELTAS[position])
    for name, seconds in WINDOWS.items():
        for part in ("features", "outcomes"):
            span, window = series.window(name, newest, part)
            assert newest in span
            assert span == window_span(newest, seconds, series.width(name))
            same(window, between(span), part)


def test_a_long_window_reads_coarser_buckets() -> None:
    """A window of more than 200 buckets is merged from at most 200, and agrees with its own alignment."""
    assert tier_width(1000.0, 1.0) == 5.0
    assert tier_width(200.0, 1.0) == 1.0
    assert tier_width(201.0, 1.0) == 3.0
    assert tier_width(86_400.0 * 30, 150.0) / 150.0 == 90
    series = ProfileSeries(GRID, 1.0, {"1000": 1000.0})
    for start, delta in DELTAS:
        series.add(start, delta)
    assert len(series._tiers[5.0]) == 12
    for newest in (3.0, 17.2, 59.9):
        span, window = series.window("1000", newest, "features")
        assert span.end % 5 == 0
        assert span.end - span.start == 1000
        direct = Profile.empty(GRID)
        for start, delta in DELTAS:
            if start in span:
                direct.add(delta)
        same(window, direct, "features")


@given(buckets=st.integers(1, 20_000), resolution=st.sampled_from([1.0, 60.0, 0.1, 3600.0]))
def test_buckets_divide_the_window(buckets: int, resolution: float) -> None:
    """A window is a whole number of buckets, at most 200 where some divisor allows it, and slides finely."""
    units = round(tier_width(buckets * resolution, resolution) / resolution)
    assert buckets % units == 0
    allowed = [
        width
        for width in range(1, buckets + 1)
        if buckets % width == 0 and FEWEST_BUCKETS_PER_WINDOW <= buckets // width <= MAX_BUCKETS_PER_WINDOW
    ]
    if buckets > MAX_BUCKETS_PER_WINDOW and allowed:
        assert units == allowed[0]
    elif buckets <= MAX_BUCKETS_PER_WINDOW:
        assert units == 1
    else:
        assert buckets // units > MAX_BUCKETS_PER_WINDOW


def test_a_window_of_three_months_is_as_long_as_it_says() -> None:
    """90 days of hourly buckets: what the window holds is 90 days, counted from the same buckets."""
    hour, days = 3600, 90
    assert tier_width(days * 24 * hour, hour) == 12 * hour
    series = ProfileSeries(GRID, hour, {"90d": days * 24.0 * hour}, compact=True)
    delta = DELTAS[0][1]
    for day in range(100):
        series.add(day * 24 * hour, delta)
    span, window = series.window("90d", 100 * 24 * hour - 1, "features")
    assert span.end - span.start == days * 24 * hour
    assert window.rows == days * delta.rows
    assert series.covered("90d", span) == (days * delta.rows, days * delta.labeled_rows)


@settings(max_examples=10, deadline=None)
@given(
    order=st.permutations(range(len(DELTAS))),
    newest=st.floats(0, 70),
    part=st.sampled_from(["features", "outcomes"]),
)
def test_a_compact_series_says_the_same(order: list[int], newest: float, part: Part) -> None:
    """Segments keep no running sums and few, sparse open buckets; their windows are those of one pass."""
    series = ProfileSeries(GRID, 1.0, WINDOWS, compact=True)
    for position in order:
        series.add(*DELTAS[position])
    held = [bucket for tier in series._tiers.values() for bucket in tier.values()]
    opened = [bucket.open for bucket in held if bucket.open is not None]
    assert len(opened) <= OPEN_BUCKETS_COMPACT * len(series._tiers)
    assert not any(
        side.counts.is_dense for profile in opened for side in (profile.features, profile.outcomes)
    )
    assert max(len(bucket.at_rest) for bucket in held) <= MOST_ENCODED
    for name in WINDOWS:
        span, window = series.window(name, newest, part)
        same(window, between(span), part)
        same(series.pieces(name, newest, part)[1].merged(), window, part)
    assert not series._running


@given(
    order=st.permutations(range(60)), every=st.integers(3, 11), part=st.sampled_from(["features", "outcomes"])
)
@settings(max_examples=15, deadline=None)
def test_kept_sums_of_a_compact_series_equal_merging_anew(order: list[int], every: int, part: Part) -> None:
    """However rows come, buckets rest, windows slide and old buckets go: the kept sum is the sum."""
    series = ProfileSeries(GRID, 1.0, {"20": 20.0}, compact=True)
    for step, second in enumerate(order):
        series.add(second, DELTAS[second % len(DELTAS)][1])
        if step % every == 0:
            newest = 20.0 + step // 2
            if step == 30:
                series.expire(5.0)
            _, pieces = series.pieces("20", newest, part)
            anew = Profile.empty(GRID)
            for start in series._within(window_span(newest, 20.0, 1.0), 1.0):
                series._tiers[1.0][start].add_to(anew, (part,))
            same(pieces.merged(), anew, part)
            same(series.pieces("20", newest, part)[1].merged(), anew, part)


def test_what_is_at_rest_is_merged_once() -> None:
    """After a window was merged, its buckets at rest are one profile, until one of them leaves the window."""
    series = ProfileSeries(GRID, 1.0, {"20": 20.0}, compact=True)
    for second in range(20):
        series.add(second, DELTAS[second % len(DELTAS)][1])
    before = series.pieces("20", 19.5, "features")[1]
    assert len(before.encoded) >= 20 - OPEN_BUCKETS_COMPACT
    before.merged()
    assert len(series.pieces("20", 19.5, "features")[1].encoded) == 1
    series.add(20, DELTAS[0][1])
    assert len(series.pieces("20", 20.5, "features")[1].encoded) >= 20 - OPEN_BUCKETS_COMPACT


def test_pieces_do_not_change_with_the_series() -> None:
    """What was taken out of a series is merged later, while new rows come: they are not in it."""
    for compact in (False, True):
        series = ProfileSeries(GRID, 1.0, WINDOWS, compact=compact)
        half = len(DELTAS) // 2
        for start, delta in DELTAS[:half]:
            series.add(start, delta)
        span, pieces = series.pieces("1000", 59.0, "features")
        rows = series.covered("1000", span)[0]
        for start, delta in DELTAS[half:]:
            series.add(start, delta)
        merged = pieces.merged()
        assert merged.rows == rows == merged.numeric("x").n


def test_a_running_sum_holds_its_part_only() -> None:
    """The sum of one part spends no memory on the cells of the other."""
    series = ProfileSeries(GRID, 1.0, WINDOWS)
    series.window("20", 59.0, "outcomes")
    series.window("20", 59.0, "features")
    for start, delta in DELTAS:
        series.add(start, delta)
    assert series.window("20", 59.0, "outcomes")[1].features.counts.is_empty
    assert series.window("20", 59.0, "features")[1].outcomes.counts.is_empty


def test_restoring_equals_adding() -> None:
    """Stored buckets taken back, and rows after them, give the windows of a series that was never stored."""
    added, restored = (ProfileSeries(GRID, 1.0, WINDOWS) for _ in range(2))
    half = len(DELTAS) // 2
    for start, delta in DELTAS[:half]:
        added.add(start, delta)
        encoded = encode(delta)
        rows, labeled = row_counts(encoded)
        restored.restore(start, encoded, rows=rows, labeled=labeled)
    assert added.coverage() == restored.coverage()
    for start, delta in DELTAS[half:]:
        added.add(start, delta)
        restored.add(start, delta)
    assert added.coverage() == restored.coverage()
    for name in WINDOWS:
        for part in ("features", "outcomes"):
            span, window = restored.window(name, 59.0, part)
            same(window, added.window(name, 59.0, part)[1], part)
            same(window, between(span), part)


def test_few_buckets_stay_open() -> None:
    """Rows over many buckets leave only a few open, and none are lost when one is opened again."""
    series = ProfileSeries(GRID, 1.0, WINDOWS)
    for _ in range(2):
        for start, delta in DELTAS:
            series.add(start, delta)
    held = [bucket for tier in series._tiers.values() for bucket in tier.values()]
    assert sum(bucket.open is not None for bucket in held) <= OPEN_BUCKETS * len(series._tiers)
    span, window = series.window("1000", 59.0, "features")
    same(window, between(span).merge(between(span)), "features")


def test_a_running_window_equals_a_rebuilt_one() -> None:
    """A window that rows and taken-back labels were added to is what a fresh merge of the buckets is."""
    series = ProfileSeries(GRID, 1.0, WINDOWS)
    for start, delta in DELTAS[:40]:
        series.add(start, delta)
    kept = {
        (name, part): series.window(name, 59.0, part)[1]
        for name in WINDOWS
        for part in ("features", "outcomes")
    }
    batch = validate_batch(TABLE.slice(0, 100), SCHEMA, now=1e4)
    for start, delta in DELTAS[40:]:
        series.add(start, delta)
    for start in np.unique(bucket_starts(batch.event_time, 1.0)):
        rows = np.flatnonzero(bucket_starts(batch.event_time, 1.0) == start)
        series.add(int(start), profile_outcomes(GRID, batch.take(rows).outcomes, sign=-1))
    for (name, part), running in kept.items():
        assert series.window(name, 59.0, part)[1] is running
    series._running.clear()
    for (name, part), running in kept.items():
        same(running, series.window(name, 59.0, part)[1], part)


def test_uses_of_one_window_are_merged_once_and_kept_apart() -> None:
    """A use that asks for the span of another one's sum starts from that; rows then enter both once."""
    series = ProfileSeries(GRID, 1.0, WINDOWS)
    for start, delta in DELTAS[:40]:
        series.add(start, delta)
    _, first = series.window("20", 59.0, "outcomes")
    _, features = series.window("20", 59.0, "features", "recent")
    _, second = series.window("20", 59.0, "outcomes", "recent")
    _, earlier = series.window("20", 50.0, "outcomes", "earlier")
    same(second, first, "outcomes")
    assert second is not first
    for start, delta in DELTAS[40:]:
        series.add(start, delta)
    for running in (first, second):
        same(running, between(series.span("20", 59.0)), "outcomes")
    same(features, between(series.span("20", 59.0)), "features")
    same(earlier, between(series.span("20", 50.0)), "outcomes")


def test_expired_buckets_are_forgotten() -> None:
    """What ends before an instant goes from every tier; what overlaps it stays."""
    series = ProfileSeries(GRID, 1.0, WINDOWS)
    assert series.empty
    for start, delta in DELTAS:
        series.add(start, delta)
    series.expire(32.5)
    assert min(start for start, *_ in series.coverage()) == 32
    assert min(series._tiers[5.0]) == 30
    same(series.merged(Span(0, 40)), between(Span(32, 40)), "features")
    series.expire(1e6)
    assert series.empty
    assert not series._open
    series.add(*DELTAS[0])
    assert not series.empty


def test_a_span_merges_the_buckets_that_begin_in_it() -> None:
    """A span of event time is half open, and neighbouring spans share no row."""
    series = ProfileSeries(GRID, 1.0, WINDOWS)
    for start, delta in DELTAS:
        series.add(start, delta)
    parts = [series.merged(Span(start, start + 20)) for start in (0, 20, 40)]
    whole = parts[0].merge(parts[1]).merge(parts[2])
    for part in ("features", "outcomes"):
        same(whole, profiled(GRID, TABLE), part)
    assert 20.0 in Span(20.0, 30.0)
    assert 30.0 not in Span(20.0, 30.0)


@pytest.mark.parametrize("newest", [0.0, 0.5, 59.999, -3.2])
def test_the_window_holds_its_newest_event(newest: float) -> None:
    """A window ends with the bucket of the newest event, and is as long as it says."""
    span = window_span(newest, 20.0, 2.5)
    assert newest in span
    assert span.end - span.start == 20.0
    assert span.end - newest <= 2.5


COVERAGE = [(0, 100, 90), (10, 100, 80), (20, 100, 85), (30, 100, 41), (40, 100, 5), (50, 100, 0)]


def test_the_label_watermark_is_the_newest_covered_bucket() -> None:
    """With a fixed share, the newest bucket that reaches it."""
    assert label_watermark(COVERAGE, 0.4, horizon_start=0) == 30
    assert label_watermark(COVERAGE, 0.5, horizon_start=0) == 20
    assert label_watermark(COVERAGE, 0.01, horizon_start=0) == 40
    assert label_watermark(COVERAGE, 0.95, horizon_start=0) is None


def test_the_automatic_label_watermark_follows_the_usual_coverage() -> None:
    """`auto` asks for half the median coverage of the labelled buckets, however few labels come."""
    assert label_watermark(COVERAGE, "auto", horizon_start=0) == 30
    rare = [(start, 1000, labeled // 10) for start, _, labeled in COVERAGE]
    assert label_watermark(rare, "auto", horizon_start=0) == 30


def test_the_label_watermark_looks_back_to_the_horizon_only() -> None:
    """Buckets before the horizon neither reach it nor count in the median; without labels there is none."""
    assert label_watermark(COVERAGE, "auto", horizon_start=40) == 40
    assert label_watermark(COVERAGE, 0.5, horizon_start=25) is None
    assert label_watermark([], "auto", horizon_start=0) is None
    assert label_watermark([(0, 10, 0), (10, 0, 5)], "auto", horizon_start=0) is None
