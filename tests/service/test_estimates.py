"""Performance without labels, end to end: before labels come, and once they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exporter import ModelMonitor
from tests.service.conftest import HOUR, NOW, Bench

Make = Callable[..., Bench]
WINDOW = {"window": "6h", "segment": None}


def scored(count: int, first: int, *, seed: int, shift: float = 0.0, start: float = NOW - HOUR) -> pa.Table:
    """Rows whose score is the probability of their label; the label is a column `truth`."""
    generator = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-generator.normal(shift, 2.0, count)))
    return pa.table(
        {
            "id": [f"r{first + position}" for position in range(count)],
            "at": start + np.sort(generator.uniform(0, HOUR - 1, count)),
            "answer": score > 0.5,
            "score": score,
            "truth": generator.uniform(size=count) < score,
            "distance": generator.normal(size=count),
            "delay": generator.exponential(size=count),
            "carrier": generator.choice(["AA", "UA"], count),
        }
    )


def without_labels(table: pa.Table) -> pa.Table:
    return table.drop_columns(["truth"])


def missing(b: Bench, measure: str) -> set[tuple[Any, Any]]:
    found = b.service.status("m", window="6h")["undefined"]
    return {
        (entry["subject"], entry["reason"])
        for entry in found
        if entry["measure"] == measure and entry["segment"] is None
    }


def estimated(b: Bench) -> dict[str, Any]:
    return b.evaluated(window="6h")["estimated"]


def test_estimates_come_before_labels_and_their_error_after(bench: Make) -> None:
    """Accuracy is estimated from scores alone; labels then lie within the bounds, and the error is shown."""
    b = bench()
    b.service.create_baseline("m", table=scored(6000, 0, seed=1))
    rows = scored(3000, 10_000, seed=2, shift=1.0)
    b.push(without_labels(rows))
    before = estimated(b)
    assert missing(b, "performance_estimate") == {("ece", "not_comparable")}
    assert missing(b, "performance_estimate_error") == {
        (name, "insufficient_labels") for name in before if name != "ece"
    }
    truth, answer = (rows[name].to_numpy(zero_copy_only=False) for name in ("truth", "answer"))
    accuracy = before["accuracy"]
    assert accuracy["rows"] == 3000
    assert accuracy["error"] is None
    assert accuracy["lower"] < (truth == answer).mean() < accuracy["upper"]
    assert accuracy["upper"] - accuracy["lower"] < 0.06
    text = b.service.snapshot().text.decode()
    assert 'ml_performance_estimate{model="m",version="default",window="6h",metric="accuracy"}' in text
    assert "ml_performance_estimate_error{" not in text

    b.label(rows.select(["id", "truth"]))
    result = b.evaluated(window="6h")
    after = result["estimated"]
    for name in set(after) - {"ece"}:
        assert after[name]["value"] == before[name]["value"]
        assert after[name]["error"] == pytest.approx(after[name]["value"] - result["metrics"][name]["value"])
        assert after[name]["lower"] <= result["metrics"][name]["value"] <= after[name]["upper"], name
    assert missing(b, "performance_estimate_error") == set()
    assert "ml_performance_estimate_error{" in b.service.snapshot().text.decode()


def test_segments_of_binary_models_are_estimated_in_the_api(bench: Make) -> None:
    """A segment has estimates of its own in the API; the exposition has those of the whole only."""
    b = bench()
    b.service.create_baseline("m", table=scored(6000, 0, seed=1))
    rows = scored(3000, 10_000, seed=2)
    b.push(without_labels(rows))
    part = b.evaluated(window="6h", segment="carrier=AA")["estimated"]["accuracy"]
    assert part["rows"] == sum(value == "AA" for value in rows["carrier"].to_pylist())
    assert part["lower"] < part["value"] < part["upper"]
    assert "ml_segment_performance_estimate" not in b.service.snapshot().text.decode()
    assert 'measure="performance_estimate"' in b.service.snapshot().text.decode()
    assert not [
        entry
        for entry in b.service.status("m", segment="carrier=AA")["undefined"]
        if entry["measure"].startswith("performance_estimate")
    ]


def test_the_error_waits_until_labels_cover_the_window(bench: Make) -> None:
    """With a tenth of the labels there is a realised value but no error of the estimate yet."""
    b = bench()
    b.service.create_baseline("m", table=scored(6000, 0, seed=1))
    rows = scored(3000, 10_000, seed=2)
    b.push(without_labels(rows))
    b.label(rows.take(np.arange(0, 3000, 10)).select(["id", "truth"]))
    result = b.evaluated(window="6h")
    assert result["metrics"]["accuracy"]["value"] is not None
    assert result["estimated"]["accuracy"]["error"] is None


def test_estimates_survive_a_restart(bench: Make) -> None:
    """Nothing that an estimate needs is only in memory."""
    b = bench()
    b.service.create_baseline("m", table=scored(6000, 0, seed=1))
    b.push(without_labels(scored(3000, 10_000, seed=2)))
    before = estimated(b)
    b.restart()
    assert estimated(b) == before


def test_a_provisional_baseline_learns_from_labels_that_come_later(bench: Make) -> None:
    """First rows without labels estimate nothing; once labelled, they calibrate the windows that follow."""
    b = bench()
    first = scored(1000, 0, seed=3)
    b.push(without_labels(first))
    assert estimated(b) == {}
    assert missing(b, "performance_estimate") == {(None, "insufficient_labels")}
    b.label(first.select(["id", "truth"]))
    later = scored(1000, 20_000, seed=4, start=NOW)
    b.clock.advance(HOUR)
    b.push(without_labels(later))
    assert estimated(b)["accuracy"]["rows"] == 2000


def test_margins_small_baselines_and_small_windows_have_reasons(bench: Make) -> None:
    """What cannot be estimated is named with the reason that the catalogue has for it."""
    margins = bench(score_kind="margin")
    margins.service.create_baseline("m", table=scored(600, 0, seed=1))
    margins.push(without_labels(scored(300, 10_000, seed=2)))
    assert estimated(margins) == {}
    assert missing(margins, "performance_estimate") == {(None, "not_comparable")}
    small = bench()
    small.service.create_baseline("m", table=scored(60, 0, seed=1))
    small.push(without_labels(scored(300, 10_000, seed=2)))
    assert estimated(small) == {}
    assert missing(small, "performance_estimate") == {(None, "insufficient_labels")}
    few = bench()
    few.service.create_baseline("m", table=scored(600, 0, seed=1))
    few.push(without_labels(scored(30, 10_000, seed=2)))
    assert estimated(few) == {}
    assert missing(few, "performance_estimate") == {(None, "insufficient_rows")}


MULTICLASS = {
    "task": "multiclass",
    "columns": {
        "id": "id",
        "timestamp": "at",
        "prediction": "answer",
        "score": {"a": "p_a", "b": "p_b", "c": "p_c"},
        "label": "truth",
    },
    "features": {"x": "numeric"},
    "segments": [],
}


def classified(count: int, first: int, *, seed: int, start: float = NOW - HOUR) -> pa.Table:
    """Rows of three classes whose scores are too bold; the label is a column `truth`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.2, (count, 3))
    chance, bold = (np.exp(logits * power) for power in (1.0, 1.8))
    chance, bold = chance / chance.sum(axis=1, keepdims=True), bold / bold.sum(axis=1, keepdims=True)
    names = np.array(["a", "b", "c"])
    truth = (generator.uniform(size=(count, 1)) > np.cumsum(chance, axis=1)[:, :2]).sum(axis=1)
    columns = {f"p_{name}": bold[:, place] for place, name in enumerate(names)}
    return pa.table(
        {
            "id": [f"r{first + position}" for position in range(count)],
            "at": start + np.sort(generator.uniform(0, HOUR - 1, count)),
            "answer": names[bold.argmax(axis=1)],
            "truth": names[truth],
            "x": generator.normal(size=count),
            **columns,
        }
    )


