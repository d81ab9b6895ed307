"""Alerts from Python code: the same routing, aggregation, channels and store as the bridge."""

from __future__ import annotations

import atexit
import logging
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd

from exporter.alerts.config import SeverityName
from exporter.alerts.records import Alert
from exporter.alerts.sending import Way
from exporter.alerts.sending.alertmanager import AlertmanagerWay
from exporter.alerts.sending.configuration import duration_text, manager_config
from exporter.alerts.sending.frames import history_frame, notifications_frame
from exporter.alerts.sending.in_process import InProcessWay
from exporter.alerts.sending.making import checked_labels, checked_type, make_alert
from exporter.clock import Clock, SystemClock
from exporter.durations import parse_duration
from exporter.errors import ConfigurationError

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0
_EXPIRY_SECONDS = 30.0
_FOREVER = 365 * 86_400.0


class AlertManager:
    """Tells people of what your code finds, and remembers it.

    A bridge runs in this process: alerts go through its routes to its channels, changes of a group are
    collected for the aggregation window (1 hour; critical alerts go at once), and everything is in
    :attr:`history`. With `alertmanager_url` alerts go to an Alertmanager instead, which groups and delivers.

    An alert fires until :meth:`resolve` ends it. The same alert again, same labels and message, while it
    fires is no second alert: within `deduplicate_for` (30 minutes) nothing more is told, later a reminder.
    After `resolve_after` without a repetition it counts as resolved.

    Parameters
    ----------
    model_name : str
        The label `model` of every alert.
    email_config : mapping, optional
        Keys of the email channel: `smtp_server`, `from` and `to` are needed; `smtp_port`, `tls`, `username`,
        `password` or `password_file`, `cc`, `ca_file`, `timeout`, `charts`, `send_resolved`, `give_up_after`.
    slack_webhook : str or mapping, optional
        URL of an incoming webhook, or keys of the Slack channel (`bot_token` and `channel`, for threads).
    config : mapping or path, optional
        A whole configuration of the bridge, in place of the two above.
    storage_path : path, optional
        Directory of the store: history, open groups and what could not be delivered outlive the process. One
        process at a time. Without it the store is temporary and gone after :meth:`close`.
    alertmanager_url : str, optional
        Post to this Alertmanager instead of delivering here; excludes all channels. What it cannot take now
        waits in memory and is tried again until :meth:`close`; it does not outlive the process.
    aggregation_window : float or str, optional
        Seconds, or a duration such as `"10m"`.
    severity_levels : sequence of {"info", "warning", "critical"}, optional
        What is told of; other alerts are in the history only.
    labels : mapping of str to str, optional
        Labels of every alert, such as `team`.
    resolve_after : float, str or None
        Seconds or a duration; None: never.

    Raises
    ------
    ConfigurationError
        A setting is wrong; `problems` lists (path, message).
    StoreError
        The store cannot be opened, or another process holds it.

    Notes
    -----
    Every method may be called from any thread. Use it as a context manager, or call :meth:`close`; at exit
    of the interpreter that happens by itself.

    Examples
    --------
    >>> with AlertManager("churn", config={"channels": {}}) as alerts:
    ...     alerts.send_alert("drift", "age has drifted", severity="warning", value=0.31, threshold=0.2)
    ...     alerts.resolve("drift")
    ...     alerts.history[["alert_type", "severity", "state", "message"]]
    1
      alert_type severity     state          message
    0      drift  warning  resolved  age has drifted
    """

    def __init__(
        self,
        model_name: str,
        email_config: Mapping[str, Any] | None = None,
        slack_webhook: str | Mapping[str, Any] | None = None,
        *,
        config: Mapping[str, Any] | str | Path | None = None,
        storage_path: str | Path | None = None,
        alertmanager_url: str | None = None,
        aggregation_window: float | str | None = None,
        severity_levels: Sequence[SeverityName] | None = None,
        labels: Mapping[str, str] | None = None,
        resolve_after: float | str | None = "24h",
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(model_name, str) or not model_name:
            raise ValueError(f"expected a name of the model as text, but {model_name!r} came")
        self._model = model_name
        self._labels = checked_labels(labels or {})
        self._clock = clock or SystemClock()
        self._resolve_after = _seconds(resolve_after, "resolve_after")
        self._lock = threading.Lock()
        self._closed = False
        self._way: Way
        if alertmanager_url is not None:
            given = {
                "email_config": email_config,
                "slack_webhook": slack_webhook,
                "config": config,
                "storage_path": storage_path,
                "aggregation_window": aggregation_window,
                "severity_levels": severity_levels,
            }
            _refuse_beside(given, "alertmanager_url", "Alertmanager groups, delivers and remembers")
            lasting = self._resolve_after or _FOREVER
            self._way = AlertmanagerWay(alertmanager_url, lasting=lasting, clock=self._clock)
        else:
            settings = manager_config(
                config,
                email_config=email_config,
                slack_webhook=slack_webhook,
                aggregation_window=aggregation_window,
                severity_levels=severity_levels,
            )
            if not settings.channels and config is None:
                warnings.warn(
                    "no channel is configured: alerts are kept in the history, and nobody is told of them "
                    "(give email_config, slack_webhook, config or alertmanager_url)",
                    stacklevel=2,
                )
            self._way = InProcessWay(settings, storage_path, clock=self._clock)
        try:
            now = self._clock.time()
            self._firing = {alert.fingerprint: (alert, now) for alert in self._way.firing(self._model)}
            """What fires, and when it was said last."""
        except BaseException:
            self._way.close(0.0)
            raise
        self._stop = threading.Event()
        self._expiry = threading.Thread(target=self._expire_again, name="alert-expiry", daemon=True)
        self._expiry.start()
        atexit.register(self.close)

    def send_alert(
        self,
        alert_type: str,
        message: str,
        severity: SeverityName = "warning",
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        value: float | None = None,
        threshold: float | None = None,
    ) -> None:
        """Raise an alert, or say once more that it fires. It is kept when this returns.

        Parameters
        ----------
        alert_type : str
            What it is about, such as `"drift"`: the label `alertname`.
        message : str
            For people; its first line is the summary.
        severity : {"info", "warning", "critical"}
        labels : mapping of str to str, optional
            What tells it apart from others of its type, such as `column`, `version` or `window`.
        annotations : mapping of str to str, optional
            Further texts for the message: `dashboard_url`, `runbook_url`, ...
        value, threshold : float, optional
            What was measured, and what it was compared with.

        Raises
        ------
        ValueError
            A severity or a label that cannot be used.
        StorageUnavailableError
            The disk is full or fails; nothing was kept.
        PermanentDeliveryError
            The Alertmanager of `alertmanager_url` refused it.
        """
        alert = make_alert(
            self._model,
            alert_type,
            message,
            severity,
            labels={**self._labels, **checked_labels(labels or {})},
            annotations=annotations or {},
            value=value,
            threshold=threshold,
        )
        with self._lock:
            self._require_open()
            now = self._clock.time()
            known = self._firing.get(alert.fingerprint)
            alert = replace(alert, starts_at=_milliseconds(now) if known is None else known[0].starts_at)
            self._way.send([alert])
            self._firing[alert.fingerprint] = (alert, now)

    def resolve(self, alert_type: str, *, labels: Mapping[str, str] | None = None) -> int:
        """End every firing alert of this type that has these labels; gives how many there were."""
        wanted = {"alertname": checked_type(alert_type), **checked_labels(labels or {})}
        with self._lock:
            self._require_open()
            ended = [
                alert for alert, _ in self._firing.values() if wanted.items() <= dict(alert.labels).items()
            ]
            self._end(ended)
        return len(ended)

    def flush(self, timeout: float = CLOSE_SECONDS) -> int:
        """Send now what is being collected, without waiting for the end of any window.

        Waits for so many seconds at most, and gives the number of messages that still wait then.
        """
        self._require_open()
        return self._way.flush(timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Send what is being collected or waits, for so many seconds at most, and stop.

        What could not be sent is logged as a warning: with `storage_path` it is sent when the store is opened
        again. Closing twice does nothing.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        self._stop.set()
        for sentence in self._way.close(timeout):
            logger.warning("%s", sentence)
        self._expiry.join(timeout)

    @property
    def history(self) -> pd.DataFrame:
        """Alerts of the model, oldest first: a row for each time that one fired.

        Columns: `id` (Int64), `alert_type`, `severity`, `message`, `state` (`firing`, `resolved`), `model`,
        `version` (str), `value`, `threshold` (float64, NaN where not given), `started`, `ended`, `last_seen`
        (datetime64[ns, UTC], NaT while it fires), `labels`, `annotations` (dict).
        """
        return history_frame(self._way.alerts(self._model))

    @property
    def notifications(self) -> pd.DataFrame:
        """What was told to whom, oldest first: a row for each message and channel.

        Columns: `id`, `kind`, `severity`, `channel`, `state` (`queued`, `leased`, `delivered`, `dead`) (str),
        `attempts` (Int64), `created`, `finished` (datetime64[ns, UTC]), `alerts` (Int64), `error`, `detail`
        (str, empty when there is none). Empty with `alertmanager_url`.
        """
        return notifications_frame(self._way.notifications(self._model))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"AlertManager({self._model!r})"

    def _end(self, alerts: Sequence[Alert]) -> None:
        if not alerts:
            return
        now = self._clock.time()
        self._way.send([replace(a, firing=False, ends_at=max(now, a.starts_at)) for a in alerts])
        for alert in alerts:
            self._firing.pop(alert.fingerprint, None)

    def _expire_again(self) -> None:
        while not self._stop.wait(_EXPIRY_SECONDS):
            try:
                self.expire()
            except Exception:
                logger.exception("alerts that were not repeated could not be ended")

    def expire(self) -> int:
        """End what was not said again for `resolve_after`; happens by itself. Gives how many ended."""
        with self._lock:
            if self._closed or self._resolve_after is None:
                return 0
            limit = self._clock.time() - self._resolve_after
            old = [alert for alert, said in self._firing.values() if said <= limit]
            self._end(old)
        return len(old)

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError("this AlertManager is closed")


def _seconds(given: float | str | None, name: str) -> float | None:
    if given is None:
        return None
    try:
        found = parse_duration(duration_text(given))
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}", [(name, str(error))]) from None
    if found <= 0:
        problem = "expected a duration above 0, or None"
        raise ConfigurationError(f"{name}: {problem}", [(name, problem)])
    return found


def _refuse_beside(given: Mapping[str, object], other: str, why: str) -> None:
    problems = [
        (name, f"cannot be used with {other}: {why}") for name, value in given.items() if value is not None
    ]
    if problems:
        raise ConfigurationError("; ".join(f"{name} {text}" for name, text in problems), problems)


def _milliseconds(seconds: float) -> float:
    return seconds * 1000 // 1 / 1000
