"""A model's losses in the order of time, as sums by bucket."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

MOST_BUCKETS = 200
"""A longer stream is coarsened to at most this many buckets."""

FEWEST_DIFFERENCES = 8
"""Differences of neighbouring buckets from which their own spread is estimated."""

FEWEST_DAYS = 4
"""Days before the window from which a daily rhythm is taken for known."""

RHYTHM_LEVEL = 0.01
"""P-value below which the hours of a day are taken to differ."""

DAY_SECONDS = 86_400.0

TRIMMED = 0.1
TRIMMED_MEAN = 0.6230
"""Mean of the lower nine tenths of a chi-square variable with one degree of freedom."""


@dataclass(frozen=True, eq=False, slots=True)
class ErrorStream:
    """Losses of labelled rows by event-time bucket, oldest first; buckets without labels are left out.

    Attributes
    ----------
    starts : float64 (T,)
        Start of each bucket, seconds since the epoch, ascending.
    rows, losses, squares, cubes : float64 (T,)
        Labelled rows, the sums of their losses, of their squares and of their cubes. A loss is 0 or 1 for
        classifiers (1 is an error) and the absolute error, in the label's unit, for regression.
    """

    starts: NDArray[np.float64]
    rows: NDArray[np.float64]
    losses: NDArray[np.float64]
    squares: NDArray[np.float64]
    cubes: NDArray[np.float64]

    @property
    def total(self) -> float:
        """Labelled rows."""
        return float(self.rows.sum())

    @property
    def mean(self) -> float:
        return float(self.losses.sum() / self.total)

    def skewness(self, dispersion: float) -> NDArray[np.float64]:
        """Skewness of each bucket's sum of losses, (T,): that of a row's loss over the root of the rows."""
        mean = self.mean
        second, third = float(self.squares.sum()) / self.total, float(self.cubes.sum()) / self.total
        central = third - 3 * mean * second + 2 * mean**3
        skewness: NDArray[np.float64] = central / dispersion**1.5 / np.sqrt(self.rows)
        return skewness

    def dispersion(self) -> float:
        """Variance of a bucket's sum of losses, for each of its rows.

        The variance between rows, unless the means of buckets, or of 2, 4, 8 ... of them together, differ by
        more than rows alone explain: then the largest of these, less what chance may add to it. They are
        taken from the differences of neighbours (von Neumann) without the largest tenth, so that one change
        does not count as noise.
        """
        mean = self.mean
        found = max(0.0, float(self.squares.sum()) / self.total - mean * mean)
        stream, size = self, 1
        while len(stream.rows) > FEWEST_DIFFERENCES:
            means = stream.losses / stream.rows
            scaled = np.sort(np.diff(means) ** 2 / (1 / stream.rows[1:] + 1 / stream.rows[:-1]))
            usual = scaled[: int(len(scaled) * (1 - TRIMMED))]
            chance = 1 + 1.5 * np.sqrt(2 / len(usual))
            found = max(found, float(usual.mean()) / (TRIMMED_MEAN * chance))
            size *= 2
            stream = self.in_groups_of(size)
        return found

    def adjusted(self, since: float) -> ErrorStream:
        """The same without the daily rhythm of the mean loss before an instant.

        Left as it is where there is no rhythm that stands out from chance (chi-square over the hours of the
        day), and where fewer than `FEWEST_DAYS` days came before.
        """
        before = self.starts < since
        days = np.unique(np.floor_divide(self.starts[before], DAY_SECONDS))
        if len(days) < FEWEST_DAYS:
            return self
        hours = np.floor_divide(np.mod(self.starts, DAY_SECONDS), DAY_SECONDS / 24).astype(np.int64)
        rows = np.bincount(hours[before], self.rows[before], minlength=24)
        losses = np.bincount(hours[before], self.losses[before], minlength=24)
        mean = losses.sum() / rows.sum()
        within = float(self.squares[before].sum()) / rows.sum() - mean * mean
        rhythm = np.where(rows > 0, losses / np.where(rows > 0, rows, 1.0) - mean, 0.0)
        freedom = int(np.count_nonzero(rows)) - 1
        if freedom < 1 or within <= 0 or chdtrc(freedom, (rows * rhythm**2).sum() / within) > RHYTHM_LEVEL:
            return self
        return replace(self, losses=self.losses - self.rows * rhythm[hours])

    def until(self, end: float) -> ErrorStream:
        """The buckets that begin before an instant."""
        return self._take(self.starts < end)

    def _take(self, kept: NDArray[np.bool_]) -> ErrorStream:
        return ErrorStream(
            self.starts[kept], self.rows[kept], self.losses[kept], self.squares[kept], self.cubes[kept]
        )

    def coarsened(self, most: int = MOST_BUCKETS) -> ErrorStream:
        """The same rows in at most `most` buckets, neighbours put together."""
        return self.in_groups_of(-(-len(self.starts) // most))

    def in_groups_of(self, size: int) -> ErrorStream:
        """The same rows with `size` neighbouring buckets put together."""
        if size <= 1:
            return self
        first = np.arange(0, len(self.starts), size)
        totals = (self.rows, self.losses, self.squares, self.cubes)
        sums = (np.add.reduceat(values, first) for values in totals)
        return ErrorStream(self.starts[first], *sums)
