"""Python functions as metrics: what they are given, what they may give back, how they are told apart."""

from __future__ import annotations

import linecache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from exporter import custom_metric
from exporter.batch import Outcomes
from exporter.config import CustomMetric
from exporter.custommetrics import (
    CustomMetricError,
    CustomMetrics,
    MetricError,
    collection,
    importable,
    resolve,
)
from exporter.custommetrics.functions import fingerprint
from exporter.errors import ConfigurationError
from exporter.schema import Task

OUTCOMES = Outcomes(
    task=Task.BINARY,
    prediction=np.array([1, 0, 1, 1], np.int8),
    score=np.array([0.9, 0.2, 0.6, 0.7]),
    label=np.array([1, 0, 0, 1], np.int8),
    kept={"amount": pa.array([1.0, 2.0, None, 4.0]), "shop": pa.array(["a", "b", None, "a"])},
)


def totals_of(function, outcomes=OUTCOMES, *, prepared=False):
    """The six sums of a function, or None; and why it failed."""
    metrics = CustomMetrics.of_functions([function])
    if prepared:
        outcomes = metrics.prepare("v")(outcomes)
    totals = metrics.meter("v")(outcomes)
    failure = metrics.failures("v").get(function.__name__)
    return next(iter(totals.values()), None), failure


def test_a_function_is_given_a_frame_of_its_own():
    """Predictions and labels are 0 and 1; what the function does to its frame reaches nobody."""
    seen = []

    @custom_metric(columns=["amount", "shop"])
    def metric(rows):
        seen.append(rows.copy())
        rows["label"] = 7
        rows.loc[:, "amount"] = -1.0
        rows["score"].to_numpy(copy=True)[:] = 0
        return rows["prediction"]

    totals_of(metric)
    totals_of(metric)
    expected = {"prediction": [1, 0, 1, 1], "label": [1, 0, 0, 1], "score": [0.9, 0.2, 0.6, 0.7]}
    for rows in seen:
        assert list(rows.columns) == ["prediction", "label", "score", "amount", "shop"]
        assert rows[["prediction", "label", "score"]].to_dict("list") == expected
        assert rows["amount"].tolist()[:2] == [1.0, 2.0]
        assert np.isnan(rows["amount"][2])
        assert rows["shop"].dropna().tolist() == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("given", "sums"),
    [
        (np.array([1.0, 2.0, np.nan, 3.0]), [3, 6, 3, 14, 6, 3]),
        (pd.Series([True, False, True, True]), [4, 3, 4, 3, 3, 4]),
        ([0, 0, 0, 1], [4, 1, 4, 1, 1, 4]),
        ({"numerator": [1.0, 2, 3, np.nan], "denominator": [2.0, 2, 0, 5]}, [3, 6, 4, 14, 6, 8]),
        ({"numerator": 6.0, "denominator": np.float64(4)}, [1, 6, 4, 36, 24, 16]),
        ({"numerator": [1.0, 2, 3, 4], "denominator": 5}, [1, 10, 5, 100, 50, 25]),
        ({"numerator": np.nan, "denominator": 1.0}, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_rows_and_sums_become_six_sums(given, sums):
    """Values by row, pairs by row and sums of a call; a NaN leaves its row out."""

    def metric(rows):
        return given

    for prepared in (False, True):
        found, failure = totals_of(metric, prepared=prepared)
        assert failure is None
        assert found.tolist() == sums


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (0.75, "not_comparable"),
        ([0.5, 0.5], "not_comparable"),
        ({"numerator": 1.0}, "not_comparable"),
        ({"value": 1.0}, "not_comparable"),
        ({"numerator": [1.0, 2.0], "denominator": 1.0}, "not_comparable"),
        ("high", "not_comparable"),
        (None, "not_comparable"),
        ([[1.0], [2.0], [3.0], [4.0]], "not_comparable"),
        ([1.0, np.inf, 0, 0], "error"),
        ({"numerator": 1e200, "denominator": 1.0}, "error"),
    ],
)
def test_what_cannot_be_added_up_is_refused(given, reason):
    """A mean, values of other rows, texts and infinite values give no sums but a reason."""

    def metric(rows):
        return given

    for prepared in (False, True):
        found, failure = totals_of(metric, prepared=prepared)
        assert found is None
        assert (type(failure), failure.reason) == (CustomMetricError, reason)


@pytest.mark.parametrize(
    "error", [ValueError("two\nlines"), KeyError("amount"), SystemExit(3), MemoryError()]
)
def test_whatever_a_function_raises_stays_in_its_metric(error):
    """Exceptions of any kind, an exit too, become the reason `error`; the next rows make it good."""
    broken = [True]

    def metric(rows):
        if broken[0]:
            raise error
        return rows["label"]

    metrics = CustomMetrics.of_functions([metric])
    assert metrics.meter("v")(OUTCOMES) == {}
    assert metrics.failures("v")["metric"].message.startswith(type(error).__name__)
    assert metrics.failures("other") == {}
    broken[0] = False
    assert len(metrics.meter("v")(OUTCOMES)) == 1
    assert metrics.failures("v") == {}


def test_a_failed_function_is_called_once_a_push():
    """Prepared rows remember that a metric failed, so segments and buckets do not ask again."""
    calls = []

    def metric(rows):
        calls.append(len(rows))
        raise ValueError

    metrics = CustomMetrics.of_functions([metric])
    prepared = metrics.prepare("v")(OUTCOMES)
    for part in ([0, 1], [2], [3]):
        assert metrics.meter("v")(prepared.take(np.array(part))) == {}
    assert calls == [4]


