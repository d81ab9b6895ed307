"""When a channel takes nothing at all: wait, and try again with one message instead of with all of them."""

from __future__ import annotations

from typing import NamedTuple

from exporter.alerts.delivery.backoff import Backoff

FAILURES_TO_OPEN = 3
"""Different deliveries that fail one after the other before the fault is taken to be the channel's."""

LONGEST_PAUSE_SECONDS = 60.0
"""A channel that works again is noticed within this time."""


class Wait(NamedTuple):
    """So many seconds from a time on; over when the clock is set back before that."""

    since: float = 0.0
    seconds: float = 0.0

    def left(self, now: float) -> float:
        return 0.0 if now < self.since else max(0.0, self.since + self.seconds - now)


class Circuit:
    """Closed while the channel works; open while it does not, and then one delivery a pause goes through.

    It opens at once when the channel says that nothing gets through, and when `FAILURES_TO_OPEN` different
    deliveries failed in a row. A wait that the other side asked for (Retry-After) pauses it without opening.
    """

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failed: set[int] = set()
        self._pauses = 0
        self._probe = Wait()
        self._throttle = Wait()
        self.opened_at: float | None = None
        """Since when it is open; None while it is closed."""

    def wait(self, now: float) -> float:
        """Seconds until a delivery may be tried."""
        return max(self._probe.left(now), self._throttle.left(now))

    def throttled(self, now: float, seconds: float) -> None:
        """The other side said when to come again; that holds whatever else succeeds."""
        self._throttle = Wait(now, max(seconds, self._throttle.left(now)))

    def failed(
        self, delivery: int, now: float, *, whole_channel: bool, pause_seconds: float | None = None
    ) -> None:
        """A delivery failed in a way that may be the channel's fault; perhaps with a pause it asked for."""
        if self.opened_at is None:
            self._failed.add(delivery)
            if whole_channel or len(self._failed) >= FAILURES_TO_OPEN:
                self.opened_at = now
        if self.opened_at is not None:
            self._pauses += 1
            pause = self._backoff.seconds(self._pauses) if pause_seconds is None else pause_seconds
            self._probe = Wait(now, pause)

    def renewed(self) -> bool:
        """The channel is another one now; True when the last one was open or paused until now."""
        was_paused = self._throttle.seconds > 0
        self._throttle = Wait()
        return self.succeeded() or was_paused

    def succeeded(self) -> bool:
        """A delivery got through; True when the circuit was open until now."""
        was_open = self.opened_at is not None
        self._failed.clear()
        self._pauses = 0
        self._probe = Wait()
        self.opened_at = None
        return was_open
