"""The operations that every program of ours has: what a browser, a scraper and a probe ask for."""

from __future__ import annotations

from exporter.web.operation import METRICS_TYPES, Operation, Scope

PROCESS_OPERATIONS: tuple[Operation, ...] = (
    Operation("openapi", "GET", "/api/v1/openapi.json", Scope.READ, "This document."),
    Operation(
        "metrics",
        "GET",
        "/metrics",
        Scope.METRICS,
        "The exposition, as text or OpenMetrics.",
        None,
        produces=METRICS_TYPES,
    ),
    Operation(
        "healthy", "GET", "/-/healthy", None, "200 while the process lives.", None, produces=("text/plain",)
    ),
    Operation(
        "ready",
        "GET",
        "/-/ready",
        None,
        "200 once the store is recovered.",
        None,
        answers={200: "Ready.", 503: "Recovering or stopping."},
        produces=("text/plain",),
    ),
    Operation(
        "overview", "GET", "/", Scope.READ, "The web page.", None, produces=("text/html",), personal=True
    ),
)
