"""The frozen grid of a model: where every column is cut, decided once by its first baseline."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import orjson

from exporter.profiles.coarse import CoarseBins, category_bins, numeric_bins
from exporter.profiles.layout import Layout
from exporter.profiles.multivariate.grid import EmbeddingGrid, MultivariateGrid
from exporter.profiles.numeric import SmallKernel
from exporter.schema import Kind, Role, ScoreKind, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from exporter.schema import Schema

GRID_VERSION = 1

LOGIT_LIMIT, LOGIT_EDGES = 20.0, 2047
"""Score edges are `LOGIT_EDGES` equal steps of the logit from minus to plus `LOGIT_LIMIT`."""

NOVEL_CAP = 200
"""Names of new categories that a profile keeps."""


MOST_KERNELS = 8
"""Sets of columns whose kernels are kept; there are more only when batches lack ever other columns."""


@dataclass(frozen=True, eq=False)
class NumericGrid:
    """Where a numeric, datetime (seconds since the epoch) or embedding column (Euclidean norm) is cut.

    Attributes
    ----------
    edges : float64 (k,), 1 <= k <= 1001, strictly ascending
        The baseline's quantiles j/1000 (inverted_cdf), or all its distinct values where there are no more.
    center : float
        The baseline's mean: what sums are taken about, so that adding and taking back lose nothing.
    scale : float
        The baseline's standard deviation, 1 where that is 0; positive.
    integral_atoms : bool
        Every distinct value of the baseline is an edge: then the Kolmogorov-Smirnov statistic read off the
        cells is exact.
    coarse_starts, coarse_bins : int64 (runs,)
        From :func:`exporter.profiles.coarse.decile_runs`.

    A profile has 2k + 1 cells: below the first edge, at it, between it and the second, ..., above the last.
    """

    name: str
    kind: Kind
    role: Role
    edges: NDArray[np.float64]
    center: float
    scale: float
    integral_atoms: bool
    coarse_starts: NDArray[np.int64]
    coarse_bins: NDArray[np.int64]
    numeric: ClassVar[bool] = True

    @property
    def width(self) -> int:
        """Counts that a profile keeps: the cells, missing and not finite."""
        return 2 * len(self.edges) + 3

    @cached_property
    def coarse(self) -> CoarseBins:
        return numeric_bins(self.edges, self.coarse_starts, self.coarse_bins)

    @cached_property
    def single_edges(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The edges for float32 values: least value not below, and largest not above each edge.

        With these a float32 column is counted exactly without being widened.
        """
        infinity = np.float32(np.inf)
        with np.errstate(over="ignore", under="ignore"):
            nearest = self.edges.astype(np.float32)
            up = np.where(nearest < self.edges, np.nextafter(nearest, infinity), nearest)
            down = np.where(nearest > self.edges, np.nextafter(nearest, -infinity), nearest)
        return up, down

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind.value,
            "role": self.role.value,
            "edges": self.edges.tolist(),
            "center": self.center,
            "scale": self.scale,
            "integral_atoms": self.integral_atoms,
            "coarse_starts": self.coarse_starts.tolist(),
            "coarse_bins": self.coarse_bins.tolist(),
        }


@dataclass(frozen=True, eq=False)
class CategoricalGrid:
    """The categories that are counted one by one.

    Attributes
    ----------
    categories : tuple of str
        The baseline's values, most frequent first; at most 1,001.
    complete : bool
        False when the baseline had more values than that: then a value that is not among `categories` need
        not be new.

    A profile has one cell for each category and one for all other values.
    """

    name: str
    kind: Kind
    role: Role
    categories: tuple[str, ...]
    complete: bool = True
    numeric: ClassVar[bool] = False

    @property
    def width(self) -> int:
        """Counts that a profile keeps: the categories, all others, missing."""
        return len(self.categories) + 2

    @cached_property
    def coarse(self) -> CoarseBins:
        return category_bins(self.categories)

    @cached_property
    def codes(self) -> dict[str, int]:
        """Category to its cell."""
        return {category: code for code, category in enumerate(self.categories)}

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind.value,
            "role": self.role.value,
            "categories": list(self.categories),
            "complete": self.complete,
        }


