"""The grid of a model from the rows of its first baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from exporter.batch import infer_columns
from exporter.errors import UnusableBatchError
from exporter.profiles.categorical import canonical_name, dictionary_codes
from exporter.profiles.coarse import decile_runs
from exporter.profiles.grid import (
    NOVEL_CAP,
    CategoricalGrid,
    ColumnGrid,
    Grid,
    NumericGrid,
    ScoreGrid,
    logit_edges,
)
from exporter.profiles.multivariate import EmbeddingGrid, fit_embedding, fit_multivariate, squared_norms
from exporter.profiles.numeric import DEVIATION_LIMIT, Kernel, interleaved
from exporter.profiles.profiling import score_columns
from exporter.schema import Kind, Role, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from exporter.batch import Batch, Outcomes
    from exporter.profiles.multivariate import MultivariateGrid
    from exporter.schema import Schema

MOST_CATEGORIES = 1_001
"""Categories of a column that are counted one by one, most frequent first."""

MOST_ATOMS = 1_001
"""Up to this many distinct scores, each has a cell of its own."""

OTHER_CLASS = "other"


def build_grid(
    batch: Batch,
    *,
    max_edges: int = 1001,
    category_cap: int = NOVEL_CAP,
    class_cap: int = 20,
    multivariate: bool = True,
    embeddings: bool = True,
) -> Grid:
    """Freeze the grid of a model from the rows of its first baseline.

    Parameters
    ----------
    batch : Batch
        Labels are used where there are any.
    max_edges : int
        Edges of a numeric column at most; 1,001 gives quantiles j/1000. One more than a multiple of ten, so
        that the deciles are among them.
    category_cap : int
        Names of new categories that a profile keeps for each column.
    class_cap : int
        Multiclass: classes that are counted one by one.
    multivariate : bool
        Whether to fix how columns are seen together.
    embeddings : bool
        Whether to fix how the vectors of embeddings are seen.

    Raises
    ------
    UnusableBatchError
        When the batch has no rows.
    """
    if not batch.rows:
        raise UnusableBatchError("a grid needs rows, got none")
    schema = batch.schema
    if schema.features is None:
        schema = schema.with_features(infer_columns(batch.table, schema))
    outcomes = batch.outcomes
    classes = _classes(schema, outcomes, class_cap) if schema.task is Task.MULTICLASS else ()
    columns: dict[str, ColumnGrid] = {}
    for column in schema.features or ():
        values = batch.features.get(column.name)
        role = Role.EMBEDDING if column.kind is Kind.EMBEDDING else column.role
        columns[column.name] = _column(column.name, column.kind, role, values, max_edges)
    columns.update(_outcome_columns(schema, outcomes, classes, max_edges))
    center, scale = 0.0, 1.0
    target = columns[schema.label]
    if isinstance(target, NumericGrid):
        center, scale = target.center, target.scale
    return Grid(
        schema=schema,
        columns=columns,
        score=_score_grid(schema, outcomes),
        classes=classes,
        target_center=center,
        target_scale=scale,
        novel_cap=category_cap,
        multivariate=_together(columns, batch) if multivariate else None,
        embeddings=dict(_embeddings(columns, batch)) if embeddings else {},
    )


def _together(columns: Mapping[str, ColumnGrid], batch: Batch) -> MultivariateGrid | None:
    """How rows are seen together: the features that are numbers, and those that are categories."""
    features = {name: column for name, column in columns.items() if column.role is Role.FEATURE}
    numeric = [name for name, column in features.items() if isinstance(column, NumericGrid)]
    categorical = {
        name: column.categories for name, column in features.items() if isinstance(column, CategoricalGrid)
    }
    return fit_multivariate(numeric, categorical, batch.features, batch.rows)


def _embeddings(columns: Mapping[str, ColumnGrid], batch: Batch) -> Iterator[tuple[str, EmbeddingGrid]]:
    for name, column in columns.items():
        vectors: Any = batch.features.get(name) if column.kind is Kind.EMBEDDING else None
        if vectors is not None and vectors.ndim == 2 and (grid := fit_embedding(vectors)) is not None:
            yield name, grid


def _column(name: str, kind: Kind, role: Role, values: Any, max_edges: int) -> ColumnGrid:
    if kind in (Kind.CATEGORICAL, Kind.BOOLEAN):
        return categorical_grid(name, kind, role, values)
    if values is None:
        values = np.empty(0)
    elif values.ndim == 2:
        values = np.sqrt(squared_norms(values))
    return numeric_grid(name, kind, role, values, max_edges)


def numeric_grid(
    name: str, kind: Kind, role: Role, values: NDArray[Any], max_edges: int = 1001
) -> NumericGrid:
    """Where to cut a column, from the baseline's values (n,); NaN and infinities are left out."""
    finite = np.sort(values[np.isfinite(values)].astype(np.float64)) + 0.0  # so that there is no -0.0
    if not len(finite):
        finite = np.zeros(1)
    distinct = np.unique(finite)
    few = len(distinct) <= max_edges
    edges = distinct if few else np.unique(finite[_levels(len(finite), max_edges - 1)])
    edges.setflags(write=False)
    deviation = np.clip(finite, -DEVIATION_LIMIT, DEVIATION_LIMIT)
    center, scale = float(deviation.mean()), float(deviation.std())
    empty = np.zeros(0, np.int64)
    draft = NumericGrid(name, kind, role, edges, center, scale, few, empty, empty)
    counts = np.zeros(draft.width, np.int64)
    Kernel(len(finite)).count(draft, finite, counts, np.zeros(4))
    k = len(edges)
    deciles = np.searchsorted(edges, finite[_levels(len(finite), 10)[1:-1]])
    starts, bins = decile_runs(interleaved(counts[:k], counts[k : 2 * k + 1]), deciles)
    return NumericGrid(name, kind, role, edges, center, scale if scale > 0 else 1.0, few, starts, bins)


