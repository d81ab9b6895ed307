"""The workers of all channels: started, replaced when they hang, changed with the configuration."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from exporter.alerts.channels import Channel
from exporter.alerts.config import ChannelSettings
from exporter.alerts.delivery.worker import OpenChannel, Trial, Worker
from exporter.alerts.records import Notification, Receipt
from exporter.errors import NotFoundError, TemporaryDeliveryError

log = logging.getLogger(__name__)

OpenOne = Callable[[str, ChannelSettings], Channel]
NewWorker = Callable[[OpenChannel], Worker]

REMOVED_SECONDS = 10.0
"""How long a reload waits for the worker of a channel that is gone."""


def prepare(channels: Mapping[str, ChannelSettings], open_one: OpenOne) -> list[OpenChannel]:
    """Open every channel, or none; raises :class:`ConfigurationError` when one cannot be opened."""
    opened: list[OpenChannel] = []
    try:
        for name, settings in channels.items():
            opened.append(OpenChannel(name, settings, open_one(name, settings)))
    except BaseException:
        for one in opened:
            one.channel.close()
        raise
    return opened


class Dispatcher:
    """One worker for each configured channel; safe to use from many threads.

    Parameters
    ----------
    new_worker : callable
        Makes the worker of an open channel, not started.
    on_hung : callable
        Told of each worker that was given up.
    """

    def __init__(self, new_worker: NewWorker, *, on_hung: Callable[[], None]) -> None:
        self._open_one: OpenOne | None = None
        self._new_worker = new_worker
        self._on_hung = on_hung
        self._workers: dict[str, Worker] = {}
        self._lock = threading.Lock()
        self._running = False

    @property
    def channels(self) -> Collection[str]:
        """Names of the channels that are configured now."""
        return tuple(self._workers)

    @property
    def idle(self) -> bool:
        """Whether no worker is sending."""
        return not any(worker.sending for worker in self._all())

    def use(self, opened: Collection[OpenChannel], open_one: OpenOne) -> None:
        """Let these be the channels from now on; queues stay as they are, of removed channels too."""
        with self._lock:
            self._open_one = open_one
            names = {one.name for one in opened}
            removed = [self._workers.pop(name) for name in list(self._workers) if name not in names]
            for one in opened:
                worker = self._workers.get(one.name)
                if worker is not None:
                    worker.replace(one)
                else:
                    self._workers[one.name] = self._new_worker(one)
                    if self._running:
                        self._workers[one.name].start()
        _stop(removed, REMOVED_SECONDS)

    def start(self) -> None:
        with self._lock:
            self._running = True
            for worker in self._workers.values():
                worker.start()

    def stop(self, seconds: float) -> None:
        """Let every worker finish what it sends, for so long at most; what waits stays queued."""
        with self._lock:
            self._running = False
            workers = list(self._workers.values())
        _stop(workers, seconds)

    def wake(self) -> None:
        """Something may wait for some channel."""
        for worker in self._all():
            worker.wake()

    def supervise(self) -> None:
        """Replace workers that hang or whose thread ended, each with a channel opened anew."""
        with self._lock:
            if not self._running or self._open_one is None:
                return
            for name, worker in list(self._workers.items()):
                if not worker.hung and worker.alive:
                    continue
                log.error("the worker of a channel hangs; it is replaced", extra={"channel": name})
                self._on_hung()
                settings = worker.opened.settings
                channel = self._open_one(name, settings)
                worker.abandon()
                self._workers[name] = self._new_worker(OpenChannel(name, settings, channel))
                self._workers[name].start()

    def test(self, channel: str, notification: Notification, seconds: float | None = None) -> Receipt:
        """Send a test message at once.

        Raises
        ------
        NotFoundError
            There is no such channel.
        DeliveryError
            It was not delivered, or not within this time (by default twice the channel's `timeout`).
        """
        with self._lock:
            worker = self._workers.get(channel)
        if worker is None:
            known = ", ".join(sorted(self._workers))
            raise NotFoundError(f"there is no channel {channel[:100]}; known are {known}")
        patience = 2 * worker.opened.settings.timeout + 5.0 if seconds is None else seconds
        job = Trial(notification)
        worker.submit(job)
        return _outcome(job.outcome, patience)

    def _all(self) -> list[Worker]:
        with self._lock:
            return list(self._workers.values())


def _outcome(future: Future[Receipt], patience: float) -> Receipt:
    try:
        return future.result(patience)
    except FutureTimeoutError:
        if future.cancel():
            raise TemporaryDeliveryError(
                f"the channel was busy with another message for {patience:g} s; the test was not sent"
            ) from None
        raise TemporaryDeliveryError(
            f"the channel gave no answer within {patience:g} s; the test may still arrive", uncertain=True
        ) from None


def _stop(workers: Collection[Worker], seconds: float) -> None:
    for worker in workers:
        worker.stop()
    deadline = time.monotonic() + seconds
    for worker in workers:
        if not worker.join(deadline - time.monotonic()):
            log.warning(
                "a channel was still sending; its message is sent again", extra={"channel": worker.name}
            )
            worker.abandon()
