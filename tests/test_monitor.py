"""A model monitored from Python, as the contract prints it, against scikit-learn and a running exporter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sklearn import metrics as oracle

from exporter import Client, ModelMonitor
from exporter.arrays import infer_task
from exporter.catalog import FAMILIES
from exporter.client import OutdatedError
from exporter.errors import ConfigurationError, ConflictError, UnreadableError, UnusableBatchError
from exporter.profilefile import PROFILE_TYPE, grid_id_of
from exporter.profiles import Profile

from .conftest import RunningExporter

NOW = 1_700_000_000.0
ROWS = 2000


def features(seed: int = 1, rows: int = ROWS, *, shift: float = 0.0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "distance": generator.normal(size=rows) + shift,
            "delay": np.where(generator.uniform(size=rows) < 0.6, 0.0, generator.exponential(size=rows)),
            "carrier": generator.choice(["AA", "UA", "DL"], rows),
            "booked": generator.uniform(size=rows) < 0.3,
        }
    )


def binary(seed: int = 1, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions and scores."""
    generator = np.random.default_rng([seed, 9])
    score = generator.uniform(size=rows)
    return generator.uniform(size=rows) < score, score > 0.5, score


def monitored(**settings: Any) -> ModelMonitor:
    y_true, y_pred, score = binary()
    monitor = ModelMonitor(model_name="m", clock=lambda: NOW, **settings)
    return monitor.set_baseline(y_true, y_pred, features(), y_score=score)


def test_the_call_of_the_contract() -> None:
    """Names, arguments and results are those that the contract prints."""
    y_true, y_pred, _ = binary()
    monitor = ModelMonitor(
        model_name="m",
        metrics=["accuracy", "precision", "recall", "f1"],
        drift_threshold=0.05,
        alert_threshold=0.1,
    )
    monitor.set_baseline(y_true, y_pred, features())
    results = monitor.check_performance(y_true, y_pred)
    assert list(results) == ["accuracy", "precision", "recall", "f1"]
    assert {"value", "lower", "upper", "baseline", "drop", "degraded"} <= set(results["accuracy"])
    assert results["accuracy"].drop == 0
    assert not results["accuracy"].degraded
    drift = monitor.detect_drift(features(2, shift=1.0))
    assert {"detected", "statistic", "critical_value", "p_value", "q_value", "method"} <= set(
        drift["distance"]
    )
    assert drift.detected_columns == ["distance"]
    assert drift["distance"].statistic > drift["distance"].critical_value
    assert isinstance(monitor.history, pd.DataFrame)
    assert results.to_dict()["metrics"]["accuracy"]["value"] == results["accuracy"].value


SHAPES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "frame": lambda frame: frame,
    "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "mapping": lambda frame: {name: frame[name].to_numpy() for name in frame},
    "shuffled index": lambda frame: frame.set_axis(np.arange(len(frame))[::-1] * 3),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_features_of_every_shape_give_the_same_verdicts(shape: Callable[[pd.DataFrame], Any]) -> None:
    """A DataFrame with any index, an Arrow table and a mapping of arrays say the same."""
    y_true, y_pred, _ = binary()
    monitor = ModelMonitor("m").set_baseline(y_true, y_pred, shape(features()))
    drift = monitor.detect_drift(shape(features(2)))
    expected = ModelMonitor("m").set_baseline(y_true, y_pred, features()).detect_drift(features(2))
    assert list(drift.columns) == ["distance", "delay", "carrier", "booked"]
    for name, column in expected.columns.items():
        assert drift[name].statistic == pytest.approx(column.statistic)


def test_features_as_an_array_are_called_by_their_place() -> None:
    """A matrix has columns x0, x1, ...; one of another width is refused with both numbers."""
    y_true, y_pred, _ = binary()
    matrix = features()[["distance", "delay"]].to_numpy()
    monitor = ModelMonitor("m").set_baseline(y_true, y_pred, matrix)
    assert monitor.detect_drift(matrix + np.array([2.0, 0.0])).detected_columns == ["x0"]
    with pytest.raises(UnusableBatchError, match=r"2 features.*3"):
        monitor.detect_drift(np.zeros((200, 3)))
    with pytest.raises(UnusableBatchError, match="3 dimensions"):
        monitor.detect_drift(np.zeros((20, 2, 2)))
    one = ModelMonitor("m").set_baseline(y_true, y_pred, matrix[:, 0])
    assert one.detect_drift(matrix[:, 0]).detected_columns == []


