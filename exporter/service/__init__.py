"""The running exporter: ingestion, evaluation and publication of every model."""

from exporter.service.answers import Answer
from exporter.service.service import Service

__all__ = ["Answer", "Service"]