ColumnGrid = NumericGrid | CategoricalGrid


@dataclass(frozen=True, eq=False)
class ScoreGrid:
    """Where scores are cut for ranking and calibration: equal steps of the logit, and exact atoms.

    Attributes
    ----------
    kind : ScoreKind
        Margins are cut where their sigmoids would be.
    edges : float64 (2047,)
        In the score's own unit.
    atoms : float64 (a,), ascending
        All distinct scores of the baseline when there were at most 1,001, else none.
    """

    kind: ScoreKind
    edges: NDArray[np.float64]
    atoms: NDArray[np.float64]

    @cached_property
    def upper(self) -> NDArray[np.float64]:
        """Inclusive upper edges of all cells but the last, ascending; an atom has a cell of its own."""
        before = np.nextafter(self.atoms, -np.inf)
        return np.unique(np.concatenate((self.edges, self.atoms, before)))

    @cached_property
    def cells(self) -> int:
        """Cells of a score histogram; the last one counts missing scores."""
        return len(self.upper) + 2

    @cached_property
    def atomic(self) -> NDArray[np.bool_]:
        """Which cells hold one value only, (cells,)."""
        atomic = np.zeros(self.cells, bool)
        atomic[np.searchsorted(self.upper, self.atoms)] = True
        return atomic

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The probability that stands for each cell, (cells,): exact for atoms, NaN for missing scores.

        Others stand at the middle of their logits, at most 0.0025 from what they stand for. Margins are shown
        as their sigmoids.
        """
        margins = self.kind is ScoreKind.MARGIN
        logits = self.upper if margins else _logit(self.upper)
        end = LOGIT_LIMIT + 2 * LOGIT_LIMIT / (LOGIT_EDGES - 1)
        bounds = np.concatenate(([-end], np.clip(logits, -end, end), [end]))
        middle = _sigmoid((bounds[:-1] + bounds[1:]) / 2)
        shown = np.clip(_sigmoid(self.upper) if margins else self.upper, 0.0, 1.0)
        inside = np.clip(middle, np.concatenate(([0.0], shown)), np.concatenate((shown, [1.0])))
        values = np.append(inside, np.nan)
        exact = self.atoms if self.kind is ScoreKind.PROBABILITY else _sigmoid(self.atoms)
        values[np.searchsorted(self.upper, self.atoms)] = exact
        return values

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "edges": self.edges.tolist(), "atoms": self.atoms.tolist()}


def logit_edges(kind: ScoreKind) -> NDArray[np.float64]:
    """The edges of a score grid in the score's own unit, (2047,)."""
    logits = np.linspace(-LOGIT_LIMIT, LOGIT_LIMIT, LOGIT_EDGES)
    return logits if kind is ScoreKind.MARGIN else _sigmoid(logits)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    small = np.exp(-np.abs(logits))
    return np.where(logits < 0, small, 1.0) / (1.0 + small)


