"""The charts of an email: which alerts get one, and what it says to those who don't see it."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo

from exporter.alerts.charts import chart_png
from exporter.alerts.charts.limits import limit_of
from exporter.alerts.composing.figures import line, number, percent
from exporter.alerts.records import Message, View

logger = logging.getLogger(__name__)

MOST_CHARTS = 3
DRAWN_WIDTH, DRAWN_HEIGHT = 460, 178
SHOWN_WIDTH = 550
"""Drawn smaller than it is shown on a desk, so that its words can be read on a phone."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One chart; `src` is what HTML refers to it by.

    Attributes
    ----------
    png : bytes
    content_id : str
        Without angle brackets.
    alt : str
        What it shows, in words.
    width : int
        How wide it is shown at most, in pixels of the page.
    """

    png: bytes = field(repr=False)
    content_id: str
    alt: str
    width: int = SHOWN_WIDTH

    @property
    def src(self) -> str:
        return f"cid:{self.content_id}"


def pictures_of(message: Message, timezone: tzinfo) -> Mapping[int, Picture]:
    """Charts by the place of their alert in the message: of the first three that have a history."""
    found: dict[int, Picture] = {}
    for place, view in enumerate(message.views):
        png = _drawn(view, timezone)
        if png is not None:
            digest = hashlib.sha256(png).hexdigest()[:20]
            found[place] = Picture(png, f"{place}.{digest}@ml-exporter", _in_words(view))
        if len(found) == MOST_CHARTS:
            break
    return found


def limits_of(message: Message) -> Mapping[int, tuple[float, str]]:
    """Where thresholds of drops lie as values, and the drop in words, by the place of their alert."""
    found: dict[int, tuple[float, str]] = {}
    for place, view in enumerate(message.views):
        limit, threshold = limit_of(view.facts, subject_of(view)), view.facts.threshold
        if limit is not None and limit.drop is not None:
            told = (
                f"{percent(threshold)} worse" if limit.drop == "ratio" else f"a drop of {number(threshold)}"
            )
            found[place] = float(f"{limit.value:.4g}"), told
    return found


def changes_of(message: Message) -> Mapping[int, float]:
    """How far values are from their baselines, by the place of their alert; of exact values, then rounded."""
    found: dict[int, float] = {}
    for place, view in enumerate(message.views):
        current, baseline = view.facts.current, view.facts.baseline
        if current is not None and baseline is not None and math.isfinite(current - baseline):
            found[place] = float(f"{current - baseline:.3g}")
    return found


def subject_of(view: View) -> str:
    """The performance metric or quality check that an alert is about."""
    labels = view.alert.labels
    return labels.get("metric") or labels.get("check") or ""


def _drawn(view: View, timezone: tzinfo) -> bytes | None:
    if len(view.facts.history) < 2:
        return None
    try:
        return chart_png(
            view.facts,
            title=_title(view),
            width=DRAWN_WIDTH,
            height=DRAWN_HEIGHT,
            timezone=timezone,
            subject=subject_of(view),
        )
    except Exception:  # a message without its picture is better than none
        logger.exception("The chart of an alert could not be drawn")
        return None


def _title(view: View) -> str:
    labels, measure = view.alert.labels, view.facts.measure
    what = labels.get("metric") or _in_words_of(measure)
    if measure == "performance_estimate":
        what = f"estimated {what}"
    if labels.get("method"):
        what = labels["method"]
    if labels.get("column"):
        what = f"{what} of {labels['column']}"
    over = f" over {labels['window']}" if labels.get("window") else ""
    version = labels.get("version", "")
    whose = " ".join(filter(None, (labels.get("model"), version if version != "default" else "")))
    return line(f"{what}{over} · {whose}" if whose else f"{what}{over}", 120)


def _in_words_of(measure: str) -> str:
    """The name of a measure without what only machines need."""
    known = measure.removeprefix("ml_").removeprefix("segment_").removeprefix("quality_")
    return known.removesuffix("_ratio").replace("_", " ")


def _in_words(view: View) -> str:
    facts = view.facts
    said = [f"Chart of {_title(view)}"]
    for name, value in (("now", facts.current), ("baseline", facts.baseline)):
        if value is not None:
            said.append(f"{name} {number(value)}")
    return ", ".join(said)
