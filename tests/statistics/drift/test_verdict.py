from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.schema import Kind, Role
from exporter.statistics.drift.methods import METHODS, drift_test
from exporter.statistics.drift.verdict import drift_verdicts

ON_NUMBERS = sorted(
    name for name, method in METHODS.items() if method.defined_for(Kind.NUMERIC) and name != "missing"
)
VALUES = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, -3.5, np.nan, np.inf]), st.floats(-1e300, 1e300)),
    min_size=1,
    max_size=80,
)
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from("abcd"), st.text(max_size=2)), min_size=1, max_size=80)


def _verdicts(pairs, **settings_):
    return drift_verdicts(
        {name: pair[0] for name, pair in pairs.items()},
        {name: pair[1] for name, pair in pairs.items()},
        **{"minimum_rows": 1, **settings_},
    )


@settings(max_examples=80, deadline=None)
@given(
    VALUES.filter(lambda v: np.isfinite(v).any()),
    VALUES,
    st.tuples(TEXTS.filter(any), TEXTS),
)
def test_detected_means_that_the_statistic_exceeds_its_critical_value(
    numeric_pair, categorical_pair, numbers, others, texts
):
    """For any data and method: statistic > critical value exactly when detected; or there is a reason."""
    pairs = {"x": numeric_pair(numbers, others), "c": categorical_pair(*texts)}
    report = _verdicts(pairs, methods=sorted(METHODS), minimum_effect=0.0)
    assert set(report) == {"x", "c"}
    for column in report.columns.values():
        for test in column.methods.values():
            assert test.detected == (test.statistic > test.critical_value)
            assert np.isfinite([test.statistic, test.critical_value, test.p_value]).all()
            assert 0 <= test.p_value <= 1
        if column.detected is None:
            assert column.reason in {"empty", "insufficient_rows", "constant", "not_comparable"}
        else:
            assert column.detected == (column.statistic > column.critical_value)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(ON_NUMBERS), st.floats(1e-6, 0.3))
