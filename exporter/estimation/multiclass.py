"""Estimates of multiclass classifiers: each class calibrated against all others, applied row by row.

A row's probabilities are calibrated one by one and then made to sum to 1, which cannot be told from the cells
of a profile: the sums are made when rows arrive, and their name carries the hash of the calibrators.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from exporter.batch import Batch
from exporter.estimation.binary import MARGINS, NO_SCORES
from exporter.estimation.shares import counted
from exporter.profiles import Grid, Meters, MulticlassOutcome, Profile
from exporter.profiles.histogram import places
from exporter.profiles.labelling import class_codes
from exporter.results import Estimate, Undefined
from exporter.schema import ScoreKind
from exporter.statistics.estimation.calibration import fit_calibrator
from exporter.statistics.estimation.multiclass import Layout, accumulate, estimate
from exporter.statistics.performance import performance

Floats = NDArray[np.float64]

MAX_CLASSES = 50
"""With more, the expected confusion matrix would be larger than all the rest of a profile."""

RANKING_CELLS = 128
"""Coarse score cells of each class, with about equal shares of the baseline's rows in and out of it."""


@dataclass(frozen=True, eq=False)
class MulticlassEstimator:
    """Confidence-based estimates from sums of calibrated probabilities.

    Attributes
    ----------
    grid : Grid
    codes : tuple of int
        Place in `grid.classes` of each class with a score of its own.
    shares : float64 (C, S)
        Calibrated probability of each of them by score cell.
    coarse : int64 (C, S)
        Coarse cell of each score cell.
    labels : int
        Labelled rows of the baseline.
    doubt : mapping of metric to float
        Estimate minus realised over the baseline's own labelled rows, where it was measured.
    """

    grid: Grid
    codes: tuple[int, ...]
    shares: Floats
    coarse: NDArray[np.int64]
    labels: int
    doubt: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def key(self) -> tuple[str, str]:
        """Name of its totals."""
        digest = hashlib.blake2b(repr((self.grid.id, self.codes, self.labels)).encode(), digest_size=8)
        digest.update(self.shares.tobytes())
        digest.update(self.coarse.tobytes())
        return "estimate", digest.hexdigest()

    @cached_property
    def layout(self) -> Layout:
        return Layout(len(self.grid.classes), len(self.codes), RANKING_CELLS)

    @property
    def size(self) -> int:
        """Length of its totals."""
        return self.layout.size

    @property
    def order(self) -> list[int]:
        """Places in `grid.classes`, those with a score first."""
        rest = [code for code in range(len(self.grid.classes)) if code not in self.codes]
        return [*self.codes, *rest]

    @property
    def meters(self) -> Meters:
        return Meters(whole_rows=(self.measure,))

    def measure(self, batch: Batch) -> Mapping[tuple[str, ...], Floats]:
        """The sums of a batch's rows that have all scores and a prediction."""
        outcomes, columns, score_grid = batch.outcomes, self.grid.schema.score, self.grid.score
        if outcomes.score is None or not isinstance(columns, tuple) or score_grid is None:
            return {}
        classes = self.grid.classes
        predicted = class_codes(outcomes.prediction, self.grid.class_codes, other=len(classes) - 1)
        usable = np.flatnonzero((predicted >= 0) & ~np.isnan(outcomes.score).any(axis=1))
        raw = outcomes.score[usable]
        column_of = {name: place for place, (name, _) in enumerate(columns)}
        own = [column_of[classes[code]] for code in self.codes]
        others = [place for name, place in column_of.items() if name not in self.grid.class_codes]
        scores = np.full((usable.size, len(classes)), np.nan)
        chance = np.zeros_like(scores)
        cells = np.zeros((len(own), usable.size), np.int64)
        for place, column in enumerate(own):
            fine = places(np.ascontiguousarray(raw[:, column]), score_grid.upper)
            scores[:, place] = raw[:, column]
            chance[:, place] = self.shares[place, fine]
            cells[place] = self.coarse[place, fine]
        if others:
            scores[:, -1] = chance[:, -1] = raw[:, others].sum(axis=1)
        total = chance.sum(axis=1, keepdims=True)
        even = np.zeros(len(classes))
        even[: len(own)] = 1 / max(len(own), 1)
        chance = np.where(total > 0, chance / np.where(total > 0, total, 1.0), even)
        place_of = np.argsort(self.order)
        sums = accumulate(self.layout, chance, place_of[predicted[usable]], scores, cells)
        return {self.key: sums}

    def estimate(
        self, profile: Profile, *, metrics: Sequence[str], z: float, minimum_rows: int
    ) -> dict[str, Estimate | Undefined] | Undefined:
        """Metrics by name over the rows that were measured with these calibrators."""
        if profile.grid.id != self.grid.id:
            return Undefined("not_comparable", "the window is on another grid than the baseline")
        sums = counted(profile, self.key, self.layout.size, minimum_rows)
        if isinstance(sums, Undefined):
            return sums
        return estimate(self.layout, sums, labels=self.labels, metrics=metrics, z=z, doubt=self.doubt)


