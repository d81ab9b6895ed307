"""At least so long between two sends, where the other side limits the rate."""

from __future__ import annotations


class Pacer:
    """Says when the next send may begin; a clock that goes back does not stop it."""

    def __init__(self, spacing_seconds: float) -> None:
        self._spacing = max(0.0, spacing_seconds)
        self._last: float | None = None

    def wait(self, now: float) -> float:
        """Seconds until a send may begin; 0 when it may now."""
        if self._last is None or now < self._last:
            return 0.0
        return max(0.0, self._last + self._spacing - now)

    def sent(self, now: float) -> None:
        """A send ended at this time."""
        self._last = now