BINARY: dict[str, Callable[..., float]] = {
    "accuracy": oracle.accuracy_score,
    "balanced_accuracy": oracle.balanced_accuracy_score,
    "precision": oracle.precision_score,
    "recall": oracle.recall_score,
    "f1": oracle.f1_score,
    "mcc": oracle.matthews_corrcoef,
}
CODINGS: dict[str, tuple[Callable[[np.ndarray], Any], Any]] = {
    "bool": (lambda values: values, None),
    "int": (lambda values: values.astype(int), None),
    "text": (lambda values: np.where(values, "late", "early"), "late"),
    "list": (lambda values: values.tolist(), None),
    "series": (lambda values: pd.Series(values, index=np.arange(len(values)) + 7), None),
    "float": (lambda values: values.astype(float), None),
}


@pytest.mark.parametrize(("coded", "positive"), CODINGS.values(), ids=CODINGS)
def test_binary_performance_is_that_of_scikit_learn(coded: Callable[..., Any], positive: Any) -> None:
    """Labels as booleans, numbers, texts, lists and series: every value is scikit-learn's, bounds hold it."""
    y_true, y_pred, score = binary()
    monitor = ModelMonitor("m", positive_label=positive)
    monitor.set_baseline(coded(y_true), coded(y_pred), features(), y_score=score)
    truth, answer, probability = binary(2)
    results = monitor.check_performance(coded(truth), coded(answer), y_score=probability)
    for name, function in BINARY.items():
        assert results[name].value == pytest.approx(function(truth, answer)), name
        assert results[name].baseline == pytest.approx(function(y_true, y_pred)), name
        assert results[name].lower <= results[name].value <= results[name].upper
    assert results["roc_auc"].value == pytest.approx(oracle.roc_auc_score(truth, probability), abs=6e-4)
    assert results["log_loss"].value == pytest.approx(oracle.log_loss(truth, probability))
    assert results["brier"].value == pytest.approx(oracle.brier_score_loss(truth, probability))
    assert results.rows == ROWS


def test_scores_of_two_classes_are_those_of_the_positive_one() -> None:
    """`predict_proba` of a binary classifier can be given as it is."""
    y_true, y_pred, score = binary()
    both = np.column_stack([1 - score, score])
    monitor = ModelMonitor("m").set_baseline(y_true, y_pred, features(), y_score=both)
    results = monitor.check_performance(y_true, y_pred, y_score=both)
    assert results["roc_auc"].value == pytest.approx(oracle.roc_auc_score(y_true, score), abs=6e-4)


def test_without_scores_their_metrics_are_left_out_or_say_why() -> None:
    """Metrics that need scores are not there without them, or have a reason when they were asked for."""
    y_true, y_pred, _ = binary()
    plain = ModelMonitor("m").set_baseline(y_true, y_pred, features())
    results = plain.check_performance(y_true, y_pred)
    assert "accuracy" in results
    for name in ("roc_auc", "brier"):
        assert name not in results or results[name].reason is not None
    asked = ModelMonitor("m", metrics=["accuracy", "roc_auc"]).set_baseline(y_true, y_pred, features())
    assert asked.check_performance(y_true, y_pred)["roc_auc"].reason is not None


def test_a_baseline_with_labels_missing_or_of_one_class() -> None:
    """Rows without a label count as rows; of labels that are all negative the positive class is the other."""
    y_true, y_pred, _ = binary()
    partly = np.array([None, *y_true[1:]], dtype=object)
    monitor = ModelMonitor("m").set_baseline(partly, y_pred, features())
    expected = oracle.accuracy_score(y_true[1:], y_pred[1:])
    assert monitor.check_performance(y_true, y_pred)["accuracy"].baseline == pytest.approx(expected)
    quiet = ModelMonitor("m").set_baseline(np.zeros(ROWS, int), y_pred.astype(int), features())
    result = quiet.check_performance(y_true.astype(int), y_pred.astype(int))
    assert result["recall"].value == pytest.approx(oracle.recall_score(y_true, y_pred))


