"""One channel's worker: lease, compose, send, acknowledge; and what happens when that fails."""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from exporter.alerts.channels import Channel
from exporter.alerts.composing.plain import plain_message
from exporter.alerts.config import ChannelSettings
from exporter.alerts.delivery.pacing import Pacer
from exporter.alerts.delivery.redaction import Redactor
from exporter.alerts.delivery.timing import Timing
from exporter.alerts.loop import Loop
from exporter.alerts.records import Change, Delivery, Message, Notification, Receipt
from exporter.alerts.store.outbox import CRASHES_BEFORE_PLAIN, Outbox
from exporter.alerts.telemetry import BridgeTelemetry
from exporter.clock import Clock
from exporter.errors import BusyError, ExporterError, PermanentDeliveryError, TemporaryDeliveryError

log = logging.getLogger(__name__)

GRACE_SECONDS = 600.0
"""A channel is down for this long before what waits for it too long is given up."""

STORE_PAUSE_SECONDS = 1.0
LONGEST_TRACEBACK = 4000
"""Characters of it that are logged, from its end."""


def longest_attempt_seconds(settings: ChannelSettings) -> float:
    """How long one attempt may take in all; a worker that takes longer is given up and replaced."""
    return 120.0 + 20.0 * settings.timeout


@dataclass(frozen=True, slots=True)
class OpenChannel:
    """A channel with its settings; `key` changes when another one must be opened."""

    name: str
    settings: ChannelSettings
    channel: Channel


@dataclass(frozen=True, slots=True)
class Trial:
    """A message to send at once, beside the queue."""

    notification: Notification
    outcome: Future[Receipt] = field(default_factory=Future)