def _levels(rows: int, steps: int) -> NDArray[np.int64]:
    """Places of the quantiles j/steps (inverted_cdf) among sorted rows, j = 0 ... steps."""
    return np.maximum((np.arange(steps + 1, dtype=np.int64) * rows + steps - 1) // steps - 1, 0)


def categorical_grid(name: str, kind: Kind, role: Role, values: pa.DictionaryArray | None) -> CategoricalGrid:
    """Which categories to count one by one, from the baseline's values."""
    ranked = _ranked(values)
    return CategoricalGrid(
        name, kind, role, tuple(ranked[:MOST_CATEGORIES]), complete=len(ranked) <= MOST_CATEGORIES
    )


def _ranked(*columns: pa.DictionaryArray | None) -> list[str]:
    """All values, most frequent first, ties by name."""
    totals: dict[str, int] = {}
    for column in columns:
        if column is None:
            continue
        used = np.bincount(dictionary_codes(column) + 1, minlength=len(column.dictionary) + 1)[1:]
        for value, rows in zip(column.dictionary.to_pylist(), used.tolist(), strict=True):
            if value is not None and rows:
                name = canonical_name(value)
                totals[name] = totals.get(name, 0) + rows
    return sorted(totals, key=lambda name: (-totals[name], name))


def _classes(schema: Schema, outcomes: Outcomes, cap: int) -> tuple[str, ...]:
    """Classes by frequency among labels and predictions, then those that only have a score column."""
    seen = _ranked(*(column for column in (outcomes.label, outcomes.prediction) if column is not None))
    scored = [name for name, _ in schema.score] if isinstance(schema.score, tuple) else []
    ranked = [*seen, *(name for name in scored if name not in seen)]
    return (*ranked[:cap], OTHER_CLASS)


def _outcome_columns(
    schema: Schema, outcomes: Outcomes, classes: tuple[str, ...], max_edges: int
) -> Iterator[tuple[str, ColumnGrid]]:
    """Grids of the prediction, the scores and the label."""
    prediction, label = schema.prediction, schema.label
    if schema.task is Task.BINARY:
        for name, role in ((prediction, Role.PREDICTION), (label, Role.LABEL)):
            yield name, CategoricalGrid(name, Kind.BOOLEAN, role, ("false", "true"))
    elif schema.task is Task.MULTICLASS:
        for name, role in ((prediction, Role.PREDICTION), (label, Role.LABEL)):
            yield name, CategoricalGrid(name, Kind.CATEGORICAL, role, classes[:-1])
    else:
        values: Any = outcomes.prediction
        known: Any = outcomes.label
        yield prediction, numeric_grid(prediction, Kind.NUMERIC, Role.PREDICTION, values, max_edges)
        if known is None or not np.isfinite(known).any():
            known = values
        yield label, numeric_grid(label, Kind.NUMERIC, Role.LABEL, known, max_edges)
    names = [schema.score] if isinstance(schema.score, str) else [name for _, name in schema.score or ()]
    scores = score_columns(schema, outcomes)
    for name in names:
        yield name, numeric_grid(name, Kind.NUMERIC, Role.SCORE, scores.get(name, np.empty(0)), max_edges)


def _score_grid(schema: Schema, outcomes: Outcomes) -> ScoreGrid | None:
    if schema.score is None or schema.task not in (Task.BINARY, Task.MULTICLASS):
        return None
    score = np.empty(0) if outcomes.score is None else outcomes.score.ravel()
    atoms = np.unique(score[np.isfinite(score)].astype(np.float64) + 0.0)
    return ScoreGrid(
        schema.score_kind, logit_edges(schema.score_kind), atoms if len(atoms) <= MOST_ATOMS else np.empty(0)
    )
