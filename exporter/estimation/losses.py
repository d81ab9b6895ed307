"""Direct loss estimation: boosted trees that know from a row and its prediction how wrong it will be.

For each kind of error one model predicts the error of a row from its features and prediction. It is applied
to rows as they arrive; a profile keeps the sums.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from exporter.batch import Batch
from exporter.estimation.encoding import Feature, matrix
from exporter.estimation.shares import counted
from exporter.estimation.trees import Columns, Forest, Trees
from exporter.profiles import Meters, Profile
from exporter.results import Estimate, Undefined

Floats = NDArray[np.float64]

MODEL_ERROR = 2.0
"""Variance of what the trees say of a window's mean, in units of that of a mean of as many labels: they know
each kind of row from a part of the labels only, and windows are made of other kinds than the baseline."""

CHUNK_ROWS = 16_384
"""Rows that go down the trees at once, so that columns stay in the cache."""


@dataclass(frozen=True, eq=False)
class Loss:
    """The model of one kind of error.

    Attributes
    ----------
    name : {"mae", "rmse", "mape", "smape"}
        The metric whose per-row error it predicts: absolute, squared, relative, symmetric.
    trees : Trees
    intercept, slope : float
        Calibration on rows that the trees were not fitted on: error = intercept + slope * prediction.
    spread : float
        Variance of an error in units of its squared prediction, from the same rows.
    """

    name: str
    trees: Trees
    intercept: float
    slope: float
    spread: float

    def calibrated(self, predicted: Floats) -> Floats:
        """The expected error of each row from what the trees say, (n,), at least 0."""
        return np.maximum(self.intercept + self.slope * predicted, 0.0)


@dataclass(frozen=True, eq=False)
class LossEstimator:
    """Estimates of a regressor's errors.

    Attributes
    ----------
    features : sequence of Feature
        What the trees split, in the order of their columns.
    losses : sequence of Loss
    scale : float
        Unit of the absolute errors; squared errors are in its square.
    rows : int
        Labelled rows that it was fitted on.
    """

    features: Sequence[Feature]
    losses: Sequence[Loss]
    scale: float
    rows: int

    @cached_property
    def key(self) -> tuple[str, str]:
        """Name of its totals: it carries the hash of the models, so that no two are ever added up."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(repr((tuple(self.features), self.scale, self.rows)).encode())
        for loss in self.losses:
            digest.update(
                repr((loss.name, loss.intercept, loss.slope, loss.spread, loss.trees.start)).encode()
            )
            for array in (loss.trees.feature, loss.trees.threshold, loss.trees.missing_left, loss.trees.leaf):
                digest.update(np.ascontiguousarray(array).tobytes())
        return "estimate", digest.hexdigest()

    @property
    def size(self) -> int:
        """Length of its totals."""
        return 1 + 2 * len(self.losses)

    @cached_property
    def _forest(self) -> Forest:
        return Forest([loss.trees for loss in self.losses])

    @property
    def meters(self) -> Meters:
        return Meters(whole_rows=(self.measure,))

    def measure(self, batch: Batch) -> Mapping[tuple[str, ...], Floats]:
        """Rows with a prediction, and the sums of their expected errors and of these squared, by loss."""
        sums = np.zeros(self.size)
        rows = matrix(self.features, batch)
        rows = rows[:, np.isfinite(rows[0])]
        sums[0] = rows.shape[1]
        for start in range(0, rows.shape[1], CHUNK_ROWS):
            columns = Columns.of(rows[:, start : start + CHUNK_ROWS])
            predicted = self._forest.predict(columns)
            for place, loss in enumerate(self.losses):
                errors = loss.calibrated(predicted[place])
                sums[1 + 2 * place] += errors.sum()
                sums[2 + 2 * place] += errors @ errors
        return {self.key: sums}

    def estimate(
        self, profile: Profile, *, metrics: Sequence[str], z: float, minimum_rows: int
    ) -> dict[str, Estimate | Undefined] | Undefined:
        """Metrics by name over the rows that were measured with this estimator."""
        sums = counted(profile, self.key, self.size, minimum_rows)
        if isinstance(sums, Undefined):
            return sums
        rows = float(sums[0])
        known = {
            loss.name: (sums[1 + 2 * place] / rows, loss.spread * sums[2 + 2 * place] / rows)
            for place, loss in enumerate(self.losses)
        }
        results: dict[str, Estimate | Undefined] = {}
        for name in metrics:
            if name not in known:
                results[name] = Undefined(
                    "not_comparable", f"{name} is not estimated: no loss of single rows"
                )
                continue
            mean, variance = known[name]
            half = z * math.sqrt(variance * (1 / rows + MODEL_ERROR / self.rows))
            bounds = (max(mean - half, 0.0), mean, mean + half)
            lower, value, upper = map(_SHOWN[name](self.scale), bounds)
            results[name] = Estimate(value, lower, upper, int(rows))
        return results


def _times(scale: float, value: float) -> float:
    return scale * value


def _root(scale: float, value: float) -> float:
    return scale * math.sqrt(value)


_SHOWN: Mapping[str, Callable[[float], Callable[[float], float]]] = MappingProxyType(
    {
        "mae": lambda scale: partial(_times, scale),
        "rmse": lambda scale: partial(_root, scale),
        "mape": lambda _: partial(_times, 1.0),
        "smape": lambda _: partial(_times, 1.0),
    }
)
"""From the mean of what is predicted, in the estimator's units, to the metric."""

LOSSES = tuple(_SHOWN)
