"""From profiles to an evaluation: every value, or the reason why there is none."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as oracle

from exporter.baseline import grid_of
from exporter.batch import Batch, validate_batch
from exporter.evaluation import (
    Failed,
    Settings,
    Subject,
    drift_columns,
    evaluate,
    log_failure,
    measure_drift,
    outcome_details,
    reference_performance,
)
from exporter.profiles import Profile, profile_outcomes, profile_rows
from exporter.results import Evaluation, Window
from exporter.schema import Column, Kind, Schema, Task
from exporter.statistics.performance.binary import BINARY_METRICS

COLUMNS = (Column("x", Kind.NUMERIC), Column("c", Kind.CATEGORICAL))
CLASSES = np.array(["bus", "car", "train"])


def schema_of(task: Task) -> Schema:
    return Schema("m", task, "answer", "truth", timestamp="at", features=COLUMNS)


def batch_of(task: Task, rows: int = 1000, seed: int = 1, *, shift: float = 0.0, wrong: float = 0.1) -> Batch:
    generator = np.random.default_rng(seed)
    spoil = generator.uniform(size=rows) < wrong
    answer: Any
    if task is Task.BINARY:
        answer = generator.uniform(size=rows) < 0.5
        truth = answer ^ spoil
    elif task is Task.MULTICLASS:
        code = generator.integers(0, 3, rows)
        answer, truth = CLASSES[code], CLASSES[(code + spoil) % 3]
    else:
        answer = generator.normal(size=rows)
        truth = answer + spoil
    table = pa.table(
        {
            "at": generator.uniform(0, 100, rows),
            "answer": answer,
            "truth": truth,
            "x": generator.normal(size=rows) + shift,
            "c": generator.choice(["a", "b"], rows),
        }
    )
    return validate_batch(table, schema_of(task), now=200.0)


def profile_of(grid: Any, batch: Batch, *, labels: bool = True) -> Profile:
    profile = profile_rows(grid, batch, arrival=200.0)
    return profile.merge(profile_outcomes(grid, batch.outcomes)) if labels else profile


SUBJECT = Subject("m", "v1", Window("1h", 3600.0), None, 0.0, 3600.0, 5.0)


def evaluated(
    current: Profile,
    baseline: Profile | None,
    *,
    outcomes: Profile | None = None,
    labeled_rows: int | None = None,
    failed: Failed = log_failure,
    **settings: Any,
) -> Evaluation:
    chosen = Settings(**settings)
    return evaluate(
        SUBJECT,
        current,
        outcomes=outcomes,
        outcome_span=None if outcomes is None else (0.0, 3600.0),
        baseline=baseline,
        reference=reference_performance(baseline, chosen, failed),
        settings=chosen,
        labeled_rows=labeled_rows,
        failed=failed,
    )


def reasons(evaluation: Evaluation) -> set[tuple[str, str | None, str]]:
    return set(evaluation.undefined)


def test_everything_known_is_in_the_evaluation() -> None:
    """Performance against the baseline's, drift of every column, quality, delays and the confusion matrix."""
    first, second = batch_of(Task.BINARY), batch_of(Task.BINARY, seed=2, shift=1.0, wrong=0.4)
    grid = grid_of(first)
    current = profile_of(grid, second)
    made = evaluated(current, profile_of(grid, first), outcomes=current)
    truth = [batch.outcomes.label for batch in (first, second)]
    answer = [batch.outcomes.prediction for batch in (first, second)]
    accuracy = made.performance["accuracy"]
    assert accuracy.value == pytest.approx(oracle.accuracy_score(truth[1], answer[1]))
    assert accuracy.baseline == pytest.approx(oracle.accuracy_score(truth[0], answer[0]))
    assert accuracy.degraded
    assert made.drift.detected_columns[0] == "x"
    assert (made.drift.rows, made.drift.baseline_rows) == (1000, 1000)
    assert {"x", "c", "answer", "truth"} == set(made.drift.columns)
    assert made.quality.completeness["x"] == 1.0
    matrix = oracle.confusion_matrix(truth[1], answer[1])
    assert {cell[:2]: cell[2] for cell in made.confusion} == {
        (("negative", "positive")[row], ("negative", "positive")[column]): matrix[row, column]
        for row in range(2)
        for column in range(2)
    }
    assert made.event_delay is not None
    assert 100 <= made.event_delay.p50 <= 200
    assert (made.rows, made.labeled_rows, made.start, made.end, made.made_at) == (
        1000,
        1000,
        0.0,
        3600.0,
        5.0,
    )
    assert made.performance_window is not None
    assert made.performance_window.rows == 1000