def test_several_classes_are_estimated_from_sums_made_on_arrival(bench: Make) -> None:
    """Estimates hold after a restart; rows of before the baseline count for nothing; labels come within."""
    b = bench(**MULTICLASS)
    b.service.create_baseline("m", table=classified(5000, 0, seed=1))
    rows = classified(4000, 10_000, seed=2)
    b.push(without_labels(rows))
    before = estimated(b)
    assert missing(b, "performance_estimate") == {("ece", "not_comparable")}
    assert before["accuracy"]["rows"] == 4000
    b.restart()
    assert estimated(b) == before
    b.label(rows.select(["id", "truth"]))
    result = b.evaluated(window="6h")
    for name in set(before) - {"ece"}:
        bounds = before[name]
        assert bounds["lower"] <= result["metrics"][name]["value"] <= bounds["upper"], name
        assert abs(result["estimated"][name]["error"]) < 0.06
    b.service.create_baseline("m", table=classified(5000, 20_000, seed=3))
    assert estimated(b) == {}
    assert missing(b, "performance_estimate") == {(None, "not_comparable")}
    b.push(without_labels(classified(5000, 30_000, seed=4)))
    assert estimated(b)["accuracy"]["rows"] == 5000


def test_rows_that_waited_for_a_grid_are_estimated_too(bench: Make) -> None:
    """A pushed baseline applies to the rows that came before there was a grid."""
    b = bench(**MULTICLASS, baseline={"source": "pushed"})
    b.push(without_labels(classified(1000, 10_000, seed=2)))
    b.service.create_baseline("m", table=classified(5000, 0, seed=1))
    assert estimated(b)["accuracy"]["rows"] == 1000


