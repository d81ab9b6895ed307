"""Tests of all columns together: nulls that hold, changes that are found, reasons where there is none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from exporter.batch import validate_batch
from exporter.evaluation import Settings, measure_drift
from exporter.evaluation.together import measure_together
from exporter.profiles import build_grid, profile_rows
from exporter.profiles.multivariate import MultivariateSums, Rows, fit_multivariate
from exporter.results import Undefined
from exporter.schema import Column, Kind, Role, Schema, Task
from exporter.statistics.multivariate import (
    maximum_mean_discrepancy,
    multivariate_report,
    reconstruction_error,
)
from exporter.statistics.multivariate.correlation import correlation_changes
from exporter.statistics.multivariate.nulls import CentredChiSquareNull, LargestOfManyNull, StudentNull


def sums(grid, matrix, missing=None) -> MultivariateSums:
    features = {f"x{place}": column for place, column in enumerate(matrix.T)}
    gone = np.isnan(matrix).sum(axis=0) if missing is None else missing
    return MultivariateSums(grid, Rows(grid, features, len(matrix)).count(0, len(matrix)), gone)


def samples(before, after) -> tuple[MultivariateSums, MultivariateSums]:
    features = {f"x{place}": column for place, column in enumerate(before.T)}
    grid = fit_multivariate(list(features), {}, features, len(before))
    return sums(grid, before), sums(grid, after)


def errors(values) -> SimpleNamespace:
    return SimpleNamespace(n=len(values), mean=values.mean(), variance=values.var(ddof=1))


def profiled(before, after, kinds):
    """Both as profiles on the first one's grid."""
    features = tuple(
        Column(
            name,
            kind,
            Role.EMBEDDING if kind is Kind.EMBEDDING else Role.FEATURE,
            16 if kind is Kind.EMBEDDING else None,
        )
        for name, kind in kinds.items()
    )
    schema = Schema("m", Task.BINARY, "p", "y", features=features)
    batches = [
        validate_batch(
            pa.table({**part, "p": pa.array([True] * len(next(iter(part.values()))))}), schema, now=0.0
        )
        for part in (before, after)
    ]
    grid = build_grid(batches[0])
    return [profile_rows(grid, batch) for batch in batches]


def test_a_correlation_that_no_column_shows_is_found_every_time():
    """0.5 between two of 50 otherwise independent columns, 1,000 rows, thirty times of thirty, by name."""
    rng = np.random.default_rng(1)
    before = rng.normal(size=(10_000, 50))
    grid = samples(before, before)[0].grid
    baseline = sums(grid, before)
    for _ in range(30):
        after = rng.normal(size=(1_000, 50))
        after[:, 7] = 0.5 * after[:, 3] + np.sqrt(0.75) * after[:, 7]
        test = multivariate_report(baseline, sums(grid, after))["correlation"]
        assert test.detected
        assert test.contributions[0].columns == ("x3", "x7")
        assert test.contributions[0].current == pytest.approx(0.5, abs=0.12)


def test_correlations_are_those_of_the_levels():
    """Against NumPy's corrcoef of the very levels, and z changes against their definition."""
    rng = np.random.default_rng(2)
    before = rng.normal(size=(2_000, 4)) @ rng.normal(size=(4, 4))
    after = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4))
    baseline, current = samples(before, after)
    changes = correlation_changes(baseline, current)
    features = {f"x{place}": column for place, column in enumerate(after.T)}
    levels = Rows(current.grid, features, 500).matrix(0, 500)[1:5].astype(float)
    expected = np.corrcoef(levels)[np.triu_indices(4, 1)]
    np.testing.assert_allclose(changes.now, expected, atol=1e-9)
    np.testing.assert_allclose(changes.changes, np.arctanh(expected) - np.arctanh(changes.before), atol=1e-7)


def test_columns_that_became_missing_are_left_out_of_the_correlations():
    """A column of which many more rows are missing tells nothing of correlation; `missing` tests it."""
    rng = np.random.default_rng(3)
    before, after = rng.normal(size=(1_000, 3)), rng.normal(size=(500, 3))
    after[:200, 0] = np.nan
    changes = correlation_changes(*samples(before, after))
    assert changes.count == 1
    after[:, 1] = 5.0
    assert correlation_changes(*samples(before, after)).reason == "constant"


