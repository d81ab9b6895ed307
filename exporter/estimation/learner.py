"""The estimator of a baseline that was made in this process: learned when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from exporter.batch import Batch
from exporter.estimation.estimator import Estimator, fit_estimator
from exporter.estimation.fitting import fit_losses
from exporter.estimation.storage import read_estimator, write_estimator
from exporter.profiles import NO_METERS, Meters, Profile, RegressionOutcome
from exporter.results import Undefined


class Learner:
    """Makes an estimator of a baseline once, and keeps a regressor's rows until then only.

    Parameters
    ----------
    baseline : Profile
    minimum_labels : int
    rows : (Batch, labels) or None
        Of the baseline; needed for a regressor.
    stored : bytes
        What :meth:`to_bytes` gave, in place of the rows.
    """

    def __init__(
        self,
        baseline: Profile,
        minimum_labels: int,
        *,
        rows: tuple[Batch, Any] | None = None,
        stored: bytes = b"",
    ) -> None:
        self._baseline = baseline
        self._minimum_labels = minimum_labels
        self._regressor = isinstance(baseline.outcome(), RegressionOutcome)
        self._rows = rows if self._regressor else None
        self._stored = stored

    @cached_property
    def estimator(self) -> Estimator | Undefined:
        """The estimator, or why there is none."""
        data = self.to_bytes()
        if data:
            return read_estimator(data)
        return fit_estimator(self._baseline, minimum_labels=self._minimum_labels)

    @property
    def meters(self) -> Meters:
        """What the estimator measures of rows; nothing where there is none."""
        return NO_METERS if isinstance(self.estimator, Undefined) else self.estimator.meters.of_whole

    def to_bytes(self) -> bytes:
        """What goes beside the baseline's profile in a file; empty where the profile is enough."""
        if self._rows is not None:
            batch, labels = self._rows
            made = fit_losses(
                batch,
                np.asarray(labels, np.float64),
                self._baseline.grid.target_scale,
                minimum_labels=self._minimum_labels,
            )
            self._stored = b"" if isinstance(made, Undefined) else write_estimator(made)
            self._rows = None
        return self._stored
