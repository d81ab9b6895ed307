"""From tests to verdicts: one family of hypotheses, one corrected level, one critical value a column.

A column is detected exactly when its statistic exceeds its critical value, the larger of the null's quantile
at the corrected level and the method's minimum effect. Feature columns are one family; prediction, score and
label are a second one. The deciding test of each column and the test of its missing values belong to the
family, unless the data leave such a test nothing to find (no value missing in either sample): that depends
on the pooled rows alone, so leaving it out keeps the promised rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from exporter.results import ColumnDrift, DriftReport, TestResult, Undefined
from exporter.schema import Role
from exporter.statistics.drift.blocks import LEAST_BLOCKS, BlockEffect, widened
from exporter.statistics.drift.methods import METHODS, Methods, automatic_method, drift_test, methods_for
from exporter.statistics.drift.missingness import MISSING, missing_rows
from exporter.statistics.drift.multiplicity import Correction, corrected_level
from exporter.statistics.drift.nulls import DriftTest, PointNull
from exporter.statistics.drift.views import ColumnView

MinimumEffect = Literal["auto"] | float | Mapping[str, float]
BlockEffects = Mapping[tuple[str, str], BlockEffect]
"""By (column, method), from :func:`exporter.statistics.drift.blocks.block_effects`."""

NO_BLOCKS = f"rows taken as independent: the baseline has fewer than {LEAST_BLOCKS} blocks with enough rows"


@dataclass(slots=True)
class _Candidate:
    """A column on its way to a verdict; `family` names the tests that decide."""

    column: str
    role: str
    deciding: str
    tests: dict[str, DriftTest] = field(default_factory=dict)
    p_values: dict[str, float] = field(default_factory=dict)
    effects: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, Undefined] = field(default_factory=dict)
    family: list[str] = field(default_factory=list)
    detail: str = ""


def drift_verdicts(
    baseline: Mapping[str, ColumnView],
    current: Mapping[str, ColumnView],
    *,
    methods: Methods = "auto",
    alpha: float = 0.05,
    correction: Correction = "bh",
    minimum_effect: MinimumEffect = "auto",
    minimum_rows: int = 100,
    block_nulls: BlockEffects | None = None,
    baseline_rows: int = 0,
    rows: int = 0,
) -> DriftReport:
    """Verdicts on all columns of `current`, in their order.

    Parameters
    ----------
    baseline, current : mappings of column name to column view
        On one grid. A column that the baseline lacks has the reason `no_baseline`.
    methods : "auto" or sequence of names
        The first one that the baseline's column allows decides, the others inform: it is defined for the
        kind, and has a unit (Wasserstein has none where the baseline does not vary). That depends on the
        baseline alone, so the choice does not change the promised rate. Where the baseline allows none of
        the list, and for `auto`: ks for numeric and datetime, js for categorical and boolean columns.
        `missing` is always tested and decides too.
    alpha : float
        In (0, 1): the share of evaluations with any false verdict when nothing drifts (`bh`, `bonferroni`).
    minimum_effect : "auto", number or mapping of method to number
        In each method's unit; `auto` takes the catalogue's, a number overrides it for every method but
        `missing`, and a mapping for the methods that it names. For chi2 and g in units of n m / (n + m).
    minimum_rows : int
        Rows with a value that baseline and window both need.
    block_nulls : mapping or None
        How far blocks of the baseline lie apart beyond what their rows explain; None takes rows as
        independent. A test without an entry does so too, and the column's `detail` says it.
    baseline_rows, rows : int
        For the report.

    Raises
    ------
    ValueError
        A method that does not exist, an unknown correction, or alpha out of range.
    """
    _check(methods, alpha, correction)
    candidates = [
        candidate
        for name, view in current.items()
        if (
            candidate := _candidate(
                name,
                baseline.get(name),
                view,
                methods=methods,
                minimum_effect=minimum_effect,
                minimum_rows=minimum_rows,
                block_nulls=block_nulls,
            )
        )
    ]
    features = [c for c in candidates if c.role in {Role.FEATURE, Role.EMBEDDING}]
    others = [c for c in candidates if c.role not in {Role.FEATURE, Role.EMBEDDING}]
    verdicts: dict[str, ColumnDrift] = {}
    for family in (features, others):
        verdicts.update(_decide(family, alpha, correction))
    return DriftReport(
        {c.column: verdicts[c.column] for c in candidates},
        alpha=alpha,
        correction=correction,
        rows=rows,
        baseline_rows=baseline_rows,
    )


def _check(methods: Methods, alpha: float, correction: str) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    if correction not in {"bh", "bonferroni", "none"}:
        raise ValueError(f"correction must be bh, bonferroni or none, got {correction!r}")
    unknown = [] if methods == "auto" else [name for name in methods if name not in METHODS]
    if unknown:
        raise ValueError(f"unknown drift methods {unknown}; there are {sorted(METHODS)}")


def _candidate(
    name: str,
    baseline: ColumnView | None,
    current: ColumnView,
    *,
    methods: Methods,
    minimum_effect: MinimumEffect,
    minimum_rows: int,
    block_nulls: BlockEffects | None,
) -> _Candidate | None:
    """Run the tests of one column; None when no method is defined for its kind."""
    names = methods_for(current, methods)
    if not names:
        return None
    deciding = _deciding(names, baseline)
    names = list(dict.fromkeys((*names, deciding)))
    candidate = _Candidate(name, current.grid.role.value, deciding)
    for method in dict.fromkeys((*names, MISSING)):
        test = drift_test(method, baseline, current, minimum_rows=minimum_rows)
        if isinstance(test, Undefined) or baseline is None:
            candidate.undefined[method] = test if isinstance(test, Undefined) else Undefined("no_baseline")
            continue
        if block_nulls is not None:
            effect = block_nulls.get((name, method))
            if effect is not None:
                test = replace(test, null=widened(test.null, method, effect, baseline, current))
            elif method == deciding:
                candidate.detail = NO_BLOCKS
        candidate.tests[method] = test
        candidate.p_values[method] = test.p_value
        candidate.effects[method] = _effect(method, minimum_effect, baseline, current)
    candidate.family = [
        method
        for method in dict.fromkeys((deciding, MISSING))
        if method in candidate.tests
        and not (method == MISSING and isinstance(candidate.tests[method].null, PointNull))
    ]
    return candidate


def _deciding(names: Sequence[str], baseline: ColumnView | None) -> str:
    """The first method that the baseline allows; the automatic one where it allows none of them."""
    if baseline is None:
        return names[0]
    allowed = (name for name in names if METHODS[name].unobstructed(baseline))
    return next(allowed, automatic_method(baseline.grid.kind) or names[0])


def _effect(method: str, minimum_effect: MinimumEffect, baseline: ColumnView, current: ColumnView) -> float:
    chosen = METHODS[method]
    if method == MISSING:
        sizes = missing_rows(baseline)[1], missing_rows(current)[1]
    else:
        sizes = int(baseline.n), int(current.n)
    if isinstance(minimum_effect, Mapping):
        if method in minimum_effect:
            return chosen.scaled_effect(float(minimum_effect[method]), *sizes)
    elif not isinstance(minimum_effect, str) and method != MISSING:
        return chosen.scaled_effect(float(minimum_effect), *sizes)
    return chosen.minimum_effect(*sizes)


def _decide(family: list[_Candidate], alpha: float, correction: Correction) -> dict[str, ColumnDrift]:
    tested = [(candidate, method) for candidate in family for method in candidate.family]
    p_values = [candidate.p_values[method] for candidate, method in tested]
    level, q = corrected_level(p_values, alpha, correction)
    q_values = {
        (candidate.column, method): float(value)
        for (candidate, method), value in zip(tested, q.tolist(), strict=True)
    }
    return {candidate.column: _verdict(candidate, level, q_values) for candidate in family}


def _verdict(candidate: _Candidate, level: float, q_values: Mapping[tuple[str, str], float]) -> ColumnDrift:
    results = {
        method: _result(candidate, method, level, q_values.get((candidate.column, method)))
        for method in candidate.tests
    }
    chosen = results.get(candidate.deciding)
    missing = results.get(MISSING)
    if missing is not None and missing.detected and not (chosen is not None and chosen.detected):
        chosen = missing
    if chosen is None:
        why = candidate.undefined[candidate.deciding]
        return ColumnDrift(
            candidate.column,
            candidate.role,
            methods=results,
            undefined=candidate.undefined,
            reason=why.reason,
            detail=why.detail,
        )
    return ColumnDrift(
        candidate.column,
        candidate.role,
        chosen.method,
        chosen.detected,
        chosen.statistic,
        chosen.critical_value,
        chosen.p_value,
        chosen.q_value,
        results,
        candidate.undefined,
        detail=candidate.detail,
    )


def _result(candidate: _Candidate, method: str, level: float, q_value: float | None) -> TestResult:
    test, effect = candidate.tests[method], candidate.effects[method]
    critical_value = test.null.critical_value(level, effect)
    return TestResult(
        method=method,
        statistic=test.statistic,
        critical_value=critical_value,
        p_value=candidate.p_values[method],
        detected=test.statistic > critical_value,
        minimum_effect=effect,
        q_value=q_value,
    )
