from __future__ import annotations

import numpy as np
import pytest

from exporter.results import ColumnDrift, Undefined
from exporter.statistics.concept import DETECTORS, ErrorStream, concept_column, concept_drift

HOUR = 3600.0
SINCE = 144 * HOUR


def stream(rng, share, *, rows=60):
    rows = rng.poisson(rows, len(share)) + 1.0
    losses = rng.binomial(rows.astype(int), share).astype(float)
    return ErrorStream(np.arange(len(share)) * HOUR, rows, losses, losses, losses)


def detections(share, *, times, rows=60, seed=7):
    """Share of streams in which each detector finds a change."""
    rng = np.random.default_rng(seed)
    found = dict.fromkeys(DETECTORS, 0)
    for _ in range(times):
        results = concept_drift(stream(rng, share, rows=rows), since=SINCE)
        assert not isinstance(results, Undefined)
        for name, result in results.items():
            assert result.detected == (result.statistic > result.critical_value)
            found[name] += result.detected
    return {name: count / times for name, count in found.items()}


def by_definition(losses, rows, candidates):
    """The three statistics, bucket after bucket, from the running sums of the literature."""
    total, size = losses.sum(), rows.sum()
    adwin = rise = ddm = 0.0
    path = lowest = 0.0
    best, best_error = np.inf, np.nan
    for t in range(len(rows)):
        if t and candidates[t]:
            n0, s0 = rows[:t].sum(), losses[:t].sum()
            difference = (total - s0) / (size - n0) - s0 / n0
            adwin = max(adwin, abs(difference) / np.sqrt(1 / n0 + 1 / (size - n0)))
        path += losses[t] - rows[t] * (total / size + 0.02)
        if candidates[t]:
            rise = max(rise, path - lowest)
        lowest = min(lowest, path)
        error = 1 / np.sqrt(rows[: t + 1].sum())
        level = losses[: t + 1].sum() / rows[: t + 1].sum() + error
        if level <= best:
            best, best_error = level, error
        if candidates[t]:
            ddm = max(ddm, (level - best) / best_error)
    return {"adwin": adwin, "page_hinkley": rise, "ddm": ddm}


def test_statistics_are_those_of_the_definitions():
    """Vectorised over paths they are what a loop over the buckets gives."""
    rng = np.random.default_rng(1)
    rows = rng.integers(1, 50, 40).astype(float)
    sums = rng.normal(size=(3, 40)) * np.sqrt(rows)
    candidates = np.arange(40) >= 25
    for name, detector in DETECTORS.items():
        expected = [by_definition(path, rows, candidates)[name] for path in sums]
        assert detector(sums, rows, candidates) == pytest.approx(expected)


@pytest.mark.slow
def test_a_stream_without_change_alarms_at_the_nominal_rate():
    """Of 300 streams of a week, about one in twenty alarms at most: DDM is the most conservative."""
    found = detections(np.full(168, 0.1), times=300)
    assert 0.02 < found["adwin"] < 0.09
    assert 0.02 < found["page_hinkley"] < 0.09
    assert found["ddm"] < 0.06


def test_more_errors_are_found():
    """An error rate that doubles half a day ago is found by ADWIN and Page-Hinkley."""
    found = detections(np.where(np.arange(168) < 156, 0.1, 0.2), times=20)
    assert found["adwin"] == found["page_hinkley"] == 1.0


def test_fewer_errors_are_a_change_for_adwin_only():
    """ADWIN looks both ways; the others look for more errors."""
    found = detections(np.where(np.arange(168) < 156, 0.2, 0.1), times=20)
    assert found["adwin"] == 1.0
    assert found["page_hinkley"] < 0.3


def test_a_daily_rhythm_is_no_change():
    """Errors that come and go with the hours of the day do not alarm every day."""
    share = 0.1 * (1 + 0.5 * np.sin(np.arange(168) / 24 * 2 * np.pi))
    found = detections(share, times=40, rows=300)
    assert max(found.values()) < 0.25


@pytest.mark.parametrize(
    ("share", "rows", "reason"),
    [(0.1, 1, "insufficient_labels"), (0.0, 60, "constant"), (1.0, 60, "constant")],
)
def test_what_is_missing_has_a_reason(share, rows, reason):
    """Too few labels on either side, or no variation at all."""
    rng = np.random.default_rng(3)
    given = stream(rng, np.full(168, share), rows=rows)
    if reason == "insufficient_labels":
        given = given.until(SINCE + HOUR)
    assert concept_drift(given, since=SINCE).reason == reason


def test_the_verdict_is_that_of_a_column():
    """The first detector decides, the others inform, and the same stream gives the same object."""
    given = stream(np.random.default_rng(5), np.where(np.arange(168) < 156, 0.1, 0.3))
    settings = {"since": SINCE, "alpha": 0.05, "minimum_rows": 100, "name": "error"}
    column = concept_column(given, **settings)
    assert isinstance(column, ColumnDrift)
    assert (column.role, column.method, column.detected) == ("error", "adwin", True)
    assert set(column.methods) == set(DETECTORS)
    assert column.q_value == column.p_value
    assert concept_column(given, **settings) is column


@pytest.mark.parametrize("alpha", [0.5, 0.05, 0.01, 1e-4, 1e-9])
def test_any_level_has_a_critical_value(alpha):
    """Critical values rise as alpha falls, far beyond what was simulated, and p-values with them."""
    given = stream(np.random.default_rng(5), np.where(np.arange(168) < 156, 0.1, 0.5))
    for result in concept_drift(given, since=SINCE, alpha=alpha).values():
        assert np.isfinite(result.critical_value)
        assert result.detected == (result.p_value < alpha * (1 + 1e-9)) or result.p_value > 0.04
    strong = concept_drift(given, since=SINCE, alpha=alpha)["adwin"]
    assert strong.p_value < 0.05 / 100


@pytest.mark.slow
def test_rare_errors_alarm_no_more_often():
    """Sums of few errors are skewed, and so are the simulated ones: two in a thousand rows."""
    found = detections(np.full(168, 0.002), times=300)
    assert found["adwin"] < 0.1
    assert found["page_hinkley"] < 0.09
