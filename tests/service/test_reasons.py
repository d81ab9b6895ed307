"""Whatever is missing, out of date or uncertain says so: on `/metrics`, in the status and in results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exporter.catalog import FAMILIES, WINDOWED
from exporter.errors import NotFoundError

from .conftest import HOUR, MODEL, NOW, Bench, labels_of
from .test_publisher import evaluated, of, tick

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]

RULES: dict[str, Any] = {
    "validation_rules": {"distance": {"min": -10}, "gone": {"not_null": True}},
    "consistency_rules": {"sure": "score >= 0", "lost": "gone > 0"},
}


def test_rules_that_fail_are_named(bench: Make, rows: Rows) -> None:
    """A rule on a column that nobody pushes has the reason `error`; the other rules have ratios."""
    b = bench(quality=RULES)
    b.push(rows(600))
    families = evaluated(b)
    for measure, subject in (
        ("quality_validity_ratio", "gone/not_null"),
        ("quality_consistency_ratio", "lost"),
    ):
        assert of(families, "ml_undefined", measure=measure, subject=subject, reason="error") == [1.0, 1.0]
        assert len(of(families, "ml_undefined", measure=measure)) == 2
    assert of(families, "ml_quality_consistency_ratio", rule="sure") == [1.0, 1.0]


def test_rules_fail_for_a_version(bench: Make, rows: Rows) -> None:
    """What one version pushes says nothing about the rules of another."""
    b = bench(quality=RULES)
    whole = rows(600).append_column("gone", pa.array(np.ones(600)))
    b.push(whole, version="good")
    b.push(rows(600, 1000), version="bad")
    b.push(whole.slice(0, 50).set_column(0, "id", pa.array([f"n{n}" for n in range(50)])), version="good")
    families = evaluated(b)
    assert len(of(families, "ml_undefined", reason="error", version="bad")) == 4
    assert of(families, "ml_undefined", reason="error", version="good") == []
    assert set(b.service.status("m")["failures"]) == {"bad"}


def test_rules_without_a_checked_row_are_empty(bench: Make, rows: Rows) -> None:
    """A rule that said nothing of any row has a reason too."""
    b = bench(quality={"consistency_rules": {"silent": "score > NULL"}})
    b.push(rows(600))
    found = of(evaluated(b), "ml_undefined", measure="quality_consistency_ratio", subject="silent")
    assert found == [1.0, 1.0]


def test_without_ids_repeated_rows_are_duplicates(bench: Make, rows: Rows) -> None:
    """Rows that equal an earlier one of their batch in everything that was pushed count as duplicates."""
    b = bench(columns={name: column for name, column in MODEL["columns"].items() if name != "id"})
    table = rows(600).drop_columns(["id"])
    b.push(pa.concat_tables([table, table.slice(0, 200)]))
    families = evaluated(b)
    assert of(families, "ml_quality_duplicate_ratio", window="6h") == [200 / 800]
    b.push(table.drop_columns(["carrier"]).append_column("carrier", pa.array(["AA"] * 600)))
    assert of(evaluated(b), "ml_quality_duplicate_ratio", window="6h") == [200 / 1400]


def test_a_stale_model_says_so_everywhere(bench: Make, rows: Rows) -> None:
    """Results are kept and flagged, the reason is a sentence, and thresholds go with the other windows."""
    b = bench(stale_after="2h")
    b.push(rows(600))
    assert "ml_quality_threshold" in evaluated(b)
    for stale in (False, True):
        answers = [getattr(b.service, part)("m") for part in ("performance", "drift", "quality")]
        shown = [b.service.status("m"), b.service.show_model("m"), *b.service.list_models()["models"]]
        for answer in (*answers, *shown):
            assert answer["stale"] is stale
            assert ("stale" in (answer["reason"] or "")) is stale
        for answer in answers:
            assert {result["stale"] for result in answer["results"]} == {stale}
        b.clock.advance(2 * HOUR + 1)
    families = tick(b)
    left = {name for name in families if "window" in dict(next(iter(families[name])))}
    assert left == {"ml_undefined"}


def test_notes_speak_of_weak_baselines(bench: Make, rows: Rows) -> None:
    """Small, provisional and unlabelled baselines are named in the status, each in a sentence."""
    b = bench()
    b.push(rows(600))
    b.push(rows(200, 1000))
    b.service.evaluate("m")
    for answer in (b.service.status("m"), b.service.show_model("m")):
        provisional, unlabelled, small = answer["notes"]
        assert "provisional" in provisional
        assert '{"from": T, "to": T}' in unlabelled
        assert "500 rows, fewer than the 800" in small
        assert answer["roc_auc_error_bound"] is None


def test_a_good_baseline_needs_no_note(bench: Make, rows: Rows) -> None:
    """Pushed, labelled and large: no note; and the error of the AUC off the grid is a small number."""
    b = bench()
    assert b.service.status("m")["notes"] == []
    table = rows(3000)
    truth = labels_of(table, wrong=300)["truth"]
    b.service.create_baseline("m", table=table.append_column("truth", truth))
    b.push(rows(200, 5000))
    b.service.evaluate("m")
    status = b.service.status("m")
    assert status["notes"] == []
    assert 0 <= status["roc_auc_error_bound"] < 1e-3


PRODUCED = [
    name
    for name, family in FAMILIES.items()
    if family.produced and family.labels[: len(WINDOWED)] == WINDOWED and "_segment_" not in name
]
ONLY_SOMETIMES = {
    "ml_undefined": "says what is missing",
    "ml_class_performance": "multiclass only",
    "ml_ranking_groups": "ranking only",
    "ml_drift_since_timestamp_seconds": "only of columns that drift",
}


def unnamed(families: dict[str, Any]) -> list[str]:
    """Windowed families that are neither exported nor named in `ml_undefined`.

    `drift` stands for all of drift and `performance` for all of performance.
    """
    measures = {dict(labels)["measure"] for labels in families.get("ml_undefined", {})}
    return [
        name
        for name in PRODUCED
        if name not in families
        and name not in ONLY_SOMETIMES
        and not any(name.removeprefix("ml_").startswith(measure) for measure in measures)
    ]


@pytest.mark.parametrize("rows_then_labels", [(0, 0), (50, 0), (600, 0), (600, 600)])
def test_every_windowed_family_is_there_or_named(
    bench: Make, rows: Rows, rows_then_labels: tuple[int, int]
) -> None:
    """Before a baseline, without labels, and with everything: nothing is missing without a reason."""
    count, labelled = rows_then_labels
    b = bench(quality={**RULES, "timeliness": "1h"})
    if count:
        table = rows(count)
        b.push(table)
        if labelled:
            b.label(labels_of(table))
    assert unnamed(evaluated(b)) == []


def test_empty_windows_name_everything(bench: Make, rows: Rows) -> None:
    """Without rows, with rows of the past only, and long after the newest one: a reason for every family."""
    b = bench(quality={**RULES, "timeliness": "1h"})
    b.service.create_baseline("m", table=rows(600))
    assert unnamed(evaluated(b)) == []
    b.push(rows(50, 1000), backfill=True)
    assert unnamed(evaluated(b)) == []
    b.push(rows(50, 2000))
    b.service._lanes["m"].versions["default"].watermark = NOW + 100 * HOUR
    families = evaluated(b)
    assert of(families, "ml_window_rows") == [0.0, 0.0]
    assert unnamed(families) == []


@pytest.mark.parametrize("question", ["performance", "drift", "quality", "status"])
def test_unknown_filters_are_not_found(bench: Make, rows: Rows, question: str) -> None:
    """A window, version or segment that does not exist is told from one without results, with the choices."""
    b = bench()
    b.push(rows(600))
    b.service.evaluate("m")
    ask = getattr(b.service, question)
    for filters, choice in (
        ({"window": "9d"}, "it has 1h, 6h"),
        ({"version": "zz"}, "it has default"),
        ({"segment": "carrier"}, "segments by carrier"),
        ({"segment": "planet=earth"}, "segments by carrier"),
        ({"segment": "carrier=ZZ"}, ".../segments"),
    ):
        with pytest.raises(NotFoundError, match=choice):
            ask("m", **filters)
    for segment in ("", "*", "carrier=AA"):
        assert ask("m", version="default", window="6h", segment=segment)["stale"] is False


def test_errors_without_labels_are_named(bench: Make, rows: Rows) -> None:
    """Concept drift has a reason until labels come, and a verdict or another reason from then on."""
    b = bench()
    table = rows(600)
    b.push(table)
    named = {"measure": "drift", "subject": "error", "reason": "insufficient_labels"}
    assert of(evaluated(b), "ml_undefined", **named) == [1.0, 1.0]
    b.label(labels_of(table))
    families = evaluated(b)
    assert of(families, "ml_undefined", **{**named, "subject": "truth"}) == []
    verdicts = {dict(labels)["column"] for labels in families["ml_drift_detected"]}
    whole = b.evaluated("drift", window="6h")["columns"]["error"]
    assert ("error" in verdicts) == (whole["reason"] is None)


def test_one_numeric_feature_is_not_tested_together(bench: Make, rows: Rows) -> None:
    """With `auto` the tests of all columns together say why they are not there."""
    b = bench(features={"distance": "numeric", "carrier": "categorical"})
    b.push(rows(600))
    families = evaluated(b)
    assert "ml_multivariate_drift_statistic" not in families
    assert of(families, "ml_undefined", measure="multivariate_drift", reason="not_comparable") == [1.0, 1.0]
    none = bench(features={"distance": "numeric", "carrier": "categorical"}, drift={"multivariate": []})
    none.push(rows(600))
    assert of(evaluated(none), "ml_undefined", measure="multivariate_drift") == []
