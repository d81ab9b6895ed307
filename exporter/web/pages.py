"""The exporter's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from exporter.web.api import visible_models
from exporter.web.auth import Caller
from exporter.web.html import moment_text, page
from exporter.web.protocol import ServiceProtocol

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ml-exporter</title>
<style>{{ style|safe }}</style>
</head>
<body>
<main>
<h1>ml-exporter</h1>
<p><a href="/metrics">Metrics</a> · <a href="/api/v1/models">Models (JSON)</a> ·
<a href="/runbooks/">Runbooks</a> · <a href="/api/v1/alerts">Alerts (JSON)</a> ·
<a href="/api/v1/openapi.json">OpenAPI</a></p>
{% if rows %}
<div class="scroll"><table>
<thead><tr><th scope="col">Model</th><th scope="col">State</th><th scope="col">Baseline</th>
<th scope="col">Versions</th><th scope="col">Windows</th><th scope="col">Last batch</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><td><a href="/api/v1/models/{{ row.name|urlencode }}">{{ row.name }}</a><br>
<span class="quiet">{{ row.task }}</span></td>
<td>{{ row.state }}<br><a href="/api/v1/models/{{ row.name|urlencode }}/status">status</a></td>
<td>{{ row.baseline }}</td><td>{{ row.versions }}</td><td>{{ row.windows }}</td>
<td>{{ row.last_batch }}</td></tr>
{% endfor %}
</tbody></table></div>
{% else %}
<p>No model is configured, or none that you may see.</p>
{% endif %}
</main>
</body>
</html>
"""


class Pages:
    """Handler of the exporter's page."""

    def __init__(self, service: ServiceProtocol) -> None:
        self._service = service

    def overview(self, caller: Caller) -> Response:
        return page(_PAGE, rows=[_row(model) for model in visible_models(self._service, caller)])


def _row(model: Mapping[str, Any]) -> dict[str, str]:
    baseline = str(model.get("baseline") or "none yet")
    return {
        "name": str(model["model"]),
        "task": str(model.get("task", "")),
        "versions": ", ".join(map(str, model.get("versions") or ())) or "-",
        "state": _state(model),
        "baseline": f"{baseline} (provisional)" if model.get("provisional") else baseline,
        "windows": ", ".join(map(str, model.get("windows") or ())),
        "last_batch": moment_text(model.get("last_batch")),
    }


def _state(model: Mapping[str, Any]) -> str:
    """What a person should know first about a model."""
    if model.get("reason"):
        return str(model["reason"])
    if model.get("last_batch") is None:
        return "no rows yet"
    parts = []
    if drifted := model.get("drifted_columns"):
        parts.append(f"drifted: {', '.join(map(str, drifted))}")
    if degraded := model.get("degraded_metrics"):
        parts.append(f"degraded: {', '.join(map(str, degraded))}")
    return "; ".join(parts) or "no drift, no degradation"
