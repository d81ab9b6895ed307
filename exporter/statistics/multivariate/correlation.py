"""The largest change of a correlation among all pairs of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exporter.results import Undefined
from exporter.statistics.multivariate.nulls import LargestOfManyNull

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.statistics.multivariate.views import Floats, MultivariateView

MISSING_CHANGE = 0.1
"""A column whose share of missing values has changed by more is left out: `missing` tells of it."""

MOST_WEIGHT = 0.2
"""A pair is left out where the product of the kurtoses is more than this share of the rows.

Then a handful of rows (two rare values that meet) decides the correlation, which is far from normal.
"""

LARGEST_CORRELATION = 0.9999

LEAST_ROWS = 10


@dataclass(frozen=True, slots=True)
class CorrelationChanges:
    """The Fisher-z changes of all pairs that can be compared.

    Attributes
    ----------
    first, second : int64 (pairs,)
        Places of the columns.
    before, now : float64 (pairs,)
        Correlations of the normal-score levels in baseline and window.
    changes, deviations : float64 (pairs,)
        Changes of Fisher's z, and their standard deviations when nothing drifts.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    before: Floats
    now: Floats
    changes: Floats
    deviations: Floats

    @property
    def count(self) -> int:
        return len(self.changes)

    @property
    def p_value(self) -> float:
        """Of the most surprising pair, times the number of pairs."""
        place = int(np.argmax(self.surprises))
        return self.null(place).p_value(float(np.abs(self.changes[place])))

    @property
    def surprises(self) -> Floats:
        """Absolute changes in their standard deviations."""
        surprises: Floats = np.abs(self.changes) / self.deviations
        return surprises

    def null(self, place: int) -> LargestOfManyNull:
        return LargestOfManyNull(self.count, float(self.deviations[place]))

    def leading(self, level: float, floor: float) -> int:
        """The pair that exceeds its own critical value by most, or comes closest."""
        quantile = LargestOfManyNull(self.count, 1.0).critical_value(level)
        return int(np.argmax(np.abs(self.changes) / np.maximum(quantile * self.deviations, floor)))


def correlation_changes(
    baseline: MultivariateView, current: MultivariateView
) -> CorrelationChanges | Undefined:
    """Compare every pair of columns.

    Correlations are of normal-score levels, so that outliers and scales do not matter. A change of Fisher's z
    has variance v (1 / (n - 3) + 1 / (m - 3)), v from the baseline's fourth moments: 1 for normal and for
    independent columns, more where columns vary together without correlation. `constant` when fewer than two
    columns vary, `insufficient_rows` when every pair hangs on a few rows.
    """
    n, m = current.n, baseline.n
    if min(n, m) < LEAST_ROWS:
        return Undefined("insufficient_rows", f"{LEAST_ROWS} rows are needed in the baseline and the window")
    varies = (np.diag(baseline.covariance) > 0) & (np.diag(current.covariance) > 0)
    kept = varies & (np.abs(current.missing / n - baseline.missing / m) <= MISSING_CHANGE)
    first, second = np.triu_indices(len(varies), 1)
    pairs = kept[first] & kept[second]
    if not pairs.any():
        return Undefined("constant", "fewer than two columns vary and are present as often as they were")
    fourth = np.asarray(baseline.grid.kurtosis, np.float64)
    pairs &= fourth[first] * fourth[second] <= MOST_WEIGHT * min(n, m)
    if not pairs.any():
        return Undefined("insufficient_rows", "every correlation hangs on the few rows of rare values")
    first, second = first[pairs], second[pairs]
    before, now = (_correlations(sample.covariance, first, second) for sample in (baseline, current))
    deviations = np.sqrt(baseline.grid.variances[pairs].astype(np.float64) * (1 / (n - 3) + 1 / (m - 3)))
    return CorrelationChanges(first, second, before, now, np.arctanh(now) - np.arctanh(before), deviations)


def _correlations(covariance: Floats, first: NDArray[np.intp], second: NDArray[np.intp]) -> Floats:
    variances = np.diag(covariance)
    correlations = covariance[first, second] / np.sqrt(variances[first] * variances[second])
    return np.clip(correlations, -LARGEST_CORRELATION, LARGEST_CORRELATION)
