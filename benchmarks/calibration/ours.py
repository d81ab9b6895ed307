"""The exporter's verdicts on the tables that the peers are given too."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from benchmarks.calibration.scenes import is_categorical
from exporter.batch import validate_batch
from exporter.profiles import build_grid, profile_rows
from exporter.schema import Column, Kind, Schema, Task
from exporter.statistics.drift.verdict import drift_verdicts


def verdicts(baseline: pd.DataFrame, current: pd.DataFrame) -> dict[str, bool]:
    """Column to whether it has drifted, with every setting at its default."""
    features = tuple(
        Column(name, Kind.CATEGORICAL if is_categorical(baseline, name) else Kind.NUMERIC)
        for name in baseline.columns
    )
    schema = Schema(model="m", task=Task.BINARY, prediction="p", label="y", features=features)

    def batch(frame: pd.DataFrame):
        rows = pa.Table.from_pandas(frame.assign(p=True), preserve_index=False)
        return validate_batch(rows, schema, now=0.0)

    before = batch(baseline)
    grid = build_grid(before)
    first, second = profile_rows(grid, before), profile_rows(grid, batch(current))
    report = drift_verdicts(
        {name: first.column(name) for name in baseline.columns},
        {name: second.column(name) for name in baseline.columns},
    )
    return {name: bool(column.detected) for name, column in report.columns.items()}
