"""What a model's columns are: their names, kinds and roles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Task(StrEnum):
    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    RANKING = "ranking"


class Kind(StrEnum):
    """How a column is validated and summarised."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    EMBEDDING = "embedding"


class Role(StrEnum):
    """What a column is for; the exported label `role`."""

    FEATURE = "feature"
    PREDICTION = "prediction"
    SCORE = "score"
    LABEL = "label"
    EMBEDDING = "embedding"
    ERROR = "error"
    """Not a column: the model's losses as labels land."""


class ScoreKind(StrEnum):
    PROBABILITY = "probability"
    MARGIN = "margin"


@dataclass(frozen=True, slots=True)
class Column:
    """One profiled column.

    Attributes
    ----------
    name : str
    kind : Kind
    role : Role
    size : int or None
        Elements of an embedding; None for every other kind.
    """

    name: str
    kind: Kind
    role: Role = Role.FEATURE
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of one model.

    `features` is None until columns were configured or inferred from a baseline. `score` is one column name
    (binary; regression has none) or, for multiclass, a tuple of (class, column name) pairs. A binary
    prediction or label is positive when its text equals `positive_label`'s text (`True`, `"true"` and `1`
    are told apart from other things by :func:`exporter.batch.canonical_text`).
    """

    model: str
    task: Task
    prediction: str
    label: str
    id: str | None = None
    timestamp: str | None = None
    score: str | tuple[tuple[str, str], ...] | None = None
    score_kind: ScoreKind = ScoreKind.PROBABILITY
    positive_label: Any = True
    group: str | None = None
    """What is ranked together (ranking)."""
    ranking_k: int = 10
    """How many of a group's first rows `ndcg_at_k` and `map_at_k` look at (ranking)."""
    timezone: str = "UTC"
    features: tuple[Column, ...] | None = None
    segments: tuple[str, ...] = ()
    extra_columns: tuple[str, ...] = ()
    """Columns that rules or custom metrics name; carried along when pushed, never profiled."""
    kept: tuple[str, ...] = ()
    """Columns that are kept with each prediction until its label comes."""

    def with_features(self, features: tuple[Column, ...]) -> Schema:
        return replace(self, features=features)

    @property
    def reserved(self) -> frozenset[str]:
        """Names that have a role other than feature."""
        names = {self.id, self.timestamp, self.prediction, self.label, self.group}
        if isinstance(self.score, str):
            names.add(self.score)
        elif self.score is not None:
            names.update(column for _, column in self.score)
        return frozenset(name for name in names if name)
