"""Concept drift: whether a model's errors have changed over time, read off sums by time bucket."""

from exporter.statistics.concept.detectors import DETECTORS, concept_column, concept_drift
from exporter.statistics.concept.losses import ERRORS, error_sums
from exporter.statistics.concept.stream import ErrorStream

__all__ = ["DETECTORS", "ERRORS", "ErrorStream", "concept_column", "concept_drift", "error_sums"]
