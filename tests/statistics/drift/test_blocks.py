from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.schema import Kind
from exporter.statistics.drift.blocks import (
    LEAST_BLOCKS,
    BlockEffect,
    BlockNull,
    block_effects,
    typical_square,
)
from exporter.statistics.drift.methods import METHODS, drift_test
from exporter.statistics.drift.nulls import PointNull, ScaledChiSquareNull
from exporter.statistics.drift.verdict import drift_verdicts

LISTED = ("ks", "wasserstein", "cvm", "anderson", "chi2", "psi", "js", "tv")


@pytest.fixture
def cut(numeric_pair):
    """`cut(rows, blocks)`: the baseline's blocks and its total as columns named x."""

    def columns(rows, number):
        everything = np.concatenate(rows)
        parts = np.array_split(everything, number)
        return [{"x": numeric_pair(everything, part)[1]} for part in parts], {
            "x": numeric_pair(everything, everything)[0]
        }

    return columns


def hours(rng, number, rows, deviation):
    """Rows of each hour about a level of its own."""
    return [level + rng.normal(size=rows) for level in deviation * rng.normal(size=number)]


@pytest.mark.parametrize("method", LISTED)
def test_alike_blocks_have_little_effect(cut, method):
    """Independent rows: what blocks add to the variance of a window of 500 rows is a small part of it."""
    rng = np.random.default_rng(0)
    effect = block_effects(*cut([rng.normal(size=20_000)], 40), [method])["x", method]
    assert effect.blocks == pytest.approx(40)
    assert 1.0 <= effect.design_effect(20_000, 500) < 1.6


@pytest.mark.parametrize("method", ["ks", "wasserstein", "cvm", "anderson"])
def test_effect_is_of_the_size_of_the_variance_between_blocks(cut, method):
    """Levels of deviation 0.3 about noise of 1 add part of 0.09 rows' variance: that of one direction."""
    rng = np.random.default_rng(1)
    found = [
        block_effects(*cut(hours(rng, 30, 400, 0.3), 30), [method])["x", method].excess for _ in range(5)
    ]
    assert 0.01 < np.median(found) < 0.12


def test_false_alarms_of_hours_that_differ(cut, numeric_pair):
    """Windows of hours with levels of their own alarm nearly always, and rarely against the block null."""
    rng = np.random.default_rng(2)
    rows = hours(rng, 24, 300, 0.3)
    everything = np.concatenate(rows)
    blocks, total = cut(rows, 24)
    effects = block_effects(blocks, total)
    alarms = {"independent": 0, "blocks": 0}
    for window in hours(rng, 60, 300, 0.3):
        current = {"x": numeric_pair(everything, window)[1]}
        for null, known in (("independent", None), ("blocks", effects)):
            report = drift_verdicts(total, current, minimum_effect=0.0, block_nulls=known)
            alarms[null] += bool(report.detected_columns)
            verdict = report["x"]
            assert verdict.detected == (verdict.statistic > verdict.critical_value)
            assert verdict.detail == ""
    assert alarms["independent"] >= 30
    assert alarms["blocks"] <= 9


def test_real_drift_is_found_all_the_same(cut, numeric_pair):
    """A shift of several deviations between hours is detected against the block null."""
    rng = np.random.default_rng(3)
    rows = hours(rng, 24, 300, 0.2)
    blocks, total = cut(rows, 24)
    current = {"x": numeric_pair(np.concatenate(rows), 1.5 + rng.normal(size=300))[1]}
    assert drift_verdicts(total, current, block_nulls=block_effects(blocks, total)).detected_columns == ["x"]


def test_few_blocks_are_no_estimate_and_the_verdict_says_so(cut, numeric_pair):
    """With too few blocks rows are taken as independent, and the column's detail says that."""
    rng = np.random.default_rng(4)
    rows = [rng.normal(size=3000)]
    blocks, total = cut(rows, LEAST_BLOCKS - 1)
    effects = block_effects(blocks, total)
    assert effects == {}
    current = {"x": numeric_pair(rows[0], rng.normal(size=300))[1]}
    verdict = drift_verdicts(total, current, block_nulls=effects)["x"]
    assert verdict.detected is False
    assert "fewer than 6 blocks" in verdict.detail


def test_columns_that_cannot_differ_have_no_effect(cut):
    """Constant columns and columns without missing values: excess 0, and the null stays."""
    blocks, total = cut([np.ones(2000)], 10)
    effects = block_effects(blocks, total, ["ks"])
    assert effects["x", "ks"].excess == 0
    assert effects["x", "missing"].excess == 0
    assert typical_square(PointNull(), 2.0) == (0.0, 1.0)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(1.0, 1e4),
    st.floats(6, 500),
    st.floats(1e-8, 0.5),
    st.integers(1, 20),
    st.sampled_from([1.0, 2.0]),
)
def test_quantile_and_chance_of_a_block_null_are_inverse(design, blocks, level, freedom, power):
    """The p-value of the critical value of a level is the level, and never below the one of rows alone."""
    base = ScaledChiSquareNull(freedom, 0.01, 1 / power)
    null = BlockNull(base, power, design, blocks)
    critical = null.critical_value(level)
    assert null.p_value(critical) == pytest.approx(level, rel=1e-4)
    assert critical >= base.critical_value(level)
    assert null.critical_value(level, floor=1e9) == 1e9


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from(sorted(name for name, method in METHODS.items() if method.defined_for(Kind.NUMERIC))),
)
def test_verdicts_and_p_values_agree_under_a_block_null(numeric_pair, seed, method):
    """Exceeding the critical value of a level is the same as a p-value below it, for every method."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 9))
    columns = numeric_pair(rng.integers(0, size, 500), rng.integers(0, size, 200))
    test = drift_test(method, *columns)
    if isinstance(test.null, PointNull):
        return
    null = BlockNull(
        test.null, METHODS[method].power_to_square, BlockEffect(0.01, 12).design_effect(500, 200), 12
    )
    for level in (0.2, 0.05, 0.001):
        assert null.p_value(1.001 * null.critical_value(level)) <= level * (1 + 1e-9)
        assert null.p_value(0.98 * null.critical_value(level)) > level * 0.999
