"""What happened in one line: the value, what it was compared with, and by how much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from exporter.alerts.composing.figures import duration, line, number, percent
from exporter.alerts.composing.readings import UNREACHABLE, Reading, number_of
from exporter.alerts.composing.subjects import Subject
from exporter.alerts.records import Alert
from exporter.catalog import FAMILIES

LINE_LENGTH: Final = 300
_NAME_LENGTH = 80

_NO_VALUE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "insufficient_rows": "there are too few rows",
        "insufficient_labels": "there are too few labels",
        "no_baseline": "there is no baseline yet",
        "empty": "there are no data of it",
        "constant": "the column does not vary",
        "single_class": "only one class occurs",
        "not_comparable": "window and baseline do not fit each other",
        "stale": "no rows have come for too long",
        "budget": "the model's series budget is reached",
        "error": "its computation failed",
    }
)
_CHECKS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "completeness": ("{subject} is {value} complete", "needs {threshold}"),
        "uniqueness": ("{value} of {subject} are distinct values", "needs {threshold}"),
        "type_valid": ("{value} of {subject} have the right type", "needs {threshold}"),
        "in_range": ("{value} of {subject} are in the baseline's range", "needs {threshold}"),
        "known_category": ("{value} of {subject} are known categories", "needs {threshold}"),
        "validity": ("{value} of {subject} pass the rule {rule}", "needs {threshold}"),
        "consistency": ("{value} of rows pass the rule {rule}", "needs {threshold}"),
        "timeliness": ("{value} of rows came in time", "needs {threshold}"),
        "score": ("the quality score is {value}", "needs {threshold}"),
        "duplicate": ("{value} of rows are repeated", "at most {threshold}"),
        "outlier": ("{value} of {subject} are outliers", "at most {threshold}"),
    }
)
_OTHERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ml_labeled_ratio": "the share of labelled rows",
        "ml_quality_constant_columns": "the number of columns that have become constant",
        "ml_quality_vanished_categories": "the number of categories that no longer come",
        "ml_quality_new_categories": "the number of new categories",
    }
)


def what_of(alert: Alert, reading: Reading) -> str:
    """One line on an alert; of alerts that are about no measure, what their annotations say."""
    subject = reading.subject
    if subject is None:
        return line(_said(alert), LINE_LENGTH)
    value = number_of(alert.annotations.get("value"))
    if reading.facts.current is not None:
        text = _measured(subject, reading)
    elif reading.known:
        reason = reading.facts.undefined
        text = f"{_name(subject)} has no current value: {_NO_VALUE.get(reason, reason)} ({reason})"
    elif alert.firing:
        return line(_alerted(alert, subject) or _said(alert), LINE_LENGTH)
    else:
        why = ": the exporter did not answer" if reading.facts.undefined == UNREACHABLE else ""
        text = f"{_name(subject)} has no known current value{why}"
    if not alert.firing and value is not None:
        text = f"{text}; last alerted at {_value(value, subject)}"
    return line(text, LINE_LENGTH)


def _measured(subject: Subject, reading: Reading) -> str:
    kinds: Mapping[str, Callable[[Subject, Reading], str]] = {
        "performance": _performance,
        "estimate": _performance,
        "drift": _drift,
        "share": _share,
        "multivariate": _multivariate,
        "quality": _quality,
        "volume": _volume,
        "comparison": _comparison,
        "freshness": _freshness,
    }
    text = kinds.get(subject.kind, _other)(subject, reading)
    return f"{text} (where {subject.segment[:_NAME_LENGTH]})" if subject.segment else text


def _value(value: float, subject: Subject) -> str:
    """What the rule of an alert compared: a drop, a ratio, an age; of drift, statistic by critical value."""
    if subject.kind in ("drift", "multivariate"):
        return f"{short(value)} times the critical value"
    if subject.kind in ("performance", "estimate"):
        return f"a drop of {short(value)}"
    if subject.kind == "freshness":
        return duration(value)
    return percent(value) if subject.measure.endswith(("_ratio", "_score")) else short(value)


def short(value: float | None) -> str:
    """Three significant digits, as much as a reader needs to compare two values.

    Examples
    --------
    >>> short(0.707312), short(0.1), short(12345.6)
    ('0.707', '0.1', '12,346')
    """
    if value is None or not math.isfinite(value) or abs(value) >= 1000:
        return number(value)
    return number(float(f"{value:.3g}"))


def _alerted(alert: Alert, subject: Subject) -> str:
    """The value that a rule on a measure alerted at."""
    value, threshold = (number_of(alert.annotations.get(name)) for name in ("value", "threshold"))
    if value is None:
        return ""
    text = _value(value, subject)
    if threshold is None or subject.kind in ("drift", "multivariate"):
        return text
    return f"{text} (alerts at {_value(threshold, subject).removeprefix('a drop of ')})"


def _said(alert: Alert) -> str:
    """What the annotations say: value and threshold, or the first line of a longer description."""
    annotations = alert.annotations
    value, threshold = number_of(annotations.get("value")), number_of(annotations.get("threshold"))
    if value is not None and threshold is not None:
        return f"value {short(value)} (alerts at {short(threshold)})"
    told = (annotations.get("description") or annotations.get("message") or "")[: 10 * LINE_LENGTH].strip()
    if not told:
        return annotations.get("value", "") if value is None else f"value {short(value)}"
    first = told.splitlines()[0].strip()
    return "" if first in (told, annotations.get("summary", "").strip()) else first


def _name(subject: Subject) -> str:
    of = {
        "performance": subject.of("metric"),
        "estimate": f"the estimated {subject.of('metric')}",
        "drift": f"the drift of {_cut(subject.of('column'))}",
        "share": "the share of drifted columns",
        "multivariate": "the drift of all columns together",
        "quality": f"{subject.check.replace('_', ' ')} of {_cut(subject.of('column') or subject.of('rule'))}",
        "volume": "the number of rows",
        "comparison": f"{subject.of('metric')} of {subject.of('challenger')}",
        "freshness": "the time of the last rows",
    }.get(subject.kind, "")
    name = of.removesuffix(" of ") or subject.measure
    return _cut(name)


def _cut(text: str) -> str:
    return line(text, _NAME_LENGTH)


# -- by kind -------------------------------------------------------------------------------------------


def _performance(subject: Subject, reading: Reading) -> str:
    facts, detail = reading.facts, reading.detail
    name = _cut(subject.of("metric") or "performance")
    if subject.of("class"):
        name = f"{name} of class {_cut(subject.of('class'))}"
    if subject.kind == "estimate":
        name = f"estimated {name}"
    text = f"{name} is {short(facts.current)}"
    drop, baseline = detail.get("drop"), facts.baseline
    if baseline is not None and drop is not None and facts.current is not None:
        text += f", {_change(facts.current, baseline, drop, str(detail.get('drop_kind')))}"
        if facts.threshold is not None:
            ratio = detail.get("drop_kind") == "ratio"
            text += f" (alerts at {percent(facts.threshold) if ratio else short(facts.threshold)})"
    return f"{text}{_support(reading)}"


def _change(current: float, baseline: float, drop: float, kind: str) -> str:
    if abs(drop) < 5e-7:
        return f"as the baseline's {short(baseline)}"
    if kind == "ratio":
        word = "worse" if drop > 0 else "better"
        return f"{percent(abs(drop))} {word} than the baseline's {short(baseline)}"
    word = "down" if current < baseline else "up"
    return f"{word} {short(abs(current - baseline))} from the baseline's {short(baseline)}"


def _support(reading: Reading) -> str:
    facts = reading.facts
    parts = []
    if facts.lower is not None and facts.upper is not None:
        parts.append(f"95 % bounds {short(facts.lower)} to {short(facts.upper)}")
    if facts.rows:
        parts.append(f"on {number(facts.rows)} rows")
    return "; " + " ".join(parts) if parts else ""


def _drift(subject: Subject, reading: Reading) -> str:
    facts, column = reading.facts, _cut(subject.of("column"))
    method = reading.detail.get("method")
    verdict = "no longer differs from the baseline" if reading.good else "drifted"
    if reading.detail.get("role") == "error":
        column = "the error"
        verdict = "no longer changes" if reading.good else "changed with the same features"
    text = f"{column} {verdict}: {method} {short(facts.current)}, critical {short(facts.threshold)}"
    return f"{text}; on {number(facts.rows)} rows" if facts.rows else text


def _share(_: Subject, reading: Reading) -> str:
    facts, detail = reading.facts, reading.detail
    text = f"{percent(facts.current)} of columns drifted"
    if detail.get("columns"):
        text = (
            f"{detail.get('drifted')} of {detail.get('columns')} columns drifted ({percent(facts.current)})"
        )
    if facts.threshold is not None:
        text += f", alerts at {percent(facts.threshold)}"
    worst = ", ".join(_cut(column.column) for column in facts.worst_columns[:3])
    return f"{text}; worst: {worst}" if worst else text


def _multivariate(_: Subject, reading: Reading) -> str:
    facts, method = reading.facts, reading.detail.get("method")
    verdict = "no longer differ from the baseline" if reading.good else "drifted"
    return (
        f"all columns together {verdict}: {method} {short(facts.current)}, critical {short(facts.threshold)}"
    )


def _quality(subject: Subject, reading: Reading) -> str:
    facts = reading.facts
    told, needs = _CHECKS.get(subject.check, ("{name} is {value}", "alerts at {threshold}"))
    words = {
        "subject": _cut(subject.of("column")) or "the rows",
        "rule": _cut(subject.of("rule")),
        "value": percent(facts.current),
        "name": _name(subject),
        "threshold": percent(facts.threshold),
    }
    if subject.check == "schema_changes":
        kind = subject.of("change")
        names = [_cut(name) for name in reading.detail.get("names", ())]
        if not names:
            return f"no column is {kind} any more" if kind else "the columns are those of the baseline"
        counted = "1 column" if len(names) == 1 else f"{len(names)} columns"
        return f"{counted} {kind or 'changed'}: {', '.join(names[:8])}{', ...' * (len(names) > 8)}"
    text = told.format_map(words)
    if facts.threshold is not None and needs:
        text += f", {needs.format_map(words)}"
    if subject.check == "outlier" and facts.baseline is not None:
        text += f"; in the baseline {percent(facts.baseline)}"
    return f"{text}; of {number(facts.rows)} rows" if facts.rows else text


def _volume(subject: Subject, reading: Reading) -> str:
    facts, expected = reading.facts, reading.detail.get("expected")
    text = f"{number(facts.current)} rows in {_cut(subject.of('span')) or 'the span'}"
    if expected is not None:
        text += f", expected {number(round(expected))}"
    if facts.lower is not None and facts.upper is not None:
        text += f" ({number(round(facts.lower))} to {number(round(facts.upper))})"
    return text


def _comparison(subject: Subject, reading: Reading) -> str:
    facts, challenger = reading.facts, _cut(subject.of("challenger"))
    if not subject.of("metric"):
        rows = reading.detail.get("rows") or (None, None)
        return (
            f"{number(rows[0])} rows of the champion, {number(rows[1])} of {challenger}: not as configured "
            f"(p-value {short(facts.current)})"
        )
    difference = facts.current or 0.0
    word = "better" if difference > 0 else "worse"
    text = f"{_cut(subject.of('metric'))} of {challenger} is {short(abs(difference))} {word}"
    if facts.baseline is not None:
        text += f" than the champion's {short(facts.baseline)}"
    if facts.lower is not None and facts.upper is not None:
        text += f"; bounds {short(facts.lower)} to {short(facts.upper)}"
    return text


def _freshness(subject: Subject, reading: Reading) -> str:
    kinds = {"label": "labels", "evaluation": "evaluation", "event": "events"}
    kind = next((word for part, word in kinds.items() if part in subject.measure), "rows")
    facts = reading.facts
    text = f"the last {kind} came {duration(facts.current)} ago"
    return f"{text}, alerts at {duration(facts.threshold)}" if facts.threshold is not None else text


def _other(subject: Subject, reading: Reading) -> str:
    facts = reading.facts
    family = FAMILIES.get(subject.measure)
    ratio = family is not None and family.unit == "ratio"
    show = percent if ratio else short
    plain = subject.measure.removeprefix("ml_").removesuffix("_ratio").replace("_", " ")
    name = _OTHERS.get(subject.measure, plain)
    text = f"{name} is {show(facts.current)}"
    return f"{text}, alerts at {show(facts.threshold)}" if facts.threshold is not None else text
