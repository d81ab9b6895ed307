"""The history as OpenMetrics with timestamps: what scrapes would have seen, at the ends of windows.

Families stand together in the catalogue's order, series within them one after another, samples of a series by
time, as OpenMetrics demands. That takes a pass over the records of a version and window for each of their
families; memory holds one family of one of them at most, and of that no more than `CELLS` values at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.catalog import FAMILIES, SEGMENTED, segment_name
from exporter.exposition import END_OF_OPENMETRICS, label_text, openmetrics_header
from exporter.families import Missing, undefined_samples
from exporter.service.history.recording import ROWS, UNDEFINED
from exporter.service.ingestion.payload import SEGMENT_SEPARATOR
from exporter.store import HistoryStore, Name

CELLS = 1 << 21
LONGEST_HOLD_SECONDS = 86_400.0
"""For so long, or for a 24th of the window, a value is repeated when the next one does not come."""

Group = tuple[str, str, str]
"""(version, segment, window)."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Which part of a history is written.

    Attributes
    ----------
    start, end : float
        Unix seconds; windows that end between the two, both included.
    window, version, segment : str or None
        None: all; a segment is its key, "" the whole.
    step : float
        Repeat each value every so many seconds until the next one; 0 writes each once.
    """

    start: float
    end: float
    window: str | None = None
    version: str | None = None
    segment: str | None = None
    step: float = 0.0


@dataclass(frozen=True, slots=True)
class _Group:
    """One version, segment and window, and the numbers of the names that its records use, by family."""

    key: Group
    where: tuple[str, ...]
    hold: float
    names: Mapping[str, NDArray[np.uint32]]


def openmetrics(
    model: str, store: HistoryStore, excerpt: Excerpt, seconds: Mapping[str, float]
) -> Iterator[bytes]:
    """Pieces of the text, the last one with its end mark; `seconds` are the lengths of windows by name."""
    groups = [
        _described(model, store, excerpt, key, seconds.get(key[2], 0.0))
        for key in store.groups(model, start=excerpt.start, end=excerpt.end)
        if excerpt.version in (None, key[0])
        and excerpt.segment in (None, key[1])
        and excerpt.window in (None, key[2])
    ]
    for name, family in FAMILIES.items():
        begun = False
        for group in groups:
            whole = _whole_of(name, segment=bool(group.key[1]))
            if whole is None or whole not in group.names:
                continue
            for lines in _family_lines(model, store, excerpt, group, (name, whole)):
                if not begun:
                    begun = True
                    yield openmetrics_header(family)
                yield lines
    yield END_OF_OPENMETRICS


_WHOLES = {segment_name(name): name for name in (*SEGMENTED, "ml_undefined")}


def _whole_of(name: str, *, segment: bool) -> str | None:
    """The family under which records keep what `name` exposes; None where it is not of such a group."""
    whole = _WHOLES.get(name) if segment else None if name in _WHOLES else name
    return UNDEFINED if whole == "ml_undefined" else whole


def _described(
    model: str, store: HistoryStore, excerpt: Excerpt, key: Group, window_seconds: float
) -> _Group:
    used = np.empty(0, np.uint32)
    for _, _, numbers, _ in store.scan(model, key, start=excerpt.start, end=excerpt.end):
        used = np.union1d(used, numbers)
    texts = store.numbered(model)
    families: dict[str, list[int]] = {}
    for number in used.tolist():
        if number in texts:
            families.setdefault(texts[number][0], []).append(number)
    version, segment, window = key
    where = (model, version, window, *(segment.split(SEGMENT_SEPARATOR, 1) if segment else ()))
    hold = max(LONGEST_HOLD_SECONDS, window_seconds / 24)
    names = {family: np.array(numbers, np.uint32) for family, numbers in families.items()}
    return _Group(key, where, hold, names)


def _family_lines(
    model: str, store: HistoryStore, excerpt: Excerpt, group: _Group, family: tuple[str, str]
) -> Iterator[bytes]:
    exposed, whole = family
    texts = store.numbered(model)
    numbers = group.names[whole]
    records = store.scan(model, group.key, start=excerpt.start, end=excerpt.end)
    if whole == UNDEFINED:
        yield from _undefined_lines(exposed, group, excerpt, records, texts)
        return
    ends, parts = _places(records)
    at_once = max(1, CELLS // max(1, ends.size))
    for first in range(0, numbers.size, at_once):
        chosen = numbers[first : first + at_once]
        table = np.full((ends.size, chosen.size), np.nan)
        scanned = store.scan(model, group.key, start=excerpt.start, end=excerpt.end)
        for row, (end, _, present, values) in zip(range(ends.size), scanned, strict=False):
            ends[row] = end
            place = np.searchsorted(present, chosen)
            place[place == present.size] = 0
            found = present[place] == chosen if present.size else np.zeros(chosen.size, bool)
            table[row, found] = values[place[found]]
        for column, number in enumerate(chosen.tolist()):
            labels = (*group.where, *texts[number][1:])
            prefix = exposed + label_text(FAMILIES[exposed].labels, labels)
            known = np.flatnonzero(~np.isnan(table[:, column]))
            every = ends[parts == parts[known[0]]] if known.size else ends
            yield _series_lines(
                prefix, ends[known], table[known, column], every, step=excerpt.step, hold=group.hold
            )


def _places(
    records: Iterator[tuple[int, str, NDArray[np.uint32], NDArray[np.float64]]],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Ends of records, and whether each is of rows or of their labels."""
    places = [(end, part == ROWS) for end, part, _, _ in records]
    return (
        np.array([end for end, _ in places], dtype=np.int64),
        np.array([of_rows for _, of_rows in places], dtype=np.bool_),
    )


