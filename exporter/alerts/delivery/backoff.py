"""How long to wait after a failure."""

from __future__ import annotations

import random

FIRST_SECONDS = 5.0
LONGEST_SECONDS = 600.0


class Backoff:
    """Exponential backoff with full jitter: a random time up to a bound that doubles with every attempt.

    Parameters
    ----------
    chance : random.Random
    first_seconds, longest_seconds : float
        The bound after the first failure, and the largest.
    least_ratio : float in [0, 1]
        Of the bound, that is waited at least, so that a retry never follows at once.
    """

    def __init__(
        self,
        chance: random.Random | None = None,
        *,
        first_seconds: float = FIRST_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
        least_ratio: float = 0.1,
    ) -> None:
        self._chance = chance or random.SystemRandom()
        self._first = first_seconds
        self._longest = longest_seconds
        self._least = least_ratio

    def bound(self, failures: int) -> float:
        """The longest wait after so many failures in a row, in seconds."""
        doublings = min(max(failures - 1, 0), 60)
        return min(self._longest, self._first * 2.0**doublings)

    def seconds(self, failures: int) -> float:
        """A wait after so many failures in a row."""
        bound = self.bound(failures)
        return self._chance.uniform(self._least * bound, bound)