def test_a_drop_beyond_the_threshold_is_degraded() -> None:
    """The drop is a difference for scores, positive when worse, and degraded beyond `alert_threshold`."""
    monitor = monitored(alert_threshold=0.1)
    y_true, y_pred, score = binary(2)
    worse = y_pred.copy()
    worse[:600] = ~worse[:600]
    result = monitor.check_performance(y_true, worse, y_score=score)["accuracy"]
    assert result.drop == pytest.approx(result.baseline - result.value)
    assert result.degraded == (result.drop > 0.1)
    assert result.degraded
    better = monitor.check_performance(y_true, y_true, y_score=score)["accuracy"]
    assert better.drop < 0
    assert not better.degraded


def test_multiclass_performance_is_that_of_scikit_learn() -> None:
    """Macro averages, log loss and per-class values of three classes, as texts or numbers."""
    generator = np.random.default_rng(4)
    names = np.array(["bus", "car", "train"])
    proba = generator.dirichlet([1, 1, 1], ROWS)
    answer = proba.argmax(axis=1)
    truth = np.array([generator.choice(3, p=row) for row in proba])
    for coded in (names, np.array([10, 20, 30])):
        monitor = ModelMonitor("m").set_baseline(coded[truth], coded[answer], features(), y_score=proba)
        results = monitor.check_performance(coded[truth], coded[answer], y_score=proba)
        assert results["accuracy"].value == pytest.approx(oracle.accuracy_score(truth, answer))
        assert results["f1"].value == pytest.approx(oracle.f1_score(truth, answer, average="macro"))
        expected = oracle.precision_score(truth, answer, average="macro")
        assert results["precision"].value == pytest.approx(expected)
        assert results["log_loss"].value == pytest.approx(oracle.log_loss(truth, proba))
        auc = oracle.roc_auc_score(truth, proba, multi_class="ovr", average="macro")
        assert results["roc_auc"].value == pytest.approx(auc, abs=1e-3)


def test_regression_performance_is_that_of_scikit_learn() -> None:
    """Errors and R2 of a regression; the drop of an error is a ratio of the baseline."""
    generator = np.random.default_rng(5)
    truth = generator.normal(10, 3, ROWS)
    answer = truth + generator.normal(0.2, 1, ROWS)
    monitor = ModelMonitor("m").set_baseline(truth, answer, features())
    results = monitor.check_performance(truth, answer)
    assert results["mae"].value == pytest.approx(oracle.mean_absolute_error(truth, answer))
    assert results["rmse"].value == pytest.approx(oracle.root_mean_squared_error(truth, answer))
    assert results["r2"].value == pytest.approx(oracle.r2_score(truth, answer))
    assert results["bias"].value == pytest.approx(np.mean(answer - truth))
    median = oracle.median_absolute_error(truth, answer)
    assert results["median_absolute_error"].value == pytest.approx(median, rel=0.02)
    worse = monitor.check_performance(truth, truth + 2 * (answer - truth))
    assert worse["mae"].drop == pytest.approx(1.0)
    assert worse["mae"].degraded


def test_rows_without_a_label_are_left_out_of_performance() -> None:
    """Missing labels are no error: the others count."""
    y_true, y_pred, score = binary()
    truth = pd.Series(y_true.astype(object))
    truth[:500] = None
    results = monitored().check_performance(truth, y_pred, y_score=score)
    assert results["accuracy"].value == pytest.approx(oracle.accuracy_score(y_true[500:], y_pred[500:]))
    assert results.rows == ROWS - 500


