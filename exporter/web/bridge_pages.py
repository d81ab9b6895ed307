"""The bridge's page: channels and their queues, what fires, and what was told of last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from exporter.clock import Clock
from exporter.durations import format_duration
from exporter.web.auth import Caller
from exporter.web.html import moment_text, page
from exporter.web.local_bridge import LocalBridge

_FIRING = 50
_TOLD = 20

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ml-exporter bridge</title>
<style>{{ style|safe }}</style>
</head>
<body>
<main>
<h1>ml-exporter bridge</h1>
<p><a href="/metrics">Metrics</a> · <a href="/api/v1/alerts">Alerts (JSON)</a> ·
<a href="/api/v1/notifications">Notifications (JSON)</a> · <a href="/runbooks/">Runbooks</a> ·
<a href="/api/v1/openapi.json">OpenAPI</a></p>
{% if channels %}
<h2>Channels</h2>
<div class="scroll"><table>
<thead><tr><th scope="col">Channel</th><th scope="col">Waiting</th><th scope="col">Given up</th>
<th scope="col">Last delivery</th></tr></thead>
<tbody>
{% for channel in channels %}
<tr><td>{{ channel.name }}<br><span class="quiet">{{ channel.type }}</span></td>
<td>{{ channel.queued }}<br><span class="quiet">{{ channel.oldest }}</span></td>
<td>{{ channel.dead }}</td><td>{{ channel.last_delivery }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
<h2>Firing</h2>
{% if firing %}
<div class="scroll"><table>
<thead><tr><th scope="col">Alert</th><th scope="col">Severity</th><th scope="col">Model</th>
<th scope="col">State</th><th scope="col">Since</th></tr></thead>
<tbody>
{% for alert in firing %}
<tr><td><a href="/api/v1/alerts/{{ alert.id }}">{{ alert.name }}</a><br>
<span class="quiet">{{ alert.summary }}</span></td>
<td>{{ alert.severity }}</td><td>{{ alert.model }}</td><td>{{ alert.state }}</td>
<td>{{ alert.since }}</td></tr>
{% endfor %}
</tbody></table></div>
{% if more %}
<p>There are more: <a href="/api/v1/alerts?state=firing&amp;limit=1000">all of them (JSON)</a>.</p>
{% endif %}
{% else %}
<p>Nothing fires, or nothing that you may see.</p>
{% endif %}
<h2>Last notifications</h2>
{% if told %}
<div class="scroll"><table>
<thead><tr><th scope="col">Time</th><th scope="col">Severity</th><th scope="col">Model</th>
<th scope="col">Of</th><th scope="col">Deliveries</th></tr></thead>
<tbody>
{% for one in told %}
<tr><td>{{ one.created }}</td><td>{{ one.severity }}</td><td>{{ one.model }}</td><td>{{ one.of }}</td>
<td>{% for delivery in one.deliveries %}{{ delivery }}<br>{% endfor %}</td></tr>
{% endfor %}
</tbody></table></div>
{% else %}
<p>Nobody was told of anything yet, or of nothing that you may see.</p>
{% endif %}
</main>
</body>
</html>
"""


class BridgePages:
    """Handler of the bridge's page; channels are shown to callers who may see every model."""

    def __init__(self, bridge: LocalBridge, clock: Clock) -> None:
        self._bridge = bridge
        self._clock = clock

    def overview(self, caller: Caller) -> Response:
        firing = self._bridge.alerts(state="firing", limit=_FIRING, models=caller.models)
        told = self._bridge.notifications(limit=_TOLD, models=caller.models)
        channels = self._bridge.channels() if caller.models is None else []
        return page(
            _PAGE,
            channels=[_channel(channel) for channel in channels],
            firing=[_alert(alert) for alert in firing["alerts"]],
            more=bool(firing.get("next")),
            told=[_notification(one) for one in told["notifications"]],
        )


def _channel(channel: Mapping[str, Any]) -> dict[str, str]:
    oldest = channel.get("oldest") or 0.0
    return {
        "name": str(channel["name"]),
        "type": str(channel["type"]),
        "queued": f"{channel.get('queued', 0):.0f}",
        "oldest": f"oldest: {format_duration(round(oldest))}" if oldest >= 1 else "",
        "dead": f"{channel.get('dead', 0):.0f}",
        "last_delivery": moment_text(channel.get("last_delivery") or None),
    }


def _alert(alert: Mapping[str, Any]) -> dict[str, str]:
    annotations = alert.get("annotations") or {}
    return {
        "id": str(alert["id"]),
        "name": str(alert.get("name") or "-"),
        "summary": str(annotations.get("summary", ""))[:300],
        "severity": str(alert.get("severity", "")),
        "model": str(alert.get("model") or "-"),
        "state": str(alert.get("state", "")),
        "since": _time(alert.get("starts_at")),
    }


def _notification(one: Mapping[str, Any]) -> dict[str, Any]:
    group = one.get("group") or {}
    labels = group.get("labels") or {}
    of = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return {
        "created": _time(one.get("created")),
        "severity": str(one.get("severity", "")),
        "model": ", ".join(map(str, one.get("models") or ())) or "-",
        "of": (of or str(one.get("kind", "")))[:300],
        "deliveries": [_delivery(delivery) for delivery in one.get("deliveries", ())],
    }


def _delivery(delivery: Mapping[str, Any]) -> str:
    text = f"{delivery.get('channel', '')}: {delivery.get('state', '')}"
    return f"{text} ({str(delivery['error'])[:200]})" if delivery.get("error") else text


def _time(moment: object) -> str:
    """An RFC 3339 time, or seconds, for people."""
    if isinstance(moment, int | float):
        return moment_text(float(moment))
    return str(moment or "-").replace("T", " ", 1).replace("Z", " UTC")
