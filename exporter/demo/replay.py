"""A past year pushed day by day, as it would have come: predictions first, labels when they are known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
import pyarrow as pa

from exporter.client import PushReport
from exporter.demo.model import CHALLENGER, CHAMPION, VERSIONS, Classifiers, arms

MODEL = "flight_delay"
FIRST_MONTH = 2
"""January is for training and for the baseline; the replay starts with February."""

_CLOSING = pd.Timedelta(days=1, hours=5)
"""A day closes at 05:00 UTC of the next, which is midnight in New York's winter."""


class ReplayClock:
    """A clock that goes from one replayed moment to the next, and ticks on between them.

    The exporter of the demo runs by it, so that it sees labels arrive hours or days after their event and not
    years. Safe to share between threads.
    """

    def __init__(self, start: float) -> None:
        self._lock = threading.Lock()
        self._offset = start - time.monotonic()

    def time(self) -> float:
        """Return replayed seconds since the Unix epoch."""
        with self._lock:
            return self._offset + time.monotonic()

    def move_to(self, moment: float) -> None:
        """Go on to `moment`, never back."""
        with self._lock:
            self._offset = max(self._offset, moment - time.monotonic())


class Destination(Protocol):
    """Where a replay pushes to; :class:`exporter.client.Client` is one."""

    def push(self, model: str, data: pa.Table, *, version: str) -> PushReport: ...

    def push_labels(self, model: str, data: pa.Table) -> PushReport: ...


@dataclass(frozen=True, slots=True)
class Day:
    """What one day brings.

    Attributes
    ----------
    date : str
    closing : float
        The moment at which all of this has happened, in seconds since the Unix epoch.
    predictions : mapping of version to Table
        The flights that the version answers, see :meth:`exporter.demo.model.Classifiers.answer`.
    labels : Table
        `flight_id` and `delayed` of flights of this or an earlier day whose label became known today.
    """

    date: str
    closing: float
    predictions: Mapping[str, pa.Table]
    labels: pa.Table


@dataclass(slots=True)
class Tally:
    """What a replay has pushed so far; `changed` is when something that was new came last, by its clock."""

    days: int = 0
    predictions: int = 0
    labels: int = 0
    changed: float = 0.0


def replayed_days(flights: pd.DataFrame) -> list[str]:
    """Return the dates that can be replayed, in order."""
    return sorted(flights.loc[flights["month"] >= FIRST_MONTH, "date"].unique())


def closing(date: str) -> float:
    """Return the moment at which a day is over, in seconds since the Unix epoch."""
    return float((pd.Timestamp(date, tz="UTC") + _CLOSING).timestamp())


def days(flights: pd.DataFrame, classifiers: Classifiers, dates: Sequence[str]) -> Iterator[Day]:
    """Yield what each of the consecutive `dates` brings.

    A flight is answered by one version only: the challenger gets the random half that
    :func:`exporter.demo.model.arms` tells. Labels that become known after the last day are never yielded.
    """
    window = flights[flights["date"].isin(dates)]
    challenged = arms(window["flight_id"])
    arm = {CHAMPION: window[~challenged], CHALLENGER: window[challenged]}
    answers = {version: _by_day(arm[version], classifiers, version) for version in VERSIONS}

    closings = pd.to_datetime([closing(date) for date in dates], unit="s", utc=True)
    known = window[window["reported"].notna()].sort_values(["reported", "flight_id"], kind="stable")
    ends = known["reported"].searchsorted(closings, side="left")
    labels = pa.table(
        {"flight_id": known["flight_id"].astype(str), "delayed": known["delayed"].to_numpy(dtype=bool)}
    )
    start = 0
    for date, end in zip(dates, ends, strict=True):
        by_version = {version: answers[version][date] for version in VERSIONS if date in answers[version]}
        yield Day(date, closing(date), by_version, labels.slice(start, int(end) - start))
        start = int(end)


def replay(
    stream: Iterator[Day],
    destination: Destination,
    *,
    clock: ReplayClock,
    days_per_second: float | None,
    after_day: Callable[[Day, Tally], None],
    stop: threading.Event,
) -> Tally:
    """Push every day of `stream`, each at its closing time by `clock`, until `stop` is set.

    At most `days_per_second` days are pushed a second; None pushes as fast as they are taken.
    """
    tally = Tally()
    started = time.monotonic()
    for day in stream:
        clock.move_to(day.closing)
        report = PushReport()
        for version, table in day.predictions.items():
            report += destination.push(MODEL, table, version=version)
        tally.predictions += report.rows
        if day.labels.num_rows:
            report += destination.push_labels(MODEL, day.labels)
            tally.labels += day.labels.num_rows
        if report.duplicates < report.rows:
            tally.changed = clock.time()
        tally.days += 1
        after_day(day, tally)
        if days_per_second is not None:
            stop.wait(max(0.0, started + tally.days / days_per_second - time.monotonic()))
        if stop.is_set():
            break
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