def test_wrong_input_is_named() -> None:
    """Wrong lengths, unknown metrics, no baseline, taken names, no rows: each says what is wrong."""
    y_true, y_pred, score = binary()
    with pytest.raises(ConfigurationError, match="unknown metrics accurcy"):
        ModelMonitor("m", metrics=["accurcy"])
    with pytest.raises(ConfigurationError, match="drift_threshold"):
        ModelMonitor("m", drift_threshold=5)
    with pytest.raises(ConfigurationError, match="alert_threshold"):
        ModelMonitor("m", alert_threshold=0)
    with pytest.raises(ConfigurationError, match="task"):
        ModelMonitor("m", task="clustering")
    with pytest.raises(ConfigurationError, match="methods kss"):
        ModelMonitor("m", methods=["kss"])
    with pytest.raises(ConfigurationError, match="score_kind"):
        ModelMonitor("m", score_kind="logit")
    fresh = ModelMonitor("m")
    for call in (
        lambda: fresh.check_performance(y_true, y_pred),
        lambda: fresh.detect_drift(features()),
        lambda: fresh.profile(features()),
        lambda: fresh.save("nowhere"),
        fresh.baseline_artifact,
    ):
        with pytest.raises(ConflictError, match="set_baseline first"):
            call()
    with pytest.raises(UnusableBatchError, match="empty"):
        fresh.set_baseline([], [], features(rows=0))
    with pytest.raises(UnusableBatchError, match="empty"):
        fresh.set_baseline([None] * 5, [1] * 5, features(rows=5))
    with pytest.raises(UnusableBatchError, match="one length"):
        fresh.set_baseline(y_true, y_pred[:-1], features())
    with pytest.raises(UnusableBatchError, match=r"2 classes.*3"):
        fresh.set_baseline(y_true, y_pred, features(), y_score=np.ones((ROWS, 3)))
    with pytest.raises(UnusableBatchError, match="3 classes"):
        fresh.set_baseline(np.arange(ROWS) % 3, np.arange(ROWS) % 3, features(), y_score=score)
    with pytest.raises(UnusableBatchError, match="regression has no scores"):
        fresh.set_baseline(score, score, features(), y_score=score)
    with pytest.raises(UnusableBatchError, match="names are taken"):
        fresh.set_baseline(y_true, y_pred, features().assign(label=1))
    monitor = monitored()
    with pytest.raises(UnusableBatchError, match="one length"):
        monitor.check_performance(y_true, y_pred[:-1])
    with pytest.raises(UnusableBatchError, match="one length"):
        monitor.check_performance(y_true, y_pred, y_score=score[:-1])
    with pytest.raises(UnusableBatchError, match="out_of_range"):
        monitor.check_performance(y_true, y_pred, y_score=score + 1)
    with pytest.raises(UnusableBatchError):
        monitor.detect_drift(features(rows=0))


def test_columns_of_the_wrong_type_are_named() -> None:
    """Text in a numeric column is refused, with the column."""
    with pytest.raises(UnusableBatchError) as caught:
        monitored().detect_drift(features(2).assign(distance="far"))
    assert "distance" in str(caught.value.details)


def test_an_absent_column_is_missing_values() -> None:
    """A feature that does not come any more is drift of that column, told by `missing`."""
    drift = monitored(methods=["missing", "ks"]).detect_drift(features(2).drop(columns="distance"))
    assert drift.detected_columns == ["distance"]


def test_the_task_is_read_off_the_labels() -> None:
    """As scikit-learn reads them; a matrix of labels is refused."""
    assert infer_task(np.array([0.5, 1.5])) == "regression"
    assert infer_task(np.array([0, 1, 1])) == "binary"
    assert infer_task(np.array(["a", "b", "c"])) == "multiclass"
    with pytest.raises(ConfigurationError, match="task="):
        infer_task(np.array([[0, 1], [1, 1]]))
    truth = np.arange(500.0) % 7
    forced = ModelMonitor("m", task="regression").set_baseline(truth, truth, features(rows=500))
    assert "mae" in forced.check_performance(truth, truth)


def test_history_is_a_frame() -> None:
    """One row a metric or column of every check, in order, with when and what."""
    monitor = monitored(metrics=["accuracy", "f1"])
    assert monitor.history.empty
    y_true, y_pred, score = binary()
    monitor.check_performance(y_true, y_pred, y_score=score)
    monitor.detect_drift(features(2, shift=1.0))
    history = monitor.history
    assert list(history["subject"]) == ["accuracy", "f1", "distance", "delay", "carrier", "booked"]
    assert list(history["measure"]) == ["performance"] * 2 + ["drift"] * 4
    assert set(history.loc[history["alarm"], "subject"]) == {"distance"}
    assert history["timestamp"].dtype.tz is not None
    assert (history["timestamp"] == pd.Timestamp(NOW, unit="s", tz="UTC")).all()
    assert history.loc[0, "value"] == pytest.approx(oracle.accuracy_score(y_true, y_pred))