def fit_multiclass(
    profile: Profile, outcome: MulticlassOutcome, minimum_labels: int
) -> MulticlassEstimator | Undefined:
    """An estimator from a profile's labelled rows."""
    grid = profile.grid
    if outcome.scores is None or outcome.score_values is None or not isinstance(grid.schema.score, tuple):
        return NO_SCORES
    if outcome.score_kind is ScoreKind.MARGIN:
        return MARGINS
    if len(outcome.classes) > MAX_CLASSES:
        return Undefined("not_comparable", f"more than {MAX_CLASSES} classes are not estimated")
    histograms = outcome.scores[:, :, :-1]
    labels = int(histograms.sum(axis=(1, 2)).max(initial=0))
    if labels < max(minimum_labels, 2):
        detail = f"{labels} rows of the baseline have scores and a label, {minimum_labels} are needed"
        return Undefined("insufficient_labels", detail)
    named = {name for name, _ in grid.schema.score}
    codes = tuple(code for code, name in enumerate(outcome.classes[:-1]) if name in named)
    values = outcome.score_values[:-1]
    shares, coarse = [], []
    for code in codes:
        negatives, positives = histograms[code]
        both = negatives.any() and positives.any()
        shares.append(fit_calibrator(negatives, positives, values).share if both else values)
        coarse.append(_coarse(negatives, positives))
    made = MulticlassEstimator(grid, codes, np.stack(shares), np.stack(coarse), labels)
    return replace(made, doubt=_doubt(made, profile, outcome))


def _doubt(made: MulticlassEstimator, profile: Profile, outcome: MulticlassOutcome) -> dict[str, float]:
    """How far the estimates of the baseline's own rows are from its labels; empty where it has no sums."""
    sums = profile.outcomes.totals.get(made.key)
    if sums is None or len(sums) != made.layout.size or sums[0] <= 0:
        return {}
    realised = performance(outcome)
    guessed = estimate(made.layout, sums, labels=made.labels, metrics=tuple(realised), z=1.0)
    return {
        name: guess.value - known.value
        for name, known in realised.items()
        if isinstance(known, Estimate) and isinstance(guess := guessed[name], Estimate)
    }


def _coarse(negatives: NDArray[np.int64], positives: NDArray[np.int64]) -> NDArray[np.int64]:
    """The coarse cell of each score cell; both classes weigh the same, so that each is cut finely."""
    weight = sum(cells / max(int(cells.sum()), 1) for cells in (negatives, positives))
    weight = np.asarray(weight, np.float64)
    total = float(weight.sum())
    middle = np.cumsum(weight) - weight / 2
    if total <= 0:
        return np.minimum(np.arange(len(weight)) * RANKING_CELLS // len(weight), RANKING_CELLS - 1)
    return np.minimum((middle * RANKING_CELLS / total).astype(np.int64), RANKING_CELLS - 1)
