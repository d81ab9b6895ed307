"""How often a score comes true: calibrators read off score histograms of labelled rows.

`negatives` and `positives` are (S,) labelled rows by score cell, scores ascending, rows without a score left
out; `values` (S,) is the probability that stands for each cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Cells = NDArray[np.integer[Any]]

FOLDS = 5
"""Parts that the labelled rows are split into when it is asked whether calibration helps."""

ERROR_BINS = 10
"""Bins with about equally many rows for the calibration error."""

SEED = 20_231_109
"""Of the split; fixed, so that one baseline always gives one calibrator."""


@dataclass(frozen=True, eq=False)
class Calibrator:
    """The probability of the positive class by score cell, and how well the baseline knows it.

    Attributes
    ----------
    share : float64 (S,)
        Calibrated probability of each cell: the score itself where calibration did not help.
    left, right : int64 (S,)
        The two blocks of pooled cells between which a cell's share is interpolated; equal inside a block.
    weight : float64 (S,)
        Weight of the right one.
    block_share : float64 (B,)
        Share of positives in each block, half a row added to both classes: for variances only.
    block_rows : float64 (B,)
        Labelled rows in each block.
    isotonic : bool
        Whether the scores are calibrated; False where they were found calibrated as they are.
    doubt : float64 (S,)
        What calibration would have added to each share where it was not used; else 0.
    """

    share: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    weight: Floats
    block_share: Floats
    block_rows: Floats
    isotonic: bool
    doubt: Floats

    @cached_property
    def spread(self) -> Floats:
        """Variance of one label by score cell, (S,)."""
        share = self.share
        if self.isotonic:
            share = (1 - self.weight) * self.block_share[self.left] + self.weight * self.block_share[
                self.right
            ]
        return np.asarray(share * (1 - share))

    def variance(self, slope: Floats) -> float:
        """Variance, by the baseline's finite number of labels, of a sum over cells of slope times share.

        Blocks are taken as fixed; each share is a mean of independent labels. It is counted also for scores
        that are used as they are: that they may be is known from the same labels. To these is added what
        calibration would have changed, squared: a few hundred labels often do not show that it is needed.
        """
        size = len(self.block_rows)
        by_block = np.bincount(self.left, slope * (1 - self.weight), size)
        by_block += np.bincount(self.right, slope * self.weight, size)
        labels = by_block**2 @ (self.block_share * (1 - self.block_share) / self.block_rows)
        return float(labels) + float(slope @ self.doubt) ** 2


def fit_calibrator(negatives: Cells, positives: Cells, values: Floats) -> Calibrator:
    """The calibrator of a baseline; both classes must occur.

    Isotonic regression by pool-adjacent-violators, linear between cells that the baseline has rows in and
    constant beyond them, but only if that lowers the expected calibration error on held-out rows.
    """
    isotonic = calibration_helps(negatives, positives, values)
    occupied, fitted, blocks = _pooled(negatives, positives)
    pooled = np.clip(np.interp(values, values[occupied], fitted), 0.0, 1.0)
    block = np.repeat(np.arange(len(blocks) - 1), np.diff(blocks))
    left = np.clip(np.searchsorted(values[occupied], values, side="right") - 1, 0, len(occupied) - 1)
    right = np.minimum(left + 1, len(occupied) - 1)
    at = values[occupied]
    gap = at[right] - at[left]
    weight = np.clip(np.divide(values - at[left], gap, out=np.zeros(len(values)), where=gap > 0), 0.0, 1.0)
    hits = np.add.reduceat(positives[occupied].astype(np.float64), blocks[:-1])
    rows = np.add.reduceat((negatives + positives)[occupied].astype(np.float64), blocks[:-1])
    return Calibrator(
        share=pooled if isotonic else values,
        left=block[left],
        right=block[right],
        weight=weight,
        block_share=(hits + 0.5) / (rows + 1),
        block_rows=rows,
        isotonic=isotonic,
        doubt=np.zeros(len(values)) if isotonic else pooled - values,
    )


def calibration_helps(negatives: Cells, positives: Cells, values: Floats) -> bool:
    """Whether isotonic regression lowers the calibration error of rows that it was not fitted on.

    The rows are dealt out at random to five parts. Rows of one cell and class are exchangeable, so dealing
    out each cell's rows by a multinomial is the split of the rows themselves, and needs the profile only.
    Each part is held out once; the mean of the five errors decides.
    """
    generator = np.random.default_rng(SEED)
    parts = [
        generator.multinomial(cells.astype(np.int64), [1 / FOLDS] * FOLDS) for cells in (negatives, positives)
    ]
    before = after = 0.0
    for fold in range(FOLDS):
        no, yes = (part[:, fold] for part in parts)
        rest_no, rest_yes = negatives - no, positives - yes
        if not (rest_no.any() and rest_yes.any() and (no.any() or yes.any())):
            return False
        occupied, fitted, _ = _pooled(rest_no, rest_yes)
        calibrated = np.interp(values, values[occupied], fitted)
        before += _error(no, yes, values)
        after += _error(no, yes, calibrated)
    return after < before


def _pooled(negatives: Cells, positives: Cells) -> tuple[NDArray[np.intp], Floats, NDArray[np.intp]]:
    """Cells with rows, the isotonic share of each, and where blocks of equal shares begin (and the end)."""
    rows = negatives + positives
    occupied = np.flatnonzero(rows)
    fit = isotonic_regression(positives[occupied] / rows[occupied], weights=rows[occupied].astype(np.float64))
    return occupied, np.asarray(fit.x, np.float64), np.asarray(fit.blocks, np.intp)


def _error(negatives: Cells, positives: Cells, shares: Floats) -> float:
    """Expected calibration error over bins with about equally many rows; cells ascending, shares too."""
    rows = negatives + positives
    total = int(rows.sum())
    bins = np.minimum((np.cumsum(rows) - rows / 2) * ERROR_BINS / total, ERROR_BINS - 1).astype(np.intp)
    return float(np.abs(np.bincount(bins, positives - shares * rows, ERROR_BINS)).sum()) / total
