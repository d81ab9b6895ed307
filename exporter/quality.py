"""Data quality of a table from Python: the same profiles, rules and ratios as the exporter."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from exporter.baseline import resolved_schema
from exporter.batch import Batch, validate_batch
from exporter.columns.repeats import repeated_rows
from exporter.errors import UnusableBatchError
from exporter.evaluation import Settings, log_failure, measure_quality
from exporter.evaluation.inspection import inspected
from exporter.profiles import Profile, build_grid, profile_rows
from exporter.results import QualityReport
from exporter.rules import RuleSet
from exporter.schema import Schema, Task

_NO_COLUMN = "\x1f"
"""The name of an outcome that a table of data does not have; no user's column can be called so."""


class DataQualityDashboard:
    """Completeness, validity, consistency, uniqueness and timeliness of tables.

    The whole table is at hand, so distinct values are counted exactly, and `duplicate` is the share of rows
    that repeat an earlier one in all columns of the table. Neither enters the score: only an id must differ
    from row to row, and a table has no column that is known to be one.

    Parameters
    ----------
    timeliness_seconds : float
        A row is timely when it is looked at within this time of its `timestamp_col`.
    weights : mapping, optional
        Weight of each check in the score; 1 unless given.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"feature1": [1.0, None, 3.0, 4.0], "carrier": ["AA", "UA", "AA", "??"]})
    >>> rules = {"carrier": {"allowed": ["AA", "UA"]}}
    >>> metrics = DataQualityDashboard().generate_dashboard_metrics(frame, validation_rules=rules)
    >>> metrics["completeness"]["feature1"], metrics["validity"]["carrier"]["allowed"]
    (0.75, 0.75)
    """

    def __init__(
        self,
        *,
        timeliness_seconds: float = 3600.0,
        weights: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._timeliness_seconds = timeliness_seconds
        self._weights = dict(weights or {})
        self._clock = clock

    def generate_dashboard_metrics(
        self,
        df: pd.DataFrame | pa.Table,
        columns: Sequence[str] | None = None,
        validation_rules: Mapping[str, Mapping[str, Any]] | None = None,
        consistency_rules: Mapping[str, str] | None = None,
        timestamp_col: str | None = None,
        *,
        baseline: pd.DataFrame | pa.Table | None = None,
    ) -> QualityReport:
        """Measure one table.

        Parameters
        ----------
        df : DataFrame or Arrow table, n rows
        columns : sequence of str, optional
            Default all.
        validation_rules : mapping of column to rules
            `min`, `max`, `not_null`, `allowed`, `regex`, `type`, `unique`, `length`, as in the configuration.
        consistency_rules : mapping of name to SQL boolean expression
        timestamp_col : str, optional
            For timeliness.
        baseline : DataFrame or Arrow table, optional
            An earlier table: then its columns are the ones that are measured, and ranges, categories, types,
            outliers and the rest are compared with it.

        Raises
        ------
        UnusableBatchError
            A named column is absent, or there are no rows.
        ConfigurationError
            A rule cannot be used; `problems` says which and why.
        """
        table = _arrow(df)
        absent = [
            name for name in (*(columns or ()), timestamp_col) if name and name not in table.column_names
        ]
        if absent:
            raise UnusableBatchError(
                f"the table has no column {', '.join(absent)}; it has {', '.join(table.column_names)}"
            )
        now = self._clock()
        schema = Schema("table", Task.REGRESSION, prediction=_NO_COLUMN, label=_NO_COLUMN)
        chosen = table if columns is None else table.select(list(columns))
        batch, reference = self._batches(chosen, None if baseline is None else _arrow(baseline), schema, now)
        schema = batch.schema
        grid = build_grid(batch if reference is None else reference, multivariate=False, embeddings=False)
        profile = profile_rows(grid, batch)
        earlier = None if reference is None else profile_rows(grid, reference)
        rules = RuleSet.compile(validation_rules or {}, consistency_rules or {}, schema)
        try:
            judged = rules.evaluate(table)
        finally:
            rules.close()
        self._tally(profile, batch, judged.tallies, self._timely(table, timestamp_col, now))
        settings = Settings(timeliness=timestamp_col is not None, quality_weights=self._weights)
        report = measure_quality(profile, earlier, settings)
        report = inspected(report, profile, earlier, log_failure)
        report = self._with_counts(report, table, table.column_names if columns is None else columns)
        return self._without_baseline(report, judged.failures)

    def _batches(
        self, table: pa.Table, baseline: pa.Table | None, schema: Schema, now: float
    ) -> tuple[Batch, Batch | None]:
        """The rows, and those of the baseline where there is one; both by the columns of the latter."""
        first = self._batch(table if baseline is None else baseline, schema, now)
        schema = resolved_schema(schema, first)
        first = self._batch(first.table, schema, now)
        return (first, None) if baseline is None else (self._batch(table, schema, now), first)

    def _batch(self, table: pa.Table, schema: Schema, now: float) -> Batch:
        return validate_batch(table, schema, now=now, future_tolerance=float("inf"), needs_prediction=False)

    def _timely(self, table: pa.Table, timestamp_col: str | None, now: float) -> int | None:
        if timestamp_col is None:
            return None
        timed = Schema(
            "table",
            Task.REGRESSION,
            prediction=_NO_COLUMN,
            label=_NO_COLUMN,
            timestamp=timestamp_col,
            features=(),
        )
        try:
            batch = self._batch(table.select([timestamp_col]), timed, now)
        except UnusableBatchError:  # no row has a time
            return 0
        return int(np.count_nonzero(now - batch.event_time <= self._timeliness_seconds))

    @staticmethod
    def _tally(
        profile: Profile, batch: Batch, rules: Mapping[tuple[str, ...], int], timely: int | None
    ) -> None:
        profile.tallies.update(rules)
        profile.tallies["received",] = batch.received
        profile.tallies.update({("invalid", column): count for column, count in batch.invalid.items()})
        if timely is not None:
            profile.tallies["timely",] = timely

    @staticmethod
    def _with_counts(report: QualityReport, table: pa.Table, columns: Sequence[str]) -> QualityReport:
        """Replace what a profile knows of distinct values and repeated rows by exact counts."""
        counted = ("quality_uniqueness_ratio", "quality_duplicate_ratio")
        gaps = [gap for gap in report.undefined if gap[0] not in counted]
        uniqueness = {}
        for name in columns:
            ratio, reason = _uniqueness(table[name])
            if ratio is not None:
                uniqueness[name] = ratio
            elif reason is not None:
                gaps.append(("quality_uniqueness_ratio", name, reason))
        repeated = repeated_rows(table)
        if repeated is None:
            gaps.append(("quality_duplicate_ratio", None, "not_comparable"))
        duplicate = None if repeated is None else float(repeated.mean())
        return replace(report, uniqueness=uniqueness, duplicate=duplicate, undefined=tuple(gaps))

    @staticmethod
    def _without_baseline(report: QualityReport, failures: Mapping[str, str]) -> QualityReport:
        """Leave out what only a baseline could tell, and name the rules that failed."""
        kept = tuple(gap for gap in report.undefined if gap[2] != "no_baseline")
        failed = tuple(("quality_rule", path, "error") for path in failures)
        return replace(report, undefined=(*kept, *failed))


def _arrow(table: pd.DataFrame | pa.Table) -> pa.Table:
    if isinstance(table, pa.Table):
        return table
    return pa.Table.from_pandas(table.rename(columns=str), preserve_index=False)


def _uniqueness(column: pa.ChunkedArray) -> tuple[float | None, str | None]:
    """Distinct values over values; or None and the reason."""
    values = column.drop_null()
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type).drop_null()
    if pa.types.is_floating(values.type):
        values = pc.add(values.filter(pc.invert(pc.is_nan(values))), 0.0)  # -0.0 is 0.0
    if not len(values):
        return None, "empty"
    try:
        return pc.count_distinct(values).as_py() / len(values), None
    except pa.ArrowNotImplementedError:  # lists and other nested values
        return None, "not_comparable"
