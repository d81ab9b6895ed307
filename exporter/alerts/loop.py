"""A thread that does a thing again and again, and does not end because the thing failed once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

LONGEST_SLEEP_SECONDS = 1.0
"""Nobody sleeps longer without a look at the clock: it may have been set."""

PAUSE_AFTER_FAILURE_SECONDS = 1.0


class Loop:
    """Runs a step, sleeps as long as it says, and runs it again; sooner when woken.

    Parameters
    ----------
    name : str
        Of the thread and of the operation in `ml_bridge_errors_total`.
    step : callable
        Returns the seconds until there is something to do.
    on_error : callable
        Told of every failure, which is logged here.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float],
        *,
        on_error: Callable[[], None],
        longest_sleep: float = LONGEST_SLEEP_SECONDS,
    ) -> None:
        self.name = name
        self._step = step
        self._on_error = on_error
        self._longest = longest_sleep
        self._condition = threading.Condition()
        self._poked = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do now."""
        with self._condition:
            self._poked = True
            self._condition.notify_all()

    def stop(self) -> None:
        """Take no further step; the one that runs is finished."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; False when it still runs."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def pause(self, seconds: float) -> bool:
        """Sleep inside a step; False when the thread is to stop."""
        with self._condition:
            self._condition.wait_for(lambda: self._stopping, timeout=seconds)
            return not self._stopping

    def _run(self) -> None:
        while True:
            try:
                seconds = self._step()
            except BaseException:  # whatever a library raises: this thread is the only one for its work
                log.exception("a step failed; it is tried again", extra={"operation": self.name})
                self._on_error()
                seconds = PAUSE_AFTER_FAILURE_SECONDS
            if not self._sleep(seconds):
                return

    def _sleep(self, seconds: float) -> bool:
        with self._condition:
            if seconds > 0:
                self._condition.wait_for(
                    lambda: self._poked or self._stopping, timeout=min(seconds, self._longest)
                )
            self._poked = False
            return not self._stopping
