"""How many threads may wait for slow clients at once.

Every wait for a client has a deadline, but a few dozen clients that use it up would hold every thread. So
only a bounded number of threads waits; when all of those do, a client that keeps another waiting is given up.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

GRACE_SECONDS = 0.02
"""Bytes that are on their way are waited for by anybody."""
_GLANCE_SECONDS = 0.001


class Patience:
    """At most `threads` wait at once for longer than the grace."""

    def __init__(self, threads: int) -> None:
        self._places = threading.Semaphore(threads)

    def wait(self, sock: socket.socket, operation: Callable[[], T], *, since: float, deadline: float) -> T:
        """The result of a socket operation that is to end until `deadline`.

        Parameters
        ----------
        sock : what `operation` reads or writes; its timeout is set
        since : monotonic seconds from which on the client has been waited for in all

        Raises
        ------
        TimeoutError
            At the deadline; after the grace when enough threads wait already.
        """
        now = time.monotonic()
        if now >= deadline:
            raise TimeoutError("timed out")
        sock.settimeout(min(deadline - now, max(since + GRACE_SECONDS - now, _GLANCE_SECONDS)))
        try:
            return operation()
        except TimeoutError:
            pass
        if not self._places.acquire(blocking=False):
            raise TimeoutError("timed out: too many slow clients")
        try:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("timed out")
            sock.settimeout(remaining)
            return operation()
        finally:
            self._places.release()
