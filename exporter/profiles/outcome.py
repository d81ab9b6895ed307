"""What predictions and labels add up to, one kind of outcome for each task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.profiles.layout import ERROR_CELLS, ERROR_FIRST, ERROR_PER_DECADE, MOMENTS
from exporter.profiles.ranking import RankingOutcome
from exporter.schema import ScoreKind

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Losses:
    """Sums of the losses of labelled rows with probabilities.

    Attributes
    ----------
    scored : int
        Rows that the sums are over; 0 for margins, which have no such losses.
    log_loss_sum, log_loss_squares : float
        Natural logarithm, probabilities kept at least 2.2e-16 from 0 and 1 as scikit-learn does; and squares.
    brier_sum, brier_squares : float
        Binary: (p - y)^2; multiclass: sum over classes of (p - y)^2; and squares.
    """

    scored: int
    log_loss_sum: float
    log_loss_squares: float
    brier_sum: float
    brier_squares: float


@dataclass(frozen=True, eq=False)
class BinaryOutcome(Losses):
    """Binary predictions and labels.

    Attributes
    ----------
    all_rows : int64 (2, S)
        Rows by prediction and score cell, whether labelled or not; the last cell counts missing scores.
    labelled : int64 (2, 2, S)
        Labelled rows by actual class, prediction and score cell.
    score_values : float64 (S,)
        The score that stands for each cell, ascending; NaN for the last.
    atomic : bool (S,)
        Cells that hold one score only.
    score_kind : ScoreKind
    """

    all_rows: NDArray[np.int64]
    labelled: NDArray[np.int64]
    score_values: NDArray[np.float64]
    atomic: NDArray[np.bool_]
    score_kind: ScoreKind

    @property
    def rows(self) -> int:
        return int(self.all_rows.sum())

    @property
    def labelled_rows(self) -> int:
        return int(self.labelled.sum())

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Labelled rows by actual class and prediction, (2, 2)."""
        confusion: NDArray[np.int64] = self.labelled.sum(axis=2)
        return confusion

    @property
    def roc_auc_bound(self) -> float | None:
        """How far the ROC AUC read off the cells can be from the exact one; None without both classes.

        Pairs of rows of different classes in one cell count one half: they may be ordered either way unless
        the cell holds one score only.
        """
        negatives, positives = self.labelled[:, :, :-1].sum(axis=1)
        pairs = int(negatives.sum()) * int(positives.sum())
        if pairs <= 0:
            return None
        tied = np.where(self.atomic[:-1], 0.0, negatives.astype(np.float64) * positives)
        return float(tied.sum() / 2 / pairs)


@dataclass(frozen=True, eq=False)
class MulticlassOutcome(Losses):
    """Multiclass predictions and labels; K classes, of which the last gathers all others.

    Attributes
    ----------
    classes : tuple of str
    confusion : int64 (K, K)
        Labelled rows by actual and predicted class.
    predicted_all : int64 (K,)
        Rows by predicted class, whether labelled or not.
    scores : int64 (K, 2, S) or None
        Labelled rows by class, whether it is the actual one, and cell of that class's score; all 0 for a
        class without a score column. None when no scores are configured.
    score_values : float64 (S,) or None
        See :class:`BinaryOutcome`.
    score_kind : ScoreKind
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    predicted_all: NDArray[np.int64]
    scores: NDArray[np.int64] | None
    score_values: NDArray[np.float64] | None
    score_kind: ScoreKind

    @property
    def rows(self) -> int:
        return int(self.predicted_all.sum())

    @property
    def labelled_rows(self) -> int:
        return int(self.confusion.sum())


@dataclass(frozen=True, eq=False)
class RegressionOutcome:
    """Predictions and labels that are numbers.

    Attributes
    ----------
    n : int
        Rows with a finite prediction and a finite label.
    moments : float64 (8, 8)
        Sum of v v^T for v = (1, e, |e|, e^2, y', y'^2, a, s): e = prediction - label, y' = (label -
        target_center) / target_scale, a = |e| / |label| (0 where the label is 0, see `ape_rows`), s = 2 |e| /
        (|prediction| + |label|) (0 where both are 0).
    ape_rows : int
        Rows whose label is not 0.
    abs_error_cells : int64 (1202,)
        Rows by absolute error.
    abs_error_edges : float64 (1201,)
        Inclusive upper edges of all cells but the last: 1e-6 to 1e6 times `target_scale`, ratio 1.0233.
    rows : int
        Rows with a prediction, whether labelled or not.
    """

    n: int
    moments: NDArray[np.float64]
    ape_rows: int
    abs_error_cells: NDArray[np.int64]
    abs_error_edges: NDArray[np.float64]
    rows: int
    target_center: float
    target_scale: float

    @property
    def labelled_rows(self) -> int:
        return self.n

    def abs_error_quantile(self, q: float) -> float | None:
        """The q-quantile of the absolute error, None without labelled rows.

        At most 1.2 % off for errors from 1e-6 to 1e6 times `target_scale`; smaller ones are shown as 0.
        """
        total = int(self.abs_error_cells.sum())
        if total <= 0:
            return None
        cell = int(np.searchsorted(np.cumsum(self.abs_error_cells), max(q * total, 0.5)))
        if cell == 0:
            return 0.0
        if cell >= len(self.abs_error_edges):
            return float(self.abs_error_edges[-1])
        return float(np.sqrt(self.abs_error_edges[cell - 1] * self.abs_error_edges[cell]))


Outcome = BinaryOutcome | MulticlassOutcome | RegressionOutcome | RankingOutcome


def abs_error_edges(target_scale: float) -> NDArray[np.float64]:
    """Upper edges of all cells of an absolute error but the last, (ERROR_CELLS - 1,)."""
    edges: NDArray[np.float64] = (
        target_scale * ERROR_FIRST * 10.0 ** (np.arange(ERROR_CELLS - 1) / ERROR_PER_DECADE)
    )
    return edges


def full_moments(triangle: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric matrix from its upper triangle, (8, 8)."""
    matrix = np.zeros((MOMENTS, MOMENTS))
    rows, columns = np.triu_indices(MOMENTS)
    matrix[rows, columns] = triangle
    matrix[columns, rows] = triangle
    return matrix


def loss_fields(scored: int, sums: NDArray[np.float64]) -> dict[str, Any]:
    """The fields of :class:`Losses` from their place in the vectors."""
    log_loss, log_loss_squares, brier, brier_squares = sums.tolist()
    return {
        "scored": scored,
        "log_loss_sum": log_loss,
        "log_loss_squares": log_loss_squares,
        "brier_sum": brier,
        "brier_squares": brier_squares,
    }
