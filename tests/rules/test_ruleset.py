"""Rule sets against pandas as oracle, and what happens to rules that cannot be evaluated."""

from __future__ import annotations

import datetime as dt
import math
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import ConfigurationError, ExpressionError
from exporter.rules import RuleError, RuleOutcome, RuleSet, RuleWorker
from exporter.schema import Column, Kind, Schema, Task

SCHEMA = Schema("m", Task.BINARY, "predicted", "actual")


@pytest.fixture(scope="module")
def worker() -> Iterator[RuleWorker]:
    with RuleWorker(deadline_seconds=5.0) as shared:
        yield shared


def judge(
    table: pa.Table,
    validation: Any = None,
    consistency: Any = None,
    *,
    schema: Schema = SCHEMA,
    worker: Any = None,
) -> RuleOutcome:
    return RuleSet.compile(validation, consistency, schema, worker=worker).evaluate(table)


def passed(outcome: RuleOutcome, *key: str) -> list[bool]:
    return outcome.judgements[key].passed.tolist()


@pytest.mark.parametrize(
    ("rule", "argument", "values", "expected"),
    [
        ("min", 0, [-1, 0, 1, None], [False, True, True, True]),
        ("max", 0.5, [0.5, math.nan, math.inf, -math.inf], [True, True, False, True]),
        ("min", 2, ["1", "2", "x", None], [False, True, False, True]),
        ("not_null", True, [1.0, math.nan, None], [True, False, False]),
        ("not_null", True, ["", None], [True, False]),
        ("allowed", ["AA", "UA"], ["AA", "aa", None, "ZZ"], [True, False, True, False]),
        ("allowed", [1, 2], [1.0, 2.5, None], [True, False, True]),
        ("allowed", [True], [True, False, None], [True, False, True]),
        ("regex", "^N", ["N1", "xN", None], [True, False, True]),
        ("regex", "(a|aa)+$", ["a" * 5000 + "b"], [False]),
        ("type", "integer", [1.0, 1.5, math.inf, None], [True, False, False, True]),
        ("type", "numeric", ["1", "x", "1e3", None], [True, False, True, True]),
        ("type", "boolean", ["true", "FALSE", "yes"], [True, True, False]),
        ("type", "string", [1, 2, None], [False, False, True]),
        ("type", "datetime", ["2026-01-01T00:00:00Z", "never"], [True, False]),
        ("unique", True, ["a", "b", "a", None, None], [True, True, False, True, True]),
        ("unique", True, [0.0, 1.0, 1.0, math.nan, math.nan], [True, True, False, True, True]),
        ("length", 2, ["é!", "abc", None], [True, False, True]),
        ("length", {"min": 1, "max": 2}, ["", "a", "ab", "abc"], [False, True, True, False]),
        (
            "min",
            dt.date(2026, 1, 1),
            np.array(["2025-12-31T23:59", "2026-01-01T00:00"], "M8[us]"),
            [False, True],
        ),
        ("max", "2026-01-01", ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"], [True, False]),
    ],
)
def test_validation_rules(rule: str, argument: Any, values: Any, expected: list[bool]) -> None:
    """Each rule on values of each type; missing values pass all but `not_null`."""
    outcome = judge(pa.table({"x": pa.array(values)}), {"x": {rule: argument}})
    assert not outcome.failures
    assert passed(outcome, "rule", "x", rule) == expected
    assert outcome.tallies == {
        ("rule", "x", rule, "passed"): sum(expected),
        ("rule", "x", rule, "checked"): len(expected),
    }


def test_validation_reads_dictionaries_like_their_values() -> None:
    """A dictionary-encoded column passes what its values pass."""
    values = pa.array(["AA", "UA", None, "ZZ", "AA"])
    rules = {"x": {"allowed": ["AA"], "regex": "A$", "unique": True, "length": 2, "not_null": True}}
    plain = judge(pa.table({"x": values}), rules)
    encoded = judge(pa.table({"x": values.dictionary_encode()}), rules)
    assert plain.tallies == encoded.tallies
    assert plain.valid == encoded.valid == {"x": (1, 5)}


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.none() | st.floats(allow_nan=True) | st.sampled_from([0.0, 1.0]), max_size=30),
    low=st.floats(-10, 10),
    high=st.floats(-10, 10),
)
def test_number_rules_agree_with_pandas(values: list[float | None], low: float, high: float) -> None:
    """min, max, not_null and unique on floats."""
    series = pd.Series(values, dtype="float64")
    table = pa.table({"x": pa.array(values, pa.float64())})
    outcome = judge(table, {"x": {"min": low, "max": high, "not_null": True, "unique": True}})
    assert passed(outcome, "rule", "x", "min") == (series.isna() | (series >= low)).tolist()
    assert passed(outcome, "rule", "x", "max") == (series.isna() | (series <= high)).tolist()
    assert passed(outcome, "rule", "x", "not_null") == series.notna().tolist()
    assert passed(outcome, "rule", "x", "unique") == (series.isna() | ~series.duplicated()).tolist()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(
        st.none() | st.text(max_size=6) | st.sampled_from(["a", "b", "N1"]), min_size=1, max_size=30
    ),
    allowed=st.lists(st.text(max_size=3), min_size=1, max_size=4),
)
def test_text_rules_agree_with_pandas(values: list[str | None], allowed: list[str]) -> None:
    """allowed, regex, length and unique on texts."""
    series = pd.Series(values, dtype=object)
    table = pa.table({"x": pa.array(values, pa.string())})
    outcome = judge(
        table, {"x": {"allowed": allowed, "regex": "N[0-9]", "length": {"max": 2}, "unique": True}}
    )
    assert not outcome.failures
    missing = series.isna().to_numpy()
    texts = ["" if value is None else value for value in values]
    found = np.array([re.search("N[0-9]", text) is not None for text in texts], dtype=bool)
    assert passed(outcome, "rule", "x", "allowed") == (missing | series.isin(allowed)).tolist()
    assert passed(outcome, "rule", "x", "regex") == (missing | found).tolist()
    assert passed(outcome, "rule", "x", "length") == (missing | (np.array([*map(len, texts)]) <= 2)).tolist()
    assert passed(outcome, "rule", "x", "unique") == (missing | ~series.duplicated().to_numpy()).tolist()


