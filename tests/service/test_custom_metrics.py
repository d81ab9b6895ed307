"""Custom metrics through a whole exporter: late labels, corrections, segments, restarts, failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from exporter.batch import validate_batch
from exporter.config import parse_config
from exporter.errors import UnusableBatchError
from exporter.profilefile import write_profiles
from exporter.profiles import profile_outcomes, profile_rows
from exporter.service.ingestion.meters import meters_of

from .conftest import HOUR, MODEL, NOW, labels_of

HERE = "tests.service.sample_metrics"
COST = {
    "name": "cost",
    "sql": "sum(case when prediction <> label then amount else 0 end) / count(*)",
    "unit": "eur",
    "higher_is_better": False,
}
PROFIT = f"{HERE}:profit"


def with_amounts(table: pa.Table, generator: np.random.Generator) -> pa.Table:
    return table.append_column("amount", pa.array(generator.uniform(1, 9, table.num_rows)))


def profit_of(table: pa.Table, labels: pa.Table) -> np.ndarray:
    """Profit of each row."""
    right = pc.equal(table["answer"], labels["truth"]).to_numpy()
    amount = table["amount"].to_numpy()
    return np.where(right, amount, -amount)


@pytest.fixture
def pushed(
    bench: Callable[..., Any], rows: Callable[..., pa.Table], generator: np.random.Generator
) -> Callable[..., Any]:
    """Give a function (**changes) -> (bench with a baseline, labelled rows of now, their labels)."""

    def make(**changes: Any) -> tuple[Any, pa.Table, pa.Table]:
        b = bench(**changes)
        before = with_amounts(rows(600, first=10_000, start=NOW - 5 * HOUR), generator)
        before = before.append_column("truth", before["answer"])
        b.service.create_baseline("m", table=before)
        table = with_amounts(rows(400), generator)
        return b, table, labels_of(table, wrong=80)

    return make


def test_python_metric_of_late_labels_is_the_mean_over_their_rows(pushed):
    """Columns are kept until the label comes; value, bounds, baseline and drop are as computed by hand."""
    b, table, labels = pushed(metrics=["accuracy", PROFIT])
    b.push(table)
    assert b.evaluated(window="6h")["metrics"] == {}
    for part in (labels.slice(0, 150), labels.slice(150)):
        b.label(part)
    result = b.evaluated(window="6h")["metrics"]["profit"]
    expected = profit_of(table, labels)
    assert result["value"] == pytest.approx(expected.mean())
    half = 1.966 * expected.std(ddof=1) / np.sqrt(expected.size)
    assert result["upper"] - result["value"] == pytest.approx(half, rel=1e-3)
    assert result["drop"] == pytest.approx((result["baseline"] - result["value"]) / result["baseline"])
    assert result["degraded"]
    assert result["n"] == 400
    text = b.service.snapshot().text.decode()
    for line in (
        'ml_metric_info{metric="profit",unit="eur",higher_is_better="true"} 1',
        'ml_performance_drop_threshold{model="m",version="default",window="6h",metric="profit"} 0.1',
        'ml_segment_performance{model="m",version="default",window="6h",segment="carrier",value="AA",',
    ):
        assert line in text


def test_sql_metric_agrees_with_the_same_in_python(pushed):
    """A SQL ratio of sums, a Python ratio of row sums and one of the calls' sums tell the same."""
    sql = "sum(case when prediction <> label then amount end) / sum(amount)"
    b, table, labels = pushed(
        metrics=[
            COST,
            f"{HERE}:lost_share",
            {"name": "share", "sql": sql, "unit": "ratio", "higher_is_better": False},
            {"name": "of_calls", "function": f"{HERE}:lost_share_of_calls", "columns": ["amount"]},
        ]
    )
    b.push(table)
    b.label(labels)
    metrics = b.evaluated(window="6h")["metrics"]
    amount = table["amount"].to_numpy()
    lost = np.where(profit_of(table, labels) < 0, amount, 0.0)
    assert metrics["cost"]["value"] == pytest.approx(lost.mean())
    for name in ("lost_share", "share", "of_calls"):
        assert metrics[name]["value"] == pytest.approx(lost.sum() / amount.sum())
    assert metrics["share"]["lower"] == pytest.approx(metrics["lost_share"]["lower"])
    segments = b.service.performance("m", window="6h", segment="*")["results"]
    by_value = {r["segment"]: r["metrics"]["share"]["value"] for r in segments if r["segment"]}
    carrier = table["carrier"].to_numpy(zero_copy_only=False)
    for value in ("AA", "UA", "DL"):
        mine = carrier == value
        assert by_value[f"carrier={value}"] == pytest.approx(lost[mine].sum() / amount[mine].sum())


def test_corrected_labels_and_a_restart_leave_the_value_of_the_last_labels(pushed):
    """A correction takes the old term back and counts the new one; nothing is lost by a restart."""
    b, table, labels = pushed(metrics=[PROFIT, COST])
    b.push(table)
    b.label(labels)
    b.restart()
    corrected = labels_of(table, wrong=20)
    assert b.label(corrected)["corrected"] == 60
    expected = profit_of(table, corrected)
    for _ in range(2):
        metrics = b.evaluated(window="6h")["metrics"]
        assert metrics["profit"]["value"] == pytest.approx(expected.mean())
        assert metrics["profit"]["upper"] == pytest.approx(
            expected.mean() + 1.966 * expected.std(ddof=1) / 20, rel=1e-3
        )
        assert metrics["cost"]["value"] == pytest.approx(np.where(expected < 0, -expected, 0).mean())
        b.restart()


