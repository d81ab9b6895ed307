"""What Prometheus and Alertmanager would do with the shipped rules, for the demo that needs neither.

After each day the exporter is asked which metrics have dropped, and what changed goes to the bridge as
Alertmanager's webhook, so that the bridge has a year of alerts to show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from exporter.alerts.payload import fingerprint_of
from exporter.client import Client
from exporter.demo.replay import MODEL

BRIDGE = {"channels": {}, "aggregation_window": "0s", "retention": "1000d", "reconcile_every": "0s"}
"""Nothing to install, nobody to tell: alerts are kept in the history."""

Post = Callable[[bytes], object]
"""Takes a webhook's body."""


class Watch:
    """Tells the bridge of performance that drops and recovers.

    Parameters
    ----------
    client : of the exporter
    post : brings a webhook to the bridge
    window : of the performance that is looked at
    """

    def __init__(self, client: Client, post: Post, window: str) -> None:
        self._client = client
        self._post = post
        self._window = window
        self._firing: dict[str, dict[str, Any]] = {}

    def look(self, now: float) -> None:
        """Ask how the model does, and post what has changed since the last time."""
        answer = self._client.performance(MODEL, window=self._window)
        dropped = {
            alert["fingerprint"]: alert
            for result in answer["results"]
            for metric, found in result["metrics"].items()
            if found.get("degraded") and result.get("threshold") is not None
            for alert in [self._alert(result, metric, found, now)]
        }
        changed = [alert for key, alert in dropped.items() if key not in self._firing]
        ended = [alert for key, alert in self._firing.items() if key not in dropped]
        changed += [{**alert, "status": "resolved", "endsAt": _rfc3339(now)} for alert in ended]
        if changed:
            self._post(_webhook(changed))
        self._firing = {key: self._firing.get(key, alert) for key, alert in dropped.items()}

    def _alert(
        self, result: Mapping[str, Any], metric: str, found: Mapping[str, Any], now: float
    ) -> dict[str, Any]:
        drop, threshold = float(found["drop"]), float(result["threshold"])
        labels = {
            "alertname": "MLPerformanceDrop",
            "severity": "warning",
            "model": MODEL,
            "version": str(result["version"]),
            "window": self._window,
            "metric": metric,
        }
        return {
            "status": "firing",
            "labels": labels,
            "annotations": {
                "summary": f"Performance of model {MODEL} has dropped by more than is allowed",
                "description": f"{metric} of version {labels['version']} is {found['value']:.3g}, "
                f"{drop:.3g} worse than the baseline",
                "runbook_url": "http://127.0.0.1:10090/runbooks/MLPerformanceDrop",
                "measure": "performance",
                "value": repr(drop),
                "threshold": repr(threshold),
            },
            "startsAt": _rfc3339(now),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": fingerprint_of(labels),
        }


def _webhook(alerts: list[dict[str, Any]]) -> bytes:
    return orjson.dumps(
        {
            "version": "4",
            "receiver": "demo",
            "status": "firing",
            "groupKey": MODEL,
            "groupLabels": {"alertname": "MLPerformanceDrop", "model": MODEL},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "",
            "truncatedAlerts": 0,
            "alerts": alerts,
        }
    )


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
