"""A window's rows, seen together, against the baseline's: from profiles to multivariate verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from exporter.results import MultivariateReport, MultivariateTest
from exporter.schema import Role
from exporter.statistics.multivariate.report import chosen_methods, multivariate_report

if TYPE_CHECKING:
    from exporter.profiles import Profile
    from exporter.statistics.drift.multiplicity import Correction

DEPENDENT = (
    "with drift.null: blocks rows do not count as independent, and what blocks of the baseline "
    "differ by is known of single columns only"
)
"""Why rows are not tested together."""


def measure_together(
    current: Profile,
    baseline: Profile,
    *,
    methods: Literal["auto"] | Sequence[str],
    alpha: float,
    correction: Correction,
    minimum_rows: int,
    failed: Callable[[Exception], None],
    independent: bool = True,
) -> MultivariateReport:
    """The tests of all columns together; `auto` has none where there are fewer than two numeric features.

    One that fails takes nothing with it: `failed` is told, and each method that fails has the reason `error`.
    Where rows are not `independent` (`drift: {null: blocks}`) there is no null to test them by.
    """
    if not tests_together(current, methods):
        return MultivariateReport(alpha=alpha)

    def report(chosen: Sequence[str]) -> MultivariateReport:
        return multivariate_report(
            baseline.multivariate(),
            current.multivariate(),
            methods=chosen,
            alpha=alpha,
            correction=correction,
            minimum_rows=minimum_rows,
        )

    names = chosen_methods(methods)
    if not independent:
        tests = {name: MultivariateTest(name, reason="not_comparable", detail=DEPENDENT) for name in names}
        return MultivariateReport(tests, alpha)
    try:
        return report(names)
    except Exception as error:  # noqa: BLE001  # whatever it is, the rest of the evaluation goes on
        failed(error)
    broken = {name: MultivariateTest(name, reason="error", detail="see the log") for name in names}
    return MultivariateReport(broken, alpha)


def tests_together(profile: Profile, methods: Literal["auto"] | Sequence[str]) -> bool:
    """Whether rows are tested together at all."""
    return _has_two_numbers(profile) if methods == "auto" else bool(chosen_methods(methods))


def _has_two_numbers(profile: Profile) -> bool:
    numbers = [
        column for column in profile.grid.columns.values() if column.numeric and column.role is Role.FEATURE
    ]
    return len(numbers) > 1
