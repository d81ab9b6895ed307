"""From a notification to a message: what is known now, links, and a title."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from exporter.alerts.composing.facts import FactsSource, KeptFacts
from exporter.alerts.composing.figures import clean, line
from exporter.alerts.composing.links import common_links, links_of
from exporter.alerts.composing.plain import (
    TEXT_LENGTH,
    TITLE_LENGTH,
    plain_message,
)
from exporter.alerts.composing.readings import Budget, Reader, Reading
from exporter.alerts.composing.templates import Templates
from exporter.alerts.composing.what import what_of
from exporter.alerts.config import BridgeConfig
from exporter.alerts.records import (
    Change,
    Message,
    Notification,
    NotifiedAlert,
    View,
)
from exporter.clock import Clock

logger = logging.getLogger(__name__)

WITH_HISTORY: Final = 10
"""Alerts of one message whose history is asked for."""

_ENDED = (Change.RESOLVED, Change.PASSED)


class Composer:
    """Makes messages. Safe to share between threads.

    Parameters
    ----------
    config : BridgeConfig
    source : FactsSource or None
        The exporter; None where there is none to ask.
    clock : Clock
    templates : Templates, optional
        For the title; without them it is the plain one.
    """

    def __init__(
        self,
        config: BridgeConfig,
        *,
        source: FactsSource | None,
        clock: Clock,
        templates: Templates | None = None,
    ) -> None:
        self._links = config.links
        self._kept = None if source is None else KeptFacts(source)
        self._reader = Reader(self._kept)
        self._clock = clock
        self._templates = templates

    def compose(self, notification: Notification) -> Message:
        """The message of a notification as things are now; never raises for any data."""
        now = self._clock.time()
        try:
            return self._composed(notification, now)
        except Exception:
            logger.exception("A notification could not be composed; it goes out in the plain form")
            return plain_message(notification, now)

    def _composed(self, notification: Notification, now: float) -> Message:
        if self._kept is not None and any(told.change in _ENDED for told in notification.alerts):
            self._kept.forget(now - notification.created)  # an end is told with values of after it
        budget = Budget()
        plain = plain_message(notification, now)
        views = tuple(
            self._view(notified, kept, budget, now, with_history=place < WITH_HISTORY)
            for place, (notified, kept) in enumerate(zip(notification.alerts, plain.views, strict=False))
        )
        labels = [notified.alert.labels for notified in notification.alerts]
        links = common_links([view.links for view in views], labels, self._links)
        message = Message(
            notification=plain.notification,
            title=plain.title,
            status=plain.status,
            severity=notification.severity,
            model=plain.model,
            version=plain.version,
            views=views,
            links=links,
            made_at=now,
        )
        return self._titled(message)

    def _view(
        self, notified: NotifiedAlert, kept: View, budget: Budget, now: float, *, with_history: bool
    ) -> View:
        alert = notified.alert
        reading = self._reader.read(alert, budget, now=now, with_history=with_history)
        ended = notified.change in _ENDED
        return View(
            alert=kept.alert,
            change=notified.change,
            summary=kept.summary,
            description=clean(kept.description, TEXT_LENGTH),
            what=what_of(alert, reading),
            facts=reading.facts,
            ending=ending_of(reading) if ended else "",
            links=links_of(alert, self._links),
        )

    def _titled(self, message: Message) -> Message:
        if self._templates is None:
            return message
        try:
            title = line(self._templates.render("title.txt", message=message), TITLE_LENGTH)
        except Exception:  # noqa: BLE001  # it is counted and logged where it happened
            return message
        return replace(message, title=title) if title else message


def ending_of(reading: Reading) -> str:
    """How a resolved alert ended: `recovered`, `no data`, or empty where that is not known."""
    if not reading.known:
        return ""
    if reading.facts.current is None:
        return "no data"
    return "recovered" if reading.good else ""
