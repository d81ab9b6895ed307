"""SQL aggregates as metrics: DuckDB itself is the oracle of every value."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from exporter.batch import Outcomes
from exporter.config import CustomMetric
from exporter.custommetrics import CustomMetrics, measured
from exporter.custommetrics.sql import compile_sql
from exporter.errors import ExpressionError
from exporter.results import Estimate
from exporter.rules import RuleWorker
from exporter.schema import Task


@pytest.fixture(scope="module")
def worker() -> Iterator[RuleWorker]:
    with RuleWorker() as shared:
        yield shared


def outcomes(rows: int, seed: int = 3) -> Outcomes:
    generator = np.random.default_rng(seed)
    amount = np.round(generator.exponential(20, rows), 2)
    return Outcomes(
        task=Task.BINARY,
        prediction=generator.integers(0, 2, rows).astype(np.int8),
        score=generator.uniform(size=rows),
        label=generator.integers(0, 2, rows).astype(np.int8),
        kept={
            "amount": pa.array(amount, mask=generator.uniform(size=rows) < 0.1),
            "shop": pa.array(generator.choice(["a", "b", None], rows).tolist(), pa.string()),
        },
    )


def table(rows: Outcomes) -> pa.Table:
    own = {"prediction": rows.prediction.astype(int), "label": rows.label.astype(int), "score": rows.score}
    return pa.table({**own, **rows.kept})


EXPRESSIONS = [
    "avg(amount)",
    "sum(case when prediction <> label then amount else 0 end) / count(*)",
    "sum(amount) filter (where prediction <> label) / sum(amount)",
    "count_if(prediction = 1 and label = 0) / count(*)",
    "100.0 * count(amount) / count(*)",
    "1 - sum(abs(score - label)) / count(*)",
    "(sum(amount * prediction) - sum(amount) * 0.1) / nullif(sum(amount), 0)",
    "cast(sum(score) as double) / count(shop) - 0.5",
    "-avg(score)",
    "avg(score) filter (where shop = 'a') * 2 + 1",
    "sum(amount) / count(*) + sum(score) / count(*)",
    "sum(amount)",
    "count(*)",
]


@pytest.mark.parametrize("sql", EXPRESSIONS)
def test_the_value_of_many_pushes_is_that_of_all_their_rows(worker, sql):
    """Sums of three pushes give what DuckDB says of the rows together."""
    metrics = CustomMetrics.compile([CustomMetric(name="m", sql=sql)], worker=worker)
    parts = [outcomes(count, seed) for seed, count in enumerate((40, 1, 70))]
    totals = [metrics.meter("v")(part) for part in parts]
    assert metrics.failures("v") == {}
    (key,) = totals[0]
    result = measured({key: sum(part[key] for part in totals)}, metrics.measures)["m"]
    rows = pa.concat_tables([table(part) for part in parts])
    with duckdb.connect() as oracle:
        oracle.register("rows", rows)
        expected = oracle.sql(f"select {sql} from rows").fetchall()[0][0]
    assert isinstance(result, Estimate)
    assert result.value == pytest.approx(float(expected), rel=1e-9)
    assert result.lower <= result.value <= result.upper


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("median(amount)", "MEDIAN"),
        ("count(distinct shop)", "COUNT(DISTINCT shop)"),
        ("max(amount) / count(*)", "MAX(amount)"),
        ("stddev(amount)", "STDDEV"),
        ("avg(amount) / avg(score)", "AVG(amount) / AVG(score)"),
        ("sum(amount) * count(*)", "SUM(amount) * COUNT(*)"),
        ("sum(amount) + 1", "SUM(amount) + 1"),
        ("avg(amount) + avg(score)", "AVG(amount) + AVG(score)"),
        ("1 / count(*)", "1 / COUNT(*)"),
        ("amount / 2", "amount"),
        ("quantile_cont(amount, 0.9)", "does not"),
        ("sum(amount) over () / count(*)", "does not"),
        ("3 + 4", "got a number"),
        ("sum(sum(amount))", "is not allowed"),
        ("sum(read_text('/etc/passwd'))", "is not allowed"),
        ("sum((select 1))", "is not allowed"),
        ("sum(amount); drop table rows", "second statement"),
        ("sum(amount", "expected a boolean SQL expression"),
        ("sum(amount) / 0", "other than 0"),
        ("", "got nothing"),
    ],
)
def test_what_cannot_be_put_together_from_batches_is_refused(sql, message):
    """Medians, distinct counts, products and what the rules' allowlist does not know."""
    with pytest.raises(ExpressionError) as caught:
        compile_sql(sql)
    assert message in caught.value.message


def test_columns_are_read_off_the_expression_without_the_rows_own():
    """`prediction`, `label` and `score` need not be kept; other columns do, case-sensitive."""
    metrics = CustomMetrics.compile([CustomMetric(name="m", sql="sum(Amount * score) / sum(tax + label)")])
    assert metrics.columns == ("Amount", "tax")


def test_a_text_that_is_no_number_fails_only_its_metric(worker):
    """A failing expression has its reason; the other metric has its sums."""
    metrics = CustomMetrics.compile(
        [
            CustomMetric(name="bad", sql="avg(cast(shop as double))"),
            CustomMetric(name="good", sql="avg(score)"),
        ],
        worker=worker,
    )
    totals = metrics.meter("v")(outcomes(30))
    assert [key[1] for key in totals] == ["good"]
    assert "Could not convert" in metrics.failures("v")["bad"].message


def test_an_overrun_rests_its_metric():
    """What takes too long is killed, said, and left alone for a while; the worker serves others on."""
    with RuleWorker(deadline_seconds=0.2) as impatient:
        terms = [f"length(upper(lower(t || '{number}')))" for number in range(90)]
        slow = f"sum({' + '.join(terms)})"
        metrics = CustomMetrics.compile(
            [CustomMetric(name="slow", sql=slow), CustomMetric(name="good", sql="avg(score)")],
            worker=impatient,
        )
        rows = outcomes(60_000)
        rows = Outcomes(
            rows.task,
            rows.prediction,
            rows.score,
            rows.label,
            None,
            {"t": pa.array(["x" * 100] * 60_000)},
        )
        metrics.meter("v")(rows)
        assert "no result within" in metrics.failures("v")["slow"].message
        totals = metrics.meter("v")(rows)
        assert "skipped for" in metrics.failures("v")["slow"].message
        assert [key[1] for key in totals] == ["good"]
