"""Realised and estimated performance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from exporter.alerts.composing.readings.answers import (
    count_of,
    drop_of,
    first_of,
    mapping_of,
    number_of,
    reason_of,
)
from exporter.alerts.composing.readings.inquiry import Inquiry, Reading
from exporter.catalog import (
    PERFORMANCE_METRICS,
)


def performance(inquiry: Inquiry) -> Reading:
    """The realised value of a metric, of the whole, a class or a segment."""
    result, reason = inquiry.result("performance")
    if result is None:
        return inquiry.undefined(reason)
    metric, of_class = inquiry.subject.of("metric"), inquiry.subject.of("class")
    if of_class:
        value = number_of(mapping_of(mapping_of(result.get("class_performance")).get(of_class)).get(metric))
        found: dict[str, Any] = {"value": value}
    else:
        found = mapping_of(mapping_of(result.get("metrics")).get(metric))
    window = mapping_of(result.get("performance_window"))
    known = PERFORMANCE_METRICS.get(metric)
    facts = replace(
        inquiry.said,
        current=number_of(found.get("value")),
        threshold=first_of(inquiry.said.threshold, number_of(result.get("threshold"))),
        baseline=number_of(found.get("baseline")),
        lower=number_of(found.get("lower")),
        upper=number_of(found.get("upper")),
        unit="" if known is None or known.unit == "label" else known.unit,
        rows=count_of(found.get("n") or window.get("rows")),
        at=first_of(number_of(window.get("end")), number_of(result.get("end"))),
    )
    if facts.current is None:
        return inquiry.undefined(reason_of(found.get("reason")))
    degraded, drop = found.get("degraded"), number_of(found.get("drop"))
    good = None if degraded is None else not degraded
    if drop is not None and facts.threshold is not None:
        good = drop <= facts.threshold  # which may be another one than `degraded` speaks of
    return inquiry.made(
        replace(facts, worst_columns=inquiry.worst()),
        good,
        drop=drop,
        drop_kind="difference" if known is None else known.drop,
        higher_is_better=known is None or known.higher_is_better,
    )


def estimate(inquiry: Inquiry) -> Reading:
    """The estimate of a metric without labels."""
    result, reason = inquiry.result("performance")
    if result is None:
        return inquiry.undefined(reason)
    metric = inquiry.subject.of("metric")
    found = mapping_of(mapping_of(result.get("estimated")).get(metric))
    baseline = number_of(mapping_of(mapping_of(result.get("metrics")).get(metric)).get("baseline"))
    known = PERFORMANCE_METRICS.get(metric)
    facts = replace(
        inquiry.said,
        current=number_of(found.get("value")),
        threshold=first_of(inquiry.said.threshold, number_of(result.get("threshold"))),
        baseline=baseline,
        lower=number_of(found.get("lower")),
        upper=number_of(found.get("upper")),
        unit="" if known is None or known.unit == "label" else known.unit,
        rows=count_of(found.get("rows")),
        at=number_of(result.get("end")),
    )
    if facts.current is None:
        return inquiry.undefined(reason_of(found.get("reason")))
    higher = known is None or known.higher_is_better
    kind = "difference" if known is None else known.drop
    best = drop_of(facts.upper if higher else facts.lower, baseline, kind, higher=higher)
    good = None if best is None or facts.threshold is None else best <= facts.threshold
    return inquiry.made(
        replace(facts, worst_columns=inquiry.worst()),
        good,
        drop=drop_of(facts.current, baseline, kind, higher=higher),
        drop_kind=kind,
        higher_is_better=higher,
    )
