"""Quality of data, and the number of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from exporter.alerts.composing.facts import FactsUnavailableError
from exporter.alerts.composing.readings.answers import (
    count_of,
    first_of,
    mapping_of,
    mappings_of,
    missing_quality,
    number_of,
    reason_of,
)
from exporter.alerts.composing.readings.inquiry import Inquiry, Reading
from exporter.catalog import (
    QUALITY_CHECKS,
)

_HIGH_IS_BAD = frozenset({"duplicate", "outlier", "schema_changes"})


def quality(inquiry: Inquiry) -> Reading:
    """One check of quality, of a column, a rule or all rows."""
    result, reason = inquiry.result("quality")
    if result is None:
        return inquiry.undefined(reason)
    check, column, rule = inquiry.subject.check, inquiry.subject.of("column"), inquiry.subject.of("rule")
    found = result.get("outliers" if check == "outlier" else check)
    baseline: float | None = None
    names: list[str] = []
    if check == "schema_changes":
        change = inquiry.subject.of("change")
        names = [str(one.get("column")) for one in mappings_of(found) if change in ("", one.get("change"))]
        found = len(names)
    elif check == "outlier":
        of_column = mapping_of(mapping_of(found).get(column))
        found, baseline = of_column.get("ratio"), number_of(of_column.get("baseline_ratio"))
    elif check == "validity":
        found = mapping_of(mapping_of(found).get(column)).get(rule)
    elif isinstance(found, Mapping):
        found = found.get(rule if check == "consistency" else column)
    current = number_of(found)
    if current is None:
        return inquiry.undefined(missing_quality(result, check, column or rule))
    threshold = first_of(inquiry.said.threshold, _threshold(inquiry, check))
    facts = replace(
        inquiry.said,
        current=current,
        threshold=threshold,
        baseline=baseline,
        unit="" if check == "schema_changes" else "ratio",
        rows=count_of(result.get("rows")),
        at=number_of(result.get("end")),
    )
    good = None
    if threshold is not None:
        good = current <= threshold if check in _HIGH_IS_BAD else current >= threshold
    elif check == "schema_changes":
        good = current == 0
    return inquiry.made(facts, good, names=names)


def _threshold(inquiry: Inquiry, check: str) -> float | None:
    usual = QUALITY_CHECKS.get(check)
    if usual is None:
        return None
    try:
        quality = mapping_of(mapping_of(inquiry.get("").get("configuration")).get("quality"))
    except FactsUnavailableError:
        return usual
    return first_of(number_of(mapping_of(quality.get("thresholds")).get(check)), usual)


def volume(inquiry: Inquiry) -> Reading:
    """The number of rows in a span of time."""
    result, reason = inquiry.result("quality")
    if result is None:
        return inquiry.undefined(reason)
    volume = mapping_of(result.get("volume"))
    span = mapping_of(mapping_of(volume.get("spans")).get(inquiry.subject.of("span")))
    facts = replace(
        inquiry.said,
        current=number_of(span.get("rows")),
        lower=number_of(span.get("lower")),
        upper=number_of(span.get("upper")),
        at=number_of(span.get("end")),
    )
    if facts.current is None or span.get("reason"):
        return inquiry.undefined(reason_of(span.get("reason") or volume.get("reason")))
    return inquiry.made(facts, not span.get("detected"), expected=number_of(span.get("expected")))