FLOATS = st.lists(
    st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, math.inf]), min_size=8, max_size=8
)


@settings(max_examples=40, deadline=None)
@given(a=FLOATS, b=FLOATS)
def test_consistency_rules_agree_with_pandas(
    worker: RuleWorker, a: list[float | None], b: list[float | None]
) -> None:
    """Comparison, logic, arithmetic and CASE; NaN and NULL are not checked."""
    left, right = pd.Series(a, dtype="Float64"), pd.Series(b, dtype="Float64")
    rules = {
        "order": ("a >= b", left >= right),
        "logic": ("a > 0 or b is null", (left > 0) | right.isna()),
        "between": ("a between -5 and b", (left >= -5) & (left <= right)),
        "case": ("case when a > b then a > 0 else b >= 0 end", None),
    }
    expected_case = (left > 0).where((left > right).fillna(False), right >= 0)
    table = pa.table({"a": pa.array(a, pa.float64()), "b": pa.array(b, pa.float64())})
    outcome = judge(table, None, {name: text for name, (text, _) in rules.items()}, worker=worker)
    assert not outcome.failures
    for name, (_, oracle) in rules.items():
        expected = expected_case if oracle is None else oracle
        judgement = outcome.judgements["consistency", name]
        assert judgement.checked is not None
        assert judgement.checked.tolist() == expected.notna().tolist()
        assert judgement.passed.tolist() == expected.fillna(False).astype(bool).tolist()


def test_consistency_reads_declared_columns_as_declared(worker: RuleWorker) -> None:
    """Times as text, as Unix seconds and with zones compare; numbers in text compare as numbers."""
    schema = Schema(
        "m",
        Task.BINARY,
        "predicted",
        "actual",
        timestamp="departed",
        features=(Column("arrived", Kind.DATETIME), Column("n", Kind.NUMERIC), Column("ok", Kind.BOOLEAN)),
    )
    table = pa.table(
        {
            "departed": ["2026-01-01T10:00:00+02:00", "2026-01-01 10:00:00", None],
            "arrived": [1767254400.0, 1767254400.0, 0.0],
            "n": ["10", "9", "x"],
            "ok": ["true", "False", None],
            "zoned": pa.array([dt.datetime(2026, 1, 1, 8, tzinfo=dt.UTC)] * 3),
            "code": pa.array(["a", None, "b"]).dictionary_encode(),
        }
    )
    rules = {
        "times": "arrived >= departed",
        "hour": "arrived - departed <= interval 1 hour",
        "zone": "zoned = departed",
        "numbers": "n > 9.5",
        "flags": "ok",
        "codes": "code = 'a'",
    }
    outcome = judge(table, None, rules, schema=schema, worker=worker)
    assert not outcome.failures
    seen = {
        key[1]: [bool(p) if c else None for p, c in zip(j.passed, j.checked, strict=True)]  # type: ignore[arg-type]
        for key, j in outcome.judgements.items()
    }
    assert seen == {
        "times": [True, False, None],
        "hour": [True, True, None],
        "zone": [True, False, None],
        "numbers": [True, False, None],
        "flags": [True, False, None],
        "codes": [True, None, False],
    }


