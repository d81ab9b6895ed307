"""Performance without labels: estimators made from a baseline, and what they say of a window."""

from __future__ import annotations

from exporter.estimation.estimator import Estimator, fit_estimator
from exporter.estimation.report import Estimated, estimated_performance

__all__ = ["Estimated", "Estimator", "estimated_performance", "fit_estimator"]
