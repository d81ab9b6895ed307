"""Programs that run until a signal comes."""

from __future__ import annotations

import logging
import queue
import signal
from types import FrameType
from typing import Protocol

logger = logging.getLogger(__name__)


class Program(Protocol):
    """What runs until it is stopped, and can read its configuration again."""

    def start(self) -> None: ...
    def reload(self) -> None: ...
    def stop(self, drain_seconds: float = 30.0) -> None: ...


def run_until_signal(program: Program, drain_seconds: float, *, reloads: bool = False) -> None:
    """Start, wait for SIGTERM or SIGINT, and stop; a second signal ends the process at once.

    Where it `reloads`, SIGHUP makes it do so.
    """
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        if number != signal.SIGHUP:
            signal.signal(number, signal.SIG_DFL)
        asked.put(number)

    for listened in (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if reloads else [])):
        signal.signal(listened, ask)
    try:
        program.start()
        while (number := asked.get()) == signal.SIGHUP:
            program.reload()
        logger.info("stopping", extra={"signal": signal.Signals(number).name})
    finally:
        program.stop(drain_seconds)
    logger.info("stopped")
