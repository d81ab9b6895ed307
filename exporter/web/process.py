"""What a scraper and a probe ask for: the exposition, health, readiness, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from flask import Response, request

from exporter.exposition import negotiate
from exporter.web.answers import json_bytes
from exporter.web.protocol import SnapshotProtocol

_PLAIN = "text/plain; charset=utf-8"


class Exposed(Protocol):
    """What is exposed, and whether work is taken."""

    @property
    def ready(self) -> bool: ...
    def snapshot(self) -> SnapshotProtocol: ...


class Process:
    """Handlers that every program of ours has; `document` is OpenAPI's."""

    def __init__(self, exposed: Exposed, document: Mapping[str, Any]) -> None:
        self._exposed = exposed
        self._document = json_bytes(document)

    def metrics(self) -> Response:
        form = negotiate(request.headers.get("Accept"), request.headers.get("Accept-Encoding"))
        return Response(getattr(self._exposed.snapshot(), form.attribute), headers=form.headers)

    def openapi(self) -> Response:
        return Response(self._document, content_type="application/json")

    def healthy(self) -> Response:
        return Response("healthy\n", content_type=_PLAIN)

    def ready(self) -> Response:
        if self._exposed.ready:
            return Response("ready\n", content_type=_PLAIN)
        return Response("not ready\n", status=503, content_type=_PLAIN)
