"""Time between posts: Slack takes about one a second for each channel."""

from __future__ import annotations

import time


class Pace:
    """At least `seconds` between two posts."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = float("-inf")

    def wait(self) -> None:
        """Sleep until the next post may be made."""
        rest = self._last + self._seconds - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        self._last = time.monotonic()