def _series_lines(
    prefix: str,
    ends: NDArray[np.int64],
    values: NDArray[np.float64],
    every: NDArray[np.int64],
    *,
    step: float,
    hold: float,
) -> bytes:
    """The lines of one series; `every` end of its windows also ends the repetition of the value before it."""
    if not step:
        lines = [f"{prefix} {value!r} {end}\n" for end, value in zip(ends, values.tolist(), strict=True)]
        return "".join(lines).encode()
    lines = []
    following = np.searchsorted(every, ends, side="right")
    for end, value, at in zip(ends.tolist(), values.tolist(), following.tolist(), strict=True):
        until = min(int(every[at]) if at < every.size else math.inf, end + hold)
        count = max(1, math.ceil((until - end) / step))
        lines += [f"{prefix} {value!r} {_seconds(end + number * step)}\n" for number in range(count)]
    return "".join(lines).encode()


def _seconds(instant: float) -> str:
    return str(int(instant)) if instant == int(instant) else f"{instant:.3f}"


def _undefined_lines(
    exposed: str,
    group: _Group,
    excerpt: Excerpt,
    records: Iterator[tuple[int, str, NDArray[np.uint32], NDArray[np.float64]]],
    texts: Mapping[int, Name],
) -> Iterator[bytes]:
    """Reasons, summed up as on `/metrics`; kept by series, since most last for many ends."""
    series: dict[tuple[str, tuple[str, ...]], list[tuple[int, float]]] = {}
    ends: dict[str, list[int]] = {}
    reasons = set(group.names[UNDEFINED].tolist())
    for end, part, numbers, _ in records:
        ends.setdefault(part, []).append(end)
        named = (texts[number] for number in numbers.tolist() if number in reasons)
        missing: list[Missing] = [(measure, subject or None, why) for _, measure, subject, why in named]
        for _, labels, value in undefined_samples(exposed, group.where, missing):
            series.setdefault((part, labels), []).append((end, float(value)))
    for (part, labels), samples in sorted(series.items()):
        yield _series_lines(
            exposed + label_text(FAMILIES[exposed].labels, labels),
            np.array([end for end, _ in samples], dtype=np.int64),
            np.array([value for _, value in samples]),
            np.array(ends[part], dtype=np.int64),
            step=excerpt.step,
            hold=group.hold,
        )