def test_pairs_of_rare_values_are_left_out_while_rows_are_few():
    """Two flags of one in a hundred: their correlation hangs on the rows where both are set."""
    rng = np.random.default_rng(4)
    before = (rng.random((20_000, 2)) < 0.01).astype(float)
    after = (rng.random((500, 2)) < 0.01).astype(float)
    assert correlation_changes(*samples(before, after)).reason == "insufficient_rows"


def test_reconstruction_error_is_a_two_sample_t_test():
    """The p-value is SciPy's with pooled variance; the statistic is in baseline deviations."""
    rng = np.random.default_rng(5)
    before, after = rng.gamma(2, 1, 3_000), rng.gamma(2.2, 1, 400)
    test = reconstruction_error(errors(before), errors(after))
    assert test.p_value == pytest.approx(stats.ttest_ind(before, after).pvalue)
    assert test.statistic == pytest.approx(abs(after.mean() - before.mean()) / before.std(ddof=1))


def test_discrepancy_is_the_unbiased_one():
    """Against the U-statistic over all pairs of rows, with the mean features as the kernel."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(40, 64)), rng.normal(size=(30, 64)) + 0.2
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    shape = SimpleNamespace(waves=SimpleNamespace(squares=0.1, cubes=0.02))
    views = [SimpleNamespace(n=len(rows), features=rows.mean(axis=0), grid=shape) for rows in (x, y)]
    pairs = [(rows @ rows.T).sum() - len(rows) for rows in (x, y)]
    expected = pairs[0] / (40 * 39) + pairs[1] / (30 * 29) - 2 * (x @ y.T).mean()
    assert maximum_mean_discrepancy(*views).statistic == pytest.approx(expected)


def test_discrepancy_null_has_the_cumulants_of_its_quadratic_form():
    """Variance and skewness of a sum of weighted centred chi-squares, which it stands for."""
    weights = np.array([0.5, 0.3, 0.1, 0.1])
    shape = SimpleNamespace(squares=(weights**2).sum(), cubes=(weights**3).sum())
    views = [
        SimpleNamespace(n=n, features=np.zeros(8), grid=SimpleNamespace(waves=shape)) for n in (10**6, 10**6)
    ]
    null = maximum_mean_discrepancy(*views).null
    variance = 2 * (2e-6) ** 2 * shape.squares
    assert null.scale**2 * 2 * null.freedom == pytest.approx(variance, rel=1e-5)
    assert np.sqrt(8 / null.freedom) == pytest.approx(8 * shape.cubes / (2 * shape.squares) ** 1.5, rel=1e-5)


NULLS = (CentredChiSquareNull(3.7, 2e-4), StudentNull(120.0, 0.03), LargestOfManyNull(1_225, 0.02))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NULLS), st.floats(1e-6, 0.9))
def test_p_value_and_critical_value_are_two_sides_of_one_null(null, level):
    """The p-value of the critical value of a level is the level."""
    assert null.p_value(null.critical_value(level, -1.0)) == pytest.approx(level, rel=1e-3)
    assert null.critical_value(level, 1e9) == 1e9


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 400),
    st.sampled_from(["none", "constant", "missing", "integers", "huge", "equal"]),
    st.sampled_from(["bh", "bonferroni", "none"]),
)
def test_detected_means_that_the_statistic_exceeds_its_critical_value(seed, n, shape, correction):
    """For any rows: statistic > critical value exactly when detected, all finite; or there is a reason."""
    rng = np.random.default_rng(seed)
    before, after = rng.normal(size=(300, 4)), rng.normal(rng.random(), 1, size=(n, 4))
    for matrix in (before, after):  # changed in place
        if shape == "constant":
            matrix[:] = 1.0
        elif shape == "missing":
            matrix[rng.random(matrix.shape) < 0.7] = np.nan
        elif shape == "integers":
            matrix[:] = np.rint(matrix / 2)
        elif shape == "huge":
            matrix[:] = 1e300 * matrix
        elif shape == "equal":
            matrix[:] = matrix[:, :1]
    report = multivariate_report(*samples(before, after), correction=correction, minimum_rows=2)
    assert set(report) == {"mmd", "pca", "correlation"}
    for test in report.values():
        if test.detected is None:
            assert test.reason in {"constant", "insufficient_rows"}
            continue
        assert test.detected == (test.statistic > test.critical_value)
        assert np.isfinite([test.statistic, test.critical_value]).all()
        assert 0 <= test.p_value <= test.q_value + 1e-9 <= 1 + 2e-9
        assert len(test.contributions) <= 10
        assert all(np.isfinite(part.value) for part in test.contributions)


def test_contributions_name_what_changed():
    """A shifted column leads MMD's, a column that left its factor leads PCA's, a category its own."""
    rng = np.random.default_rng(7)

    def rows(n, shift=0.0, loose=0.0, extra=0.0):
        factor = rng.normal(size=(n, 1))
        matrix = factor + 0.3 * rng.normal(size=(n, 6))
        matrix[:, 2] += shift
        matrix[:, 4] = (1 - loose) * matrix[:, 4] + loose * rng.normal(size=n)
        columns = {f"x{place}": column for place, column in enumerate(matrix.T)}
        columns["c"] = pa.array(np.where(rng.random(n) < 0.3 + extra, "a", "b")).dictionary_encode()
        return columns

    before = rows(5_000)
    grid = fit_multivariate([f"x{place}" for place in range(6)], {"c": ["b", "a"]}, before, 5_000)
    none = np.zeros(6, np.int64)

    def leading(after, method):
        both = [
            MultivariateSums(grid, Rows(grid, part, n).count(0, n), none)
            for part, n in ((before, 5_000), (after, 2_000))
        ]
        test = multivariate_report(*both)[method]
        assert test.detected
        return test.contributions[0].columns

    assert leading(rows(2_000, shift=0.5), "mmd") == ("x2",)
    assert leading(rows(2_000, extra=0.3), "mmd") == ("c",)
    assert leading(rows(2_000, loose=0.8), "pca") == ("x4",)
    assert "x4" in leading(rows(2_000, loose=0.8), "correlation")


def test_the_three_tests_share_the_level():
    """Critical values are those of a third of alpha while nothing is found, with Benjamini-Hochberg too."""
    rng = np.random.default_rng(8)
    baseline, current = samples(rng.normal(size=(3_000, 5)), rng.normal(size=(1_000, 5)))
    report = multivariate_report(baseline, current, alpha=0.03)
    assert report.detected == []
    null = reconstruction_error(baseline.errors, current.errors).null
    assert report["pca"].critical_value == pytest.approx(max(null.critical_value(0.01), 0.05))
    alone = multivariate_report(baseline, current, alpha=0.03, methods=["pca"])
    assert list(alone) == ["pca"]
    assert alone["pca"].critical_value == pytest.approx(max(null.critical_value(0.03), 0.05))


def test_reasons_where_there_is_nothing_to_test():
    """Few rows, and rows that were not measured together."""
    rng = np.random.default_rng(9)
    baseline, current = samples(rng.normal(size=(300, 3)), rng.normal(size=(99, 3)))
    assert {test.reason for test in multivariate_report(baseline, current).values()} == {"insufficient_rows"}
    assert {test.reason for test in multivariate_report(None, current).values()} == {"not_comparable"}
    assert {test.reason for test in multivariate_report(baseline, None).values()} == {"not_comparable"}
    assert isinstance(maximum_mean_discrepancy(*samples(np.ones((99, 2)), np.ones((50, 2)))), Undefined)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["normal", "integers", "student"])
def test_false_alarms_stay_at_their_rate(shape):
    """Nothing drifts: each single test alarms in about 5 % of the samples, at 300 rows against 2,000."""
    rng = np.random.default_rng(10)

    def draw(n):
        if shape == "integers":
            return rng.integers(0, 4, (n, 8)).astype(float)
        matrix = rng.normal(size=(n, 8))
        return matrix / np.sqrt(rng.chisquare(3, size=(n, 1)) / 3) if shape == "student" else matrix

    alarms = {"mmd": 0, "pca": 0, "correlation": 0}
    for _ in range(60):
        baseline, current = samples(draw(2_000), draw(300))
        alarms["mmd"] += maximum_mean_discrepancy(baseline, current).p_value < 0.05
        alarms["pca"] += reconstruction_error(baseline.errors, current.errors).p_value < 0.05
        alarms["correlation"] += correlation_changes(baseline, current).p_value < 0.05
    assert all(count <= 9 for count in alarms.values()), alarms


def test_embedding_columns_get_a_verdict_of_their_own():
    """Vectors that turn without changing their length are found, by `mmd` alone and by `pca` when listed."""
    rng = np.random.default_rng(11)

    def part(n, turned):
        factor = rng.normal(size=(n, 3)) @ np.eye(3, 16) * 3 + rng.normal(size=(n, 16)) * 0.3
        vectors = (np.roll(factor, 5, axis=1) if turned else factor).astype(np.float32)
        return {"vector": pa.array(list(vectors)), "x": rng.normal(size=n)}

    kinds = {"vector": Kind.EMBEDDING, "x": Kind.NUMERIC}
    baseline, still = profiled(part(2_000, turned=False), part(500, turned=False), kinds)
    _, turned = profiled(part(2_000, turned=False), part(500, turned=True), kinds)
    report, _ = measure_drift(still, None, baseline, Settings())
    assert report["vector"].detected is False
    assert (report["vector"].method, report["vector"].role) == ("mmd", "embedding")
    turned.grid = baseline.grid
    baseline, turned = profiled(part(2_000, turned=False), part(500, turned=True), kinds)
    report, missing = measure_drift(turned, None, baseline, Settings(methods=["ks", "mmd", "pca"]))
    assert report["vector"].detected
    assert set(report["vector"].methods) == {"mmd", "pca", "missing"}
    assert report["vector"].methods["pca"].detected
    assert list(report.multivariate) == []
    assert missing == [("multivariate_drift", None, "not_comparable")]


@pytest.mark.parametrize("vector", [np.zeros(16), np.full(16, np.nan)])
def test_embeddings_of_a_baseline_without_spread_have_a_reason(vector):
    """Vectors of a baseline that are all zero or missing cannot be compared, which is no failure."""
    kinds = {"vector": Kind.EMBEDDING, "x": Kind.NUMERIC}
    rng = np.random.default_rng(3)

    def part(vectors):
        return {"vector": pa.array(list(vectors.astype(np.float32))), "x": rng.normal(size=500)}

    baseline, current = profiled(part(np.tile(vector, (500, 1))), part(rng.normal(size=(500, 16))), kinds)

    def failed(measure, subject, error):
        raise AssertionError((measure, subject)) from error

    for methods in ("auto", ["mmd", "pca"]):
        report, _ = measure_drift(current, None, baseline, Settings(methods=methods), failed)
        assert report["vector"].reason in {None, "not_comparable", "insufficient_rows"}


def test_a_window_of_profiles_is_tested_together():
    """From rows to the report: methods as configured, reasons listed, failures contained."""
    rng = np.random.default_rng(12)
    kinds = {f"x{place}": Kind.NUMERIC for place in range(3)}
    rows = {name: rng.normal(size=2_000) for name in kinds}
    late = {name: rng.normal(size=60) for name in kinds}
    baseline, few = profiled(rows, late, kinds)
    report, missing = measure_drift(few, None, baseline, Settings(multivariate=["pca"]))
    assert [entry for entry in missing if entry[0] == "multivariate_drift"] == [
        ("multivariate_drift", "pca", "insufficient_rows")
    ]
    assert report.to_dict()["multivariate"]["methods"]["pca"]["reason"] == "insufficient_rows"
    assert list(measure_drift(few, None, baseline, Settings(multivariate=()))[0].multivariate) == []
    told = []
    broken = SimpleNamespace(multivariate=lambda: 1 / 0, grid=baseline.grid)
    failed = measure_together(
        broken, broken, methods=["mmd"], alpha=0.05, correction="bh", minimum_rows=2, failed=told.append
    )
    assert failed["mmd"].reason == "error"
    assert isinstance(told[0], ZeroDivisionError)
