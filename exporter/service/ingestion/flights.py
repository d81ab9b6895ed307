"""What is on its way to disk: requests that share an id go one after another, all others together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


class Flights:
    """The ids of the requests whose commits are under way.

    Whether a row repeats another, and whether a label is new or a correction, must not be judged by a commit
    that may still fail: what was judged so would be acknowledged, and lost.
    """

    def __init__(self) -> None:
        self._landed = threading.Condition()
        self._under_way: list[Hashes] = []

    @contextmanager
    def of(self, hashes: Hashes | None) -> Iterator[None]:
        """Wait until no request with any of these ids is under way, then keep others with them waiting.

        Whoever is inside must not ask for another flight. None, or no hashes, waits for nobody.
        """
        if hashes is None or not hashes.size:
            yield
            return
        mine = np.sort(hashes)
        with self._landed:
            self._landed.wait_for(lambda: not any(_share(mine, other) for other in self._under_way))
            self._under_way.append(mine)
        try:
            yield
        finally:
            with self._landed:
                self._under_way = [other for other in self._under_way if other is not mine]
                self._landed.notify_all()

    def __len__(self) -> int:
        return len(self._under_way)


def _share(one: Hashes, other: Hashes) -> bool:
    """Whether two ascending arrays have a value in common."""
    few, many = (one, other) if one.size <= other.size else (other, one)
    place = np.minimum(np.searchsorted(many, few), many.size - 1)
    return bool((many[place] == few).any())
