"""Earlier values of a measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from exporter.alerts.composing.facts import FactsUnavailableError
from exporter.alerts.composing.readings.answers import mappings_of, number_of
from exporter.alerts.composing.readings.inquiry import Inquiry, Reading
from exporter.alerts.composing.subjects import Subject
from exporter.alerts.records import Facts
from exporter.durations import parse_duration

MOST_POINTS: Final = 48

_WINDOWS_BACK = 14
_MOST_ASKED = 1000


def with_history(inquiry: Inquiry, reading: Reading) -> Facts:
    """The facts with at most `MOST_POINTS` earlier values; without them where they cannot be had."""
    facts = reading.facts
    if inquiry.subject.kind in ("volume", "comparison", "freshness"):
        return facts
    try:
        points = points_of(inquiry, facts.at, str(reading.detail.get("method", "")))
    except FactsUnavailableError:
        return facts
    history = []
    for point in points:
        moment, value = number_of(point.get("time")), number_of(point.get("value"))
        if moment is not None and value is not None:
            history.append((moment, value))
    return replace(facts, history=thinned(history))


def thinned(history: list[tuple[float, float]], most: int = MOST_POINTS) -> tuple[tuple[float, float], ...]:
    """At most `most` of the points at even distances, the newest one among them.

    Examples
    --------
    >>> thinned([(float(i), 0.0) for i in range(10)], 3)
    ((3.0, 0.0), (6.0, 0.0), (9.0, 0.0))
    """
    count = len(history)
    if count <= most:
        return tuple(history)
    return tuple(history[round((index + 1) * (count - 1) / most)] for index in range(most))


def points_of(inquiry: Inquiry, end: float | None, method: str = "") -> list[dict[str, Any]]:
    """The newest points of the subject's history, oldest first."""
    subject = inquiry.subject
    measure = {
        "performance": "class_performance" if subject.of("class") else "performance",
        "estimate": "performance_estimate",
        "share": "ml_drifted_columns_ratio",
    }.get(subject.kind) or (subject.kind if subject.kind in ("drift", "multivariate") else subject.measure)
    measure = measure.replace("ml_segment_", "ml_", 1)
    params = {
        "measure": measure,
        "metric": subject.of("metric") if subject.kind in ("performance", "estimate") else "",
        "column": subject.of("column"),
        "method": method or subject.of("method"),
        "window": subject.window,
        "version": subject.version,
        "segment": subject.segment,
        "limit": str(_MOST_ASKED),
    }
    try:
        span = _WINDOWS_BACK * parse_duration(subject.window)
    except ValueError:
        span = 0.0
    found: list[dict[str, Any]] = []
    for part in (1.0, 0.1, 0.01) if span and end is not None else (0.0,):
        begin = "" if end is None or not part else f"{end - span * part:.0f}"
        answer = inquiry.get("/history", **params, **{"from": begin})
        wanted = (point for point in mappings_of(answer.get("points")) if _is_of(point, subject))
        found = [point for point in wanted if end is None or (number_of(point.get("time")) or 0) <= end + 1]
        if answer.get("next") is None:
            break
    return found


def _is_of(point: Mapping[str, Any], subject: Subject) -> bool:
    names = ("metric", "column", "role", "method", "rule", "class", "change", "q", "span")
    return all(point.get(name) in (None, subject.of(name)) or not subject.of(name) for name in names)
