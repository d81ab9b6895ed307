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
    prepare: tuple[Callable[[Outcomes], Outcomes], ...] = ()
    """Run over all the labelled rows of a push, before these are split by time and segment: what costs more
    by the call than by the row is computed here, and kept with the rows for a meter."""

    @property
    def of_whole(self) -> Meters:
        """All of them, as a segment's."""
        return Meters((*self.rows, *self.whole_rows), (*self.outcomes, *self.whole_outcomes))

    def prepared(self, outcomes: Outcomes) -> Outcomes:
        """Labelled rows with what `prepare` computes of them."""
        for prepare in self.prepare:
            outcomes = prepare(outcomes)
        return outcomes


NO_METERS = Meters()