class Worker:
    """Delivers what waits for one channel, one message at a time, on a thread of its own."""

    def __init__(
        self,
        opened: OpenChannel,
        *,
        outbox: Outbox,
        compose: Callable[[Notification], Message],
        clock: Clock,
        telemetry: BridgeTelemetry,
        timing: Timing | None = None,
        longest_attempt: Callable[[ChannelSettings], float] = longest_attempt_seconds,
    ) -> None:
        self.name = opened.name
        self._opened = opened
        self._outbox = outbox
        self._compose = compose
        self._clock = clock
        self._telemetry = telemetry
        self._longest_attempt = longest_attempt
        timing = timing or Timing()
        self._backoff = timing.backoff()
        self._circuit = timing.circuit()
        self._pacer = Pacer(opened.channel.spacing_seconds)
        self._redact = Redactor(opened.settings)
        self._next: OpenChannel | None = None
        self._jobs: deque[Trial] = deque()
        self._sending_since: float | None = None
        self._abandoned = False
        self._changing = threading.Lock()
        self._loop = Loop(
            f"delivery-{opened.name}",
            self._step,
            on_error=self._count_error,
            longest_sleep=timing.longest_sleep,
        )
        telemetry.know_channel(opened.name)

    # -- from outside -------------------------------------------------------------------------------

    def start(self) -> None:
        self._loop.start()

    def wake(self) -> None:
        """Something new may wait."""
        self._loop.wake()

    def replace(self, opened: OpenChannel) -> None:
        """Use another channel from the next message on, and close this one."""
        with self._changing:
            unused, self._next = self._next, opened
        if unused is not None:
            _close(unused)
        self._loop.wake()

    def submit(self, job: Trial) -> None:
        """Send a test message at once, between two deliveries, whether or not the channel is paused."""
        self._jobs.append(job)
        self._loop.wake()

    def stop(self) -> None:
        """Finish the message that is being sent and take no other."""
        self._loop.stop()

    def join(self, timeout: float) -> bool:
        """Wait until it has stopped, then close the channel; False when it still sends."""
        if not self._loop.join(timeout):
            return False
        for opened in (self._opened, self._next):
            if opened is not None:
                _close(opened)
        return True

    @property
    def alive(self) -> bool:
        return self._loop.alive

    @property
    def hung(self) -> bool:
        """Whether its attempt takes longer than any may."""
        since = self._sending_since
        return since is not None and time.monotonic() - since > self._longest_attempt(self._opened.settings)

    @property
    def sending(self) -> bool:
        return self._sending_since is not None

    @property
    def opened(self) -> OpenChannel:
        """The channel that the next message goes through."""
        with self._changing:
            return self._next or self._opened

    def abandon(self) -> None:
        """Never use its thread again, whatever it waits for; its lease runs out."""
        self._abandoned = True
        self._loop.stop()

    # -- the loop -----------------------------------------------------------------------------------

    def _step(self) -> float:
        """Do one thing; gives the seconds until there may be another."""
        self._change_channel()
        if self._jobs:
            self._run_job(self._jobs.popleft())
            return 0.0
        now = self._clock.time()
        wait = max(self._circuit.wait(now), self._pacer.wait(now))
        if wait > 0:
            return wait
        due = self._outbox.next_at(self.name)
        if due is None:
            return math.inf
        if due > now:
            return due - now
        delivery = self._outbox.lease(
            self.name, now=now, lease_seconds=self._longest_attempt(self._opened.settings)
        )
        if delivery is not None:
            if self._loop.stopping:
                self._outbox.release(delivery)
            else:
                self._deliver(delivery)
        return 0.0

    def _change_channel(self) -> None:
        with self._changing:
            opened, self._next = self._next, None
        if opened is None:
            return
        old, self._opened = self._opened, opened
        self._pacer = Pacer(opened.channel.spacing_seconds)
        self._redact = Redactor(opened.settings)
        mended = self._circuit.succeeded if old.settings == opened.settings else self._circuit.renewed
        if mended():  # perhaps it is: find out now
            self._outbox.hasten(self.name)
        _close(old)

    def _deliver(self, delivery: Delivery) -> None:
        if not self._opened.settings.send_resolved and _only_resolved(delivery.notification):
            self._settle(lambda: self._outbox.skip(delivery, "not sent: send_resolved is off", self._now))
            return
        self._sending_since = time.monotonic()
        try:
            receipt = self._attempt(delivery)
        except TemporaryDeliveryError as error:
            self._postpone(delivery, error)
        except PermanentDeliveryError as error:
            self._refused(delivery, error)
        except BaseException as error:  # noqa: BLE001  # channels bring libraries along; none may end the worker
            self._crashed(delivery, error)
        else:
            self._delivered(delivery, receipt)
        finally:
            self._sending_since = None
            self._pacer.sent(self._now)

    def _attempt(self, delivery: Delivery) -> Receipt:
        message = self._message(delivery)
        started = time.perf_counter()
        try:
            return self._opened.channel.send(message, delivery)
        finally:
            self._telemetry.delivery_seconds.labels(self.name).observe(time.perf_counter() - started)

    def _message(self, delivery: Delivery) -> Message:
        notification = delivery.notification
        if not delivery.plain:
            try:
                return self._compose(notification)
            except Exception:
                log.exception(
                    "a message could not be composed; it goes in the plain form",
                    extra={"notification": notification.id, "channel": self.name},
                )
                self._telemetry.errors.labels("compose").inc()
        return plain_message(notification, self._now)

    # -- what came of it ----------------------------------------------------------------------------

    def _delivered(self, delivery: Delivery, receipt: Receipt) -> None:
        receipt = Receipt(self._redact(receipt.detail), receipt.thread, receipt.plain or delivery.plain)
        if not self._settle(lambda: self._outbox.acknowledge(delivery, receipt, self._now)):
            return
        self._count("delivered_plain" if receipt.plain else "delivered")
        self._telemetry.last_delivery.labels(self.name).set(self._now)
        self._note_success()

    def _note_success(self) -> None:
        if self._circuit.succeeded():
            log.info("the channel works again", extra={"channel": self.name})
            self._outbox.hasten(self.name)

    def _postpone(self, delivery: Delivery, error: TemporaryDeliveryError) -> None:
        now = self._now
        asked = error.retry_after_seconds
        if asked is not None:
            asked = max(0.0, min(asked, self._opened.settings.give_up_after))
        seconds = self._backoff.seconds(delivery.attempt) if asked is None else asked
        if error.partial:
            self._note_success()
        else:
            if asked is None or error.whole_channel:
                self._circuit.failed(delivery.id, now, whole_channel=error.whole_channel, pause_seconds=asked)
            if asked is not None:
                self._telemetry.throttled.labels(self.name).inc()
                self._circuit.throttled(now, asked)
        self._again(delivery, now + seconds, error.message, uncertain=error.uncertain)

    def _refused(self, delivery: Delivery, error: PermanentDeliveryError) -> None:
        if error.whole_channel:
            self._circuit.failed(delivery.id, self._now, whole_channel=True)
            self._again(delivery, self._now + self._backoff.seconds(delivery.attempt), error.message)
        elif error.plain_may_work and not delivery.plain:
            self._again(delivery, self._now, error.message, plain=True)
        else:
            self._bury(delivery, error.message)

    def _crashed(self, delivery: Delivery, error: BaseException) -> None:
        """The channel's code failed in a way that nobody foresaw."""
        text = (
            f"{type(error).__name__}: {error}" if isinstance(error, ExporterError) else type(error).__name__
        )
        log.error(
            "a channel's code failed",
            extra={
                "channel": self.name,
                "notification": delivery.notification.id,
                "traceback": self._redact("".join(traceback.format_exception(error)))[-LONGEST_TRACEBACK:],
            },
        )
        self._telemetry.errors.labels("send").inc()
        crashes = self._outbox.crashes(delivery) + 1
        if crashes >= 2 * CRASHES_BEFORE_PLAIN:
            self._bury(delivery, f"the channel's code failed {crashes} times, at last with {text}")
            return
        self._circuit.failed(delivery.id, self._now, whole_channel=False)
        self._again(
            delivery,
            self._now + self._backoff.seconds(delivery.attempt),
            f"the channel's code failed with {text}",
            uncertain=True,
            crashed=True,
        )

    def _again(
        self,
        delivery: Delivery,
        next_at: float,
        error: str,
        *,
        uncertain: bool = False,
        plain: bool = False,
        crashed: bool = False,
    ) -> None:
        """Queue it for another attempt, or give it up when its time is over."""
        now, settings = self._now, self._opened.settings
        first = now if delivery.first_tried is None else delivery.first_tried
        deadline = first + settings.give_up_after
        text = self._redact(error)
        if now >= deadline:
            self._bury(delivery, f"given up after {delivery.attempt} attempts: {text}")
        elif self._settle(
            lambda: self._outbox.postpone(
                delivery,
                min(next_at, deadline),
                text,
                uncertain=uncertain,
                plain=plain,
                crashed=crashed,
            )
        ):
            self._count("retried")
            log.warning(
                "a notification could not be delivered; it is tried again",
                extra={
                    "channel": self.name,
                    "notification": delivery.notification.id,
                    "attempt": delivery.attempt,
                    "error": text,
                },
            )
        opened_at = self._circuit.opened_at
        if opened_at is not None and now - opened_at >= min(GRACE_SECONDS, settings.give_up_after):
            reason = f"given up: the channel took nothing for too long, at last: {text}"
            dead = self._outbox.bury_older(self.name, now - settings.give_up_after, reason, now)
            self._count("dead", dead)

    def _bury(self, delivery: Delivery, error: str) -> None:
        text = self._redact(error)
        if self._settle(lambda: self._outbox.bury(delivery, text, self._now)):
            self._count("dead")
            log.error(
                "a notification was given up",
                extra={"channel": self.name, "notification": delivery.notification.id, "error": text},
            )

    def _settle(self, write: Callable[[], bool]) -> bool:
        """Write what came of an attempt; while the disk is full nothing else can be done anyway."""
        while not self._abandoned:
            try:
                kept = write()
            except BusyError:
                log.exception("the outcome of a delivery cannot be written", extra={"channel": self.name})
                self._telemetry.errors.labels("outbox").inc()
                self._sending_since = time.monotonic()
                if not self._loop.pause(STORE_PAUSE_SECONDS):
                    return False
            else:
                if not kept:
                    log.error("a lease was lost; its outcome is not kept", extra={"channel": self.name})
                    self._telemetry.errors.labels("lease").inc()
                return kept
        return False

    def _run_job(self, job: Trial) -> None:
        if not job.outcome.set_running_or_notify_cancel():
            return
        now = self._now
        delivery = Delivery(0, self.name, job.notification, attempt=1, lease="", first_tried=now)
        self._sending_since = time.monotonic()
        try:
            receipt = self._attempt(delivery)
        except BaseException as error:  # noqa: BLE001  # the one who asked is told
            text = error.message if isinstance(error, ExporterError) else type(error).__name__
            job.outcome.set_exception(TemporaryDeliveryError(self._redact(text)))
        else:
            job.outcome.set_result(Receipt(self._redact(receipt.detail), None, receipt.plain))
            self._note_success()
        finally:
            self._sending_since = None
            self._pacer.sent(self._now)

    @property
    def _now(self) -> float:
        return self._clock.time()

    def _count(self, outcome: str, times: int = 1) -> None:
        self._telemetry.notifications.labels(self.name, outcome).inc(times)

    def _count_error(self) -> None:
        self._telemetry.errors.labels("delivery").inc()


def _only_resolved(notification: Notification) -> bool:
    """Whether it brings nothing but ends that somebody was told the beginning of."""
    changes = {one.change for one in notification.alerts}
    return Change.RESOLVED in changes and changes <= {Change.RESOLVED, Change.STILL}


def _close(opened: OpenChannel) -> None:
    try:
        opened.channel.close()
    except Exception:
        log.exception("a channel could not be closed", extra={"channel": opened.name})