def test_failures_have_reasons_and_spare_the_others(worker: RuleWorker) -> None:
    """Missing and unsuitable columns, and data that an expression cannot take."""
    table = pa.table({"x": [1.0, 2.0], "s": ["a", "b"], "l": pa.array([[1], [2]])})
    outcome = judge(
        table,
        {"nope": {"min": 0}, "s": {"max": 1, "length": 1}, "l": {"regex": "x"}},
        {
            "gone": "nope > 1",
            "lists": "l is null",
            "cast": "cast(s as integer) > 0",
            "text": "s",
            "fine": "x > 1",
        },
        worker=worker,
    )
    assert outcome.failures["validation_rules.nope.min"] == "was not pushed (names are case-sensitive)"
    assert outcome.failures["validation_rules.s.max"] == "no value is a number"
    assert outcome.failures["validation_rules.l.regex"] == "no value is a scalar"
    assert "was not pushed" in outcome.failures["consistency_rules.gone"]
    assert "expected single values" in outcome.failures["consistency_rules.lists"]
    assert "Could not convert" in outcome.failures["consistency_rules.cast"]
    assert "not true or false" in outcome.failures["consistency_rules.text"]
    assert passed(outcome, "consistency", "fine") == [False, True]
    assert passed(outcome, "rule", "s", "length") == [True, True]


def test_a_rule_that_overran_rests_with_back_off() -> None:
    """It is skipped for a minute, then longer, and other rules go on."""
    now = [0.0]
    with RuleWorker(deadline_seconds=0.0) as hasty:
        rules = RuleSet.compile(None, {"r": "x > 1"}, SCHEMA, worker=hasty, monotonic=lambda: now[0])
        table = pa.table({"x": np.zeros(60_000)})
        for pause in (60, 120):
            assert "no result within 0 s" in rules.evaluate(table).failures["consistency_rules.r"]
            assert "skipped" in rules.evaluate(table).failures["consistency_rules.r"]
            now[0] += pause - 1
            assert "skipped for 1 s" in rules.evaluate(table).failures["consistency_rules.r"]
            now[0] += 2


def test_large_tables_go_in_pieces(worker: RuleWorker) -> None:
    """More rows than one piece give the same masks as pandas."""
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=150_000), rng.normal(size=150_000)
    outcome = judge(pa.table({"a": a, "b": b}), None, {"r": "a > b"}, worker=worker)
    np.testing.assert_array_equal(outcome.judgements["consistency", "r"].passed, a > b)


def test_take_gives_the_tallies_of_some_rows() -> None:
    """Buckets and segments take their rows from one evaluation."""
    outcome = judge(pa.table({"x": [1, 2, 3, 4]}), {"x": {"min": 3}})
    part = outcome.take(np.array([1, 2], dtype=np.intp))
    assert part.tallies == {("rule", "x", "min", "passed"): 1, ("rule", "x", "min", "checked"): 2}


def test_empty_tables_have_empty_outcomes(worker: RuleWorker) -> None:
    """No rows are no failure."""
    outcome = judge(
        pa.table({"x": pa.array([], pa.float64())}), {"x": {"min": 1}}, {"r": "x > 1"}, worker=worker
    )
    assert not outcome.failures
    assert set(outcome.tallies.values()) == {0}


def test_compile_names_every_problem() -> None:
    """All problems at once, each with its path; as either kind of error."""
    validation = {
        "a": {
            "min": "x",
            "regex": "(",
            "length": -1,
            "allowed": [],
            "type": "complex",
            "not_null": 3,
            "odd": 1,
        }
    }
    with pytest.raises(RuleError) as caught:
        RuleSet.compile(validation, {"r": "a; b"}, SCHEMA)
    assert isinstance(caught.value, ConfigurationError)
    assert isinstance(caught.value, ExpressionError)
    names = ("min", "regex", "length", "allowed", "type", "not_null", "odd")
    assert [path for path, _ in caught.value.problems] == [
        *(f"validation_rules.a.{name}" for name in names),
        "consistency_rules.r",
    ]


def test_columns_are_all_that_rules_read() -> None:
    """Both kinds of rules count; a rule that is switched off does not."""
    rules = RuleSet.compile({"a": {"min": 1}, "off": {"not_null": False}}, {"r": "b > c"}, SCHEMA)
    assert rules.columns() == {"a", "b", "c"}
    rules.close()


def test_three_rules_on_a_batch_take_milliseconds(worker: RuleWorker) -> None:
    """10,000 rows, three expressions: 5 ms on a quiet machine."""
    rng = np.random.default_rng(1)
    table = pa.table({"a": rng.normal(size=10_000), "b": rng.normal(size=10_000), "c": ["AA", "UA"] * 5_000})
    rules = RuleSet.compile(
        None, {"x": "a > b", "y": "a + b < 3 or c = 'AA'", "z": "c like 'A%'"}, SCHEMA, worker=worker
    )
    rules.evaluate(table)
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        rules.evaluate(table)
        best = min(best, time.perf_counter() - start)
    assert best < 0.1