def test_critical_value_and_p_value_are_two_sides_of_one_null(numeric_pair, seed, method, level):
    """The p-value of the critical value of a level is the level."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 9))
    test = drift_test(method, *numeric_pair(rng.integers(0, size, 500), rng.integers(0, size, 200)))
    assert test.null.p_value(test.null.critical_value(level)) == pytest.approx(level, rel=2e-3, abs=1e-9)


def test_drift_is_found_and_its_absence_too(numeric_pair, categorical_pair):
    """A shifted and a reweighted column are detected among calm ones."""
    rng = np.random.default_rng(0)
    pairs = {f"calm{i}": numeric_pair(rng.normal(size=5000), rng.normal(size=2000)) for i in range(10)}
    pairs["shifted"] = numeric_pair(rng.normal(size=5000), rng.normal(0.3, 1, size=2000))
    pairs["mixed"] = categorical_pair(list("ab") * 2000, list("aab") * 500)
    report = _verdicts(pairs)
    assert report.detected_columns == ["shifted", "mixed"]
    assert report.ratio == pytest.approx(2 / 12)
    assert report["shifted"].method == "ks"
    assert report["mixed"].method == "js"
    assert report["shifted"].q_value < 1e-10


def test_small_effects_are_no_drift_however_many_rows(numeric_pair):
    """A difference below the minimum effect is not detected at any p-value."""
    rng = np.random.default_rng(0)
    pairs = {"x": numeric_pair(rng.normal(size=200_000), rng.normal(0.05, 1, size=200_000))}
    strict = _verdicts(pairs)["x"]
    assert strict.p_value < 1e-6
    assert strict.critical_value == 0.05
    assert not strict.detected
    assert _verdicts(pairs, minimum_effect=0.01)["x"].detected
    assert _verdicts(pairs, minimum_effect={"ks": 0.001})["x"].detected


def test_missing_values_alone_are_drift(numeric_pair):
    """Values as before but a fifth missing: detected, by the method `missing`."""
    rng = np.random.default_rng(0)
    current = rng.normal(size=1000)
    current[:200] = np.nan
    verdict = _verdicts({"x": numeric_pair(rng.normal(size=1000), current)})["x"]
    assert verdict.detected
    assert verdict.method == "missing"
    assert verdict.statistic == pytest.approx(0.2)
    assert not verdict.methods["ks"].detected


def test_a_column_without_any_value_left_is_drift(numeric_pair):
    """A column that went entirely missing has no distribution, and is detected all the same."""
    verdict = _verdicts({"x": numeric_pair(np.arange(500.0), np.full(300, np.nan))})["x"]
    assert verdict.detected
    assert verdict.method == "missing"
    assert verdict.undefined["ks"].reason == "empty"


@pytest.mark.parametrize(
    ("baseline", "current", "methods", "reason"),
    [
        (np.arange(50.0), np.arange(200.0), "auto", "insufficient_rows"),
        (np.arange(200.0), np.arange(20.0), "auto", "insufficient_rows"),
    ],
)
def test_what_cannot_be_tested_has_a_reason(numeric_pair, baseline, current, methods, reason):
    """Too few rows are a reason, not a verdict."""
    verdict = _verdicts({"x": numeric_pair(baseline, current)}, methods=methods, minimum_rows=100)["x"]
    assert verdict.detected is None
    assert verdict.reason == reason


def test_a_column_that_the_baseline_lacks_has_a_reason(numeric_pair):
    """Without a baseline for a column there is nothing to compare with."""
    _, current = numeric_pair(np.arange(200.0), np.arange(200.0))
    assert drift_verdicts({}, {"x": current})["x"].reason == "no_baseline"


def test_columns_on_different_grids_are_not_comparable(numeric_pair):
    """After a new grid, windows that straddle it have a reason."""
    baseline, _ = numeric_pair(np.arange(200.0), np.arange(200.0))
    _, current = numeric_pair(np.arange(300.0), np.arange(200.0))
    assert drift_verdicts({"x": baseline}, {"x": current})["x"].reason == "not_comparable"


def test_a_constant_column_that_varies_now_is_drift(numeric_pair, categorical_pair):
    """Constant then, varying now, and the reverse, are detected for numbers and categories."""
    rng = np.random.default_rng(0)
    varied = list(rng.choice(list("ab"), 300))
    report = _verdicts(
        {
            "woke": numeric_pair(np.zeros(300), rng.normal(size=300)),
            "froze": numeric_pair(rng.normal(size=300), np.zeros(300)),
            "text_woke": categorical_pair(["a"] * 300, varied),
            "text_froze": categorical_pair(varied, ["a"] * 300),
        }
    )
    assert report.detected_columns == ["woke", "froze", "text_woke", "text_froze"]


@pytest.mark.parametrize("methods", [["wasserstein", "ks"], ["wasserstein", "psi", "ks"], ["wasserstein"]])
def test_a_method_that_the_baseline_does_not_allow_leaves_the_verdict_to_the_next(numeric_pair, methods):
    """Wasserstein has no unit on a constant baseline: the next method, or else the automatic one, decides."""
    rng = np.random.default_rng(0)
    pairs = {
        "woke": numeric_pair(np.ones(300), rng.normal(size=300)),
        "still": numeric_pair(np.ones(300), np.ones(300)),
        "calm": numeric_pair(rng.normal(size=300), rng.normal(size=300)),
    }
    report = _verdicts(pairs, methods=methods)
    assert report.detected_columns == ["woke"]
    assert report["woke"].method == (*methods, "ks")[1]
    assert report["woke"].undefined["wasserstein"].reason == "constant"
    assert report["still"].detected is False
    assert report["calm"].method == "wasserstein"


@pytest.mark.parametrize("method", ON_NUMBERS)
def test_a_constant_column_that_varies_now_is_drift_by_every_method(numeric_pair, method):
    """Whatever single method is configured, a column that wakes up alarms."""
    current = np.random.default_rng(0).normal(size=1000)
    assert _verdicts({"x": numeric_pair(np.zeros(1000), current)}, methods=[method])["x"].detected


def test_predictions_and_labels_are_a_family_of_their_own(numeric_pair):
    """Drift of the features does not move the critical value of the prediction."""
    rng = np.random.default_rng(0)
    prediction = numeric_pair(rng.normal(size=500), rng.normal(size=500), role=Role.PREDICTION)
    alone = _verdicts({"p": prediction})
    drifted = {f"x{i}": numeric_pair(rng.normal(size=500), rng.normal(2, 1, size=500)) for i in range(5)}
    together = _verdicts({**drifted, "p": prediction})
    assert together["p"] == alone["p"]
    assert together.ratio == 1.0
    assert list(together) == [*drifted, "p"]


def test_listed_methods_are_used_where_they_are_defined(numeric_pair, categorical_pair):
    """The first method defined for a column decides, the others inform."""
    rng = np.random.default_rng(0)
    pairs = {
        "x": numeric_pair(rng.normal(size=500), rng.normal(size=500)),
        "b": categorical_pair(["true", "false"] * 200, ["true"] * 300, kind=Kind.BOOLEAN),
    }
    report = _verdicts(pairs, methods=["ks", "psi"])
    assert set(report["x"].methods) == {"ks", "psi", "missing"}
    assert report["x"].method == "ks"
    assert report["b"].method == "psi"
    assert report["b"].detected
    assert report["x"].methods["psi"].q_value is None


@pytest.mark.parametrize("wrong", [{"methods": ["kolmogorov"]}, {"alpha": 0.0}, {"correction": "holm"}])
def test_wrong_settings_are_refused(wrong):
    """Unknown methods and corrections, and impossible levels, raise."""
    with pytest.raises(ValueError):
        _verdicts({}, **wrong)


def test_false_alarms_of_a_family_stay_at_the_stated_rate(numeric_pair, categorical_pair):
    """With no drift at most about 5 % of evaluations of 14 mixed columns have any verdict (seeded)."""
    rng = np.random.default_rng(11)
    alarms, evaluations = 0, 150
    for _ in range(evaluations):
        pairs = {f"x{i}": numeric_pair(rng.normal(size=1000), rng.normal(size=200)) for i in range(6)}
        pairs |= {f"n{i}": numeric_pair(rng.poisson(2, 1000), rng.poisson(2, 200)) for i in range(4)}
        pairs |= {
            f"c{i}": categorical_pair(
                list(rng.choice(list("abcde"), 1000)), list(rng.choice(list("abcde"), 200))
            )
            for i in range(4)
        }
        alarms += bool(_verdicts(pairs, minimum_effect=0.0).detected_columns)
    assert alarms / evaluations <= 0.09


@pytest.mark.parametrize("role", [Role.FEATURE, Role.PREDICTION, Role.SCORE, Role.LABEL])
@pytest.mark.parametrize("kind", [Kind.NUMERIC, Kind.DATETIME, Kind.CATEGORICAL, Kind.BOOLEAN])
def test_all_listed_methods_are_computed_for_every_role_and_kind(numeric_pair, categorical_pair, role, kind):
    """Whatever a column is for, all listed methods that its kind allows are computed; the first decides."""
    rng = np.random.default_rng(0)
    if kind in {Kind.NUMERIC, Kind.DATETIME}:
        start = 1.7e9 if kind is Kind.DATETIME else 0.0
        pair = numeric_pair(start + rng.normal(size=800), start + rng.normal(size=300), role=role, kind=kind)
    else:
        texts = ["true", "false"] if kind is Kind.BOOLEAN else list("abcd")
        pair = categorical_pair(
            list(rng.choice(texts, 800)), list(rng.choice(texts, 300)), role=role, kind=kind
        )
    listed = ["anderson", "g", *sorted(set(METHODS) - {"anderson", "g"})]
    column = _verdicts({"x": pair}, methods=listed)["x"]
    allowed = {name for name, method in METHODS.items() if method.defined_for(kind)}
    assert set(column.methods) == allowed
    assert column.undefined == {}
    assert column.method == next(name for name in listed if name in allowed)
    assert column.role == role.value


def test_the_automatic_method_does_not_depend_on_the_rows(numeric_pair, categorical_pair):
    """With twenty or twenty thousand rows, auto decides by ks and js."""
    rng = np.random.default_rng(0)
    for rows in (20, 20_000):
        pairs = {
            "x": numeric_pair(rng.normal(size=rows), rng.normal(size=rows)),
            "c": categorical_pair(list(rng.choice(list("ab"), rows)), list(rng.choice(list("ab"), rows))),
        }
        report = _verdicts(pairs)
        assert [report[name].method for name in pairs] == ["ks", "js"]


class _Vectors:
    """A view of another kind than counts: what an embedding's profile shows."""

    def __init__(self, grid, n):
        self.grid, self.n, self.missing = grid, n, 0


def test_views_of_other_kinds_must_share_a_grid(numeric_pair):
    """A view without cells or categories is comparable with one on the same grid only."""
    grid = numeric_pair(np.arange(200.0), np.arange(200.0))[0].grid
    same = drift_test("missing", _Vectors(grid, 50), _Vectors(grid, 40))
    assert same.p_value == 1.0
    other = numeric_pair(np.arange(300.0), np.arange(200.0))[0].grid
    assert drift_test("missing", _Vectors(grid, 50), _Vectors(other, 40)).reason == "not_comparable"