def test_a_function_by_row_is_called_once_a_push_and_its_parts_add_up():
    """The sums of the buckets and segments of a push come from one call."""
    calls = []

    def metric(rows):
        calls.append(len(rows))
        return rows["prediction"] * 2.5

    metrics = CustomMetrics.of_functions([metric])
    prepared = metrics.prepare("v")(OUTCOMES)
    parts = [metrics.meter("v")(prepared.take(np.array(part))) for part in ([0, 3], [1], [2])]
    whole = metrics.meter("v")(prepared)
    (key,) = whole
    assert sum(part[key] for part in parts).tolist() == whole[key].tolist()
    assert calls == [4]


def test_fingerprints_tell_definitions_apart_and_not_their_layout():
    """Comments, docstrings and layout may change; what is computed may not."""
    first = "def f(rows):\n    return rows['a'] + 1\n"
    same = 'def f(rows):\n    """Text."""\n    # a remark\n    return (rows["a"]\n        + 1)\n'
    other = "def f(rows):\n    return rows['a'] + 2\n"
    found = {}
    for name, text in {"first": first, "same": same, "other": other}.items():
        namespace = {}
        exec(compile(text, "<test>", "exec"), namespace)
        function = namespace["f"]
        linecache.cache[f"<{name}>"] = (len(text), None, text.splitlines(keepends=True), f"<{name}>")
        function.__code__ = function.__code__.replace(co_filename=f"<{name}>")
        found[name] = fingerprint(function)
    assert found["first"] == found["same"] != found["other"]


def test_functions_without_source_are_told_apart_by_their_code():
    """Two functions of no file with other constants have other fingerprints."""
    namespace = {}
    exec("def f(r):\n    return r * 1\ndef g(r):\n    return r * 2\ndef h(r):\n    return r * 1", namespace)
    f, g, h = (fingerprint(namespace[name]) for name in "fgh")
    assert f == h != g


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.metrics:profit", "cannot import no_such_package.metrics"),
        ("math:profit", "math has no function profit"),
        ("math:pi", "math has no function pi"),
    ],
)
def test_functions_that_cannot_be_found_are_said_with_the_configuration(path, message):
    """Every metric that cannot be imported is named."""
    with pytest.raises(MetricError, match=message) as caught:
        CustomMetrics.compile(
            [CustomMetric(name="a", function=path), CustomMetric(name="b", sql="median(x)")]
        )
    assert [name for name, _ in caught.value.problems] == ["a", "b"]


def test_the_configuration_outranks_what_a_function_declares():
    """Unit and direction come from the configuration, then from the decorator, then from the default."""
    path = "tests.service.sample_metrics:lost_share"
    plain, changed, bare = CustomMetrics.compile(
        [
            CustomMetric(name="plain", function=path),
            CustomMetric(
                name="changed", function=path, unit="eur", higher_is_better=True, columns=("price",)
            ),
            CustomMetric(name="bare", function="tests.service.sample_metrics:broken"),
        ]
    ).measures
    assert (plain.unit, plain.higher_is_better) == ("ratio", False)
    assert (changed.unit, changed.higher_is_better) == ("eur", True)
    assert (bare.unit, bare.higher_is_better) == ("none", True)
    assert len({plain.digest, changed.digest, bare.digest}) == 3


def test_only_functions_of_modules_can_be_found_again():
    """What is saved by name must be found by it."""
    path = "tests.service.sample_metrics:profit"
    assert importable(resolve(path)) == path
    for function in (lambda rows: rows, OUTCOMES.take):
        with pytest.raises(ConfigurationError, match="module of its own"):
            importable(function)


@pytest.mark.parametrize(
    ("unit", "better", "drop"),
    [("ratio", True, 0.2), ("eur", True, 0.4), ("eur", False, -0.4), ("ratio", False, -0.4)],
)
def test_drop_is_a_difference_for_scores_and_else_a_ratio(unit, better, drop):
    """Positive is worse, in the direction of the metric."""

    @custom_metric(unit=unit, higher_is_better=better)
    def metric(rows):
        return rows["label"]

    (measure,) = CustomMetrics.of_functions([metric]).measures
    assert measure.drop(0.3, 0.5) == pytest.approx(drop)
    if (unit, better) != ("ratio", True):
        assert measure.drop(0.3, 0.0) is None
        assert measure.drop(0.0, 0.0) == 0.0
        assert measure.drop(-0.3, -0.5) == pytest.approx(-0.4 if better else 0.4)


def test_names_of_functions_are_their_own():
    """A lambda, a name of the catalogue and a name given twice are refused."""

    def accuracy(rows):
        return rows["label"]

    for functions in ([lambda rows: rows], [accuracy], [resolve("math:sqrt"), resolve("math:sqrt")]):
        with pytest.raises(ConfigurationError):
            CustomMetrics.of_functions(functions)


def test_a_slow_metric_is_noted_until_it_is_quick(monkeypatch):
    """A call beyond the limit is said with its time and rows."""

    def metric(rows):
        return rows["label"]

    metrics = CustomMetrics.of_functions([metric])
    monkeypatch.setattr(collection, "SLOW_SECONDS", -1.0)
    metrics.meter("v")(OUTCOMES)
    assert metrics.notes() == ["The metric metric took 0.0 s for 4 rows, while pushes with labels waited."]
    monkeypatch.setattr(collection, "SLOW_SECONDS", 60.0)
    metrics.meter("v")(OUTCOMES.take(np.array([0, 1])))
    assert len(metrics.notes()) == 1
    metrics.meter("v")(OUTCOMES)
    assert metrics.notes() == []
