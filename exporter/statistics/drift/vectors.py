"""Drift of an embedding column: its vectors as rows of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from exporter.results import Undefined
from exporter.statistics.multivariate.mmd import maximum_mean_discrepancy
from exporter.statistics.multivariate.pca import reconstruction_error

if TYPE_CHECKING:
    from exporter.statistics.drift.nulls import DriftTest
    from exporter.statistics.multivariate.views import ErrorsView, FeaturesView

    class VectorsView(FeaturesView, Protocol):
        @property
        def errors(self) -> ErrorsView: ...

    class EmbeddingView(Protocol):
        @property
        def vectors(self) -> VectorsView | None: ...


UNCOUNTED = Undefined("not_comparable", "the vectors were not counted, only their norms")


def vectors_discrepancy(baseline: EmbeddingView, current: EmbeddingView) -> DriftTest | Undefined:
    """Squared maximum mean discrepancy of the vectors; see `statistics.multivariate.mmd`."""
    if baseline.vectors is None or current.vectors is None:
        return UNCOUNTED
    return maximum_mean_discrepancy(baseline.vectors, current.vectors)


def vectors_error(baseline: EmbeddingView, current: EmbeddingView) -> DriftTest | Undefined:
    """Change of the vectors' reconstruction error; see `statistics.multivariate.pca`."""
    if baseline.vectors is None or current.vectors is None:
        return UNCOUNTED
    return reconstruction_error(baseline.vectors.errors, current.vectors.errors)
