"""What is exported of a custom metric, and its value from the sums that are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from exporter.custommetrics.terms import CustomMetricError
from exporter.results import Estimate, Evaluation, PerformanceResults, Undefined
from exporter.statistics.intervals import normal_quantile
from exporter.statistics.ratio import WIDTH, ratio_of_sums, total_of_sums

Key = tuple[str, ...]
Missing = tuple[str, str | None, str]

KIND = "custom"
"""What the names of a custom metric's totals begin with."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One custom metric as it is exported.

    Attributes
    ----------
    name : str
        The label `metric`.
    unit : str
    higher_is_better : bool
    digest : str
        Short hash of the definition: sums of another definition of the same name are never mixed in.
    total : bool
        A sum over the rows, which grows with them, so that there is nothing to compare it with.
    """

    name: str
    unit: str
    higher_is_better: bool
    digest: str
    total: bool = False

    @property
    def key(self) -> Key:
        """The name of its totals."""
        return (KIND, self.name, self.digest)

    def drop(self, current: float, baseline: float) -> float | None:
        """Worsening against the baseline, positive = worse.

        A difference for scores (unit `ratio`, higher is better), else a ratio of the baseline's size. None
        where that has no meaning: totals, and a baseline of 0 from which the value has moved.
        """
        if self.total:
            return None
        worse = baseline - current if self.higher_is_better else current - baseline
        if self.unit == "ratio" and self.higher_is_better:
            return worse
        if baseline == 0:
            return 0.0 if worse == 0 else None
        return worse / abs(baseline)


def measured(
    totals: Mapping[Key, NDArray[np.float64]], measures: Iterable[Measure], *, confidence: float = 0.95
) -> dict[str, Estimate | Undefined]:
    """Value and bounds of each custom metric from a profile's totals, by name."""
    z = normal_quantile(confidence)
    results: dict[str, Estimate | Undefined] = {}
    for measure in measures:
        sums = totals.get(measure.key)
        if sums is None or len(sums) != WIDTH:
            results[measure.name] = Undefined("empty", "no labelled row was measured")
        else:
            results[measure.name] = (total_of_sums if measure.total else ratio_of_sums)(sums, z)
    return results


def failures_noted(
    results: PerformanceResults, missing: Sequence[Missing], failures: Mapping[str, CustomMetricError]
) -> tuple[PerformanceResults, list[Missing]]:
    """Results, and what is missing of them, with the reasons of metrics that failed on the newest rows.

    Such a metric has its reason also while it still has a value, from rows on which it did not fail.
    """
    metrics = dict(results.metrics)
    for name, failure in failures.items():
        result = metrics.get(name)
        if result is not None and result.value is None:
            metrics[name] = replace(result, reason=failure.reason, detail=failure.message)
    kept = [entry for entry in missing if entry[0] != "performance" or entry[1] not in failures]
    failed: list[Missing] = [("performance", name, failure.reason) for name, failure in failures.items()]
    return replace(results, metrics=metrics), [*kept, *failed]


def with_failures(evaluation: Evaluation, failures: Mapping[str, CustomMetricError]) -> Evaluation:
    """The same of an evaluation."""
    if not failures:
        return evaluation
    results, missing = failures_noted(evaluation.performance, evaluation.undefined, failures)
    return replace(evaluation, performance=results, undefined=tuple(missing))