def test_a_saved_monitor_goes_on(tmp_path: Path) -> None:
    """Settings, baseline and history survive, and checks give the same; other files are refused."""
    y_true, y_pred, score = binary(3)
    monitor = monitored(metrics=["accuracy", "roc_auc"], drift_threshold=0.01, version="v2", minimum_rows=50)
    monitor.check_performance(y_true, y_pred, y_score=score)
    monitor.detect_drift(features(2))
    monitor.save(tmp_path / "m.monitor")
    again = ModelMonitor.load(tmp_path / "m.monitor")
    pd.testing.assert_frame_equal(again.history, monitor.history)
    assert (again.model_name, again.version, again.drift_threshold) == ("m", "v2", 0.01)
    assert again.grid.id == monitor.grid.id
    for one, other in zip(
        (again.check_performance(y_true, y_pred, y_score=score), again.detect_drift(features(3))),
        (monitor.check_performance(y_true, y_pred, y_score=score), monitor.detect_drift(features(3))),
        strict=True,
    ):
        assert one.to_dict() == other.to_dict()
    (tmp_path / "broken").write_bytes((tmp_path / "m.monitor").read_bytes()[:-3])
    with pytest.raises(UnreadableError, match="damaged"):
        ModelMonitor.load(tmp_path / "broken")
    (tmp_path / "baseline").write_bytes(monitor.baseline_artifact())
    with pytest.raises(UnreadableError, match="not a saved monitor"):
        ModelMonitor.load(tmp_path / "baseline")


@pytest.mark.parametrize("positive", ["late", 2, True])
def test_a_saved_monitor_knows_its_positive_label(tmp_path: Path, positive: Any) -> None:
    """The class that counts as positive, and the task, come back with the file, also for a new baseline."""
    y_true, y_pred, _ = binary()
    negative = {"late": "zero", 2: 7, True: False}[positive]
    coded = [[positive if value else negative for value in values] for values in (y_true, y_pred)]
    monitor = ModelMonitor("m", positive_label=positive, task="binary").set_baseline(*coded, features())
    monitor.save(tmp_path / "m")
    again = ModelMonitor.load(tmp_path / "m")
    expected = oracle.precision_score(y_true, y_pred)
    assert again.check_performance(*coded)["precision"].value == pytest.approx(expected)
    again.set_baseline(*coded, features())
    assert again.check_performance(*coded)["precision"].value == pytest.approx(expected)


def test_a_registry_is_given_the_latest_results() -> None:
    """On a real registry: nothing at first, then the catalogue's names and labels, text that parses."""
    registry = CollectorRegistry()
    monitor = monitored(metrics=["accuracy"])
    monitor.register(registry)
    assert generate_latest(registry) == b""
    y_true, y_pred, score = binary()
    monitor.check_performance(y_true, y_pred, y_score=score)
    monitor.detect_drift(features(2, shift=1.0))
    families = {
        family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())
    }
    assert families.keys() <= FAMILIES.keys()
    for name, family in families.items():
        for sample in family.samples:
            assert set(sample.labels) == set(FAMILIES[name].labels)
            assert (sample.labels["model"], sample.labels["version"]) == ("m", "default")
    (accuracy,) = families["ml_performance"].samples
    assert accuracy.value == pytest.approx(oracle.accuracy_score(y_true, y_pred))
    drifted = {s.labels["column"] for s in families["ml_drift_detected"].samples if s.value}
    assert drifted == {"distance"}
    assert families["ml_drifted_columns_ratio"].samples[0].value == pytest.approx(0.25)


