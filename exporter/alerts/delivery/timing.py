"""How patient deliveries are; tests are less so."""

from __future__ import annotations

import random
from dataclasses import dataclass

from exporter.alerts.delivery.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff
from exporter.alerts.delivery.circuit import LONGEST_PAUSE_SECONDS, Circuit
from exporter.alerts.loop import LONGEST_SLEEP_SECONDS


@dataclass(frozen=True, slots=True)
class Timing:
    """Waits in seconds.

    Attributes
    ----------
    first, longest : float
        Bounds of the backoff of one delivery.
    longest_pause : float
        Of a channel that takes nothing, between two probes.
    longest_sleep : float
        Of any thread without a look at the clock.
    gauges : float
        Between two looks at the queues; what is dearer to look at has its turn every fifth time.
    """

    first: float = FIRST_SECONDS
    longest: float = LONGEST_SECONDS
    longest_pause: float = LONGEST_PAUSE_SECONDS
    longest_sleep: float = LONGEST_SLEEP_SECONDS
    gauges: float = 1.0

    def backoff(self) -> Backoff:
        """Of one channel's deliveries."""
        return Backoff(random.SystemRandom(), first_seconds=self.first, longest_seconds=self.longest)

    def circuit(self) -> Circuit:
        """Of one channel."""
        return Circuit(
            Backoff(
                random.SystemRandom(),
                first_seconds=min(self.first, self.longest_pause),
                longest_seconds=self.longest_pause,
                least_ratio=0.5,
            )
        )
