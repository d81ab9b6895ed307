"""A model monitored from Python: the same profiles and statistics as the exporter, without a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from exporter.arrays import (
    SCORE,
    Table,
    as_array,
    as_table,
    check_width,
    distinct_values,
    infer_task,
    score_columns,
)
from exporter.baseline import build, grid_of, read_artifact, resolved_schema, write_artifact
from exporter.batch import Batch, validate_batch
from exporter.catalog import DRIFT_METHODS, FAMILIES, PERFORMANCE_METRICS
from exporter.custommetrics import CustomMetrics, failures_noted, importable, resolve
from exporter.errors import ConfigurationError, ConflictError, UnreadableError, UnusableBatchError
from exporter.estimation import Learner, estimated_performance, measure_itself
from exporter.estimation.report import MEASURE as ESTIMATE
from exporter.estimation.report import NO_BASELINE
from exporter.evaluation import Settings, measure_drift, measure_performance, reference_performance
from exporter.families import evaluation_samples
from exporter.profilefile import write_profiles
from exporter.profiles import NO_METERS, Grid, Meters, Profile, encode, profile_outcomes, profile_rows
from exporter.results import (
    DriftReport,
    EstimatedMetric,
    Evaluation,
    PerformanceResults,
    Window,
)
from exporter.schema import Role, Schema, ScoreKind, Task
from exporter.statistics.concept import error_sums
from exporter.statistics.performance import metrics_of
from exporter.windows import bucket_starts

PREDICTION, LABEL, GROUP = "prediction", "label", "group"
BATCH_WINDOW = Window("batch", 0.0)
"""The window of a monitor is what was given to one call."""

_TASKS = tuple(Task)


class ModelMonitor:
    """Performance and drift of one model against a baseline.

    Parameters
    ----------
    model_name : str
    metrics : sequence of str or function, optional
        Names of the catalogue, and functions of labelled rows, see :func:`exporter.custom_metric`; default
        all names that fit the task and what is given.
    drift_threshold : float
        False-alarm rate of the drift verdict (a p-value).
    alert_threshold : float
        Performance drop from which a metric counts as degraded: a difference for scores in [0, 1], a ratio of
        the baseline for errors.
    task : {"binary", "multiclass", "regression", "ranking"}, optional
        Read off `y_true` of the baseline when left out; `ranking` is never.
    positive_label : optional
        Of a binary task; default the greater of the two labels.
    score_kind : {"probability", "margin"}
    version : str
    methods : "auto" or sequence of str
        Drift methods, as `drift.methods` in the configuration file.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> generator = np.random.default_rng(7)
    >>> features = pd.DataFrame({"distance": generator.normal(size=2000)})
    >>> y_true = features["distance"].to_numpy() > 0
    >>> monitor = ModelMonitor("flights", metrics=["accuracy"])
    >>> _ = monitor.set_baseline(y_true, y_true, features)
    >>> monitor.check_performance(y_true, ~y_true)["accuracy"].degraded
    True
    >>> monitor.detect_drift(features + 1.0).detected_columns
    ['distance']
    """

    def __init__(
        self,
        model_name: str,
        metrics: Sequence[str | Callable[..., Any]] | None = None,
        drift_threshold: float = 0.05,
        alert_threshold: float = 0.1,
        *,
        task: str | None = None,
        positive_label: Any = None,
        score_kind: Literal["probability", "margin"] = "probability",
        version: str = "default",
        methods: Literal["auto"] | Sequence[str] = "auto",
        minimum_rows: int = 100,
        ranking_k: int = 10,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not 0 < drift_threshold < 1:
            raise ConfigurationError(f"drift_threshold is a rate between 0 and 1, got {drift_threshold!r}")
        if alert_threshold <= 0:
            raise ConfigurationError(f"alert_threshold is a drop above 0, got {alert_threshold!r}")
        names = None if metrics is None else [metric for metric in metrics if isinstance(metric, str)]
        _check_known("metrics", names or (), PERFORMANCE_METRICS)
        _check_known("methods", () if methods == "auto" else methods, DRIFT_METHODS)
        _check_known("task", [task] if task is not None else [], _TASKS)
        _check_known("score_kind", [score_kind], tuple(ScoreKind))
        self.model_name = model_name
        self.version = version
        self.metrics = tuple(names) if names is not None else None
        self._custom = CustomMetrics.of_functions([m for m in metrics or () if not isinstance(m, str)])
        self.drift_threshold = drift_threshold
        self.alert_threshold = alert_threshold
        self.score_kind = ScoreKind(score_kind)
        self._task = Task(task) if task is not None else None
        self._positive_label = positive_label
        self._methods = methods
        self._minimum_rows = minimum_rows
        self._ranking_k = ranking_k
        self._clock = clock
        self._schema: Schema | None = None
        self._grid: Grid | None = None
        self._baseline: Profile | None = None
        self._learner: Learner | None = None
        self._records: list[dict[str, Any]] = []
        self._last: Evaluation | None = None

    # -- baseline -----------------------------------------------------------------------------------

    def set_baseline(
        self,
        y_true: Any,
        y_pred: Any,
        features: Table | None = None,
        *,
        y_score: Any = None,
        groups: Any = None,
    ) -> ModelMonitor:
        """Make the baseline from rows that were scored and labelled.

        Parameters
        ----------
        y_true, y_pred : array-like (n,)
        features : DataFrame, Arrow table, mapping of columns or 2-D array, n rows
        y_score : array-like (n,) or (n, classes), optional
            Probability of the positive class, or of each class in sorted order.
        groups : array-like (n,)
            Rankings: what is ranked together, by falling `y_pred`; `y_true` is the relevance.

        Raises
        ------
        UnusableBatchError
            Lengths differ, or nothing is there to profile.
        ConfigurationError
            The task cannot be read off the labels.
        """
        truth = np.asarray(y_true)
        classes = distinct_values(truth)
        if not classes:
            raise UnusableBatchError("a baseline needs at least one labelled row, y_true is empty")
        task = self._task or infer_task(truth)
        positive = self._positive_label
        if task is Task.BINARY and positive is None:
            positive = max((*classes, *distinct_values(np.asarray(y_pred))))
        schema = Schema(
            model=self.model_name,
            task=task,
            prediction=PREDICTION,
            label=LABEL,
            score=None if y_score is None else score_columns(task, classes, y_score),
            score_kind=self.score_kind,
            positive_label=positive,
            kept=self._custom.columns,
            group=GROUP if task is Task.RANKING else None,
            ranking_k=self._ranking_k,
        )
        table = self._table(schema, features, y_pred=y_pred, y_true=truth, y_score=y_score, groups=groups)
        batch = self._validate(table, schema)
        schema = resolved_schema(schema, batch) if features is not None else schema.with_features(())
        batch = self._validate(table, schema)
        self._schema = schema
        self._grid = grid_of(batch)
        self._baseline = build(
            self._grid, batch, batch.outcomes.label, resolution=None, meters=self._meters()
        ).profile
        labels = batch.outcomes.label
        measure_itself(self._baseline, batch, labels, minimum_labels=self._minimum_rows)
        self._learner = Learner(self._baseline, self._minimum_rows, rows=(batch, labels))
        self._last = None
        return self

    @property
    def grid(self) -> Grid:
        """The frozen grid of the baseline."""
        return self._ready()[0]

    def baseline_artifact(self) -> bytes:
        """The baseline as a file that an exporter imports: `Client.create_baseline(model, artifact=...)`."""
        grid, baseline, _ = self._ready()
        header = {"model": self.model_name, "version": None, "rows": baseline.rows, "source": "monitor"}
        return write_artifact(header, grid.to_bytes(), encode(baseline), estimator=self._learned())

    # -- checks -------------------------------------------------------------------------------------

    def check_performance(
        self,
        y_true: Any,
        y_pred: Any,
        features: Table | None = None,
        *,
        y_score: Any = None,
        groups: Any = None,
    ) -> PerformanceResults:
        """Every metric with its bounds, its baseline, its drop, and whether it is degraded.

        Where no metrics were chosen, those that need a score are there when `y_score` is. Of `features` only
        the columns that metrics of your own read are looked at.
        """
        grid, baseline, schema = self._ready()
        table = self._table(schema, features, y_pred=y_pred, y_true=y_true, y_score=y_score, groups=groups)
        batch = self._validate(table, replace(schema, features=()))
        outcomes = profile_outcomes(grid, batch.outcomes, meters=self._meters().outcomes)
        settings = self._settings()
        if settings.metrics is None and (y_score is None or schema.score is None):
            settings = replace(settings, metrics=_without_score(outcomes))
        results, missing = measure_performance(outcomes, reference_performance(baseline, settings), settings)
        results, missing = failures_noted(results, missing, self._custom.failures(self.version))
        now = self._clock()
        for name, metric in results.metrics.items():
            self._records.append(
                {
                    "timestamp": now,
                    "measure": "performance",
                    "subject": name,
                    **{key: metric[key] for key in ("value", "lower", "upper", "baseline", "drop", "reason")},
                    "alarm": metric.degraded,
                    "rows": batch.rows,
                }
            )
        self._remember(now, batch.rows, outcomes.labeled_rows, performance=results, undefined=missing)
        return results

    def estimate_performance(
        self, y_pred: Any, *, y_score: Any = None, features: Table | None = None
    ) -> Mapping[str, EstimatedMetric]:
        """Metrics of rows whose labels have not come, from what the baseline's labels teach.

        Classifiers need `y_score`, probabilities; regressors the `features`. It holds under a change of the
        features, not of what they say of the label.

        Returns
        -------
        mapping of metric to EstimatedMetric
            With bounds of what the labels will say; empty when nothing can be estimated, and
            `evaluation().undefined` has the reason.
        """
        grid, _, schema = self._ready()
        estimator = NO_BASELINE if self._learner is None else self._learner.estimator
        needed = schema if features is not None else replace(schema, features=())
        table = self._table(needed, features, y_pred=y_pred, y_true=None, y_score=y_score, groups=None)
        batch = self._validate(table, needed)
        meters = NO_METERS if self._learner is None else self._learner.meters
        recent = profile_rows(grid, replace(batch, schema=schema), meters=meters.rows)
        made = estimated_performance(
            estimator,
            recent,
            None,
            PerformanceResults(),
            metrics=self.metrics,
            minimum_rows=self._minimum_rows,
        )
        self._remember(self._clock(), batch.rows, 0, estimates=made.metrics, undefined=made.missing)
        return made.metrics

    def detect_drift(self, features: Table) -> DriftReport:
        """The verdict on every feature column, with a stated false-alarm rate at any number of rows."""
        _, baseline, _ = self._ready()
        current = self.profile(features)
        report, missing = measure_drift(current, None, baseline, self._settings())
        given = {Role.FEATURE, Role.EMBEDDING}
        columns = {name: column for name, column in report.columns.items() if column.role in given}
        report = replace(report, columns=columns)
        now = self._clock()
        for name, column in report.columns.items():
            self._records.append(
                {
                    "timestamp": now,
                    "measure": "drift",
                    "subject": name,
                    "value": column.statistic,
                    "critical_value": column.critical_value,
                    "p_value": column.p_value,
                    "q_value": column.q_value,
                    "method": column.method,
                    "reason": column.reason,
                    "alarm": bool(column.detected),
                    "rows": current.rows,
                }
            )
        named = set(report.columns)
        undefined = [entry for entry in missing if entry[1] is None or entry[1] in named]
        self._remember(now, current.rows, 0, drift=report, undefined=undefined)
        return report

    def profile(self, frame: Table) -> Profile:
        """Profile rows on the baseline's grid: kilobytes that can be merged and pushed instead of the rows.

        Columns `prediction`, `score` and `label` are counted where the frame has them.
        """
        grid, _, schema = self._ready()
        batch = self._validate(as_table(frame, schema.features), schema, outcomes_optional=True)
        profile = profile_rows(grid, batch, threads=2 if batch.rows >= 50_000 else 1)
        if batch.outcomes.label is not None:
            profile = profile.merge(profile_outcomes(grid, batch.outcomes, meters=self._meters().outcomes))
        return profile

    def profile_file(self, frame: Table, *, resolution: float, timestamp: str | None = None) -> bytes:
        """Profiles by time bucket as `POST .../profiles` takes them.

        Parameters
        ----------
        resolution : float
            Bucket width of the exporter's model, in seconds.
        timestamp : str, optional
            Column with the event time; default now.
        """
        grid, _, schema = self._ready()
        timed = replace(schema, timestamp=timestamp)
        batch = self._validate(as_table(frame, schema.features), timed, outcomes_optional=True)
        starts = bucket_starts(batch.event_time, resolution)
        buckets = []
        meters = (error_sums, *self._meters().outcomes)
        estimates = () if self._learner is None else self._learner.meters.rows
        for start in np.unique(starts):
            part = batch.take(np.flatnonzero(starts == start))
            profile = profile_rows(grid, part, meters=estimates)
            if part.outcomes.label is not None:
                profile = profile.merge(profile_outcomes(grid, part.outcomes, meters=meters))
            buckets.append((int(start), profile))
        return write_profiles(
            grid, buckets, newest_event=float(batch.event_time.max()), resolution=resolution
        )

    # -- memory -------------------------------------------------------------------------------------

    @property
    def history(self) -> pd.DataFrame:
        """Every check so far, one row a metric or column, oldest first."""
        frame = pd.DataFrame.from_records(self._records)
        if not frame.empty:
            frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
        return frame

    def save(self, path: str | Path) -> None:
        """Write settings, baseline and history to one file."""
        grid, baseline, _ = self._ready()
        header = {
            "model": self.model_name,
            "monitor": {
                "metrics": self.metrics,
                "functions": [importable(function) for function in self._custom.functions],
                "drift_threshold": self.drift_threshold,
                "alert_threshold": self.alert_threshold,
                "task": self._task,
                "positive_label": self._positive_label,
                "score_kind": self.score_kind.value,
                "version": self.version,
                "methods": self._methods,
                "minimum_rows": self._minimum_rows,
            },
            "history": self._records,
        }
        header = orjson.loads(orjson.dumps(header, option=orjson.OPT_SERIALIZE_NUMPY))
        data = write_artifact(header, grid.to_bytes(), encode(baseline), estimator=self._learned())
        Path(path).write_bytes(data)

    @classmethod
    def load(cls, path: str | Path) -> ModelMonitor:
        """Read what :meth:`save` wrote.

        Raises
        ------
        UnreadableError
            Not a saved monitor, or damaged.
        """
        artifact = read_artifact(Path(path).read_bytes())
        header, grid, baseline = artifact.header, artifact.grid, artifact.profile
        if "monitor" not in header:
            raise UnreadableError(
                "this artifact is a baseline, not a saved monitor; ModelMonitor.save makes one"
            )
        settings = dict(header["monitor"])
        functions = [resolve(path) for path in settings.pop("functions", ())]
        if functions:
            settings["metrics"] = [*(settings["metrics"] or ()), *functions]
        monitor = cls(header["model"], **settings)
        monitor._schema, monitor._grid, monitor._baseline = grid.schema, grid, baseline
        monitor._learner = Learner(baseline, monitor._minimum_rows, stored=artifact.estimator)
        monitor._records = list(header["history"])
        return monitor

    def register(self, registry: CollectorRegistry) -> None:
        """Expose the latest results on a prometheus_client registry, with the names of the exporter."""
        registry.register(_MonitorCollector(self))

    def evaluation(self) -> Evaluation | None:
        """The latest results as the exporter holds them; None before the first check."""
        return self._last

    # -- inside -------------------------------------------------------------------------------------

    def _ready(self) -> tuple[Grid, Profile, Schema]:
        if self._grid is None or self._baseline is None or self._schema is None:
            raise ConflictError(
                "call set_baseline first: there is nothing to compare with", code="no_baseline"
            )
        return self._grid, self._baseline, self._schema

    def _learned(self) -> bytes:
        return b"" if self._learner is None else self._learner.to_bytes()

    def _meters(self) -> Meters:
        return Meters(outcomes=(self._custom.meter(self.version),))

    def _settings(self) -> Settings:
        return Settings(
            drift_threshold=self.drift_threshold,
            alert_threshold=self.alert_threshold,
            metrics=self.metrics,
            custom=self._custom.measures,
            methods=self._methods,
            minimum_rows=self._minimum_rows,
        )

    def _remember(self, now: float, rows: int, labeled: int, **parts: Any) -> None:
        missing = tuple(parts.pop("undefined"))
        last = self._last
        if last is None:
            last = Evaluation(
                self.model_name,
                self.version,
                BATCH_WINDOW,
                None,
                now,
                now,
                rows,
                labeled,
                now,
                performance=PerformanceResults(threshold=self.alert_threshold),
                drift=DriftReport(alpha=self.drift_threshold),
            )
        kept = tuple(entry for entry in last.undefined if not _same_part(entry[0], parts))
        self._last = replace(last, rows=rows, labeled_rows=labeled or last.labeled_rows, made_at=now,
                             undefined=(*kept, *missing), **parts)  # fmt: skip

    def _validate(self, table: pa.Table, schema: Schema, *, outcomes_optional: bool = False) -> Batch:
        batch = validate_batch(
            table,
            schema,
            now=self._clock(),
            future_tolerance=float("inf"),
            needs_prediction=not outcomes_optional,
        )
        if batch.rejected:
            raise UnusableBatchError(
                f"{sum(batch.rejected.values())} of {batch.received} rows cannot be used: "
                + ", ".join(f"{count} {reason}" for reason, count in batch.rejected.items()),
                details=[{"column": column, "invalid": count} for column, count in batch.invalid.items()],
            )
        return batch

    @staticmethod
    def _table(
        schema: Schema, features: Table | None, *, y_pred: Any, y_true: Any, y_score: Any, groups: Any
    ) -> pa.Table:
        columns: dict[str, pa.Array] = {}
        if features is not None:
            table = as_table(features, None)
            columns = {name: table[name] for name in table.column_names}
        clash = schema.reserved & columns.keys()
        if clash:
            raise UnusableBatchError(
                f"features must not be called {', '.join(sorted(clash))}: these names are taken"
            )
        columns[PREDICTION] = as_array(y_pred)
        if y_true is not None:
            columns[LABEL] = as_array(y_true)
        if groups is not None and schema.group is not None:
            columns[schema.group] = as_array(groups)
        if y_score is not None and isinstance(schema.score, str):
            values = np.asarray(y_score, dtype=np.float64)
            if values.ndim > 1:
                check_width(values, 2)
                values = values[:, 1]
            columns[SCORE] = pa.array(np.ascontiguousarray(values))
        elif y_score is not None and schema.score is not None:
            values = np.asarray(y_score, dtype=np.float64)
            check_width(values, len(schema.score))
            for position, (_, column) in enumerate(schema.score):
                columns[column] = pa.array(np.ascontiguousarray(values[:, position]))
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise UnusableBatchError(f"columns must have one length, got {lengths}")
        return pa.table(columns)


def _check_known(setting: str, given: Iterable[str], known: Iterable[str]) -> None:
    unknown = [str(name) for name in given if name not in known]
    if unknown:
        raise ConfigurationError(f"unknown {setting} {', '.join(unknown)}; known are {', '.join(known)}")


def _without_score(outcomes: Profile) -> tuple[str, ...]:
    """The metrics of the task that predictions and labels are enough for."""
    return tuple(name for name in metrics_of(outcomes.outcome()) if not PERFORMANCE_METRICS[name].needs_score)


def _same_part(measure: str, parts: dict[str, Any]) -> bool:
    if measure.startswith(ESTIMATE):
        return "estimates" in parts
    return any(measure.startswith(part) for part in parts)


class _MonitorCollector(Collector):
    """Reads the ready evaluation; nothing is computed at scrape time and nothing is read at registration."""

    def __init__(self, monitor: ModelMonitor) -> None:
        self._monitor = monitor

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        evaluation = self._monitor.evaluation()
        if evaluation is None:
            return
        families: dict[str, GaugeMetricFamily] = {}
        for name, labels, value in evaluation_samples(evaluation):
            if name.startswith("ml_drift") and not evaluation.drift.rows:
                continue  # no drift was looked for yet
            family = FAMILIES[name]
            held = families.get(family.name)
            if held is None:
                held = families[family.name] = GaugeMetricFamily(
                    family.name, family.help, labels=family.labels
                )
            held.add_metric([str(label) for label in labels], value)
        yield from families.values()


__all__ = ["ModelMonitor"]
