"""What of a notification in several posts has arrived, for the next attempt of the same process."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a notification got.

    Attributes
    ----------
    begun : bool
        Its first post is there.
    until : int
        Alerts that the posts which are there tell of.
    channel, root : str
        Where the thread is, when it began one.
    """

    begun: bool = False
    until: int = 0
    channel: str = ""
    root: str = ""


class ProgressOf:
    """The newest notifications that were not finished."""

    def __init__(self, most: int = 1000) -> None:
        self._kept: OrderedDict[str, Progress] = OrderedDict()
        self._most = most

    def get(self, notification: str) -> Progress | None:
        return self._kept.get(notification)

    def keep(self, notification: str, progress: Progress) -> None:
        self._kept[notification] = progress
        self._kept.move_to_end(notification)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def forget(self, notification: str) -> None:
        self._kept.pop(notification, None)
