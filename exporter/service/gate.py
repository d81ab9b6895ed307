"""Many at a time, or one alone: ingestion shares a model's gate, a change of its grid closes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """A lock that is shared or exclusive.

    Whoever waits for it alone goes before newcomers; then those who waited meanwhile go before the next.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0
        self._waiting_shared = 0
        self._passing = 0
        """Of those who wait for their share: how many may enter before the next one alone."""
        self._waiting_alone = 0
        self._alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._condition:
            self._waiting_shared += 1
            try:
                self._condition.wait_for(self._may_share)
                self._passing = max(0, self._passing - 1)
                self._inside += 1
            finally:
                self._waiting_shared -= 1
        try:
            yield
        finally:
            with self._condition:
                self._inside -= 1
                self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._condition:
            self._waiting_alone += 1
            try:
                self._condition.wait_for(self._may_be_alone)
                self._alone = True
            finally:
                self._waiting_alone -= 1
        try:
            yield
        finally:
            with self._condition:
                self._alone = False
                self._passing = self._waiting_shared
                self._condition.notify_all()

    def _may_share(self) -> bool:
        return not self._alone and (self._passing > 0 or not self._waiting_alone)

    def _may_be_alone(self) -> bool:
        return not self._alone and not self._inside and not min(self._passing, self._waiting_shared)
