"""Comparisons of versions, ages, and families without a kind of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from exporter.alerts.composing.readings.answers import (
    count_of,
    mapping_of,
    mappings_of,
    number_of,
    reason_of,
)
from exporter.alerts.composing.readings.history import points_of
from exporter.alerts.composing.readings.inquiry import Inquiry, Reading
from exporter.catalog import FAMILIES

_HIGH_IS_BAD: Final[Mapping[str, bool]] = MappingProxyType(
    {
        "ml_labeled_ratio": False,
        "ml_quality_constant_columns": True,
        "ml_quality_new_categories": True,
        "ml_quality_vanished_categories": True,
    }
)
"""Of families without a kind of their own: those whose bad side is known."""


def comparison(inquiry: Inquiry) -> Reading:
    """A challenger against the champion, or how rows are split between them."""
    answer = inquiry.get("/comparisons")
    metric = inquiry.subject.of("metric")
    for contest in mappings_of(answer.get("results")):
        if contest.get("challenger") != inquiry.subject.of("challenger"):
            continue
        ratio = mapping_of(contest.get("sample_ratio"))
        if not metric:
            facts = replace(inquiry.said, current=number_of(ratio.get("p_value")))
            if facts.current is None:
                return inquiry.undefined(reason_of(ratio.get("reason")))
            rows = (count_of(ratio.get("champion_rows")), count_of(ratio.get("challenger_rows")))
            return inquiry.made(facts, not ratio.get("mismatch"), rows=rows, expected=ratio.get("expected"))
        found = mapping_of(mapping_of(contest.get("metrics")).get(metric))
        facts = replace(
            inquiry.said,
            current=number_of(found.get("difference")),
            lower=number_of(found.get("lower")),
            upper=number_of(found.get("upper")),
            baseline=number_of(found.get("champion_value")),
            rows=count_of(found.get("challenger_rows")),
            at=number_of(contest.get("end")),
        )
        if facts.current is None:
            return inquiry.undefined(reason_of(found.get("reason")))
        return inquiry.made(
            facts, not found.get("decided"), challenger_value=number_of(found.get("challenger_value"))
        )
    return inquiry.undefined("empty")


def freshness(inquiry: Inquiry) -> Reading:
    """How long ago the last rows, labels or evaluation came."""
    shown = inquiry.get("")
    measure = inquiry.subject.measure
    if measure == "ml_last_evaluation_timestamp_seconds":
        at = number_of(inquiry.get("/performance", window=inquiry.subject.window).get("evaluated"))
    else:
        name = "last_label" if "label" in measure else "last_batch"
        versions = mapping_of(shown.get("versions"))
        of_version = mapping_of(versions.get(inquiry.subject.version))
        times = [of_version] if of_version else [mapping_of(one) for one in versions.values()]
        known = [moment for one in times if (moment := number_of(one.get(name))) is not None]
        at = max(known, default=None)
    if at is None:
        return inquiry.undefined("empty")
    age = max(0.0, inquiry.now - at)
    threshold = inquiry.said.threshold
    facts = replace(inquiry.said, current=age, unit="seconds", at=at)
    return inquiry.made(facts, None if threshold is None else age <= threshold)


def other(inquiry: Inquiry) -> Reading:
    """The newest value of a windowed family."""
    result, reason = inquiry.result("quality")
    if result is None:
        return inquiry.undefined(reason)
    end = number_of(result.get("end"))
    points = points_of(inquiry, end)
    if not points:
        return inquiry.undefined("empty")
    newest = points[-1]
    family = FAMILIES.get(inquiry.subject.measure)
    facts = replace(
        inquiry.said,
        current=number_of(newest.get("value")),
        unit="" if family is None else family.unit,
        rows=count_of(result.get("rows")),
        at=number_of(newest.get("time")),
    )
    if facts.current is None:
        return inquiry.undefined(reason_of(newest.get("reason")))
    high_is_bad = _HIGH_IS_BAD.get(inquiry.subject.measure)
    good = None
    if high_is_bad is not None and facts.threshold is not None:
        good = (facts.current > facts.threshold) != high_is_bad
    return inquiry.made(facts, good)
