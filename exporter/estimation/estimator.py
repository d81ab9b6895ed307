"""What every estimator can do, and how one is made from a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from exporter.estimation.binary import fit_binary
from exporter.estimation.multiclass import fit_multiclass
from exporter.profiles import BinaryOutcome, Meters, MulticlassOutcome, Profile, RegressionOutcome
from exporter.results import Estimate, Undefined


class Estimator(Protocol):
    """Knows from a baseline what rows without labels will turn out to be."""

    @property
    def meters(self) -> Meters:
        """What must be measured of rows when they arrive for it to be applied to their profile."""
        ...

    def estimate(
        self, profile: Profile, *, metrics: Sequence[str], z: float, minimum_rows: int
    ) -> dict[str, Estimate | Undefined] | Undefined:
        """Metrics by name over the rows of a profile; why not, where none can be estimated."""
        ...


def fit_estimator(profile: Profile, *, minimum_labels: int) -> Estimator | Undefined:
    """The estimator that a baseline's profile gives.

    Parameters
    ----------
    profile : Profile
    minimum_labels : int
        Labelled rows that the baseline must have.

    Returns
    -------
    Estimator or Undefined
        `insufficient_labels`, also of regressors, whose estimators come from rows; `single_class`; or
        `not_comparable` for scores that are not probabilities and for other tasks.
    """
    outcome = profile.outcome()
    if isinstance(outcome, BinaryOutcome):
        return fit_binary(profile, outcome, minimum_labels)
    if isinstance(outcome, MulticlassOutcome):
        return fit_multiclass(profile, outcome, minimum_labels)
    if isinstance(outcome, RegressionOutcome):
        return Undefined(
            "insufficient_labels", "losses are learned from rows with labels, not from a profile"
        )
    return Undefined("not_comparable", "the task is not estimated")
