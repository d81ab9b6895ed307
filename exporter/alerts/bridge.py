"""The notification bridge: every part put together, without any web in it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.alerts.aggregation import Aggregator
from exporter.alerts.alertmanager_api import AlertmanagerUnavailableError
from exporter.alerts.channels import Channel
from exporter.alerts.channels.opening import open_channel
from exporter.alerts.composing.composer import Composer
from exporter.alerts.composing.facts import FactsSource, HttpFacts
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import BridgeConfig, ChannelSettings
from exporter.alerts.delivery.dispatcher import Dispatcher, OpenOne, prepare
from exporter.alerts.delivery.targets import note_targets
from exporter.alerts.delivery.timing import Timing
from exporter.alerts.delivery.trial import trial_notification
from exporter.alerts.delivery.worker import OpenChannel, Worker
from exporter.alerts.expiry import Expiry
from exporter.alerts.gauges import Gauges
from exporter.alerts.heartbeat import Heartbeat
from exporter.alerts.housekeeping import Chore, Housekeeping
from exporter.alerts.intake import Intake, Taken
from exporter.alerts.loop import Loop
from exporter.alerts.questions import Questions
from exporter.alerts.reconciliation import Reconciler
from exporter.alerts.records import Alert, Delivery, Message, Notification
from exporter.alerts.store.notifications import insert_notification
from exporter.alerts.store.store import AlertStore
from exporter.alerts.telemetry import BridgeTelemetry
from exporter.clock import Clock, SystemClock
from exporter.errors import BadRequestError, DeliveryError, NotFoundError, StorageUnavailableError

log = logging.getLogger(__name__)

REMOVED_SECONDS = 300.0
SUPERVISION_SECONDS = 5.0
HEARTBEAT_SECONDS = 5.0
RETENTION_SECONDS = 300.0
FLUSH_LOOK_SECONDS = 0.02
REMOVED_CHANNEL_SECONDS = 24 * 3600.0
"""How long deliveries to a channel that is no longer configured wait for it to come back."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is made anew from every configuration."""

    config: BridgeConfig
    intake: Intake
    aggregator: Aggregator
    heartbeat: Heartbeat
    reconciler: Reconciler
    expiry: Expiry
    composer: Composer


