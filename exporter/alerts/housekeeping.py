"""What the bridge does by itself now and then; each chore fails alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exporter.clock import Clock

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Chore:
    """Something to do every so often; `every` of 0 seconds is never."""

    name: str
    every: Callable[[], float]
    work: Callable[[float], object]
    """Called with the time."""
    last: float = -math.inf

    def due_in(self, now: float) -> float:
        every = self.every()
        if every <= 0:
            return math.inf
        if self.last > now:  # the clock was set back
            return 0.0
        return max(0.0, self.last + every - now)


class Housekeeping:
    """Runs chores when they are due. `step` is for :class:`exporter.alerts.loop.Loop`."""

    def __init__(self, chores: Sequence[Chore], clock: Clock, *, on_error: Callable[[str], None]) -> None:
        self._chores = chores
        self._clock = clock
        self._on_error = on_error

    def step(self) -> float:
        """Do what is due; gives the seconds until something is due again."""
        for chore in self._chores:
            now = self._clock.time()
            if chore.due_in(now) > 0:
                continue
            chore.last = now
            try:
                chore.work(now)
            except Exception:
                log.exception("a chore failed; it is tried again", extra={"operation": chore.name})
                self._on_error(chore.name)
        now = self._clock.time()
        return min((chore.due_in(now) for chore in self._chores), default=math.inf)