def test_late_labels_calibrate_the_rows_that_follow(bench: Make) -> None:
    """A provisional baseline of several classes is learned from late labels and applied from then on."""
    b = bench(**MULTICLASS)
    first = classified(600, 0, seed=1)
    b.push(without_labels(first))
    assert estimated(b) == {}
    b.label(first.select(["id", "truth"]))
    assert estimated(b) == {}
    assert missing(b, "performance_estimate") == {(None, "not_comparable")}
    b.clock.advance(HOUR)
    b.push(without_labels(classified(2000, 10_000, seed=2, start=NOW)))
    assert estimated(b)["accuracy"]["rows"] == 2000


REGRESSION = {
    "task": "regression",
    "columns": {"id": "id", "timestamp": "at", "prediction": "answer", "label": "truth"},
    "features": {"x": "numeric", "kind": "categorical"},
    "segments": [],
}


def measured(count: int, first: int, *, seed: int, shift: float = 0.0) -> pa.Table:
    """Rows whose errors grow with `x` and differ by `kind`; the label is a column `truth`."""
    generator = np.random.default_rng(seed)
    x, kind = generator.normal(shift, 1, count), generator.choice(["calm", "wild"], count)
    answer = 50 + 5 * x
    noise = np.exp(0.5 * x) * np.where(kind == "wild", 3.0, 1.0)
    return pa.table(
        {
            "id": [f"r{first + position}" for position in range(count)],
            "at": NOW - HOUR + np.sort(generator.uniform(0, HOUR - 1, count)),
            "answer": answer,
            "truth": answer + noise * generator.normal(size=count),
            "x": x,
            "kind": kind,
        }
    )


def test_errors_of_a_regressor_are_estimated_from_features(bench: Make) -> None:
    """Rows that are harder raise the estimated error; it survives a restart, an artifact and a refresh."""
    b = bench(**REGRESSION)
    b.service.create_baseline("m", table=measured(6000, 0, seed=1))
    rows = measured(3000, 10_000, seed=2, shift=0.7)
    b.push(without_labels(rows))
    before = estimated(b)
    undefined = {(name, "not_comparable") for name in set(before) - {"mae", "rmse", "mape", "smape"}}
    assert ("bias", "not_comparable") in undefined
    assert missing(b, "performance_estimate") == undefined
    b.restart()
    assert estimated(b) == before
    b.label(rows.select(["id", "truth"]))
    result = b.evaluated(window="6h")
    for name in ("mae", "rmse", "mape", "smape"):
        realised, estimate = result["metrics"][name], result["estimated"][name]
        assert realised["value"] > 1.2 * realised["baseline"]
        assert estimate["lower"] <= realised["value"] <= estimate["upper"], name
        assert estimate["error"] == pytest.approx(estimate["value"] - realised["value"])
    active = b.service.list_baselines("m")["baselines"][0]["id"]
    artifact = b.service.baseline_artifact("m", active)
    b.service.create_baseline("m", artifact=artifact)
    assert estimated(b) == result["estimated"]
    b.service.create_baseline("m", period=(NOW - HOUR, NOW))
    assert estimated(b) == result["estimated"]


def test_a_regressor_without_labelled_rows_is_not_estimated(bench: Make) -> None:
    """Labels that come after the first rows teach nothing: the features are not kept."""
    b = bench(**REGRESSION)
    rows = measured(1000, 0, seed=1)
    b.push(without_labels(rows))
    b.label(rows.select(["id", "truth"]))
    assert estimated(b) == {}
    assert missing(b, "performance_estimate") == {(None, "insufficient_labels")}


def test_estimation_can_be_turned_off(bench: Make) -> None:
    """`estimation: off` estimates nothing and says nothing of it."""
    b = bench(estimation="off")
    b.service.create_baseline("m", table=scored(600, 0, seed=1))
    b.push(without_labels(scored(300, 10_000, seed=2)))
    assert estimated(b) == {}
    assert missing(b, "performance_estimate") == set()


def test_pushed_profiles_carry_the_sums_of_estimates(bench: Make) -> None:
    """A monitor whose baseline the exporter imported measures what the exporter's estimator needs."""
    b = bench(**REGRESSION, baseline={"source": "pushed"})
    rows = measured(4000, 0, seed=1).to_pandas()
    monitor = ModelMonitor("m", task="regression", clock=lambda: NOW)
    monitor.set_baseline(rows["truth"], rows["answer"], rows[["x", "kind"]])
    b.service.create_baseline("m", artifact=monitor.baseline_artifact(), regrid=True)
    later = measured(3000, 10_000, seed=2).to_pandas().rename(columns={"answer": "prediction"})
    data = monitor.profile_file(
        later[["x", "kind", "prediction", "at"]], resolution=b.config.models["m"].resolution, timestamp="at"
    )
    b.service.ingest_profile("m", data)
    estimate = estimated(b)["mae"]
    assert estimate["rows"] == 3000
    assert estimate["value"] == pytest.approx((later["prediction"] - later["truth"]).abs().mean(), rel=0.15)
