"""Alerts to an Alertmanager's API (version 2), sent again while they fire, as Prometheus does."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from exporter.alerts.records import Alert
from exporter.clock import Clock
from exporter.errors import (
    ConfigurationError,
    DeliveryError,
    PermanentDeliveryError,
    TemporaryDeliveryError,
)

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0
REPEAT_SECONDS: Final = 60.0
"""Alertmanager forgets alerts when it restarts: what fires is sent again so often."""
RETRY_SECONDS: Final = 5.0
MOST_KEPT: Final = 10_000
"""Alerts that the history holds, and that may wait for an Alertmanager which cannot be reached."""
_AT_ONCE = 500
_LOOK_SECONDS = 0.2

_Key = tuple[tuple[str, str], ...]


class AlertmanagerWay:
    """Posts alerts, and keeps in memory what could not be posted yet. Nothing survives the process.

    Parameters
    ----------
    url : str
        Of Alertmanager's root; may hold a user and a password.
    lasting : float
        Alertmanager takes an alert that was not sent again for so many seconds as resolved.
    """

    def __init__(
        self,
        url: str,
        *,
        lasting: float,
        clock: Clock,
        repeat_seconds: float = REPEAT_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            problem = "expected a URL that begins with http:// or https://"
            raise ConfigurationError(f"alertmanager_url: {problem}", [("alertmanager_url", problem)])
        self._where = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
        self._url = f"{url.rstrip('/')}/api/v2/alerts"
        self._lasting = lasting
        self._clock = clock
        self._repeat_seconds = repeat_seconds
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._posting = threading.Lock()
        self._known: dict[_Key, Alert] = {}
        """What fires, by its labels."""
        self._waiting: dict[_Key, Alert] = {}
        self._lives: OrderedDict[tuple[_Key, float], dict[str, Any]] = OrderedDict()
        self._retry_at = 0.0
        self._repeat_at = time.monotonic() + repeat_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alertmanager-sender", daemon=True)
        self._thread.start()

    def firing(self, model: str) -> list[Alert]:
        del model
        return []

    def send(self, alerts: Sequence[Alert]) -> None:
        """Post at once; what cannot be taken now is tried again by itself until the manager is closed.

        Raises
        ------
        PermanentDeliveryError
            Alertmanager refused them.
        """
        for alert in alerts:
            self._note(alert)
        with self._lock:
            self._waiting |= {_key(alert): alert for alert in alerts}
            while len(self._waiting) > MOST_KEPT:
                self._waiting.pop(next(iter(self._waiting)))
        if time.monotonic() < self._retry_at:
            return
        try:
            self._post_waiting()
        except TemporaryDeliveryError as error:
            logger.warning(
                "an alert waits for Alertmanager; it is tried again", extra={"problem": error.message}
            )

    def flush(self, seconds: float) -> int:
        """Post what waits, trying again for so many seconds; gives how many alerts still wait."""
        until = time.monotonic() + seconds
        while True:
            with suppress(DeliveryError):
                self._post_waiting()
            with self._lock:
                count = len(self._waiting)
            if not count or time.monotonic() >= until:
                return count
            self._stop.wait(min(_LOOK_SECONDS, max(0.0, until - time.monotonic())))

    def close(self, seconds: float) -> list[str]:
        left = self.flush(seconds)
        self._stop.set()
        self._thread.join(CONNECT_SECONDS + ANSWER_SECONDS)
        if not left:
            return []
        return [f"{left} alerts were not taken by Alertmanager at {self._where}, and are lost"]

    def alerts(self, model: str) -> list[dict[str, Any]]:
        del model
        with self._lock:
            return [dict(life) for life in self._lives.values()]

    def notifications(self, model: str) -> list[dict[str, Any]]:
        """None: whom Alertmanager notifies is not known here."""
        del model
        return []

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            now = time.monotonic()
            with self._lock:
                if now >= self._repeat_at:
                    self._repeat_at = now + self._repeat_seconds
                    self._waiting = {**self._known, **self._waiting}
                if not self._waiting or now < self._retry_at:
                    continue
            try:
                self._post_waiting()
            except DeliveryError as error:
                logger.debug("alerts wait for Alertmanager", extra={"problem": error.message})

    def _post_waiting(self) -> None:
        """Post what waits; one thread at a time, so that the last word on an alert is said last."""
        with self._posting:
            while True:
                with self._lock:
                    batch = dict(list(self._waiting.items())[:_AT_ONCE])
                if not batch:
                    return
                try:
                    self._post(list(batch.values()))
                except PermanentDeliveryError:
                    self._forget(batch)
                    raise
                except TemporaryDeliveryError:
                    self._retry_at = time.monotonic() + self._retry_seconds
                    raise
                self._forget(batch)

    def _forget(self, batch: dict[_Key, Alert]) -> None:
        with self._lock:
            for key, alert in batch.items():
                if self._waiting.get(key) is alert:
                    del self._waiting[key]

    def _post(self, alerts: list[Alert]) -> None:
        try:
            with requests.Session() as session:
                answer = session.post(
                    self._url,
                    json=[self._payload(alert) for alert in alerts],
                    timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                    allow_redirects=False,
                )
        except (requests.RequestException, OSError) as error:
            raise TemporaryDeliveryError(
                f"Alertmanager at {self._where} cannot be reached ({type(error).__name__})", uncertain=True
            ) from None
        if answer.ok:
            return
        if answer.status_code == 429 or answer.status_code >= 500:
            raise TemporaryDeliveryError(f"Alertmanager at {self._where} answered {answer.status_code}")
        raise PermanentDeliveryError(
            f"Alertmanager at {self._where} refused the alert with {answer.status_code}: "
            f"{' '.join(answer.text.split())[:200]}"
        )

    def _payload(self, alert: Alert) -> dict[str, Any]:
        ends_at = alert.ends_at if alert.ends_at is not None else self._clock.time() + self._lasting
        return {
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": _rfc3339(alert.starts_at),
            "endsAt": _rfc3339(ends_at),
            **({"generatorURL": alert.generator_url} if alert.generator_url else {}),
        }

    def _note(self, alert: Alert) -> None:
        """Keep what fires, and write the history."""
        key = _key(alert)
        with self._lock:
            if alert.firing:
                self._known[key] = alert
            else:
                self._known.pop(key, None)
            self._lives[key, alert.starts_at] = {
                "name": alert.name,
                "model": alert.model,
                "version": alert.labels.get("version", ""),
                "severity": alert.severity.text,
                "state": "firing" if alert.firing else "resolved",
                "labels": dict(alert.labels),
                "annotations": dict(alert.annotations),
                "starts_at": alert.starts_at,
                "resolved_at": alert.ends_at,
                "last_seen": self._clock.time(),
            }
            while len(self._lives) > MOST_KEPT:
                self._lives.popitem(last=False)


def _key(alert: Alert) -> _Key:
    return tuple(sorted(alert.labels.items()))


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
