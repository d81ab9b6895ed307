"""What comparing two versions of a model returns: frozen records that are also mappings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.results.records import Record


@dataclass(frozen=True, slots=True)
class ComparedMetric(Record):
    """One metric of a challenger beside the champion's.

    `difference` is the challenger's value minus the champion's, times -1 for errors, so that positive is
    better; `lower` and `upper` hold at all times together, and `decided` says that they exclude 0.
    `champion_rows` and `challenger_rows` are what the values rest on; `paired` that these are the same ids.
    Without a difference, `reason` says why.
    """

    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    decided: bool = False
    paired: bool = False
    champion_value: float | None = None
    challenger_value: float | None = None
    champion_rows: int = 0
    challenger_rows: int = 0
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SampleRatio(Record):
    """Whether rows came to the arms in the configured shares.

    `p_value` is always valid and never rises; `mismatch` says that it fell below 0.01. `counted_until` is the
    event time up to which rows are counted. Without a test, `reason` says why.
    """

    champion_rows: int = 0
    challenger_rows: int = 0
    expected: float | None = None
    """The challenger's share of the rows as configured."""
    p_value: float | None = None
    mismatch: bool = False
    counted_until: float | None = None
    reason: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Comparison(Record):
    """A challenger against the champion, over all rows since `start`: `comparison["accuracy"].difference`.

    `start` and `end` bound the event time of the rows. `metrics` maps names to results. `paired_rows` are ids
    that both versions answered and whose label is known.
    """

    model: str
    champion: str
    challenger: str
    start: float
    end: float
    made_at: float
    alpha: float
    champion_rows: int = 0
    challenger_rows: int = 0
    paired_rows: int = 0
    metrics: Mapping[str, ComparedMetric] = field(default_factory=dict)
    sample_ratio: SampleRatio = field(default_factory=SampleRatio)

    def __getitem__(self, key: str) -> object:
        return self.metrics[key] if key in self.metrics else super(Comparison, self).__getitem__(key)
