"""Durations as Prometheus writes them: `1d`, `1h30m`, `90s`, `2w`, `500ms`."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"y": 365 * 86400.0, "w": 7 * 86400.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PATTERN = re.compile("".join(rf"(?:(\d{{1,9}}){unit})?" for unit in _UNITS))


def parse_duration(text: Any) -> float:
    """Seconds of a duration.

    Units in falling order, each at most once: y (365 days), w, d, h, m, s, ms. A number without a unit is
    refused (except 0), since nobody can tell minutes from seconds.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> parse_duration("1h30m")
    5400.0
    >>> parse_duration("2w")
    1209600.0
    """
    if not isinstance(text, bool) and text in (0, "0"):
        return 0.0
    match = _PATTERN.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        message = f"expected a duration such as 90s, 1h30m, 1d or 2w, got {text!r}"
        raise ValueError(message)
    return sum(
        int(count) * unit for count, unit in zip(match.groups(), _UNITS.values(), strict=True) if count
    )


def format_duration(seconds: float) -> str:
    """The shortest text of a duration, exact to the millisecond.

    Examples
    --------
    >>> format_duration(5400)
    '1h30m'
    >>> format_duration(0)
    '0s'
    """
    rest = round(seconds * 1000)
    parts = []
    for unit, size in _UNITS.items():
        if unit in ("y", "w"):  # days say it better
            continue
        count, rest = divmod(rest, round(size * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