def test_failing_metrics_hurt_no_other_and_lose_no_rows(pushed):
    """What raises is `error`, what is no sum is `not_comparable`; the rows count and the status says why."""
    metrics = [
        "accuracy",
        PROFIT,
        f"{HERE}:broken",
        f"{HERE}:mean_error",
        {"name": "bad", "sql": "avg(absent)"},
    ]
    b, table, labels = pushed(metrics=metrics)
    b.push(table)
    assert b.label(labels)["matched"] == 400
    found = b.evaluated(window="6h")["metrics"]
    assert found["accuracy"]["value"] == pytest.approx(0.8)
    assert found["profit"]["value"] is not None
    assert found["broken"]["value"] is None
    assert found["broken"]["detail"] == "ValueError: 400 rows are too many"
    reasons = {name: found[name]["reason"] for name in ("broken", "mean_error", "bad")}
    assert reasons == {"broken": "error", "mean_error": "not_comparable", "bad": "error"}
    failures = b.service.status("m")["failures"]["default"]
    assert failures["metrics.bad"] == "the column 'absent' was not pushed with these rows"
    text = b.service.snapshot().text.decode()
    where = 'model="m",version="default",window="6h",measure="performance"'
    assert f'ml_undefined{{{where},subject="broken",reason="error"}} 1' in text
    assert f'ml_undefined{{{where},subject="mean_error",reason="not_comparable"}} 1' in text


def test_a_metric_that_fails_for_one_push_keeps_its_value_of_the_others(pushed):
    """While the newest rows fail, the value of earlier ones stands beside the reason."""
    b, table, labels = pushed(
        metrics=[{"name": "mean_amount", "function": f"{HERE}:fails_on_negative", "columns": ["amount"]}]
    )
    place = table.column_names.index("amount")
    amount = table["amount"].to_numpy().copy()
    amount[300:] = -1.0
    b.push(table.set_column(place, "amount", pa.array(amount)))
    b.label(labels.slice(0, 300))
    assert b.service.status("m")["failures"] == {}
    b.label(labels.slice(300))
    result = b.evaluated(window="6h")
    assert result["metrics"]["mean_amount"]["value"] == pytest.approx(amount[:300].mean())
    undefined = b.service.status("m", window="6h")["undefined"]
    assert ("mean_amount", "error") in {(entry["subject"], entry["reason"]) for entry in undefined}
    assert "mean_amount" in str(b.service.status("m")["failures"])


def test_sums_of_another_definition_are_not_mixed_in(pushed):
    """A function of the same name that computes something else starts from nothing."""
    b, table, labels = pushed(metrics=[{**COST}])
    b.push(table)
    b.label(labels.slice(0, 200))
    other = {**COST, "sql": "sum(amount) / count(*)"}
    b.config = parse_config({"models": {"m": {**MODEL, "metrics": [other]}}})
    b.restart()
    result = b.evaluated(window="6h")["metrics"]["cost"]
    assert (result["value"], result["reason"]) == (None, "empty")
    b.label(labels.slice(200))
    assert b.evaluated(window="6h")["metrics"]["cost"]["value"] == pytest.approx(
        table["amount"].to_numpy()[200:].mean()
    )


def test_a_kept_column_whose_type_differs_between_pushes_is_text(bench, rows, generator):
    """Rows whose amounts came as numbers, as texts and as nothing get their labels in one push."""
    b = bench(metrics=["accuracy", {"name": "long", "sql": "sum(length(cast(amount as text))) / count(*)"}])
    first = rows(600, start=NOW - HOUR)
    b.service.create_baseline("m", table=first.append_column("truth", first["answer"]))
    tables = [rows(50, first=1000 * k) for k in range(1, 4)]
    amounts = [pa.array(np.full(50, 2.5)), pa.array(["12.5 EUR"] * 50), pa.nulls(50)]
    for table, amount in zip(tables, amounts, strict=True):
        b.push(table.append_column("amount", amount))
    b.push(rows(50, first=9000))
    labels = pa.concat_tables([labels_of(table) for table in tables])
    assert b.label(labels)["matched"] == 150
    result = b.evaluated(window="6h")["metrics"]
    assert result["accuracy"]["n"] == 150
    assert result["long"]["value"] == pytest.approx((50 * 3 + 50 * 8) / 150)


def test_a_monitors_profile_brings_the_sums_of_the_same_function(bench, rows, generator):
    """Profiles made elsewhere carry custom metrics; sums of another length are refused before they count."""
    b = bench(metrics=[PROFIT], columns={**MODEL["columns"], "id": None})
    first = with_amounts(rows(600, start=NOW - 3 * HOUR), generator)
    b.service.create_baseline("m", table=first.append_column("truth", first["answer"]))
    lane = b.service._lanes["m"]
    batch = validate_batch(
        (table := with_amounts(rows(300), generator)).append_column("truth", table["answer"]),
        b.service.schema("m"),
        now=NOW,
    )
    profile = profile_rows(lane.grid, batch).merge(
        profile_outcomes(lane.grid, batch.outcomes, meters=meters_of(lane, "default").of_whole.outcomes)
    )
    start = int((NOW - HOUR) // lane.resolution * lane.resolution)
    buckets = [(start, profile)]
    made = {"newest_event": start + 1.0, "resolution": lane.resolution}
    key = lane.custom.measures[0].key
    for size in (1, 7):
        broken = profile.copy()
        broken.outcomes.totals[key] = np.ones(size)
        with pytest.raises(UnusableBatchError, match="expected 6 sums of custom profit"):
            b.service.ingest_profile("m", write_profiles(lane.grid, [(start, broken)], **made))
    b.service.ingest_profile("m", write_profiles(lane.grid, buckets, **made))
    result = b.evaluated(window="6h")["metrics"]["profit"]
    assert result["value"] == pytest.approx(table["amount"].to_numpy().mean())
