"""ml-exporter: performance, drift and data quality of machine-learning models as Prometheus metrics.

The public names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporter.alerts.alert_manager import AlertManager
    from exporter.client import Client
    from exporter.custommetrics import custom_metric
    from exporter.monitor import ModelMonitor
    from exporter.quality import DataQualityDashboard

__all__ = ["AlertManager", "Client", "DataQualityDashboard", "ModelMonitor", "custom_metric"]

_HOMES = {
    "AlertManager": "exporter.alerts.alert_manager",
    "Client": "exporter.client",
    "DataQualityDashboard": "exporter.quality",
    "ModelMonitor": "exporter.monitor",
    "custom_metric": "exporter.custommetrics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
