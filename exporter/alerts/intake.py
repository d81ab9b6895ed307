"""Alerts into the store: one transaction on disk before anybody is answered, and nothing else.

Taking the same alerts again changes nothing, so a sender that got no answer may send again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from exporter.alerts.config import BridgeConfig
from exporter.alerts.heartbeat import Heartbeat
from exporter.alerts.lives import ALERTMANAGER, see
from exporter.alerts.marks import Marks
from exporter.alerts.payload import (
    LONGEST_KEY,
    bounded_annotations,
    bounded_labels,
    fingerprint_of,
    parse_webhook,
    to_milliseconds,
)
from exporter.alerts.records import Alert, Webhook
from exporter.alerts.routing import Router
from exporter.alerts.store.refusals import keep_refused
from exporter.alerts.store.store import AlertStore
from exporter.clock import Clock
from exporter.errors import BadRequestError, StorageUnavailableError

log = logging.getLogger(__name__)

AT_ONCE = 5_000
"""Alerts in one transaction; others may write between two."""


@dataclass(slots=True)
class Taken:
    """What came of a payload.

    Attributes
    ----------
    status : {"accepted", "duplicate"}
        A duplicate said nothing new and is no reminder.
    alerts : int
    groups : int
        Groups that are to be told of.
    refused : list of str
        Alerts that could not be read, each with its reason; they are kept for inspection.
    cut : int
        Labels and annotations that were shortened or left out.
    unrouted : int
        Alerts with news that no route takes.
    changes : Counter of (severity, change)
        What was new.
    heartbeat : bool
        Whether it brought a heartbeat.
    truncated : int
        Alerts that Alertmanager left out of the payload, by its `max_alerts`.
    """

    status: str = "duplicate"
    alerts: int = 0
    groups: int = 0
    refused: list[str] = field(default_factory=list)
    cut: int = 0
    unrouted: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    heartbeat: bool = False
    truncated: int = 0


class Intake:
    """Takes alerts in; from any thread."""

    def __init__(self, config: BridgeConfig, store: AlertStore, clock: Clock) -> None:
        self._router = Router(config)
        self._heartbeat = Heartbeat(config, store, clock)
        self._deduplicate_for = config.deduplicate_for
        self._store = store
        self._clock = clock

    def take(self, body: bytes) -> Taken:
        """Take a webhook of Alertmanager; all of it is on disk when this returns.

        Raises
        ------
        BadRequestError
            It cannot be read; it is kept for inspection.
        StorageUnavailableError
            The store cannot be written now. Nothing, or of more than `AT_ONCE` alerts only the first, was
            kept: send it again.
        """
        try:
            webhook = parse_webhook(body)
        except BadRequestError as error:
            self._refuse(error.message, body)
            raise
        taken = self._take(
            webhook.alerts,
            webhook=webhook,
            source=ALERTMANAGER,
            group_labels=webhook.group_labels,
            remind_after=self._deduplicate_for,
        )
        taken.cut = webhook.cut
        taken.truncated = webhook.truncated_alerts
        if taken.refused or taken.cut or taken.truncated:
            log.warning(
                "a webhook could not be taken as it came",
                extra={"refused": len(taken.refused), "cut": taken.cut, "left_out": taken.truncated},
            )
        return taken

    def accept(
        self,
        alerts: Sequence[Alert],
        *,
        receiver: str = "",
        group_labels: Mapping[str, str] | None = None,
        source: str = "python",
    ) -> Taken:
        """Take alerts that were made in this process, or found in Alertmanager.

        Without `group_labels` those of one name and model are a group (or as the routes' `group_by` says).
        What this process says again is reminded of, as what Alertmanager sends again.
        """
        webhook = Webhook(receiver, "", group_labels or {}, ())
        tidied = [_tidy(alert) for alert in alerts]
        return self._take(
            tidied,
            webhook=webhook,
            source=source,
            group_labels=group_labels,
            remind_after=None if source == ALERTMANAGER else self._deduplicate_for,
        )

    def _take(
        self,
        alerts: Sequence[Alert],
        *,
        webhook: Webhook,
        source: str,
        group_labels: Mapping[str, str] | None,
        remind_after: float | None,
    ) -> Taken:
        taken = Taken(alerts=len(alerts), refused=[refused.reason for refused in webhook.refused])
        groups: set[str] = set()
        slices = list(_slices(alerts, AT_ONCE)) or [[]]
        for number, some in enumerate(slices):
            now = self._clock.time()
            with self._store.write() as connection:
                if number == 0:
                    for refused in webhook.refused:
                        keep_refused(connection, now, refused.reason, refused.raw)
                    if webhook.receiver and source == ALERTMANAGER:
                        connection.execute(
                            "INSERT OR IGNORE INTO state (key, value) VALUES (?, '')",
                            (f"receiver:{webhook.receiver}",),
                        )
                beats = [alert for alert in some if self._heartbeat.matches(alert)]
                if any(alert.firing for alert in beats):
                    self._heartbeat.hear(connection, now)
                    taken.heartbeat = True
                real = [alert for alert in some if not self._heartbeat.matches(alert)] if beats else some
                sightings = see(connection, real, now=now, source=source)
                marks = Marks(connection, self._router, now=now, group_labels=group_labels)
                marks.add(sightings)
                marked = marks.finish(remind_after=remind_after)
            groups |= marked.groups
            taken.unrouted += marked.unrouted
            taken.changes.update(
                (alert.severity.text, news.value) for _, alert, news in sightings if news is not None
            )
        taken.groups = len(groups)
        if groups or taken.changes or taken.heartbeat or taken.refused:
            taken.status = "accepted"
        return taken

    def _refuse(self, reason: str, body: bytes) -> None:
        """Keep a wrong body; that it is wrong is answered even when it cannot be kept."""
        try:
            with self._store.write() as connection:
                keep_refused(connection, self._clock.time(), reason, body)
        except StorageUnavailableError as error:
            log.warning("a refused webhook could not be kept for inspection", extra={"error": error.message})


def _slices(alerts: Sequence[Alert], size: int) -> Iterator[Sequence[Alert]]:
    rest = iter(alerts)
    while some := list(islice(rest, size)):
        yield some


def _tidy(alert: Alert) -> Alert:
    """An alert from code as it would have come in a payload: bounded, readable, its times in milliseconds."""
    labels = {_clean(name): _clean(text) for name, text in alert.labels.items()}
    annotations = {_clean(name): _clean(text) for name, text in alert.annotations.items()}
    return replace(
        alert,
        fingerprint=_clean(alert.fingerprint) or fingerprint_of(labels),
        labels=bounded_labels(labels).texts,
        annotations=bounded_annotations(annotations).texts,
        starts_at=to_milliseconds(alert.starts_at),
        generator_url=_clean(alert.generator_url)[:LONGEST_KEY],
    )


def _clean(text: str) -> str:
    """Text that every store and channel can write: no half of a surrogate pair."""
    return str(text).encode("utf-8", "replace").decode()
