"""Mergeable summaries of rows: what everything that is exported is computed from."""

from __future__ import annotations

from exporter.profiles.binning import BinIndex
from exporter.profiles.building import build_grid
from exporter.profiles.categorical import CategoricalColumn
from exporter.profiles.coarse import CoarseBins
from exporter.profiles.codec import decode, encode, grid_id, row_counts
from exporter.profiles.delays import DelayHistogram
from exporter.profiles.grid import CategoricalGrid, ColumnGrid, Grid, NumericGrid, ScoreGrid
from exporter.profiles.meters import NO_METERS, Meters, OutcomeMeter, RowMeter
from exporter.profiles.numeric import NumericColumn
from exporter.profiles.outcome import BinaryOutcome, MulticlassOutcome, Outcome, RegressionOutcome
from exporter.profiles.profile import Part, Profile, Totals
from exporter.profiles.profiling import profile_groups, profile_outcomes, profile_rows
from exporter.profiles.ranking import RankingOutcome

__all__ = [
    "NO_METERS",
    "BinIndex",
    "BinaryOutcome",
    "CategoricalColumn",
    "CategoricalGrid",
    "CoarseBins",
    "ColumnGrid",
    "DelayHistogram",
    "Grid",
    "Meters",
    "MulticlassOutcome",
    "NumericColumn",
    "NumericGrid",
    "Outcome",
    "OutcomeMeter",
    "Part",
    "Profile",
    "RankingOutcome",
    "RegressionOutcome",
    "RowMeter",
    "ScoreGrid",
    "Totals",
    "build_grid",
    "decode",
    "encode",
    "grid_id",
    "profile_groups",
    "profile_outcomes",
    "profile_rows",
    "row_counts",
]