def test_without_labels_the_reason_is_given() -> None:
    """Before labels come performance is `insufficient_labels`, and the label column has no verdict."""
    batch = batch_of(Task.BINARY)
    grid = grid_of(batch)
    baseline = profile_of(grid, batch)
    for outcomes in (None, profile_of(grid, batch, labels=False)):
        made = evaluated(profile_of(grid, batch, labels=False), baseline, outcomes=outcomes)
        assert ("performance", None, "insufficient_labels") in reasons(made)
        assert not made.performance.metrics
        assert made.confusion == ()
        assert "truth" not in made.drift.columns or made.drift["truth"].reason is not None
        assert made.drift["x"].detected is False


def test_without_a_baseline_the_reason_is_given() -> None:
    """Drift is `no_baseline`, performance has values without a drop, and quality what needs no baseline."""
    batch = batch_of(Task.BINARY)
    profile = profile_of(grid_of(batch), batch)
    made = evaluated(profile, None, outcomes=profile)
    assert ("drift", None, "no_baseline") in reasons(made)
    assert ("performance_drop", "accuracy", "no_baseline") in reasons(made)
    assert made.performance["accuracy"].value is not None
    assert made.performance["accuracy"].drop is None
    assert made.quality.completeness["x"] == 1.0
    assert made.drift.columns == {}


def test_a_baseline_without_labels_has_no_reference() -> None:
    """Drift is judged, the drop says `no_baseline`."""
    batch = batch_of(Task.BINARY)
    grid = grid_of(batch)
    current = profile_of(grid, batch)
    made = evaluated(current, profile_of(grid, batch, labels=False), outcomes=current)
    assert made.drift["x"].detected is False
    assert ("performance_drop", "accuracy", "no_baseline") in reasons(made)


def test_another_grid_is_not_comparable() -> None:
    """Windows on one grid and a baseline on another give no verdict, with the reason."""
    one, other = batch_of(Task.BINARY), batch_of(Task.BINARY, seed=3, shift=2.0)
    made = evaluated(profile_of(grid_of(one), one), profile_of(grid_of(other), other))
    assert ("drift", None, "not_comparable") in reasons(made)
    assert ("multivariate_drift", None, "not_comparable") in reasons(made)
    assert made.drift.columns == {}
    listed = Settings(multivariate=["mmd"])
    _, missing = measure_drift(profile_of(grid_of(one), one), None, profile_of(grid_of(other), other), listed)
    assert missing == [("drift", None, "not_comparable"), ("multivariate_drift", None, "not_comparable")]


def test_too_few_rows_have_no_verdict() -> None:
    """Below `minimum_rows` every column says `insufficient_rows`; at it there is a verdict."""
    batch = batch_of(Task.BINARY)
    grid = grid_of(batch)
    baseline = profile_of(grid, batch)
    few = profile_of(grid, batch.take(np.arange(99)))
    made = evaluated(few, baseline)
    assert {("drift", "x", "insufficient_rows"), ("drift", "c", "insufficient_rows")} <= reasons(made)
    assert evaluated(few, baseline, minimum_rows=99).drift["x"].detected is not None


def test_an_empty_window_is_no_error() -> None:
    """A window without rows has reasons for everything and fails nowhere."""
    batch = batch_of(Task.BINARY)
    grid = grid_of(batch)
    made = evaluated(Profile.empty(grid), profile_of(grid, batch), outcomes=Profile.empty(grid))
    assert made.rows == 0
    assert not made.drift.detected_columns
    assert made.event_delay is None
    assert {entry[0] for entry in made.undefined} >= {"performance", "drift"}


def test_classes_have_values_of_their_own() -> None:
    """Multiclass: per-class precision and recall, and a confusion matrix by name."""
    batch = batch_of(Task.MULTICLASS)
    profile = profile_of(grid_of(batch), batch)
    made = evaluated(profile, profile, outcomes=profile)
    truth, answer = (
        np.array(codes.to_pylist()) for codes in (batch.outcomes.label, batch.outcomes.prediction)
    )
    recall = oracle.recall_score(truth, answer, labels=CLASSES, average=None)
    for name, value in zip(CLASSES, recall, strict=True):
        assert made.class_performance[name]["recall"].value == pytest.approx(value)
    cells = {cell[:2]: cell[2] for cell in made.confusion}
    assert cells["bus", "car"] == np.count_nonzero((truth == "bus") & (answer == "car"))
    assert sum(cells.values()) == 1000


def test_a_regression_has_no_confusion() -> None:
    """Errors are there, classes are not."""
    batch = batch_of(Task.REGRESSION)
    profile = profile_of(grid_of(batch), batch)
    made = evaluated(profile, profile, outcomes=profile)
    error = np.abs(batch.outcomes.prediction - batch.outcomes.label)
    assert made.performance["mae"].value == pytest.approx(error.mean())
    assert outcome_details(profile).keys() == {"residuals"}
    assert made.performance["mae"].drop == pytest.approx(0)


