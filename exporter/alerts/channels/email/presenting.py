"""What templates of emails are given: texts from outside are cut and without control characters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import urlsplit

from exporter.alerts.composing.figures import clean, line
from exporter.alerts.records import Alert, Facts, Message, View, WorstColumn

NO_VERSION = "default"
"""What the version of a model is called that has none."""
MOST_LABELS = 16
MOST_COLUMNS = 10
LONGEST_LINK = 2000


def presentable(message: Message) -> Message:
    """The message with every text bounded and links that lead to web pages only."""
    notification = message.notification
    group = replace(notification.group, labels=_texts(notification.group.labels, 120))
    return replace(
        message,
        notification=replace(notification, group=group, text=clean(notification.text, 2000)),
        title=line(message.title, 150),
        model=line(message.model, 100),
        version="" if message.version == NO_VERSION else line(message.version, 60),
        views=tuple(_view(view) for view in message.views),
        links=_links(message.links),
    )


def _view(view: View) -> View:
    return replace(
        view,
        alert=_alert(view.alert),
        summary=line(view.summary, 250),
        description=clean(view.description, 1200),
        what=line(view.what, 300),
        ending=line(view.ending, 40),
        facts=_facts(view.facts),
        links=_links(view.links),
    )


def _alert(alert: Alert) -> Alert:
    return replace(
        alert, labels=_texts(alert.labels, 120), annotations=_texts(alert.annotations, 300), generator_url=""
    )


def _facts(facts: Facts) -> Facts:
    columns = tuple(
        WorstColumn(
            line(worst.column, 80),
            _number(worst.statistic) or 0.0,
            _number(worst.critical_value) or 0.0,
            line(worst.method, 30),
        )
        for worst in facts.worst_columns[:MOST_COLUMNS]
        if math.isfinite(worst.statistic) and math.isfinite(worst.critical_value)
    )
    return replace(
        facts,
        measure=line(facts.measure, 80),
        current=_number(facts.current),
        threshold=_number(facts.threshold),
        baseline=_number(facts.baseline),
        lower=_number(facts.lower),
        upper=_number(facts.upper),
        unit=line(facts.unit, 40),
        undefined=line(facts.undefined, 80),
        worst_columns=columns,
    )


def _number(value: float | None) -> float | None:
    """Three significant digits, as much as a reader needs to compare two values."""
    if value is None or not math.isfinite(value):
        return None
    return value if abs(value) >= 1000 else float(f"{value:.3g}")


def _texts(given: Mapping[str, str], length: int) -> Mapping[str, str]:
    kept = list(given.items())[:MOST_LABELS]
    return MappingProxyType({line(name, 60): line(value, length) for name, value in kept})


def _links(links: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({name: url for name, url in links.items() if _leads_to_a_page(url)})


def _leads_to_a_page(url: str) -> bool:
    if len(url) > LONGEST_LINK or not url.isprintable() or any(c in url for c in " <>\"'`\\"):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
