"""The current value of what an alert is about, and its history."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from exporter.alerts.composing.facts import FactsSource, FactsUnavailableError
from exporter.alerts.composing.readings.answers import number_of
from exporter.alerts.composing.readings.drift import drift, multivariate, share
from exporter.alerts.composing.readings.history import with_history as history_of
from exporter.alerts.composing.readings.inquiry import Budget, Inquiry, Reading
from exporter.alerts.composing.readings.others import comparison, freshness, other
from exporter.alerts.composing.readings.performance import estimate, performance
from exporter.alerts.composing.readings.quality import quality, volume
from exporter.alerts.composing.subjects import subject_of
from exporter.alerts.records import Alert, Facts

logger = logging.getLogger(__name__)

UNREACHABLE: Final = "unreachable"

_KINDS: Final[Mapping[str, Callable[[Inquiry], Reading]]] = MappingProxyType(
    {
        "performance": performance,
        "estimate": estimate,
        "drift": drift,
        "share": share,
        "multivariate": multivariate,
        "quality": quality,
        "volume": volume,
        "comparison": comparison,
        "freshness": freshness,
        "other": other,
    }
)


class Reader:
    """Asks a source about alerts. Never raises."""

    def __init__(self, source: FactsSource | None) -> None:
        self._source = source

    def read(self, alert: Alert, budget: Budget, *, now: float, with_history: bool = True) -> Reading:
        """What is known now; without a source, or when it does not answer, what the alert itself says."""
        subject = subject_of(alert)
        said = Facts(
            measure=subject.measure if subject else alert.annotations.get("measure", "")[:100],
            threshold=number_of(alert.annotations.get("threshold")),
        )
        if subject is None or self._source is None:
            return Reading(said, subject)
        try:
            inquiry = Inquiry(self._source, budget, subject, said, now)
            reading = _KINDS[subject.kind](inquiry)
            if with_history and reading.known:
                reading = replace(reading, facts=history_of(inquiry, reading))
        except FactsUnavailableError as error:
            if error.missing:
                return Reading(replace(said, undefined="empty"), subject, known=True)
            return Reading(replace(said, undefined=UNREACHABLE), subject)
        except Exception:
            logger.exception("The exporter's answer about %s could not be read", subject.kind)
            return Reading(said, subject)
        return reading
