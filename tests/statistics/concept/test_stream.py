from __future__ import annotations

import numpy as np
import pytest

from exporter.statistics.concept import ErrorStream

HOUR = 3600.0


def stream_of(rows, losses, *, width=HOUR):
    rows, losses = np.asarray(rows, float), np.asarray(losses, float)
    return ErrorStream(np.arange(len(rows)) * width, rows, losses, losses, losses)


def test_dispersion_without_a_rhythm_is_the_variance_between_rows():
    """Where hours do not differ, a bucket's sum varies as its rows do: p (1 - p) for errors."""
    rng = np.random.default_rng(1)
    found = [
        stream_of(rows := np.full(100, 200), rng.binomial(200, 0.2, 100)).dispersion() for _ in range(50)
    ]
    assert rows.sum() == 20_000
    assert np.median(found) == pytest.approx(0.16, rel=0.03)


def test_dispersion_grows_with_what_hours_differ_by():
    """Bucket means that vary by themselves make sums vary more than their rows explain."""
    rng = np.random.default_rng(2)
    share = np.clip(0.2 + 0.05 * rng.normal(size=200), 0, 1)
    found = stream_of(np.full(200, 1000), rng.binomial(1000, share)).dispersion()
    assert found > 5 * 0.16


def test_one_change_is_not_noise():
    """A single step leaves the dispersion about what it was without it."""
    rng = np.random.default_rng(3)
    share = np.where(np.arange(200) < 150, 0.1, 0.4)
    assert stream_of(np.full(200, 500), rng.binomial(500, share)).dispersion() < 0.3


def test_a_daily_rhythm_is_taken_out_and_chance_is_not():
    """With a rhythm the adjusted means are level; without one the stream stays the very same object."""
    rng = np.random.default_rng(4)
    hours = np.arange(24 * 8)
    share = 0.2 + 0.1 * np.sin(hours / 24 * 2 * np.pi)
    daily = stream_of(np.full(hours.size, 2000), rng.binomial(2000, share))
    adjusted = daily.adjusted(since=24 * 7 * HOUR)
    assert np.std(adjusted.losses / adjusted.rows) < np.std(daily.losses / daily.rows) / 4
    level = stream_of(np.full(hours.size, 2000), rng.binomial(2000, 0.2, hours.size))
    assert level.adjusted(since=24 * 7 * HOUR) is level


@pytest.mark.parametrize("buckets", [1, 199, 200, 201, 1000])
def test_coarsening_keeps_every_row(buckets):
    """Neighbours are put together: nothing is lost, and there are at most 200 buckets."""
    coarse = stream_of(np.arange(1, buckets + 1), np.arange(buckets)).coarsened()
    assert len(coarse.rows) <= 200
    assert coarse.total == buckets * (buckets + 1) / 2
    assert coarse.losses.sum() == buckets * (buckets - 1) / 2
