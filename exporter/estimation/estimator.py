"""What every estimator can do, and how one is made from a baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from exporter.batch import Batch
from exporter.estimation.binary import fit_binary
from exporter.estimation.multiclass import fit_multiclass
from exporter.profiles import BinaryOutcome, Meters, MulticlassOutcome, Profile, RegressionOutcome
from exporter.profiles.labelling import known_labels
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


def measure_itself(profile: Profile, batch: Batch, labels: Any, *, minimum_labels: int) -> None:
    """Add to a new baseline's profile what its own estimator measures of its labelled rows.

    Estimators of several classes learn from that how far off they are on average.
    """
    if labels is None or not isinstance(profile.outcome(), MulticlassOutcome):
        return
    made = fit_estimator(profile, minimum_labels=minimum_labels)
    known = known_labels(profile.grid, dataclasses.replace(batch.outcomes, label=labels))
    if isinstance(made, Undefined) or known is None:
        return
    rows = batch if known.all() else batch.take(np.flatnonzero(known))
    for meter in made.meters.of_whole.rows:
        profile.outcomes.add_totals(meter(rows))


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
