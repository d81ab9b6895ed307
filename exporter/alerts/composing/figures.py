"""Numbers, times and texts as people read them; also the filters of templates."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_BARS = "▁▂▃▄▅▆▇█"
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SIGNIFICANT = 4
_EXACT_BELOW = 1e15


def number(value: Any) -> str:
    """Four significant digits; whole numbers exactly, with commas.

    Examples
    --------
    >>> number(0.1 + 0.2), number(4210), number(0.000123456), number(1234567.8)
    ('0.3', '4,210', '0.0001235', '1,234,568')
    >>> number(None), number(float("nan"))
    ('', 'undefined')
    """
    if value is None or isinstance(value, str):
        return "" if value is None else value
    try:
        figure = float(value)
    except (TypeError, ValueError, OverflowError):
        return ""
    if math.isnan(figure):
        return "undefined"
    if math.isinf(figure):
        return "∞" if figure > 0 else "-∞"
    size = abs(figure)
    if size < _EXACT_BELOW and (figure == int(figure) or size >= 10 ** (_SIGNIFICANT - 1)):
        return f"{figure:,.0f}".replace("-0", "0") if size < 0.5 else f"{figure:,.0f}"
    text = f"{figure:.{_SIGNIFICANT}g}"
    return text if "e" not in text or size < 1e-6 or size >= _EXACT_BELOW else f"{figure:.8f}".rstrip("0")


def percent(value: Any) -> str:
    """A ratio in percent with three significant digits.

    Examples
    --------
    >>> percent(0.0512), percent(1), percent(0.99987)
    ('5.12 %', '100 %', '99.99 %')
    """
    try:
        ratio = float(value) * 100
    except (TypeError, ValueError):
        return ""
    if not math.isfinite(ratio):
        return "undefined"
    text = f"{ratio:.4g}" if 99 < abs(ratio) < 100 else f"{ratio:.3g}"
    return f"{number(float(text))} %"


def duration(seconds: Any) -> str:
    """The two largest units of a time span.

    Examples
    --------
    >>> duration(93784), duration(59.6), duration(0.25), duration(7200)
    ('1d 2h', '1m', '0.25s', '2h')
    """
    try:
        span = abs(float(seconds))
    except (TypeError, ValueError):
        return ""
    if not math.isfinite(span):
        return "undefined"
    if span < 1:
        return f"{span:.2g}s"
    rest = round(span)
    parts: list[str] = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count and len(parts) < 2:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return " ".join(parts)


def zone_of(name: str) -> tzinfo:
    """The zone of a name, UTC where it is not known."""
    try:
        return UTC if name.upper() == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def moment(seconds: Any, zone: tzinfo = UTC) -> str:
    """A time of day in a zone.

    Examples
    --------
    >>> moment(0)
    '1970-01-01 00:00 UTC'
    """
    try:
        return datetime.fromtimestamp(float(seconds), zone).strftime("%Y-%m-%d %H:%M %Z")
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def rfc3339(seconds: float | None) -> str | None:
    """A time in UTC for machines; None where there is none, or where it is beyond the calendar.

    Examples
    --------
    >>> rfc3339(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    if seconds is None:
        return None
    try:
        text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None
    return text.replace("+00:00", "Z")


def sparkline(values: Iterable[Any], width: int = 24) -> str:
    """A history in one line of bars; (time, value) pairs or values, oldest first.

    Examples
    --------
    >>> sparkline([0, 1, 2, 3])
    '▁▃▆█'
    >>> sparkline([5, 5]), sparkline([])
    ('▄▄', '')
    """
    figures = [_value(item) for item in values]
    figures = [figure for figure in figures if math.isfinite(figure)]
    width = max(1, min(int(width), 80))
    count = len(figures)
    if count > width:
        edges = [index * count // width for index in range(width + 1)]
        figures = [sum(figures[a:b]) / (b - a) for a, b in pairwise(edges)]
    if not figures:
        return ""
    low, high = min(figures), max(figures)
    if not high > low:
        return _BARS[3] * len(figures)
    steps = len(_BARS) - 1
    return "".join(_BARS[round((figure / 2 - low / 2) / (high / 2 - low / 2) * steps)] for figure in figures)


def _value(item: Any) -> float:
    try:
        return float(item[1] if isinstance(item, tuple | list) else item)
    except (TypeError, ValueError, IndexError):
        return math.nan


def cut(text: Any, length: int = 300) -> str:
    """At most `length` characters, an ellipsis as the last one where something is missing.

    Examples
    --------
    >>> cut("abcdef", 4)
    'abc…'
    """
    whole = "" if text is None else str(text)
    length = max(1, int(length))
    return whole if len(whole) <= length else whole[: length - 1].rstrip() + "…"


def clean(text: Any, length: int = 300) -> str:
    """Text from outside without control characters and marks that turn the direction of writing; cut."""
    whole = "" if text is None else str(text)[: 4 * max(1, length)]
    whole = whole.encode("utf-8", "replace").decode("utf-8")
    return cut(_CONTROL.sub("", whole).strip(), length)


def line(text: Any, length: int = 300) -> str:
    """The same in one line."""
    whole = "" if text is None else str(text)[: 4 * max(1, length)]
    return cut(clean(" ".join(whole.split()), 4 * length), length)
