"""What the exporter says now of the measures that alerts are about."""

from exporter.alerts.composing.readings.answers import number_of
from exporter.alerts.composing.readings.inquiry import Budget, Reading
from exporter.alerts.composing.readings.reader import UNREACHABLE, Reader

__all__ = ["UNREACHABLE", "Budget", "Reader", "Reading", "number_of"]
