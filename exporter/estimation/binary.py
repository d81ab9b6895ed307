"""Estimates of binary classifiers: a function of two profiles, the baseline's and the window's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.profiles import NO_METERS, BinaryOutcome, Meters, Profile
from exporter.results import Estimate, Undefined
from exporter.schema import ScoreKind
from exporter.statistics.estimation import confidence
from exporter.statistics.estimation.calibration import Calibrator, fit_calibrator

MARGINS = Undefined("not_comparable", "scores are margins, not probabilities")
NO_SCORES = Undefined("not_comparable", "no scores are configured")


@dataclass(frozen=True, eq=False)
class BinaryEstimator:
    """Confidence-based estimates from the cells of a score histogram.

    Attributes
    ----------
    calibrator : Calibrator
    values : float64 (S,)
        The probability that stands for each score cell, without the cell of missing scores.
    grid_id : str
        The grid that the cells lie on.
    """

    calibrator: Calibrator
    values: NDArray[np.float64]
    grid_id: str

    @property
    def meters(self) -> Meters:
        """Profiles hold all that it needs."""
        return NO_METERS

    def estimate(
        self, profile: Profile, *, metrics: Sequence[str], z: float, minimum_rows: int
    ) -> dict[str, Estimate | Undefined] | Undefined:
        """Metrics by name over all rows with a score, labelled or not."""
        outcome = profile.outcome()
        if profile.grid.id != self.grid_id or not isinstance(outcome, BinaryOutcome):
            return Undefined("not_comparable", "the window is on another grid than the baseline")
        rows = outcome.all_rows[:, :-1]
        if (scored := int(rows.sum())) < max(minimum_rows, 1):
            return Undefined("insufficient_rows", f"{scored} rows have a score, {minimum_rows} are needed")
        return confidence.estimate(self.calibrator, rows, self.values, metrics=metrics, z=z)


def fit_binary(profile: Profile, outcome: BinaryOutcome, minimum_labels: int) -> BinaryEstimator | Undefined:
    """An estimator from a profile's labelled rows."""
    if profile.grid.score is None:
        return NO_SCORES
    if outcome.score_kind is ScoreKind.MARGIN:
        return MARGINS
    negatives, positives = outcome.labelled[:, :, :-1].sum(axis=1)
    labels = int(negatives.sum() + positives.sum())
    if labels < max(minimum_labels, 2):
        detail = f"{labels} rows of the baseline have a score and a label, {minimum_labels} are needed"
        return Undefined("insufficient_labels", detail)
    if not negatives.any() or not positives.any():
        return Undefined("single_class", "the labels of the baseline have only one class")
    values = outcome.score_values[:-1]
    return BinaryEstimator(fit_calibrator(negatives, positives, values), values, profile.grid.id)