def _logit(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return np.log(inside) - np.log1p(-inside)


@dataclass(frozen=True, eq=False)
class Grid:
    """Everything that profiles of one model must agree on before they can be merged.

    Attributes
    ----------
    schema : Schema
        With its features resolved.
    columns : Mapping[str, NumericGrid or CategoricalGrid]
        Features, prediction, scores and label, by column name.
    score : ScoreGrid or None
        None when no score column is configured.
    classes : tuple of str
        Multiclass: the classes that are counted one by one, most frequent first, then ``"other"``.
    target_center, target_scale : float
        Regression: mean and standard deviation of the baseline's labels (predictions where it had none).
    novel_cap : int
        Names of new categories that a profile keeps for each column.
    multivariate : MultivariateGrid or None
        How rows are seen together; None where nothing is measured of that.
    embeddings : Mapping[str, EmbeddingGrid]
        How vectors are counted; an embedding column that is not there is counted by its norm only.
    """

    schema: Schema
    columns: Mapping[str, ColumnGrid]
    score: ScoreGrid | None = None
    classes: tuple[str, ...] = ()
    target_center: float = 0.0
    target_scale: float = 1.0
    novel_cap: int = NOVEL_CAP
    multivariate: MultivariateGrid | None = None
    embeddings: Mapping[str, EmbeddingGrid] = field(default_factory=dict)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "id", hashlib.blake2b(orjson.dumps(self._content()), digest_size=8).hexdigest()
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    @cached_property
    def layout(self) -> Layout:
        return Layout.of(self)

    @cached_property
    def class_codes(self) -> dict[str, int]:
        """Class to its place in `classes`, without "other"."""
        return {name: code for code, name in enumerate(self.classes[:-1])}

    @cached_property
    def _small_kernels(self) -> dict[tuple[str, ...], SmallKernel]:
        return {}

    def small_kernel(self, names: tuple[str, ...]) -> SmallKernel:
        """The kernel for short columns of these names, all of one part; made once."""
        kernel = self._small_kernels.get(names)
        if kernel is None:
            if len(self._small_kernels) >= MOST_KERNELS:
                self._small_kernels.clear()
            grids = [grid for grid in map(self.columns.__getitem__, names) if isinstance(grid, NumericGrid)]
            part = self.layout.outcomes if grids[0].role is Role.LABEL else self.layout.features
            kernel = self._small_kernels[names] = SmallKernel(grids, part)
        return kernel

    @property
    def hash_key(self) -> str:
        """Key of the hash that decides which new categories are kept; 16 characters."""
        return self.id

    def _content(self) -> dict[str, Any]:
        """What the id is the hash of: all that decides where a row is counted."""
        schema = self.schema
        return (
            self.together_to_dict()
            | {
                "version": GRID_VERSION,
                "task": schema.task.value,
                "prediction": schema.prediction,
                "label": schema.label,
                "positive_label": str(schema.positive_label) if schema.task is Task.BINARY else None,
                "score_columns": schema.score,
                "columns": [column.to_dict() for column in self.columns.values()],
                "score": None if self.score is None else self.score.to_dict(),
                "classes": self.classes,
                "target": (self.target_center, self.target_scale),
                "novel_cap": self.novel_cap,
            }
            | ({"ranking_k": schema.ranking_k} if schema.task is Task.RANKING else {})
        )

    def together_to_dict(self) -> dict[str, Any]:
        """What is fixed over several columns and elements, as JSON values; only what there is."""
        document: dict[str, Any] = {}
        if self.multivariate is not None:
            document["multivariate"] = self.multivariate.to_dict()
        if self.embeddings:
            document["embeddings"] = {name: grid.to_dict() for name, grid in self.embeddings.items()}
        return document

    def to_dict(self) -> dict[str, Any]:
        """What a remote profiler needs, as JSON values."""
        from exporter.profiles.grid_format import grid_to_dict  # noqa: PLC0415  # it reads grids of this module

        return grid_to_dict(self)

    def to_bytes(self) -> bytes:
        """The grid as compressed, checksummed bytes."""
        from exporter.profiles.grid_format import grid_to_bytes  # noqa: PLC0415  # as above

        return grid_to_bytes(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Grid:
        """The grid that :meth:`to_dict` wrote; raises UnreadableError for anything else."""
        from exporter.profiles.grid_format import grid_from_dict  # noqa: PLC0415  # as above

        return grid_from_dict(document)

    @classmethod
    def from_bytes(cls, data: bytes) -> Grid:
        """The grid that :meth:`to_bytes` wrote; raises UnreadableError for anything else."""
        from exporter.profiles.grid_format import grid_from_bytes  # noqa: PLC0415  # as above

        return grid_from_bytes(data)
