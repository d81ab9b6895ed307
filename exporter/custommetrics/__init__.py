"""Metrics that a user defines: a Python function or a SQL aggregate of labelled rows.

Whatever the definition, it comes down to sums of one numerator and one denominator and of their products,
which add up over batches, buckets and segments (:mod:`exporter.custommetrics.terms`).
"""

from exporter.custommetrics.collection import CustomMetrics, MetricError
from exporter.custommetrics.functions import custom_metric, importable, resolve
from exporter.custommetrics.measure import Measure, failures_noted, measured, with_failures
from exporter.custommetrics.terms import CustomMetricError

__all__ = [
    "CustomMetricError",
    "CustomMetrics",
    "Measure",
    "MetricError",
    "custom_metric",
    "failures_noted",
    "importable",
    "measured",
    "resolve",
    "with_failures",
]
