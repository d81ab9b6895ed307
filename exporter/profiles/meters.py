"""What is measured of rows beside the cells of the grid: custom metrics, estimates, slices.

A meter gives additive float vectors by name; a profile keeps their sums as its totals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.batch import Batch, Outcomes

RowMeter = Callable[[Batch], Mapping[tuple[str, ...], NDArray[np.float64]]]
"""Totals of rows, known when the predictions arrive."""

OutcomeMeter = Callable[[Outcomes], Mapping[tuple[str, ...], NDArray[np.float64]]]
"""Totals of labelled rows; every row has its label. Taking labels back subtracts what it gave for them."""


@dataclass(frozen=True, slots=True)
class Meters:
    """The meters of one version of a model.

    Attributes
    ----------
    rows, outcomes : tuple of meters
        For a whole version and for each of its segments.
    whole_rows, whole_outcomes : tuple of meters
        For a whole version only.
    """

    rows: tuple[RowMeter, ...] = ()
    outcomes: tuple[OutcomeMeter, ...] = ()
    whole_rows: tuple[RowMeter, ...] = ()
    whole_outcomes: tuple[OutcomeMeter, ...] = ()

    @property
    def of_whole(self) -> Meters:
        """All of them, as a segment's."""
        return Meters((*self.rows, *self.whole_rows), (*self.outcomes, *self.whole_outcomes))


NO_METERS = Meters()
