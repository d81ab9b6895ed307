"""What is measured of a version's rows beside the cells of the grid, as the configuration asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.profiles import Meters
from exporter.statistics.concept import error_sums

if TYPE_CHECKING:
    from exporter.service.lane import Lane


def meters_of(lane: Lane, version: str) -> Meters:
    """The meters of one version; the caller holds the lane's lock or its gate."""
    return Meters(
        outcomes=(lane.custom.meter(version),),
        whole_outcomes=(error_sums,),
        prepare=(lane.custom.prepare(version),),
    )
