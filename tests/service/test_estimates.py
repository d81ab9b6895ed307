"""Performance without labels, end to end: before labels come, and once they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

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


def test_estimation_can_be_turned_off(bench: Make) -> None:
    """`estimation: off` estimates nothing and says nothing of it."""
    b = bench(estimation="off")
    b.service.create_baseline("m", table=scored(600, 0, seed=1))
    b.push(without_labels(scored(300, 10_000, seed=2)))
    assert estimated(b) == {}
    assert missing(b, "performance_estimate") == set()
