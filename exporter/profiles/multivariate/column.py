"""An embedding column of a profile: its norms as a numeric column, and its vectors."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from exporter.profiles.numeric import NumericColumn

if TYPE_CHECKING:
    from exporter.profiles.multivariate.sums import EmbeddingSums


@dataclass(frozen=True, eq=False, slots=True)
class EmbeddingColumn(NumericColumn):
    """One embedding column of a profile; all that is inherited is of the vectors' Euclidean norms.

    Attributes
    ----------
    vectors : EmbeddingSums or None
        None where the vectors were not counted.
    """

    vectors: EmbeddingSums | None

    @classmethod
    def of(cls, norms: NumericColumn, vectors: EmbeddingSums | None) -> EmbeddingColumn:
        return cls(**{field.name: getattr(norms, field.name) for field in fields(norms)}, vectors=vectors)
