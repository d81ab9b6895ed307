"""What a browser and a probe see: the overview, health, readiness, the exposition, the OpenAPI document."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Response, render_template_string, request

from exporter.exposition import negotiate
from exporter.web.answers import json_bytes
from exporter.web.api import visible_models
from exporter.web.auth import Caller
from exporter.web.protocol import ServiceProtocol

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0; }
th, td { text-align: left; padding: .5rem .75rem; vertical-align: top; overflow-wrap: break-word;
  border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
th { font-weight: 600; white-space: nowrap; }
code { font-size: .9em; }
.quiet { opacity: .7; }
.scroll { overflow-x: auto; }
"""

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
    """Handlers of what is not the JSON API."""

    def __init__(self, service: ServiceProtocol, document: Mapping[str, Any]) -> None:
        self._service = service
        self._document = json_bytes(document)
        digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )

    def overview(self, caller: Caller) -> Response:
        rows = [_row(model) for model in visible_models(self._service, caller)]
        page = render_template_string(_PAGE, style=_STYLE, rows=rows)
        return Response(
            page, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": self._policy}
        )

    def metrics(self) -> Response:
        form = negotiate(request.headers.get("Accept"), request.headers.get("Accept-Encoding"))
        return Response(getattr(self._service.snapshot(), form.attribute), headers=form.headers)

    def openapi(self) -> Response:
        return Response(self._document, content_type="application/json")

    def healthy(self) -> Response:
        return Response("healthy\n", content_type="text/plain; charset=utf-8")

    def ready(self) -> Response:
        if self._service.ready:
            return Response("ready\n", content_type="text/plain; charset=utf-8")
        return Response("not ready\n", status=503, content_type="text/plain; charset=utf-8")


def _row(model: Mapping[str, Any]) -> dict[str, str]:
    baseline = str(model.get("baseline") or "none yet")
    return {
        "name": str(model["model"]),
        "task": str(model.get("task", "")),
        "versions": ", ".join(map(str, model.get("versions") or ())) or "-",
        "state": _state(model),
        "baseline": f"{baseline} (provisional)" if model.get("provisional") else baseline,
        "windows": ", ".join(map(str, model.get("windows") or ())),
        "last_batch": _moment(model.get("last_batch")),
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


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "none yet"
    return (
        datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")
    )
