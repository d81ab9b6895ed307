"""Data quality of a table from Python, each ratio against pandas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from exporter import DataQualityDashboard
from exporter.errors import ConfigurationError, UnusableBatchError

NOW = 1_700_000_000.0
ROWS = 500


@pytest.fixture
def df() -> pd.DataFrame:
    generator = np.random.default_rng(8)
    distance = generator.normal(1000, 800, ROWS)
    distance[::10] = np.nan
    departed = pd.Timestamp("2023-11-14", tz="UTC") + pd.to_timedelta(
        generator.uniform(0, 80_000, ROWS), unit="s"
    )
    return pd.DataFrame(
        {
            "distance": distance,
            "carrier": generator.choice(["AA", "UA", "??", None], ROWS),
            "tail": [f"{'N' if n % 7 else 'X'}{n // 2}" for n in range(ROWS)],
            "booked": generator.choice([True, False, None], ROWS),
            "departed": departed,
            "arrived": departed + pd.to_timedelta(generator.uniform(-600, 20_000, ROWS), unit="s"),
            "timestamp": pd.to_datetime(NOW - generator.uniform(0, 7200, ROWS), unit="s", utc=True),
        }
    )


RULES: dict[str, dict[str, Any]] = {
    "distance": {"min": 0, "max": 2000, "not_null": True},
    "carrier": {"allowed": ["AA", "UA"]},
    "tail": {"regex": "^N", "unique": True, "length": {"max": 3}},
}
CONSISTENCY = {
    "arrives_after_departure": "arrived >= departed",
    "known": "distance IS NOT NULL OR booked IS NULL",
}


def dashboard(**settings: Any) -> DataQualityDashboard:
    return DataQualityDashboard(clock=lambda: NOW, **settings)


def test_the_call_of_the_contract(df: pd.DataFrame) -> None:
    """The call that the contract prints gives every ratio, each what pandas says."""
    metrics = dashboard().generate_dashboard_metrics(
        df,
        columns=["distance", "carrier", "tail", "booked"],
        validation_rules=RULES,
        consistency_rules=CONSISTENCY,
        timestamp_col="timestamp",
    )
    assert list(metrics["completeness"]) == ["distance", "carrier", "tail", "booked"]
    for name, ratio in metrics["completeness"].items():
        assert ratio == pytest.approx(df[name].notna().mean()), name
    missing = df["distance"].isna()  # passes all rules but not_null
    validity = metrics["validity"]
    assert validity["distance"]["not_null"] == pytest.approx(df["distance"].notna().mean())
    assert validity["distance"]["min"] == pytest.approx(((df["distance"] >= 0) | missing).mean())
    assert validity["distance"]["max"] == pytest.approx(((df["distance"] <= 2000) | missing).mean())
    assert validity["carrier"]["allowed"] == pytest.approx((df["carrier"] != "??").mean())
    assert validity["tail"]["regex"] == pytest.approx(df["tail"].str.match("^N").mean())
    assert validity["tail"]["length"] == pytest.approx((df["tail"].str.len() <= 3).mean())
    assert 0 < validity["tail"]["unique"] < 1
    consistency = metrics["consistency"]
    assert consistency["arrives_after_departure"] == pytest.approx((df["arrived"] >= df["departed"]).mean())
    assert consistency["known"] == pytest.approx((df["distance"].notna() | df["booked"].isna()).mean())
    age = NOW - df["timestamp"].map(pd.Timestamp.timestamp)
    assert metrics["timeliness"] == pytest.approx((age <= 3600).mean())
    assert 0 < metrics["score"] < 1
    assert not [gap for gap in metrics.undefined if gap[2] in ("no_baseline", "error")]
    assert metrics.to_dict()["completeness"]["distance"] == metrics["completeness"]["distance"]


def test_uniqueness_is_the_share_of_distinct_values() -> None:
    """Distinct over present values, exactly, for every kind of column; nothing else enters the score."""
    rows = 5000
    generator = np.random.default_rng(3)
    df = pd.DataFrame(
        {
            "text_id": [f"r{n}" for n in range(rows)],
            "number_id": np.arange(rows),
            "measured": generator.normal(size=rows).round(3),
            "booked": generator.choice([True, None], rows),
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 999, rows), unit="s"),
            "level": pd.Categorical(generator.choice(["low", "high"], rows)),
        }
    )
    df.loc[::7, "measured"] = np.nan
    metrics = dashboard().generate_dashboard_metrics(df)
    assert metrics["uniqueness"] == {name: df[name].nunique() / df[name].notna().sum() for name in df}
    assert metrics["uniqueness"]["text_id"] == metrics["uniqueness"]["number_id"] == 1.0
    complete = np.mean(list(metrics["completeness"].values()))
    assert metrics["score"] == pytest.approx((complete + 1) / 2)  # and every value is of its type
    assert metrics.undefined == ()


def test_what_has_no_distinct_values_has_a_reason() -> None:
    """Columns without values, and of lists, are named; rows with lists are not compared."""
    table = pa.table({"none": pa.nulls(3), "lists": [[1], [1], []], "x": [1.0, float("nan"), 1.0]})
    metrics = dashboard().generate_dashboard_metrics(table)
    assert metrics["uniqueness"] == {"x": 0.5}
    assert set(metrics.undefined) >= {
        ("quality_uniqueness_ratio", "none", "empty"),
        ("quality_uniqueness_ratio", "lists", "not_comparable"),
        ("quality_duplicate_ratio", None, "not_comparable"),
    }


def test_duplicates_are_rows_that_repeat_an_earlier_one(df: pd.DataFrame) -> None:
    """Whole rows are compared as pandas does, whatever columns are measured."""
    twice = pd.concat([df, df.iloc[:100], df.iloc[:1]])
    metrics = dashboard().generate_dashboard_metrics(twice, columns=["carrier"])
    assert metrics["duplicate"] == pytest.approx(twice.duplicated().mean())
    assert dashboard().generate_dashboard_metrics(df)["duplicate"] == 0.0


def test_an_arrow_table_gives_the_same(df: pd.DataFrame) -> None:
    """A frame with any index and the Arrow table of it say the same."""
    settings: dict[str, Any] = {"validation_rules": RULES, "consistency_rules": CONSISTENCY}
    frame = dashboard().generate_dashboard_metrics(df.set_axis(np.arange(ROWS)[::-1]), **settings)
    table = pa.Table.from_pandas(df, preserve_index=False)
    assert dashboard().generate_dashboard_metrics(table, **settings).to_dict() == frame.to_dict()


def test_rules_may_read_columns_that_are_not_measured(df: pd.DataFrame) -> None:
    """`columns` says what is measured; rules see the whole table."""
    metrics = dashboard().generate_dashboard_metrics(df, columns=["distance"], consistency_rules=CONSISTENCY)
    assert list(metrics["completeness"]) == ["distance"]
    assert set(metrics["consistency"]) == set(CONSISTENCY)


def test_without_rules_or_times_their_parts_are_empty(df: pd.DataFrame) -> None:
    """What was not asked for is not there, and is no gap."""
    metrics = dashboard().generate_dashboard_metrics(df)
    assert (metrics["validity"], metrics["consistency"], metrics["timeliness"]) == ({}, {}, None)
    assert set(metrics["completeness"]) == set(df)


def test_weights_change_the_score(df: pd.DataFrame) -> None:
    """A weight of 0 leaves a check out of the score."""
    rules: dict[str, Any] = {"tail": {"allowed": ["nobody"]}}
    plain, without = (
        dashboard(weights=weights).generate_dashboard_metrics(df, validation_rules=rules)
        for weights in ({}, {"validity": 0.0})
    )
    assert plain["validity"]["tail"]["allowed"] == 0
    assert plain["score"] < without["score"]


def test_values_that_are_missing_everywhere_are_measured() -> None:
    """A column of nothing has completeness 0 and stops nothing."""
    df = pd.DataFrame({"a": [None, None, None], "b": [1.0, 2.0, np.inf]})
    metrics = dashboard().generate_dashboard_metrics(df)
    assert metrics["completeness"].get("a", 0.0) == 0.0
    assert metrics["completeness"]["b"] in (1.0, pytest.approx(2 / 3))


def test_wrong_input_is_named(df: pd.DataFrame) -> None:
    """Absent columns, no rows, unknown rules and bad expressions say what is wrong."""
    with pytest.raises(UnusableBatchError, match="no column speed"):
        dashboard().generate_dashboard_metrics(df, columns=["speed"])
    with pytest.raises(UnusableBatchError, match="no column when"):
        dashboard().generate_dashboard_metrics(df, timestamp_col="when")
    with pytest.raises(UnusableBatchError):
        dashboard().generate_dashboard_metrics(df.iloc[:0])
    with pytest.raises(ConfigurationError):
        dashboard().generate_dashboard_metrics(df, validation_rules={"distance": {"minimum": 0}})
    with pytest.raises(ConfigurationError):
        dashboard().generate_dashboard_metrics(df, consistency_rules={"x": "arrived >="})


def test_timestamps_that_are_missing_are_not_timely(df: pd.DataFrame) -> None:
    """Rows without a time cannot be timely; when no row has one the part is undefined or 0."""
    half = df.copy()
    half.loc[: ROWS // 2 - 1, "timestamp"] = pd.NaT
    age = NOW - df["timestamp"][ROWS // 2 :].map(pd.Timestamp.timestamp)
    metrics = dashboard().generate_dashboard_metrics(half, timestamp_col="timestamp")
    assert metrics["timeliness"] == pytest.approx((age <= 3600).sum() / ROWS)
    none = df.assign(timestamp=pd.Series([pd.NaT] * ROWS, dtype="datetime64[ns, UTC]"))
    metrics = dashboard().generate_dashboard_metrics(none, timestamp_col="timestamp")
    assert metrics["timeliness"] == 0.0


def test_odd_columns_stop_nothing() -> None:
    """Names and values of every kind are measured or left out, without an error."""
    df = pd.DataFrame(
        {
            "": [1, 2, 3],
            'a "quoted"\nname': ["x", "y" * 10_000, "😀"],
            7: [1, 2, 2],
            "prediction": [1, 2, 3],
            "nested": [[1], [2, 3], []],
            "when": [pd.Timestamp("2024-01-01").date()] * 3,
        }
    )
    metrics = dashboard().generate_dashboard_metrics(df)
    assert metrics["completeness"]["7"] == 1.0
    assert metrics["completeness"]["prediction"] == 1.0


def test_tables_are_compared_with_an_earlier_one():
    """New and vanished categories, schema changes, stuck columns and outliers, against a baseline."""
    generator = np.random.default_rng(8)
    earlier = pd.DataFrame(
        {
            "amount": generator.normal(size=3000),
            "place": generator.choice(["a", "b", "c"], 3000),
            "stuck": generator.normal(size=3000),
            "gone": generator.normal(size=3000),
        }
    )
    now = pd.DataFrame(
        {
            "amount": [100.0] * 40 + [0.0] * 960,
            "place": ["a", "d"] * 500,
            "stuck": 7.0,
            "fresh": 1,
        }
    )
    report = DataQualityDashboard().generate_dashboard_metrics(now, baseline=earlier)
    assert set(report.categories["place"].new) == {"d"}
    assert set(report.categories["place"].vanished) == {"b", "c"}
    assert {(one.change, one.column) for one in report.schema_changes} == {
        ("added", "fresh"),
        ("removed", "gone"),
    }
    assert report.top_value["stuck"].change == "constant"
    assert report.outliers["amount"].ratio == pytest.approx(0.04)
    assert report.in_range["amount"] == pytest.approx(0.96)
    assert report.to_dict()["score_parts"]["completeness"]["ratio"] == pytest.approx(0.75)


def test_without_a_baseline_top_values_and_groups_are_known():
    """A table alone tells which value holds most rows, and which columns go missing together."""
    mask = np.random.default_rng(9).random(400) < 0.2
    frame = pd.DataFrame({"x": np.where(mask, np.nan, 1.0), "y": np.where(mask, np.nan, 2.0), "z": 3})
    report = DataQualityDashboard().generate_dashboard_metrics(frame)
    assert report.missing_together.groups == (("x", "y"),)
    assert report.top_value["z"].ratio == 1.0
    assert not [gap for gap in report.undefined if gap[2] == "no_baseline"]