class Bridge:
    """Takes alerts, keeps them, and delivers notifications of them; every method is safe from any thread.

    Parameters
    ----------
    config : BridgeConfig
    directory : Path
        Of the store; one process at a time.
    clock : Clock, optional
    source : FactsSource, optional
        Where current values come from; by default the exporter of `links.exporter` over HTTP, if named.

    Raises
    ------
    ConfigurationError
        A channel or a template cannot be opened.
    StoreError
        The store cannot be opened.
    """

    def __init__(
        self,
        config: BridgeConfig,
        directory: Path,
        *,
        clock: Clock | None = None,
        source: FactsSource | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._source = source
        self._timing = timing or Timing()
        self.telemetry = BridgeTelemetry(self._clock.time())
        self._reloading = threading.Lock()
        self._aggregating = threading.Lock()
        self._running = self._stopped = False
        self._store = AlertStore.open(directory, clock=self._clock)
        try:
            self._parts, opened, open_one = self._assemble(config)
        except BaseException:
            self._store.close()
            raise
        self._dispatcher = Dispatcher(self._new_worker, on_hung=lambda: self._count_error("delivery"))
        self._dispatcher.use(opened, open_one)
        self._questions = Questions(self._store)
        self._gauges = Gauges(self._store, self.telemetry, channels=lambda: self._dispatcher.channels)
        self._aggregation = self._loop("aggregation", self._aggregate)
        self._housekeeping = self._loop(
            "housekeeping", Housekeeping(self._chores(), self._clock, on_error=self._count_error).step
        )

    def _assemble(self, config: BridgeConfig) -> tuple[_Parts, list[OpenChannel], OpenOne]:
        """Everything that a configuration asks for; raises before anything is changed."""
        store, clock = self._store, self._clock
        templates = Templates(
            config.templates.directory, on_failure=self._count_template_failure, timezone=config.timezone
        )

        def open_one(name: str, settings: ChannelSettings) -> Channel:
            return open_channel(name, settings, templates, config)

        intake = Intake(config, store, clock)
        parts = _Parts(
            config=config,
            intake=intake,
            aggregator=Aggregator(config, store, clock),
            heartbeat=Heartbeat(config, store, clock),
            reconciler=Reconciler(config, store, clock, intake),
            expiry=Expiry(config, store),
            composer=Composer(
                config, source=self._source or _exporter(config), clock=clock, templates=templates
            ),
        )
        return parts, prepare(config.channels, open_one), open_one

    # -- life ---------------------------------------------------------------------------------------

    @property
    def config(self) -> BridgeConfig:
        """What is in force now."""
        return self._parts.config

    @property
    def ready(self) -> bool:
        """Whether webhooks are taken and notifications delivered."""
        return self._running

    def start(self) -> None:
        """Take up what the last process left, and deliver."""
        note_targets(self._store, self.config.channels)
        left = self._store.outbox.recover()
        if left:
            log.info("deliveries that the last process did not finish are sent again", extra={"count": left})
        self._running = True
        self.telemetry.ready.set(1)
        self._dispatcher.start()
        self._aggregation.start()
        self._housekeeping.start()

    def stop(self, drain_seconds: float = 10.0) -> None:
        """Finish what is being sent, for so long at most; the rest stays queued for the next start."""
        if self._stopped:
            return
        self._stopped, self._running = True, False
        self.telemetry.ready.set(0)
        deadline = time.monotonic() + drain_seconds
        for loop in (self._aggregation, self._housekeeping):
            loop.stop()
        self._dispatcher.stop(drain_seconds)
        for loop in (self._aggregation, self._housekeeping):
            loop.join(max(1.0, deadline - time.monotonic()))
        self._store.close()

    def reload(self, config: BridgeConfig) -> None:
        """Use another configuration from now on; queues and open threads stay.

        A configuration that cannot be used changes nothing, and `ml_bridge_config_last_reload_successful`
        becomes 0. What waits for a channel that is no longer configured is kept for a day, so that the
        channel can come back, and is given up after that.

        Raises
        ------
        ConfigurationError
        """
        with self._reloading:
            try:
                parts, opened, open_one = self._assemble(config)
                note_targets(self._store, config.channels)
            except BaseException:
                self.telemetry.reloaded.set(0)
                raise
            self._parts = parts
            self._dispatcher.use(opened, open_one)
            self.telemetry.reloaded.set(1)
        self._aggregation.wake()
        self._housekeeping.wake()

    # -- in -----------------------------------------------------------------------------------------

    def take(self, body: bytes) -> dict[str, Any]:
        """A webhook of Alertmanager; returns once it is durable: `status`, `alerts` and `groups`.

        Raises
        ------
        BadRequestError
            It cannot be read; it is kept among the rejected ones.
        StorageUnavailableError
            The disk is full or fails; nothing of it was kept.
        """
        try:
            taken = self._parts.intake.take(body)
        except BadRequestError:
            self.telemetry.webhooks.labels("rejected").inc()
            raise
        except BaseException:
            self.telemetry.webhooks.labels("failed").inc()
            raise
        self.telemetry.webhooks.labels(taken.status).inc()
        now = self._clock.time()
        self.telemetry.last_webhook.set(now)
        return self._taken(taken, now)

    def accept(
        self,
        alerts: Sequence[Alert],
        *,
        receiver: str = "",
        group_labels: Mapping[str, str] | None = None,
        source: str = "python",
    ) -> dict[str, Any]:
        """Alerts that do not come from Alertmanager; otherwise like :meth:`take`."""
        taken = self._parts.intake.accept(alerts, receiver=receiver, group_labels=group_labels, source=source)
        return self._taken(taken, self._clock.time())

    def _taken(self, taken: Taken, now: float) -> dict[str, Any]:
        for (severity, change), count in taken.changes.items():
            self.telemetry.alerts.labels(severity, change).inc(count)
        self.telemetry.unrouted.inc(taken.unrouted)
        if taken.heartbeat:
            self.telemetry.last_heartbeat.set(now)
            self._dispatcher.wake()
        if taken.groups:
            self._aggregation.wake()
        answer: dict[str, Any] = {"status": taken.status, "alerts": taken.alerts, "groups": taken.groups}
        if taken.refused:
            answer["refused"] = taken.refused
        return answer

    def flush(self, wait_seconds: float = 0.0) -> int:
        """Send now what is being collected; waits so long for the queues, gives what still waits."""
        with self._aggregating:
            self._parts.aggregator.flush_all()
        self._dispatcher.wake()
        deadline = time.monotonic() + wait_seconds
        while True:
            waiting = sum(count.queued for count in self._store.outbox.counts().values())
            if waiting == 0 or time.monotonic() >= deadline:
                return waiting
            time.sleep(FLUSH_LOOK_SECONDS)

    # -- questions ----------------------------------------------------------------------------------

    def alerts(
        self,
        *,
        model: str | None = None,
        severity: str | None = None,
        state: str | None = None,
        name: str | None = None,
        start: float | None = None,
        end: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
        models: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Alerts, newest first: `alerts` and `next`."""
        return self._questions.alerts(
            model=model,
            severity=severity,
            state=state,
            name=name,
            start=start,
            end=end,
            limit=limit,
            cursor=cursor,
            models=models,
        )

    def alert(self, alert_id: int | str, *, models: Collection[str] | None = None) -> dict[str, Any]:
        """The life of one alert; raises :class:`NotFoundError`."""
        return self._questions.alert(alert_id, models=models)

    def alert_summary(
        self,
        *,
        model: str | None = None,
        start: float | None = None,
        end: float | None = None,
        step: float | None = None,
        models: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Alerts counted by model, severity, state and name; with `step` also over time."""
        return self._questions.summary(model=model, start=start, end=end, step=step, models=models)

    def notifications(
        self,
        *,
        model: str | None = None,
        channel: str | None = None,
        state: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        models: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Notifications with their deliveries, newest first: `notifications` and `next`."""
        return self._questions.notifications(
            model=model, channel=channel, state=state, limit=limit, cursor=cursor, models=models
        )

    def rejected(self, *, limit: int = 100) -> dict[str, Any]:
        """Webhooks that could not be used, newest first: `rejected`."""
        return self._questions.rejected(limit=limit)

    # -- hands on -----------------------------------------------------------------------------------

    def retry(self, notification_id: str, channel: str | None = None) -> dict[str, Any]:
        """Queue the dead deliveries of a notification again: `{"id", "queued"}`; raises NotFoundError."""
        with self._store.read() as connection:
            known = connection.execute(
                "SELECT count(*) FROM notifications WHERE id = ?", (notification_id,)
            ).fetchone()[0]
        if not known:
            raise NotFoundError(f"there is no notification {notification_id[:100]}")
        queued = self._store.outbox.retry(notification_id, channel, now=self._clock.time())
        self._dispatcher.wake()
        return {"id": notification_id, "queued": queued}

    def test(self, channel: str) -> dict[str, Any]:
        """Send a test message at once: `{"channel", "delivered", "detail", "notification"}`.

        Raises
        ------
        NotFoundError
            There is no such channel.
        DeliveryError
            It was not delivered; the message says why.
        """
        notification = trial_notification(channel, self._clock.time())
        try:
            receipt = self._dispatcher.test(channel, notification)
        except DeliveryError as error:
            self._record(notification, channel, error.message, failed=True)
            raise
        self._record(notification, channel, receipt.detail, failed=False, plain=receipt.plain)
        return {
            "channel": channel,
            "delivered": True,
            "detail": receipt.detail,
            "notification": notification.id,
        }

    def _record(
        self, notification: Notification, channel: str, detail: str, *, failed: bool, plain: bool = False
    ) -> None:
        """Keep a test in the history; what came of it is answered even when it cannot be kept."""
        delivery = Delivery(0, channel, notification, attempt=1, lease="", plain=plain)
        with suppress(StorageUnavailableError), self._store.write() as connection:
            insert_notification(connection, self._store.outbox, notification, channels=())
            self._store.outbox.record(connection, delivery, self._clock.time(), detail=detail, failed=failed)

    # -- threads ------------------------------------------------------------------------------------

    def _loop(self, name: str, step: Callable[[], float]) -> Loop:
        return Loop(
            name, step, on_error=lambda: self._count_error(name), longest_sleep=self._timing.longest_sleep
        )

    def _new_worker(self, opened: OpenChannel) -> Worker:
        return Worker(
            opened,
            outbox=self._store.outbox,
            compose=self._compose,
            clock=self._clock,
            telemetry=self.telemetry,
            timing=self._timing,
        )

    def _compose(self, notification: Notification) -> Message:
        return self._parts.composer.compose(notification)

    def _aggregate(self) -> float:
        with self._aggregating:
            aggregator, now = self._parts.aggregator, self._clock.time()
            due_at = aggregator.next_due()
            if due_at is None:
                return math.inf
            if due_at > now:
                return due_at - now
            aggregator.flush(now)
        self._dispatcher.wake()
        return 0.0

    def _chores(self) -> list[Chore]:
        return [
            Chore("supervision", lambda: SUPERVISION_SECONDS, lambda _: self._dispatcher.supervise()),
            Chore("heartbeat", lambda: HEARTBEAT_SECONDS, self._check_heartbeat),
            Chore("reconciliation", lambda: self.config.reconcile_every, self._reconcile),
            Chore("retention", lambda: RETENTION_SECONDS, self._expire),
            Chore("queues", lambda: self._timing.gauges, self._gauges.measure_queues),
            Chore("alerts", lambda: 5 * self._timing.gauges, lambda _: self._gauges.measure_alerts()),
            Chore("removed", lambda: REMOVED_SECONDS, self._bury_removed),
        ]

    def _check_heartbeat(self, now: float) -> None:
        heartbeat = self._parts.heartbeat
        if heartbeat.check(now):
            self._dispatcher.wake()
        heard = heartbeat.heard_at()
        if heard is not None:
            self.telemetry.last_heartbeat.set(heard)

    def _reconcile(self, _: float) -> None:
        try:
            found = self._parts.reconciler.reconcile()
        except AlertmanagerUnavailableError as error:
            log.warning("Alertmanager cannot be asked", extra={"error": error.message})
            self._count_error("reconciliation")
            return
        self.telemetry.reconciled.labels("missed").inc(found.missed)
        self.telemetry.reconciled.labels("ended").inc(found.ended)
        if found.missed or found.ended:
            self._aggregation.wake()

    def _expire(self, now: float) -> None:
        self._parts.expiry.expire(now)

    def _bury_removed(self, now: float) -> None:
        """Give up what waits for a channel that left the configuration too long ago."""
        configured = set(self._dispatcher.channels)
        for channel, count in self._store.outbox.counts().items():
            if channel in configured or not count.queued:
                continue
            dead = self._store.outbox.bury_older(
                channel, now - REMOVED_CHANNEL_SECONDS, f"there is no channel {channel} any more", now
            )
            self.telemetry.notifications.labels(channel, "dead").inc(dead)
            log.warning(
                "notifications wait for a channel that is not configured",
                extra={"channel": channel, "queued": count.queued - dead, "given_up": dead},
            )

    def _count_error(self, operation: str) -> None:
        self.telemetry.errors.labels(operation).inc()

    def _count_template_failure(self, name: str) -> None:
        self.telemetry.template_failures.labels(name).inc()


def check_bridge(config: BridgeConfig) -> None:
    """Open every channel and template as a bridge would, and close them again.

    Raises
    ------
    ConfigurationError
    """
    templates = Templates(config.templates.directory, on_failure=lambda _: None, timezone=config.timezone)
    for opened in prepare(
        config.channels, lambda name, settings: open_channel(name, settings, templates, config)
    ):
        opened.channel.close()


def _exporter(config: BridgeConfig) -> FactsSource | None:
    """The exporter that the configuration names, over HTTP."""
    links = config.links
    if links.exporter is None:
        return None
    token = None if links.token is None else links.token.get_secret_value()
    return HttpFacts(links.exporter, token, links.ca_file)
