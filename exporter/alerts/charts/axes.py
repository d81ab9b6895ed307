"""Numbers and times at the axes of a chart: few, round, and short to read."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, tzinfo

HOUR = 3600
DAY = 24 * HOUR
_TIME_STEPS = (300, 600, 900, 1800, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR)
_DAY_STEPS = (1, 2, 3, 4, 7, 14)
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def value_ticks(low: float, high: float, *, most: int) -> tuple[list[float], int]:
    """At most about `most` round values in [low, high], and how many decimals write them apart.

    -1 decimals: they are too large or too small to be written out.

    Examples
    --------
    >>> value_ticks(0.68, 0.88, most=4)
    ([0.7, 0.75, 0.8, 0.85], 2)
    """
    power = math.floor(math.log10((high - low) / most))
    for factor, further in ((1.0, 0), (2.0, 0), (2.5, 1), (5.0, 0), (10.0, -1)):
        step, decimals = factor * 10.0**power, max(0, further - power)
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < most:
            break
    ticks = [round(k * step, decimals + 2) for k in range(first, last + 1)]
    return ticks, decimals if decimals <= 4 and max(abs(low), abs(high)) < 1e5 else -1


def tick_text(value: float, decimals: int, *, percent: bool = False) -> str:
    """A round value of the axis.

    Examples
    --------
    >>> tick_text(0.1, 2), tick_text(0.1, 2, percent=True), tick_text(1e9, -1)
    ('0.10', '10 %', '1e+09')
    """
    if decimals < 0:
        return f"{value:.3g}"
    return f"{value * 100:.{max(0, decimals - 2)}f} %" if percent else f"{value:.{decimals}f}"


def number_text(value: float, *, percent: bool = False) -> str:
    """The number in at most eight characters or so, for a label.

    Examples
    --------
    >>> [number_text(v) for v in (0.70712, 0.00001234, 12345.6, 1234567.0, 3.0)]
    ['0.707', '1.23e-05', '12,346', '1.23e+06', '3']
    >>> number_text(0.70712, percent=True)
    '70.7 %'
    """
    if percent:
        return f"{number_text(value * 100)} %"
    size = abs(value)
    return f"{value:,.0f}" if 1000 <= size < 1e6 else f"{value:.3g}"


def time_ticks(first: float, last: float, timezone: tzinfo, *, most: int) -> list[tuple[float, str]]:
    """At most `most` times on round hours, days or months of the time zone, each with its text."""
    begin, end = datetime.fromtimestamp(first, timezone), datetime.fromtimestamp(last, timezone)
    choices = [(_hours, step, step) for step in _TIME_STEPS]
    choices += [(_days, step, step * DAY) for step in _DAY_STEPS]
    choices += [(_months, step, step * 28 * DAY) for step in _MONTH_STEPS]
    for ticks_of, step, seconds in choices:
        if last - first <= seconds * (most + 1):
            ticks = ticks_of(begin, end, step)
            if len(ticks) <= most:
                return ticks
    return []


def _hours(begin: datetime, end: datetime, step: int) -> list[tuple[float, str]]:
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    ticks: dict[float, str] = {}
    day = midnight
    while day <= end:
        for second in range(0, DAY, step):
            hour, minute = divmod(second // 60, 60)
            at = day.replace(hour=hour, minute=minute)
            exists = datetime.fromtimestamp(at.timestamp(), begin.tzinfo).hour == hour  # clocks change
            if exists and begin <= at <= end:
                ticks[at.timestamp()] = f"{at:%H:%M}" if second else _day(at)
        day = day + timedelta(days=1)
    return sorted(ticks.items())


def _days(begin: datetime, end: datetime, step: int) -> list[tuple[float, str]]:
    ticks = []
    day = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    while day <= end:
        if day >= begin and day.toordinal() % step == (1 if step % 7 == 0 else 0):  # weeks begin on Mondays
            ticks.append((day.timestamp(), _day(day)))
        day = day + timedelta(days=1)
    return ticks


def _months(begin: datetime, end: datetime, step: int) -> list[tuple[float, str]]:
    ticks = []
    for number in range(begin.year * 12 + begin.month - 1, end.year * 12 + end.month):
        year, month = divmod(number, 12)
        at = begin.replace(year=year, month=month + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
        if number % step == 0 and begin <= at <= end:
            ticks.append((at.timestamp(), str(year) if month == 0 else f"{_MONTHS[month]} {year}"))
    return ticks


def timespan_text(first: float, last: float, timezone: tzinfo) -> str:
    """From when to when, with the name of the time zone."""
    begin, end = datetime.fromtimestamp(first, timezone), datetime.fromtimestamp(last, timezone)
    zone = end.tzname() or ""
    year = "" if begin.year == end.year else f" {begin.year}"
    if end - begin > timedelta(days=10):
        return f"{_day(begin)}{year} – {_day(end)} {end.year} {zone}"  # noqa: RUF001
    until = f"{end:%H:%M}" if begin.date() == end.date() else f"{_day(end)} {end:%H:%M}"
    return f"{_day(begin)}{year} {begin:%H:%M} – {until} {zone}"  # noqa: RUF001


def _day(at: datetime) -> str:
    return f"{at.day} {_MONTHS[at.month - 1]}"
