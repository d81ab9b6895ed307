"""The quality score is a weighted mean, and its parts add up to what it lacks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.statistics.quality.score import MOST_WORST, quality_score

RATIOS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), max_size=6)


def test_weights_of_checks_and_columns():
    """By hand: completeness (3 * 0.5 + 1 * 1) / 4, validity 0.8, weights 2 and 1."""
    score, parts = quality_score(
        {"completeness": {"a": 0.5, "b": 1.0}, "validity": {"a": {"min": 0.8}}},
        weights={"completeness": 2.0},
        column_weights={"a": 3.0},
    )
    assert score == pytest.approx((2 * 0.625 + 0.8) / 3)
    assert parts["completeness"].worst == (("a", 0.5),)
    assert parts["validity"].worst == (("a/min", 0.8),)
    assert parts["completeness"].loss == pytest.approx(2 * 0.375 / 3)


@given(RATIOS, RATIOS, st.floats(0, 1), st.floats(0, 5), st.floats(0, 5))
def test_losses_add_up_to_what_the_score_lacks(first, second, timeliness, weight, column):
    """Score and losses sum to 1, whatever the ratios and weights."""
    score, parts = quality_score(
        {"x": first, "y": second}, timeliness, weights={"x": weight}, column_weights={"a": column}
    )
    assert score is not None
    assert score + sum(part.loss for part in parts.values()) == pytest.approx(1.0)


def test_nothing_weighed_has_no_score():
    """Without a ratio, or with weights of 0 only, there is no score."""
    assert quality_score({}) == (None, {})
    assert quality_score({"x": {"a": 0.5}}, weights={"x": 0.0}) == (None, {})
    assert quality_score({"x": {"a": 0.5}}, column_weights={"a": 0.0}) == (None, {})


def test_the_worst_come_first_and_are_few():
    """At most five subjects are named, the lowest ratios first."""
    _, parts = quality_score({"x": {str(place): place / 10 for place in range(9)}})
    assert [name for name, _ in parts["x"].worst] == [str(place) for place in range(MOST_WORST)]
