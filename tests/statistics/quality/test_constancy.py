"""Columns that become constant, nearly constant, or no longer are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exporter.statistics.quality.constancy import _fewer, top_value


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (0.9, 1.0, "constant"),
        (0.9, 0.995, "constant"),
        (0.9, 0.9, None),
        (0.985, 0.991, None),
        (0.999, 0.9, "varied"),
        (1.0, 0.95, "varied"),
        (1.0, 1.0, None),
    ],
)
def test_change_is_named(categorical_pair, before, now, expected):
    """Shares of one value in 4,000 rows of baseline and window."""

    def column(share):
        others = round(4000 * (1 - share))
        return ["a"] * (4000 - others) + ["b", "c"] * (others // 2) + ["b"] * (others % 2)

    baseline, current = categorical_pair(column(before), column(now))
    found = top_value(current, baseline)
    assert found.change == expected
    assert found.value == "a"
    assert found.ratio == pytest.approx(now)
    assert found.baseline_ratio == pytest.approx(before)


def test_few_rows_say_nothing(categorical_pair):
    """Five equal values of a column that had one value in nine cases of ten mean nothing."""
    baseline, current = categorical_pair(["a"] * 900 + ["b"] * 100, ["a"] * 5)
    assert top_value(current, baseline).change is None


def test_a_numeric_column_stuck_at_a_new_value_is_constant(numeric_pair):
    """A sensor that hangs at a value that is no edge, even outside the baseline's range."""
    generator = np.random.default_rng(1)
    for value in (0.123456, 1e9):
        baseline, current = numeric_pair(generator.normal(size=5000), np.full(800, value))
        found = top_value(current, baseline)
        assert (found.change, found.ratio) == ("constant", 1.0)
        assert float(found.value) == pytest.approx(value)


def test_numeric_top_value_is_the_most_frequent(numeric_pair):
    """A column of few values: the mode and its share, as NumPy counts them; new values can be the top."""
    generator = np.random.default_rng(2)
    baseline, current = numeric_pair(generator.poisson(2, 3000), generator.poisson(5, 1000))
    values, counts = np.unique(np.repeat(current.grid.edges, current.cells[1::2]), return_counts=True)
    found = top_value(current, baseline)
    assert float(found.value) == values[counts.argmax()]
    assert found.ratio == counts.max() / 1000


def test_a_new_category_can_be_the_top_value(categorical_pair):
    """A value that the baseline never had holds all rows."""
    baseline, current = categorical_pair(["a", "b"] * 500, ["new"] * 500)
    assert top_value(current, baseline) == top_value(current, baseline)
    assert top_value(current, baseline).to_dict() == {
        "value": "new",
        "ratio": 1.0,
        "baseline_ratio": 0.5,
        "change": "constant",
    }


@pytest.mark.parametrize(
    ("a", "n", "b", "m"), [(0, 50, 10, 100), (3, 200, 40, 700), (0, 5, 3, 20), (7, 9, 2, 9)]
)
def test_chance_is_fishers(a, n, b, m):
    """The one-sided Fisher test of SciPy."""
    expected = stats.fisher_exact([[a, n - a], [b, m - b]], alternative="less").pvalue
    assert _fewer(a, n, b, m) == pytest.approx(expected)
