"""Sums over several columns at once, and over the elements of embeddings: what multivariate tests read."""

from __future__ import annotations

from exporter.profiles.multivariate.counting import Rows
from exporter.profiles.multivariate.embedding import count_embedding, fit_embedding, squared_norms
from exporter.profiles.multivariate.fitting import fit_multivariate
from exporter.profiles.multivariate.grid import EmbeddingGrid, MultivariateGrid
from exporter.profiles.multivariate.measuring import Measuring
from exporter.profiles.multivariate.sums import (
    MULTIVARIATE,
    EmbeddingSums,
    Errors,
    MultivariateSums,
    embedding_key,
)

__all__ = [
    "MULTIVARIATE",
    "EmbeddingGrid",
    "EmbeddingSums",
    "Errors",
    "Measuring",
    "MultivariateGrid",
    "MultivariateSums",
    "Rows",
    "count_embedding",
    "embedding_key",
    "fit_embedding",
    "fit_multivariate",
    "squared_norms",
]