def test_a_registry_has_only_what_was_measured() -> None:
    """After a check of performance nothing is said of drift; then its own threshold; no length of time."""
    monitor = monitored(drift_threshold=0.01)
    y_true, y_pred, _ = binary(2)
    monitor.check_performance(y_true, y_pred)
    assert monitor.evaluation().drift.alpha == 0.01
    registry = CollectorRegistry()
    monitor.register(registry)
    assert "ml_drift" not in generate_latest(registry).decode()
    assert "ml_window_seconds" not in generate_latest(registry).decode()
    monitor.detect_drift(features(2))
    place = {"model": "m", "version": "default", "window": "batch"}
    assert registry.get_sample_value("ml_drift_alpha", place) == 0.01


def test_metrics_that_need_a_score_are_there_when_a_score_is() -> None:
    """With no metrics chosen, a check without scores lists none that needs them; chosen ones say why."""
    y_true, y_pred, score = binary(2)
    everything = monitored()
    without, scored = (everything.check_performance(y_true, y_pred, y_score=s) for s in (None, score))
    assert {"accuracy", "f1"} <= set(without)
    assert not {metric.reason for metric in without.metrics.values()} - {None}
    assert set(scored) - set(without) == {"roc_auc", "pr_auc", "log_loss", "brier", "ece"}
    chosen = monitored(metrics=["roc_auc"]).check_performance(y_true, y_pred)
    assert chosen["roc_auc"].reason is not None


def test_one_check_does_not_wipe_out_the_other() -> None:
    """Performance stays exposed after a drift check and the reverse; the reasons are those of the latest."""
    monitor = monitored(metrics=["accuracy"])
    y_true, y_pred, score = binary()
    monitor.detect_drift(features(2, rows=20))
    assert ("drift", "distance", "insufficient_rows") in monitor.evaluation().undefined
    monitor.check_performance(y_true, y_pred, y_score=score)
    assert ("drift", "distance", "insufficient_rows") in monitor.evaluation().undefined
    monitor.detect_drift(features(2))
    evaluation = monitor.evaluation()
    assert not [entry for entry in evaluation.undefined if entry[0] == "drift"]
    assert evaluation.performance["accuracy"].value is not None
    assert evaluation.labeled_rows == ROWS


def test_profiles_of_parts_merge_to_that_of_the_whole() -> None:
    """Rows profiled in parts, with their predictions and labels, add up."""
    monitor = monitored()
    y_true, y_pred, score = binary(2)
    frame = features(2).assign(prediction=y_pred, label=y_true, score=score)
    parts = [monitor.profile(frame.iloc[start : start + 500]) for start in range(0, ROWS, 500)]
    merged = sum(parts[1:], parts[0])
    whole = monitor.profile(frame)
    assert isinstance(whole, Profile)
    assert (merged.rows, merged.labeled_rows) == (whole.rows, whole.labeled_rows) == (ROWS, ROWS)
    for part in ("features", "outcomes"):
        counts = [getattr(profile, part).counts.dense() for profile in (merged, whole)]
        np.testing.assert_array_equal(*counts)


def test_a_profile_file_has_its_rows_by_bucket() -> None:
    """Buckets are those of the timestamp column, on the monitor's grid."""
    monitor = monitored()
    frame = features(2).assign(at=NOW + np.arange(ROWS))
    data = monitor.profile_file(frame, resolution=600.0, timestamp="at")
    assert grid_id_of(data) == monitor.grid.id
    from exporter.profilefile import read_profiles

    file = read_profiles(data, monitor.grid)
    assert sum(profile.rows for _, profile in file.buckets) == ROWS
    assert [start % 600 for start, _ in file.buckets] == [0] * len(file.buckets)
    assert file.newest_event == NOW + ROWS - 1
    with pytest.raises(UnreadableError, match=PROFILE_TYPE):
        grid_id_of(b"something else")


CONFIGURATION = """
models:
  flights:
    task: binary
    columns: {timestamp: at, prediction: answer, score: probability, label: truth}
    features: {distance: numeric, delay: numeric, carrier: categorical, booked: boolean}
    windows: [1h, 6h]
    evaluation_interval: 100ms
    counter_warmup: 0s
"""


def wait_for(client: Client, part: str, rows: int) -> dict[str, Any]:
    import time

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = getattr(client, part)("flights", window="6h", version="v1")["results"]
        if found and found[0]["rows"] == rows:
            return found[0]
        time.sleep(0.05)
    raise AssertionError(found)


