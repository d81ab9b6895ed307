from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exporter.schema import Role
from exporter.statistics.quality import quality_report


@pytest.fixture
def columns(numeric_pair, categorical_pair):
    pairs = {
        "x": numeric_pair(np.arange(100.0), [5.0, 7.5, -1.0, 200.0, np.nan, np.inf, 99.0, 0.0, 1.0, 1.0]),
        "c": categorical_pair(["a", "b"] * 50, ["a", "b", "new", None, "a", "a", "a", "a", "a", "a"]),
        "y": numeric_pair([0.0, 1.0], [np.nan] * 10, role=Role.LABEL),
    }
    baseline = {name: pair[0] for name, pair in pairs.items()}
    return baseline, {name: pair[1] for name, pair in pairs.items()}


def test_ratios_follow_their_definitions(columns):
    """Completeness, range, categories, types and duplicates are shares of the rows that count for each."""
    baseline, current = columns
    tallies = {("received",): 20, ("invalid", "x"): 4, ("duplicate",): 10, ("timely",): 8}
    report = quality_report(current, tallies, rows=10, baseline=baseline, id_column="id", timeliness=True)
    assert report.completeness == {"x": 0.9, "c": 0.9}
    assert report.in_range == {"x": pytest.approx(6 / 9)}
    assert report.known_category == {"c": pytest.approx(8 / 9)}
    assert report.type_valid == {"x": 0.8, "c": 1.0}
    assert report.duplicate == report.uniqueness["id"] == 0.5
    assert report.uniqueness["c"] == pytest.approx(3 / 9)
    assert report.timeliness == 0.8


def test_rules_are_shares_of_the_rows_they_were_checked_on():
    """Validity and consistency come from the tallies of their rules."""
    tallies = {
        ("rule", "x", "min", "checked"): 10,
        ("rule", "x", "min", "passed"): 9,
        ("rule", "x", "max", "checked"): 4,
        ("rule", "z", "regex", "checked"): 0,
        ("consistency", "order", "checked"): 10,
        ("consistency", "order", "passed"): 5,
    }
    report = quality_report({}, tallies, rows=10)
    assert report.validity == {"x": {"min": 0.9, "max": 0.0}}
    assert report.consistency == {"order": 0.5}
    assert report.score == pytest.approx((0.45 + 0.5) / 2)


def test_weights_move_the_score(columns):
    """The score is the weighted mean over the checks of the mean of each."""
    baseline, current = columns
    report = quality_report(
        current, {}, rows=10, baseline=baseline, weights={"in_range": 3.0, "type_valid": 0.0}
    )
    assert report.score == pytest.approx((0.9 + 3 * 6 / 9 + 8 / 9) / 5)


def test_without_a_baseline_range_and_categories_have_reasons(columns):
    """What needs a baseline says so, the rest stands."""
    report = quality_report(columns[1], {}, rows=10)
    assert report.completeness["x"] == 0.9
    assert set(report.undefined) == {
        ("quality_in_range_ratio", "x", "no_baseline"),
        ("quality_known_category_ratio", "c", "no_baseline"),
        ("quality_uniqueness_ratio", "x", "not_comparable"),
        ("quality_duplicate_ratio", None, "not_comparable"),
    }


def test_a_column_without_values_is_empty_not_without_a_baseline(columns):
    """Where the window has none, the range says so, whatever the baseline has."""
    current = {"x": replace(columns[1]["x"], n=0, nonfinite=0)}
    for baseline in (columns[0], current):
        report = quality_report(current, {}, rows=10, baseline=baseline)
        assert ("quality_in_range_ratio", "x", "empty") in report.undefined


def test_uniqueness_is_exact_or_estimated_or_has_a_reason(numeric_pair, categorical_pair):
    """Values counted one by one are exact, hashed names are estimated, the rest has a reason."""
    _, many = categorical_pair(["a"] * 50, ["b"] * 50)
    many = replace(many, novel={"b": 10}, other=40, distinct=45)
    columns = {
        "counted": numeric_pair(np.arange(10.0), np.arange(10.0).repeat(2))[1],
        "between": numeric_pair(np.arange(10.0), np.arange(20) / 7)[1],
        "empty": numeric_pair(np.arange(10.0), np.full(20, np.nan))[1],
        "many": many,
    }
    report = quality_report(columns, {}, rows=20)
    assert report.uniqueness == {"counted": 0.5, "many": 0.9}
    gaps = {gap[1:] for gap in report.undefined if gap[0] == "quality_uniqueness_ratio"}
    assert gaps == {("between", "not_comparable"), ("empty", "empty")}


def test_without_ids_repeated_rows_are_duplicates(columns):
    """Rows that repeat are in the profile themselves; where nobody looked there is a reason."""
    assert quality_report(columns[1], {("repeated",): 2}, rows=10).duplicate == 0.2
    unknown = quality_report(columns[1], {}, rows=10)
    assert unknown.duplicate is None
    assert ("quality_duplicate_ratio", None, "not_comparable") in unknown.undefined


def test_an_empty_window_is_empty():
    """No rows: no ratios and a reason for each."""
    report = quality_report({}, {}, rows=0)
    assert report.score is None
    assert {reason for _, _, reason in report.undefined} == {"empty"}


def test_all_ratios_of_clean_data_are_one(numeric_pair, categorical_pair):
    """Rows like the baseline's score 1."""
    x, c = numeric_pair(np.arange(50.0), np.arange(50.0)), categorical_pair(["a"] * 50, ["a"] * 50)
    report = quality_report(
        {"x": x[1], "c": c[1]}, {("received",): 50}, rows=50, baseline={"x": x[0], "c": c[0]}, id_column="id"
    )
    assert report.score == 1.0
