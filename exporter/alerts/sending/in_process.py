"""Alerts to a bridge in this process."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exporter.alerts.bridge import Bridge
from exporter.alerts.config import BridgeConfig
from exporter.alerts.records import Alert
from exporter.alerts.sending.times import seconds_of
from exporter.clock import Clock

logger = logging.getLogger(__name__)

SOURCE = "python"
_PAGE = 1000
_STOP_SECONDS = 2.0
"""What stopping may take after the time for sending is over: a message under way is finished."""


class InProcessWay:
    """A bridge of its own; its store is temporary unless a directory is given."""

    def __init__(self, config: BridgeConfig, directory: str | Path | None, *, clock: Clock) -> None:
        self._kept = directory is not None
        self._directory = Path(directory or tempfile.mkdtemp(prefix="ml-exporter-alerts-"))
        try:
            self._bridge = Bridge(config, self._directory, clock=clock)
            self._bridge.start()
        except BaseException:
            self._remove()
            raise

    def firing(self, model: str) -> list[Alert]:
        return [
            Alert(
                fingerprint=str(found["fingerprint"]),
                firing=True,
                labels=found["labels"],
                annotations=found["annotations"],
                starts_at=seconds_of(found["starts_at"]) or 0.0,
            )
            for found in self._pages(self._bridge.alerts, "alerts", model=model, state="firing")
            if found.get("source") == SOURCE
        ]

    def send(self, alerts: Sequence[Alert]) -> None:
        self._bridge.accept(alerts, source=SOURCE)

    def flush(self, seconds: float) -> int:
        return self._bridge.flush(seconds)

    def close(self, seconds: float) -> list[str]:
        until = time.monotonic() + seconds
        try:
            left = self._bridge.flush(seconds)
            sentences = self._unsent(left)
            self._bridge.stop(max(_STOP_SECONDS, until - time.monotonic()))
        finally:
            self._remove()
        return sentences

    def alerts(self, model: str) -> list[dict[str, Any]]:
        return self._pages(self._bridge.alerts, "alerts", model=model)[::-1]

    def notifications(self, model: str) -> list[dict[str, Any]]:
        return self._pages(self._bridge.notifications, "notifications", model=model)[::-1]

    def _unsent(self, left: int) -> list[str]:
        waiting = f"{left} messages could not be sent yet" if left else ""
        if waiting and self._kept:
            return [f"{waiting}; they wait in {self._directory} for the next start"]
        dead = sum(
            delivery["state"] == "dead"
            for told in self._pages(self._bridge.notifications, "notifications", state="dead")
            for delivery in told["deliveries"]
        )
        given_up = "" if not dead or self._kept else f"{dead} messages were given up"
        return [f"{text}, and are lost with the temporary store" for text in (waiting, given_up) if text]

    def _remove(self) -> None:
        if not self._kept:
            shutil.rmtree(self._directory, ignore_errors=True)

    @staticmethod
    def _pages(ask: Callable[..., dict[str, Any]], key: str, **asked: Any) -> list[dict[str, Any]]:
        """Every entry that is asked for, newest first."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            answer = ask(limit=_PAGE, cursor=cursor, **asked)
            found += answer[key]
            cursor = answer.get("next")
            if cursor is None:
                return found