def test_profiles_are_pushed_to_a_running_exporter(
    running_exporter: Callable[..., RunningExporter],
) -> None:
    """A monitor's baseline moves to an exporter, then its profiles and profile files count there."""
    exporter = running_exporter(CONFIGURATION)
    y_true, y_pred, score = binary()
    monitor = ModelMonitor("flights", metrics=["accuracy"])
    monitor.set_baseline(y_true, y_pred, features(), y_score=score)
    with Client(exporter.url) as client:
        client.create_baseline("flights", artifact=monitor.baseline_artifact())
        now = dt.datetime.now(dt.UTC)
        truth, answer, probability = binary(2)
        frame = features(2, shift=1.0).assign(prediction=answer, label=truth, score=probability)
        profile = monitor.profile(frame)
        pushed = client.push_profile("flights", profile, version="v1", event_time=now)
        assert (pushed["accepted"], pushed["duplicate"]) == (ROWS, False)
        again = client.push_profile("flights", profile, version="v1", event_time=now)
        assert again["duplicate"]
        file = monitor.profile_file(
            frame.assign(at=now.timestamp() - np.arange(ROWS) % 600),
            resolution=client.grid("flights")["resolution"],
            timestamp="at",
        )
        client.push_profile("flights", file, version="v1")
        client.push_profile("flights", monitor.profile(frame.iloc[:10]), version="v1")
        total = 2 * ROWS + 10
        drift = wait_for(client, "drift", total)
        assert drift["detected_columns"] == ["distance"]
        performance = wait_for(client, "performance", total)["metrics"]["accuracy"]
        expected = (2 * (truth == answer).sum() + (truth == answer)[:10].sum()) / total
        assert performance["value"] == pytest.approx(expected)
        assert performance["baseline"] == pytest.approx(oracle.accuracy_score(y_true, y_pred))
        quality = wait_for(client, "quality", total)
        assert quality["completeness"]["distance"] == 1.0
        other = ModelMonitor("flights").set_baseline(y_true, y_pred, features(7), y_score=score)
        with pytest.raises(OutdatedError, match="grid"):
            client.push_profile("flights", other.profile(frame), version="v1")
        with pytest.raises(ValueError, match="event_time"):
            client.push_profile("flights", file, version="v1", event_time=now)


def test_a_monitor_without_features_checks_performance_only() -> None:
    """Without features there is performance; asking for drift says that no column is known."""
    y_true, y_pred, _ = binary()
    monitor = ModelMonitor("m").set_baseline(y_true, y_pred)
    assert monitor.check_performance(y_true, y_pred)["accuracy"].drop == 0
    drift = monitor.detect_drift(features(2))
    assert drift.columns == {}
    assert drift.detected_columns == []


def test_metrics_may_be_functions_of_rows_and_their_columns(tmp_path):
    """A function gives value, bounds, baseline and drop, survives a save, and says why it fails."""
    from tests.service.sample_metrics import broken, profit

    generator = np.random.default_rng(5)
    amounts = pd.DataFrame({"amount": generator.uniform(1, 9, 400)})
    truth = generator.uniform(size=400) < 0.5
    monitor = ModelMonitor("m", metrics=["accuracy", profit, broken])
    monitor.set_baseline(truth, truth, amounts)
    answers = truth.copy()
    answers[:100] = ~answers[:100]
    results = monitor.check_performance(truth, answers, amounts)
    gained = np.where(answers == truth, amounts["amount"], -amounts["amount"])
    assert results["profit"].value == pytest.approx(gained.mean())
    assert results["profit"].baseline == pytest.approx(amounts["amount"].mean())
    assert results["profit"].degraded
    assert (results["broken"].value, results["broken"].reason) == (None, "error")
    assert results["accuracy"].value == 0.75
    monitor.save(tmp_path / "monitor")
    again = ModelMonitor.load(tmp_path / "monitor").check_performance(truth, answers, amounts)
    assert again["profit"] == results["profit"]
    assert monitor.check_performance(truth, answers)["profit"].reason == "error"
    with pytest.raises(ConfigurationError, match="unknown metrics"):
        ModelMonitor("m", metrics=["acuracy"])
