"""Questions about one subject: the exporter is asked as long as there is time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote

from exporter.alerts.composing.facts import FactsSource, FactsUnavailableError
from exporter.alerts.composing.readings.answers import mapping_of, mappings_of, number_of, reason_of
from exporter.alerts.composing.subjects import Subject
from exporter.alerts.records import Facts, WorstColumn

MESSAGE_SECONDS: Final = 1.0
"""After so long no further question is asked for one message; the last one may take a second more."""
WORST_COLUMNS: Final = 5


class Budget:
    """The time that the questions of one message may take together."""

    def __init__(self, seconds: float = MESSAGE_SECONDS) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> bool:
        return time.monotonic() < self._until


@dataclass(frozen=True, slots=True)
class Reading:
    """The current value of what an alert is about.

    Attributes
    ----------
    subject : Subject or None
        None where the alert is about no measure of a model.
    good : bool or None
        Whether the value is on the side where its rule does not fire; None when that cannot be told.
    known : bool
        The exporter answered. Then no current value means that there is none.
    detail : mapping
        What only some kinds have: `drop`, `drop_kind`, `method`, `since`, `columns`, `expected`, ...
    """

    facts: Facts = field(default_factory=Facts)
    subject: Subject | None = None
    good: bool | None = None
    known: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One subject, whom to ask about it, and what is known without asking.

    Attributes
    ----------
    said : Facts
        What the alert itself says.
    now : float
    """

    source: FactsSource
    budget: Budget
    subject: Subject
    said: Facts
    now: float

    def get(self, what: str, **params: str) -> Mapping[str, Any]:
        """The JSON object at a path below the model's.

        Raises
        ------
        FactsUnavailableError
        """
        if not self.budget.left:
            raise FactsUnavailableError("the time for questions is over")
        path = f"/api/v1/models/{quote(self.subject.model, safe='')}{what}"
        answer = self.source.get(path, {name: value for name, value in params.items() if value})
        if not isinstance(answer, Mapping):
            raise FactsUnavailableError("the answer is no JSON object")
        return answer

    def result(self, part: str) -> tuple[dict[str, Any] | None, str]:
        """The newest evaluation of the subject's version and window, or why there is none."""
        subject = self.subject
        answer = self.get(f"/{part}", window=subject.window, segment=subject.segment)
        for result in mappings_of(answer.get("results")):
            of_version = subject.version in ("", result.get("version"))
            if of_version and subject.window in ("", result.get("window")):
                return (None, "stale") if result.get("stale") else (result, "")
        return None, reason_of(answer.get("reason")) or "empty"

    def undefined(self, reason: str) -> Reading:
        """No current value, for a reason."""
        return Reading(replace(self.said, undefined=reason or "empty"), self.subject, known=True)

    def made(self, facts: Facts, good: bool | None, **detail: Any) -> Reading:
        """A current value, if it is one."""
        return Reading(facts, self.subject, good if facts.current is not None else None, True, detail)

    def worst(self) -> tuple[WorstColumn, ...]:
        """Feature columns that drifted, worst first; none where that cannot be asked."""
        try:
            result, _ = self.result("drift")
        except FactsUnavailableError:
            return ()
        drifted = []
        for name, column in mapping_of((result or {}).get("columns")).items():
            statistic, critical = number_of(column.get("statistic")), number_of(column.get("critical_value"))
            if not column.get("detected") or statistic is None or critical is None:
                continue
            if column.get("role") in ("feature", "embedding"):
                drifted.append(WorstColumn(str(name), statistic, critical, str(column.get("method") or "")))
        drifted.sort(key=lambda found: (-found.statistic / max(found.critical_value, 1e-12), found.column))
        return tuple(drifted[:WORST_COLUMNS])
