"""The custom metrics of one model: compiled once, run on every push with labels, failures remembered."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.batch import Outcomes
from exporter.catalog import PERFORMANCE_METRICS
from exporter.config import CustomMetric
from exporter.custommetrics.frame import OWN_COLUMNS
from exporter.custommetrics.functions import PythonMetric, declared_by, fingerprint, resolve
from exporter.custommetrics.measure import Measure
from exporter.custommetrics.sql import SqlMetric, compile_sql
from exporter.custommetrics.terms import CustomMetricError, Terms
from exporter.errors import ConfigurationError, ExpressionError
from exporter.rules import RuleWorker
from exporter.schema import Schema

log = logging.getLogger(__name__)

DEFAULT_UNIT = "none"
SLOW_SECONDS = 0.5
"""A call that takes longer is noted: it holds up every push with labels."""
_MARK = "\x1fcustom:"
"""What the names of prepared terms among the kept columns begin with."""

Failures = Mapping[str, CustomMetricError]


class MetricError(ConfigurationError):
    """Custom metrics that cannot be used; `problems` lists (name of the metric, message)."""

    code = "bad_metric"


class Metric(Protocol):
    """A function or a SQL aggregate."""

    @property
    def measure(self) -> Measure: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    def terms(self, outcomes: Outcomes) -> Terms | NDArray[np.float64]: ...


class CustomMetrics:
    """The custom metrics of one model. Safe to share between threads."""

    def __init__(self, metrics: Sequence[Metric] = ()) -> None:
        self._metrics = tuple(metrics)
        self._failures: dict[str, dict[str, CustomMetricError]] = {}
        self._slow: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    @classmethod
    def compile(
        cls, configured: Sequence[CustomMetric], *, worker: RuleWorker | None = None
    ) -> CustomMetrics:
        """Import the functions and check the expressions.

        Parameters
        ----------
        configured : sequence of settings
        worker : RuleWorker, optional
            Evaluates SQL; shared by all models.

        Raises
        ------
        MetricError
            With every (name, message).
        """
        metrics: list[Metric] = []
        problems: list[tuple[str, str]] = []
        for settings in configured:
            try:
                metrics.append(_compiled(settings, worker))
            except (ConfigurationError, ExpressionError) as error:
                problems.append((settings.name, error.message))
        if problems:
            raise MetricError("; ".join(f"metric {name}: {text}" for name, text in problems), problems)
        return cls(metrics)

    @classmethod
    def of_functions(cls, functions: Sequence[Callable[..., Any]]) -> CustomMetrics:
        """Functions under their own names, with what they declare of themselves.

        Raises
        ------
        ConfigurationError
            Two have one name, or one has the name of a metric of the catalogue.
        """
        metrics: list[Metric] = []
        for function in functions:
            name = getattr(function, "__name__", "")
            if not name.isidentifier() or name in PERFORMANCE_METRICS:
                raise ConfigurationError(f"a metric needs a name of its own, but {name or function!r} came")
            if any(name == metric.measure.name for metric in metrics):
                raise ConfigurationError(f"there are two metrics called {name}")
            metrics.append(_of_function(CustomMetric(name=name, function="of:python"), function))
        return cls(metrics)

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The Python functions among them."""
        return [metric.function for metric in self._metrics if isinstance(metric, PythonMetric)]

    @property
    def measures(self) -> tuple[Measure, ...]:
        return tuple(metric.measure for metric in self._metrics)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns to keep with each prediction, beside its own, in order of first use."""
        named = dict.fromkeys(column for metric in self._metrics for column in metric.columns)
        return tuple(column for column in named if column not in OWN_COLUMNS)

    def extend(self, schema: Schema) -> Schema:
        """The schema with the columns that these metrics read kept until the label comes."""
        return replace(schema, kept=tuple(dict.fromkeys((*schema.kept, *self.columns))))

    def failures(self, version: str) -> dict[str, CustomMetricError]:
        """Why metrics failed on the newest labelled rows of a version, by name."""
        with self._lock:
            return dict(self._failures.get(version, {}))

    def notes(self) -> list[str]:
        """Which metrics are slow, one sentence each."""
        with self._lock:
            slow = dict(self._slow)
        return [
            f"The metric {name} took {seconds:.1f} s for {rows} rows, while pushes with labels waited."
            for name, (seconds, rows) in sorted(slow.items())
        ]

    def prepare(self, version: str) -> Callable[[Outcomes], Outcomes]:
        """Runs every metric once over all the rows of a push, before these are split by time and segment."""
        return lambda outcomes: self._prepared(version, outcomes)

    def meter(self, version: str) -> Callable[[Outcomes], Mapping[tuple[str, ...], NDArray[np.float64]]]:
        """Sums of labelled rows by metric; one that fails is left out, and remembered."""
        return lambda outcomes: self._measure(version, outcomes)

    def _prepared(self, version: str, outcomes: Outcomes) -> Outcomes:
        if not self._metrics or not len(outcomes.prediction):
            return outcomes
        terms: dict[str, pa.Array] = {}
        for metric in self._metrics:
            mark = _MARK + metric.measure.digest
            given = self._attempt(version, metric, outcomes)
            if isinstance(given, Terms):
                terms[mark + ":a"], terms[mark + ":b"] = (
                    pa.array(given.numerator),
                    pa.array(given.denominator),
                )
            elif given is None:
                terms[mark + ":failed"] = pa.nulls(len(outcomes.prediction))
        return replace(outcomes, kept={**outcomes.kept, **terms})

    def _measure(self, version: str, outcomes: Outcomes) -> dict[tuple[str, ...], NDArray[np.float64]]:
        totals: dict[tuple[str, ...], NDArray[np.float64]] = {}
        if not len(outcomes.prediction):
            return totals
        for metric in self._metrics:
            mark = _MARK + metric.measure.digest
            if mark + ":failed" in outcomes.kept:
                continue
            given: Terms | NDArray[np.float64] | None
            if mark + ":a" in outcomes.kept:
                given = Terms(*(outcomes.kept[mark + side].to_numpy() for side in (":a", ":b")))
            else:
                given = self._attempt(version, metric, outcomes)
            if given is None:
                continue
            sums = given.sums(total=metric.measure.total) if isinstance(given, Terms) else given
            if np.isfinite(sums).all():
                totals[metric.measure.key] = sums
            else:
                self._note(version, metric, CustomMetricError("the sums of the metric are too large"))
        return totals

    def _attempt(
        self, version: str, metric: Metric, outcomes: Outcomes
    ) -> Terms | NDArray[np.float64] | None:
        begun = time.monotonic()
        try:
            given = metric.terms(outcomes)
        except CustomMetricError as error:
            self._note(version, metric, error)
            return None
        finally:
            if isinstance(metric, PythonMetric):  # SQL has a deadline, and a worker that may have to start
                self._time(metric, time.monotonic() - begun, len(outcomes.prediction))
        self._note(version, metric, None)
        return given

    def _time(self, metric: Metric, seconds: float, rows: int) -> None:
        """Remember a metric's latest slow call, until one of as many rows is not slow."""
        name = metric.measure.name
        with self._lock:
            before = self._slow.get(name)
            if seconds > SLOW_SECONDS:
                self._slow[name] = seconds, rows
            elif before is not None and rows >= before[1]:
                del self._slow[name]
        if seconds > SLOW_SECONDS and before is None:
            log.warning("custom metric %s took %.1f s for %d rows", name, seconds, rows)

    def _note(self, version: str, metric: Metric, error: CustomMetricError | None) -> None:
        name = metric.measure.name
        with self._lock:
            known = self._failures.setdefault(version, {})
            before = known.pop(name, None)
            if error is not None:
                known[name] = error
        if error is not None and (before is None or before.message != error.message):
            log.warning("custom metric %s of version %s failed: %s", name, version, error.message)


def _compiled(settings: CustomMetric, worker: RuleWorker | None) -> Metric:
    if settings.function is not None:
        return _of_function(settings, resolve(settings.function))
    return _of_sql(settings, worker)


def _of_function(settings: CustomMetric, function: Callable[..., Any]) -> PythonMetric:
    declared = declared_by(function)
    columns = settings.columns if settings.columns is not None else declared.columns or ()
    better = settings.higher_is_better if settings.higher_is_better is not None else declared.higher_is_better
    measure = Measure(
        name=settings.name,
        unit=settings.unit or declared.unit or DEFAULT_UNIT,
        higher_is_better=True if better is None else better,
        digest=fingerprint(function, sorted(columns)),
    )
    return PythonMetric(measure, function, tuple(name for name in columns if name not in OWN_COLUMNS))


def _of_sql(settings: CustomMetric, worker: RuleWorker | None) -> SqlMetric:
    parts = compile_sql(settings.sql or "")
    measure = Measure(
        name=settings.name,
        unit=settings.unit or DEFAULT_UNIT,
        higher_is_better=settings.higher_is_better is not False,
        digest=parts.digest,
        total=parts.denominator is None,
    )
    return SqlMetric(measure, parts, worker or RuleWorker())
