"""What is measured of a version's rows beside the cells of the grid, as the configuration asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.profiles import Grid, Meters
from exporter.service.evaluation.estimates import estimate_meters
from exporter.service.ingestion.slices import slice_meter
from exporter.statistics.concept import error_sums

if TYPE_CHECKING:
    from exporter.service.lane import Lane


def meters_of(lane: Lane, version: str, grid: Grid | None = None) -> Meters:
    """The meters of one version; the caller holds the lane's lock or its gate.

    `grid` is the one that the rows are profiled on, where it is not the model's current one.
    """
    slices = slice_meter(lane, grid or lane.grid)
    return Meters(
        whole_rows=estimate_meters(lane, version, grid or lane.grid),
        outcomes=(lane.custom.meter(version),),
        whole_outcomes=(error_sums,) if slices is None else (error_sums, slices),
        prepare=(lane.custom.prepare(version),),
    )
