"""How complete, valid, consistent and timely rows are."""

from exporter.statistics.quality.report import quality_report

__all__ = ["quality_report"]
