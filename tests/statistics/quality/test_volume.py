"""Too few and too many rows: against the right hours, robustly, and seldom without a cause."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exporter.statistics.quality.volume import DAY, HOUR, SPANS, WEEK, History, volume

DAYS = 24


def traffic(days: int, seed: int = 1, *, mean: float = 400.0, noise: float = 0.005) -> np.ndarray:
    """Rows by hour: at night a quarter of noon, on two days of the week half."""
    generator = np.random.default_rng(seed)
    hour = np.arange(days * DAYS)
    shape = 1 + 0.6 * np.sin(2 * np.pi * (hour % 24) / 24)
    shape *= np.where((hour // 24) % 7 >= 5, 0.5, 1.0)
    return generator.poisson(mean * shape * generator.gamma(1 / noise, noise, len(hour))).astype(float)


def judged(rows: np.ndarray, **options):
    """The verdict on the last day of these hours."""
    first = len(rows) - max(SPANS)
    past = History(0.0, HOUR, rows[:first])
    return volume(past, History(first * HOUR, HOUR, rows[first:]), source="history", **options)


def test_the_same_hours_of_the_week_are_compared():
    """Three weeks of hours: expectations follow night and weekend, and nothing is found."""
    rows = traffic(23)
    report = judged(rows)
    assert (report.season, report.source, report.reason) == ("week", "history", None)
    assert set(report.spans) == {"1h", "3h", "1d"}
    for span in report.spans.values():
        assert span.lower < span.rows < span.upper
        assert span.expected == pytest.approx(span.rows, rel=0.25)
        assert span.detected is None


@pytest.mark.parametrize(("days", "season"), [(1, None), (2, "none"), (3, "none"), (5, "day"), (16, "week")])
def test_the_season_is_what_the_history_covers(days, season):
    """Weeks from two of them on, days from three on, all hours from one day on; else a reason."""
    report = judged(traffic(days + 1)[1:] if days > 1 else traffic(days))
    assert report.season == season
    assert report.reason == (None if season else "insufficient_rows")


@pytest.mark.parametrize(("factor", "detected"), [(0.5, "low"), (0.0, "low"), (2.0, "high"), (1.0, None)])
def test_three_hours_of_half_or_double_are_found(factor, detected):
    """At 400 rows an hour with 7 % noise, three hours of half, none or double the rows."""
    for seed in range(5):
        rows = traffic(24, seed)
        rows[-3:] = np.round(rows[-3:] * factor)
        assert judged(rows).spans["3h"].detected == detected


def test_a_gap_in_the_history_does_not_widen_the_bounds():
    """A day without rows and a burst in the past are left out of what is expected."""
    rows = traffic(30)
    spoilt = rows.copy()
    spoilt[200:224] = 0
    spoilt[400] *= 30
    clean, robust = judged(rows), judged(spoilt)
    for name, span in clean.spans.items():
        assert robust.spans[name].expected == pytest.approx(span.expected, rel=0.15)
        assert robust.spans[name].upper < 1.5 * span.upper


def test_bounds_of_poisson_traffic_are_those_of_the_poisson_distribution():
    """Much history without noise of its own: SciPy's quantiles, wider by the expectation's error only."""
    generator = np.random.default_rng(3)
    rows = generator.poisson(100, 60 * DAYS).astype(float)
    span = judged(rows, false_alarms_per_week=0.5).spans["1h"]
    level = 0.5 / len(SPANS) * HOUR / WEEK
    lower, upper = stats.poisson.ppf(level / 2, 100), stats.poisson.isf(level / 2, 100)
    assert lower - 15 < span.lower <= lower + 2
    assert upper - 2 <= span.upper < upper + 15


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_stated():
    """Looks of about four weeks without a change: 0.4 false verdicts are expected, and not many more come."""
    false = 0
    for seed in range(20):
        rows = traffic(56, seed, mean=200)
        for at in range(21 * DAYS, len(rows) + 1, 25):
            found = judged(rows[at - 21 * DAYS : at])
            false += sum(span.detected is not None for span in found.spans.values())
    assert false <= 4


def test_buckets_of_ten_minutes_share_their_hour():
    """Finer buckets than an hour are compared within the hour; spans keep their number of buckets."""
    rows = np.repeat(traffic(16) / 6, 6).round()
    first = len(rows) - 24
    report = volume(
        History(0.0, 600.0, rows[:first]), History(600.0 * first, 600.0, rows[first:]), source="history"
    )
    assert set(report.spans) == {"10m", "30m", "4h"}
    assert report.season == "week"


def test_local_hours_move_with_the_clock():
    """A day counted from another zone's midnight is the same cycle, shifted."""
    rows = traffic(23)
    there = judged(rows, local=lambda instant: instant + 5 * HOUR)
    assert there.spans["1h"].expected == pytest.approx(judged(rows).spans["1h"].expected)


def test_history_fills_what_is_not_there():
    """Buckets between the first and the last have 0 rows; the first, which is seldom whole, is left out."""
    history = History.of([(0, 5), (3600, 7), (10_800, 2)], HOUR)
    assert history.start == HOUR
    assert history.rows.tolist() == [7, 0, 2]
    assert history.before(2 * HOUR).rows.tolist() == [7]
    assert History.of([], HOUR).season is None
    assert History(0.0, 5 * HOUR, np.ones(100)).season == "none"
    assert History(0.0, DAY, np.ones(30)).season == "week"
