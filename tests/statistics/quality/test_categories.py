"""New categories are named; vanished ones only when their absence is no chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from exporter.statistics.quality.categories import MOST_NAMED, category_changes


def test_new_categories_are_named_with_their_rows(categorical_pair):
    """Values that the baseline never had, most frequent first."""
    baseline, current = categorical_pair(["a"] * 90 + ["b"] * 10, ["a"] * 50 + ["x"] * 3 + ["y"] * 7 + [None])
    found = category_changes({"c": (baseline, current)})["c"]
    assert list(found.new.items()) == [("y", 7), ("x", 3)]
    assert (found.new_count, found.new_rows, found.vanished_count, found.exact) == (2, 10, 0, True)


def test_vanished_needs_enough_rows(categorical_pair):
    """A category of 10 % is missed in 200 rows and not in 20; a rare one in neither."""
    baseline = ["a"] * 890 + ["b"] * 100 + ["c"] * 10
    for rows, expected in ((20, set()), (200, {"b"})):
        pair = categorical_pair(baseline, ["a"] * rows)
        found = category_changes({"c": pair})["c"]
        assert set(found.vanished) == expected
        assert found.vanished_count == len(expected)


def test_chance_of_absence_is_fishers(categorical_pair):
    """The one-sided Fisher test of SciPy."""
    baseline, current = categorical_pair(["a"] * 400 + ["b"] * 60, ["a"] * 150)
    found = category_changes({"c": (baseline, current)})["c"].vanished["b"]
    expected = stats.fisher_exact([[0, 150], [60, 400]], alternative="less").pvalue
    assert found.p_value == pytest.approx(expected)
    assert found.baseline_ratio == pytest.approx(60 / 460)
    assert found.expected_rows == pytest.approx(150 * 60 / 460)


def test_false_alarms_are_rare(categorical_pair):
    """Without a change, a category of any of four columns vanishes in about one window of a hundred."""
    generator = np.random.default_rng(11)
    alarms = 0
    for _ in range(150):
        columns = {}
        for number in range(4):
            share = generator.dirichlet(np.full(30, 0.5))
            baseline, current = (generator.choice(30, rows, p=share).astype(str) for rows in (1500, 300))
            columns[str(number)] = categorical_pair(list(baseline), list(current))
        alarms += any(found.vanished_count for found in category_changes(columns).values())
    assert alarms <= 7


def test_names_are_bounded_and_counts_are_not(categorical_pair):
    """Only the most frequent new names are listed; the number is of all."""
    pair = categorical_pair(["a"], ["a"] + [f"n{number}" for number in range(2 * MOST_NAMED)])
    found = category_changes({"c": pair})["c"]
    assert len(found.new) == MOST_NAMED
    assert found.new_count == 2 * MOST_NAMED


def test_values_without_names_leave_it_open(categorical_pair):
    """Where the baseline had values that were not kept by name, a new name may be an old value."""
    baseline, current = categorical_pair(["a"] * 9, ["a", "b"])
    found = category_changes({"c": (replace(baseline, other=3, n=12), current)})["c"]
    assert found.new == {"b": 1}
    assert not found.exact
