"""A past year pushed day by day, as it would have come: predictions first, labels when they are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
import pyarrow as pa

from exporter.demo.model import CHALLENGER, CHAMPION, VERSIONS, Classifiers, arms

MODEL = "flight_delay"
FIRST_MONTH = 2
"""January is for training and for the baseline; the replay starts with February."""

_CLOSING = pd.Timedelta(days=1, hours=5)
"""A day closes at 05:00 UTC of the next, which is midnight in New York's winter."""


class Destination(Protocol):
    """Where a replay pushes to; :class:`exporter.client.Client` is one."""

    def push(self, model: str, data: pa.Table, *, version: str) -> object: ...

    def push_labels(self, model: str, data: pa.Table) -> object: ...


@dataclass(frozen=True, slots=True)
class Day:
    """What one day brings.

    Attributes
    ----------
    date : str
    predictions : mapping of version to Table
        The flights that the version answers, see :meth:`exporter.demo.model.Classifiers.answer`.
    labels : Table
        `flight_id` and `delayed` of flights of this or an earlier day whose label became known today.
    """

    date: str
    predictions: Mapping[str, pa.Table]
    labels: pa.Table


@dataclass(slots=True)
class Tally:
    """What a replay has pushed so far."""

    days: int = 0
    predictions: int = 0
    labels: int = 0


def replayed_days(flights: pd.DataFrame) -> list[str]:
    """Return the dates that can be replayed, in order."""
    return sorted(flights.loc[flights["month"] >= FIRST_MONTH, "date"].unique())


def days(flights: pd.DataFrame, classifiers: Classifiers, count: int) -> Iterator[Day]:
    """Yield the first `count` days of the replay.

    A flight is answered by one version only: the challenger gets the random half that
    :func:`exporter.demo.model.arms` tells. Labels that become known after the last day are never yielded.
    """
    dates = replayed_days(flights)[:count]
    window = flights[flights["date"].isin(dates)]
    challenged = arms(window["flight_id"])
    arm = {CHAMPION: window[~challenged], CHALLENGER: window[challenged]}
    answers = {version: _by_day(arm[version], classifiers, version) for version in VERSIONS}

    closing = pd.to_datetime(pd.Series(dates), utc=True) + _CLOSING
    known = window[window["reported"].notna()].sort_values(["reported", "flight_id"], kind="stable")
    ends = known["reported"].searchsorted(closing, side="left")
    labels = pa.table(
        {"flight_id": known["flight_id"].astype(str), "delayed": known["delayed"].to_numpy(dtype=bool)}
    )
    start = 0
    for date, end in zip(dates, ends, strict=True):
        by_version = {version: answers[version][date] for version in VERSIONS if date in answers[version]}
        yield Day(date, by_version, labels.slice(start, int(end) - start))
        start = int(end)


def replay(
    stream: Iterator[Day],
    destination: Destination,
    *,
    days_per_second: float | None,
    after_day: Callable[[Day, Tally], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Tally:
    """Push every day of `stream`, at most `days_per_second` of them (None: as fast as they are taken)."""
    tally = Tally()
    started = time.monotonic()
    for day in stream:
        for version, table in day.predictions.items():
            destination.push(MODEL, table, version=version)
            tally.predictions += table.num_rows
        if day.labels.num_rows:
            destination.push_labels(MODEL, day.labels)
            tally.labels += day.labels.num_rows
        tally.days += 1
        after_day(day, tally)
        if days_per_second is not None:
            ahead = started + tally.days / days_per_second - time.monotonic()
            if ahead > 0:
                sleep(ahead)
    return tally


def _by_day(arm: pd.DataFrame, classifiers: Classifiers, version: str) -> dict[str, pa.Table]:
    """Return the version's answers cut by date; `arm` is sorted by time, so that a date is one slice."""
    if arm.empty:
        return {}
    answers = classifiers.answer(arm, version)
    sizes = arm.groupby("date", sort=True).size()
    ends = sizes.cumsum()
    return {
        str(date): answers.slice(int(end) - int(size), int(size))
        for date, size, end in zip(sizes.index, sizes, ends, strict=True)
    }
