"""When a channel takes nothing at all: wait, and try again with one message instead of with all of them."""

from __future__ import annotations

from exporter.alerts.delivery.backoff import Backoff

FAILURES_TO_OPEN = 3
"""Different deliveries that fail one after the other before the fault is taken to be the channel's."""

LONGEST_PAUSE_SECONDS = 60.0
"""A channel that works again is noticed within this time."""


class Circuit:
    """Closed while the channel works; open while it does not, and then one delivery a pause goes through.

    It opens at once when the channel says that nothing gets through, and when `FAILURES_TO_OPEN` different
    deliveries failed in a row. A wait that the other side asked for (Retry-After) pauses it without opening.
    """

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failed: set[int] = set()
        self._pauses = 0
        self._until = 0.0
        self.opened_at: float | None = None
        """Since when it is open; None while it is closed."""

    def wait(self, now: float) -> float:
        """Seconds until a delivery may be tried."""
        return max(0.0, self._until - now)

    def throttled(self, until: float) -> None:
        """The other side said when to come again."""
        self._until = max(self._until, until)

    def failed(self, delivery: int, now: float, *, whole_channel: bool) -> None:
        """A delivery failed in a way that may be the channel's fault."""
        if self.opened_at is None:
            self._failed.add(delivery)
            if whole_channel or len(self._failed) >= FAILURES_TO_OPEN:
                self.opened_at = now
        if self.opened_at is not None:
            self._pauses += 1
            self._until = max(self._until, now + self._backoff.seconds(self._pauses))

    def succeeded(self) -> bool:
        """A delivery got through; True when the circuit was open until now."""
        was_open = self.opened_at is not None
        self._failed.clear()
        self._pauses = 0
        self._until = 0.0
        self.opened_at = None
        return was_open
