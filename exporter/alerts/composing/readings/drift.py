"""Drift of columns, of their share, and of all together."""

from __future__ import annotations

from dataclasses import replace

from exporter.alerts.composing.readings.answers import (
    count_of,
    first_of,
    mapping_of,
    number_of,
    reason_of,
)
from exporter.alerts.composing.readings.inquiry import Inquiry, Reading
from exporter.catalog import (
    DRIFT_METHODS,
    MULTIVARIATE_METHODS,
)


def drift(inquiry: Inquiry) -> Reading:
    """The test of one column."""
    result, reason = inquiry.result("drift")
    if result is None:
        return inquiry.undefined(reason)
    column = mapping_of(mapping_of(result.get("columns")).get(inquiry.subject.of("column")))
    method = inquiry.subject.of("method") or str(column.get("method") or "")
    test = mapping_of(mapping_of(column.get("methods")).get(method))
    if method == column.get("method"):
        test = {**test, "detected": column.get("detected")}
    known = DRIFT_METHODS.get(method)
    facts = replace(
        inquiry.said,
        current=number_of(test.get("statistic")),
        threshold=first_of(number_of(test.get("critical_value")), inquiry.said.threshold),
        unit="" if known is None else known.unit,
        rows=count_of(result.get("rows")),
        at=number_of(result.get("end")),
    )
    if facts.current is None:
        return inquiry.undefined(reason_of(column.get("reason")))
    detected = test.get("detected")
    return inquiry.made(
        facts,
        None if detected is None else not detected,
        method=method,
        role=str(column.get("role") or ""),
        since=number_of(column.get("since")),
    )


def share(inquiry: Inquiry) -> Reading:
    """The share of feature columns that drifted."""
    result, reason = inquiry.result("drift")
    if result is None:
        return inquiry.undefined(reason)
    columns = mapping_of(result.get("columns")).values()
    features = [column for column in columns if column.get("role") in ("feature", "embedding")]
    facts = replace(
        inquiry.said,
        current=number_of(result.get("ratio")),
        unit="ratio",
        rows=count_of(result.get("rows")),
        at=number_of(result.get("end")),
        worst_columns=inquiry.worst(),
    )
    if facts.current is None:
        return inquiry.undefined(reason_of(result.get("reason")))
    good = None if facts.threshold is None else facts.current <= facts.threshold
    drifted = sum(1 for column in features if column.get("detected"))
    tested = sum(1 for column in features if column.get("detected") is not None)
    return inquiry.made(facts, good, columns=tested, drifted=drifted)


def multivariate(inquiry: Inquiry) -> Reading:
    """One test of all columns together."""
    result, reason = inquiry.result("drift")
    if result is None:
        return inquiry.undefined(reason)
    together = mapping_of(result.get("multivariate"))
    methods = mapping_of(together.get("methods"))
    detected = [name for name, test in methods.items() if mapping_of(test).get("detected")]
    method = inquiry.subject.of("method") or next(iter([*detected, *methods]), "")
    test = mapping_of(methods.get(method))
    known = MULTIVARIATE_METHODS.get(method)
    facts = replace(
        inquiry.said,
        current=number_of(test.get("statistic")),
        threshold=first_of(number_of(test.get("critical_value")), inquiry.said.threshold),
        unit=str(getattr(known, "unit", "")),
        rows=count_of(together.get("rows")),
        at=number_of(result.get("end")),
        worst_columns=inquiry.worst(),
    )
    if facts.current is None:
        return inquiry.undefined(reason_of(test.get("reason")))
    found = test.get("detected")
    return inquiry.made(facts, None if found is None else not found, method=method)
