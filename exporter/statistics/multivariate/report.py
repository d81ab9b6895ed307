"""From two samples seen together to verdicts: three tests, one family, one corrected level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from exporter.catalog import MULTIVARIATE_METHODS
from exporter.results import Contribution, MultivariateReport, MultivariateTest, Undefined
from exporter.statistics.drift.multiplicity import Correction, corrected_level
from exporter.statistics.multivariate.contributions import (
    changed_distributions,
    changed_pairs,
    changed_residuals,
)
from exporter.statistics.multivariate.correlation import CorrelationChanges, correlation_changes
from exporter.statistics.multivariate.mmd import maximum_mean_discrepancy
from exporter.statistics.multivariate.pca import reconstruction_error

if TYPE_CHECKING:
    from exporter.statistics.drift.nulls import DriftTest
    from exporter.statistics.multivariate.views import MultivariateView

Methods = Literal["auto"] | Sequence[str]


def chosen_methods(methods: Methods) -> tuple[str, ...]:
    """The methods that a configuration names, in the catalogue's order; all for `auto`."""
    return tuple(name for name in MULTIVARIATE_METHODS if methods == "auto" or name in methods)


def multivariate_report(
    baseline: MultivariateView | None,
    current: MultivariateView | None,
    *,
    methods: Methods = "auto",
    alpha: float = 0.05,
    correction: Correction = "bh",
    minimum_rows: int = 100,
) -> MultivariateReport:
    """Test the rows of a window, seen together, against the baseline's.

    Parameters
    ----------
    baseline, current : MultivariateView or None
        On one grid; None where rows were not measured together: then every method is `not_comparable`.
    methods : "auto" or sequence of `mmd`, `pca`, `correlation`
    alpha : float
        In (0, 1): the share of evaluations with any false verdict of these tests when nothing drifts.
    minimum_rows : int
        Rows that baseline and window both need.
    """
    names = chosen_methods(methods)
    if baseline is None or current is None:
        which = "baseline" if baseline is None else "window"
        return _without(
            names, Undefined("not_comparable", f"the {which}'s rows were not measured together"), alpha
        )
    for which, sample in (("baseline", baseline), ("window", current)):
        if sample.n < minimum_rows:
            few = Undefined(
                "insufficient_rows", f"the {which} has {sample.n} rows, {minimum_rows} are needed"
            )
            return _without(names, few, alpha)
    made = {name: _test(name, baseline, current) for name in names}
    p_values = {name: test.p_value for name, test in made.items() if not isinstance(test, Undefined)}
    level, adjusted = corrected_level(list(p_values.values()), alpha, correction)
    q_values = dict(zip(p_values, map(float, adjusted), strict=True))
    tests = {
        name: _undefined(name, test)
        if isinstance(test, Undefined)
        else _verdict(test, _Told(name, level, q_values[name]), baseline, current)
        for name, test in made.items()
    }
    return MultivariateReport(tests, alpha, current.n, baseline.n, len(baseline.grid.numeric))


def _without(names: Sequence[str], reason: Undefined, alpha: float) -> MultivariateReport:
    return MultivariateReport({name: _undefined(name, reason) for name in names}, alpha)


def _undefined(name: str, reason: Undefined) -> MultivariateTest:
    return MultivariateTest(name, reason=reason.reason, detail=reason.detail)


def _test(
    name: str, baseline: MultivariateView, current: MultivariateView
) -> DriftTest | CorrelationChanges | Undefined:
    if name == "correlation":
        return correlation_changes(baseline, current)
    if name == "pca":
        return reconstruction_error(baseline.errors, current.errors)
    return maximum_mean_discrepancy(baseline, current)


class _Told(NamedTuple):
    """What a verdict says beside the test."""

    name: str
    level: float
    q_value: float


def _verdict(
    test: DriftTest | CorrelationChanges,
    told: _Told,
    baseline: MultivariateView,
    current: MultivariateView,
) -> MultivariateTest:
    name, level, q_value = told
    effect = MULTIVARIATE_METHODS[name].minimum_effect or 0.0
    contributions: tuple[Contribution, ...]
    if isinstance(test, CorrelationChanges):
        place = test.leading(level, effect)
        statistic, null = float(abs(test.changes[place])), test.null(place)
        contributions = changed_pairs(test, baseline.grid.numeric)
        critical_value = null.critical_value(level, effect)
    else:
        statistic, critical_value = test.statistic, test.null.critical_value(level, effect)
        changed = changed_residuals if name == "pca" else changed_distributions
        contributions = changed(baseline, current)
    return MultivariateTest(
        name,
        detected=statistic > critical_value,
        statistic=statistic,
        critical_value=critical_value,
        p_value=test.p_value,
        q_value=q_value,
        minimum_effect=effect,
        contributions=contributions,
    )
