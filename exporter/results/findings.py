"""What is found out about the data of a window: the parts of a quality report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from exporter.results.records import Record


@dataclass(frozen=True, slots=True)
class ScorePart(Record):
    """What one check adds to the quality score: `ratio` with `weight`, costing `loss` of the score.

    `worst` lists (subject, ratio) of the lowest ratios, at most five.
    """

    ratio: float
    weight: float
    loss: float
    worst: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Vanished(Record):
    """A category of the baseline without a row in the window; `p_value` is the chance of that."""

    baseline_rows: int
    baseline_ratio: float
    expected_rows: float
    p_value: float


@dataclass(frozen=True, slots=True)
class CategoryChanges(Record):
    """New and vanished categories of a column; at most 50 of each are named, the counts are of all.

    Without `exact` the baseline had values that were not kept by name, or the window has.
    """

    new_count: int = 0
    new_rows: int = 0
    new: Mapping[str, int] = field(default_factory=dict)
    vanished_count: int = 0
    vanished: Mapping[str, Vanished] = field(default_factory=dict)
    exact: bool = True


ChangeName = Literal["added", "removed", "type"]


@dataclass(frozen=True, slots=True)
class SchemaChange(Record):
    """A column that came, went or changed type, with the rows that show it and their share.

    `types` maps the types that are new to rows, `baseline_types` lists those of the baseline.
    """

    change: ChangeName
    column: str
    rows: int
    ratio: float
    types: Mapping[str, int] = field(default_factory=dict)
    baseline_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TopValue(Record):
    """The most frequent value of a column and its share; `change` is `constant`, `varied` or None."""

    value: str
    ratio: float
    baseline_ratio: float | None = None
    change: str | None = None


@dataclass(frozen=True, slots=True)
class OutlierShare(Record):
    """Share of the values below the fence `lower` or above `upper`, and rows of both kinds."""

    ratio: float
    baseline_ratio: float
    lower: float
    upper: float
    below: int
    above: int


@dataclass(frozen=True, slots=True)
class MissingPair(Record):
    """Two columns that go missing together: rows that lack both, and the phi coefficient of lacking them."""

    columns: tuple[str, str]
    rows: int
    phi: float
    baseline_phi: float | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class MissingTogether(Record):
    """Groups of columns that go missing in the same rows, and the pairs behind them, strongest first."""

    groups: tuple[tuple[str, ...], ...] = ()
    pairs: tuple[MissingPair, ...] = ()
    changed_count: int = 0


@dataclass(frozen=True, slots=True)
class Freshness(Record):
    """How old the newest event is, and which time buckets of the window have no rows.

    `gaps` lists (start, end) of at most 20 runs of such buckets, longest first.
    """

    newest_event: float
    age_seconds: float
    buckets: int
    empty_buckets: int
    longest_gap_seconds: float
    gaps: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class VolumeSpan(Record):
    """Rows of the last complete buckets against what was to be expected of them.

    `detected` is `low`, `high` or None; without bounds `reason` says why.
    """

    span: str
    start: float
    end: float
    rows: int
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    detected: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class VolumeReport(Record):
    """Whether too few or too many rows came, by span.

    `season` is `week`, `day` or `none`: the cycle in which buckets are compared; `source` is `baseline` or
    `history`, of `history_buckets` buckets. `dispersion` is the squared coefficient of variation between
    buckets beyond counting noise.
    """

    spans: Mapping[str, VolumeSpan] = field(default_factory=dict)
    season: str | None = None
    source: str | None = None
    history_buckets: int = 0
    dispersion: float | None = None
    false_alarms_per_week: float = 0.0
    reason: str | None = None
