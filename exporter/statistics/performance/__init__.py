"""Realised performance with bounds, one module for each task."""

from exporter.statistics.performance.report import compared, metrics_of, per_class, performance

__all__ = ["compared", "metrics_of", "per_class", "performance"]