def test_metrics_that_were_asked_for_are_computed() -> None:
    """Only those, in their order; one that does not fit says why."""
    batch = batch_of(Task.BINARY)
    profile = profile_of(grid_of(batch), batch)
    made = evaluated(profile, profile, outcomes=profile, metrics=("recall", "accuracy", "roc_auc"))
    assert list(made.performance.metrics) == ["recall", "accuracy", "roc_auc"]
    assert made.performance["roc_auc"].value is None
    assert any(entry[:2] == ("performance", "roc_auc") for entry in made.undefined)


def test_the_label_is_read_off_the_labelled_rows() -> None:
    """Drift of the label is that of the outcome window, of the others that of the window."""
    batch = batch_of(Task.BINARY)
    grid = grid_of(batch)
    rows, labelled = profile_of(grid, batch, labels=False), profile_of(grid, batch.take(np.arange(300)))
    columns = drift_columns(rows, labelled)
    assert columns["truth"].n == 300
    assert columns["x"].n == 1000
    assert "truth" not in drift_columns(rows, None)


def failures() -> tuple[list[tuple[str, str | None]], Failed]:
    """What failed, and who is told of it."""
    told: list[tuple[str, str | None]] = []
    return told, lambda measure, subject, _: told.append((measure, subject))


def test_a_metric_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One metric has the reason `error`, the others their values, and drift and quality go on."""
    batch = batch_of(Task.BINARY)
    profile = profile_of(grid_of(batch), batch)

    def fail(*_: object) -> None:
        raise ArithmeticError("made to fail")

    whole = evaluated(profile, profile, outcomes=profile)
    spoilt = {**BINARY_METRICS, "recall": fail}
    monkeypatch.setattr(import_module("exporter.statistics.performance.report"), "BINARY_METRICS", spoilt)
    told, failed = failures()
    made = evaluated(profile, profile, outcomes=profile, failed=failed)
    assert made.performance["recall"].reason == "error"
    assert ("performance", "recall", "error") in reasons(made)
    assert made.performance["accuracy"] == whole.performance["accuracy"]
    assert (made.drift, made.quality) == (whole.drift, whole.quality)
    assert set(told) == {("performance", "recall")}


def test_a_column_that_fails_leaves_the_others() -> None:
    """A setting that the test of one column cannot work with takes the verdict of that column only."""
    batch = batch_of(Task.BINARY)
    profile = profile_of(grid_of(batch), batch)
    told, failed = failures()
    made = evaluated(profile, profile, outcomes=profile, minimum_effect={"ks": "much"}, failed=failed)
    assert made.drift["x"].reason == "error"
    assert made.drift["c"].detected is False
    assert ("drift", "x", "error") in reasons(made)
    assert made.performance["accuracy"].value is not None
    assert told == [("drift", "x")]


def test_a_damaged_column_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that cannot be read has no verdict and no quality; the others have theirs."""
    batch = batch_of(Task.BINARY)
    profile = profile_of(grid_of(batch), batch)
    read = Profile.column

    def damaged(self: Profile, name: str) -> Any:
        if name == "x":
            raise ArithmeticError("made to fail")
        return read(self, name)

    monkeypatch.setattr(Profile, "column", damaged)
    told, failed = failures()
    made = evaluated(profile, profile, outcomes=profile, failed=failed)
    assert made.drift["x"].reason == "error"
    assert made.drift["c"].detected is False
    assert "x" not in made.quality.completeness
    assert made.quality.completeness["c"] == 1.0
    assert {("drift", "x", "error"), ("quality", "x", "error")} <= reasons(made)
    assert set(told) == {("drift", "x"), ("quality", "x")}


def test_a_part_that_fails_leaves_the_others() -> None:
    """When nothing of a part can be computed it is an `error`, and the other parts go on."""
    batch = batch_of(Task.BINARY)
    profile = profile_of(grid_of(batch), batch)
    made = evaluated(profile, profile, outcomes=profile, methods=["nonsense"], failed=failures()[1])
    assert ("drift", None, "error") in reasons(made)
    assert made.performance["accuracy"].value is not None
    assert made.quality.completeness["x"] == 1.0
    spoilt = evaluated(profile, profile, quality_weights={"completeness": "x"}, failed=failures()[1])
    assert ("quality", "x", "error") in reasons(spoilt)
    assert spoilt.quality.score is None
    assert spoilt.drift["x"].detected is False


def test_labelled_rows_are_those_of_the_window() -> None:
    """How many of the window's rows have labels is not how many rows performance was measured on."""
    batch = batch_of(Task.BINARY)
    profile = profile_of(grid_of(batch), batch)
    made = evaluated(profile, profile, outcomes=profile, labeled_rows=250)
    assert (made.labeled_rows, made.labeled_ratio) == (250, 0.25)
    assert made.performance_window is not None
    assert made.performance_window.rows == 1000
