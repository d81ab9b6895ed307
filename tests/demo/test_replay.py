from __future__ import annotations

import threading
import time

import pandas as pd
import pyarrow as pa
import pytest

from exporter.client import PushReport
from exporter.demo.replay import MODEL, ReplayClock, days, replay, replayed_days


@pytest.fixture(scope="module")
def week(flights, classifiers):
    return list(days(flights, classifiers, replayed_days(flights)[:7]))


class Log:
    """A destination that writes down what it gets."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, str, int]] = []

    def push(self, model: str, data: pa.Table, *, version: str) -> PushReport:
        self.pushed.append((model, version, data.num_rows))
        return PushReport(rows=data.num_rows, accepted=data.num_rows)

    def push_labels(self, model: str, data: pa.Table) -> PushReport:
        return self.push(model, data, version="labels")


def test_replay_covers_the_year_after_january(flights):
    """Every day from February to December can be replayed."""
    dates = replayed_days(flights)
    assert len(dates) == 334
    assert (dates[0], dates[-1]) == ("2013-02-01", "2013-12-31")


def test_days_answer_every_flight_once(flights, week):
    """The two versions together answer each flight of the week exactly once."""
    ids = pa.concat_tables(
        [table.select(["flight_id"]) for day in week for table in day.predictions.values()]
    )["flight_id"].to_pylist()
    expected = flights.loc[flights["date"].isin([day.date for day in week]), "flight_id"]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(expected)
    assert all(set(day.predictions) == {"champion", "challenger"} for day in week)


def test_predictions_lie_within_their_day(flights, week):
    """A day's predictions are that day's flights, in event time."""
    date_of = flights.set_index("flight_id")["date"]
    for day in week:
        for table in day.predictions.values():
            assert set(date_of[table["flight_id"].to_pylist()]) == {day.date}
            assert table["scheduled"].to_pandas().is_monotonic_increasing


def test_labels_come_after_their_predictions_and_when_reported(flights, week):
    """Each label is the record's, comes on the day on which it was reported, and only once."""
    by_id = flights.set_index("flight_id")
    seen: set[str] = set()
    late = 0
    for day in week:
        closing = pd.Timestamp(day.date, tz="UTC") + pd.Timedelta(days=1, hours=5)
        labels = day.labels.to_pandas().set_index("flight_id")
        record = by_id.loc[labels.index]
        assert (record["reported"] < closing).all()
        assert (record["reported"] >= closing - pd.Timedelta(days=1)).all()
        assert (record["delayed"].astype(bool) == labels["delayed"]).all()
        assert not seen & set(labels.index)
        seen |= set(labels.index)
        late += int((record["date"] < day.date).sum())
    assert late > 500
    week_flights = by_id[by_id["date"].isin([day.date for day in week])]
    due = week_flights["reported"] < pd.Timestamp("2013-02-08T05:00", tz="UTC")
    assert seen == set(week_flights.index[due])


def run(stream, log, *, clock=None, after_day=lambda _day, _tally: None, stop=None, days_per_second=None):
    return replay(
        stream,
        log,
        clock=clock or ReplayClock(0.0),
        days_per_second=days_per_second,
        after_day=after_day,
        stop=stop or threading.Event(),
    )


def test_replay_pushes_predictions_before_labels(week):
    """On each day both versions are pushed, then the labels; the tally adds up."""
    log = Log()
    tally = run(iter(week), log)
    assert [entry[1] for entry in log.pushed] == ["champion", "challenger", "labels"] * 7
    assert {entry[0] for entry in log.pushed} == {MODEL}
    assert tally.days == 7
    assert tally.predictions == sum(table.num_rows for day in week for table in day.predictions.values())
    assert tally.labels == sum(day.labels.num_rows for day in week)
    assert tally.changed >= week[-1].closing


def test_replay_keeps_its_pace(week):
    """At ten days a second three days take 0.3 seconds."""
    started = time.monotonic()
    run(iter(week[:3]), Log(), days_per_second=10.0)
    assert time.monotonic() - started == pytest.approx(0.3, abs=0.15)


def test_replay_stops_when_asked(week):
    """After a stop no further day is pushed, and no pause is sat out."""
    stop = threading.Event()
    tally = run(iter(week), Log(), stop=stop, after_day=lambda _day, _tally: stop.set(), days_per_second=0.01)
    assert tally.days == 1


def test_days_are_pushed_by_a_clock_that_stands_at_their_closing(week):
    """What a day brings arrives after it has happened, by the exporter's clock, and before the next has."""
    clock = ReplayClock(0.0)
    seen = []
    run(iter(week), Log(), clock=clock, after_day=lambda day, _tally: seen.append((day, clock.time())))
    for day, now in seen:
        assert day.closing <= now < day.closing + 60
        newest = max(table["scheduled"].to_pandas().max() for table in day.predictions.values())
        assert newest.timestamp() < day.closing


def test_replay_clock_never_goes_back():
    """The clock ticks on by itself and jumps forward only."""
    clock = ReplayClock(1000.0)
    first = clock.time()
    assert first == pytest.approx(1000.0, abs=1)
    clock.move_to(500.0)
    assert clock.time() >= first
    clock.move_to(5000.0)
    assert clock.time() >= 5000.0
