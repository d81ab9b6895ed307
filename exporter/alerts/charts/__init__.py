"""A small picture of a measure's history, for messages."""

from __future__ import annotations

import threading
from datetime import tzinfo

from exporter.alerts.charts.limits import limit_of
from exporter.alerts.charts.points import runs_of
from exporter.alerts.records import Facts

MOST_WIDTH, MOST_HEIGHT = 800, 400
_LOCK = threading.Lock()


def chart_png(
    facts: Facts, *, title: str, width: int, height: int, timezone: tzinfo, subject: str = ""
) -> bytes | None:
    """The history of a measure as PNG, with its current value and bounds, baseline and threshold.

    Parameters
    ----------
    facts : Facts
    title : str
        Shown as it is, cut where it does not fit.
    width, height : int
        In pixels of a page, from 240 x 120 to 800 x 400; the picture has twice as many each way.
    timezone : tzinfo
        Of the times that are written.
    subject : str
        The performance metric or quality check, which tells on which side of the baseline the threshold of
        a drop lies. When left out, the side of the current value is taken.

    Returns
    -------
    bytes or None
        The same for the same input; at most 60 kB. None when fewer than two points can be drawn.
    """
    runs = runs_of(facts)
    if not runs:
        return None
    from exporter.alerts.charts.drawing import Drawing  # noqa: PLC0415  # matplotlib takes half a second

    size = (min(max(width, 240), MOST_WIDTH), min(max(height, 120), MOST_HEIGHT))
    with _LOCK:  # matplotlib's caches of fonts are not made for threads
        return Drawing(facts, runs, limit_of(facts, subject), size=size, timezone=timezone).png(title)
