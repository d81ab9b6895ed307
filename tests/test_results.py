from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from exporter.results import (
    ColumnDrift,
    Delays,
    DriftReport,
    Estimate,
    Evaluation,
    MetricResult,
    PerformanceResults,
    QualityReport,
    TestResult,
    Undefined,
    Window,
)
from exporter.results.records import plain


def _report() -> DriftReport:
    test = TestResult("ks", 0.3, 0.1, 0.001, detected=True, minimum_effect=0.05, q_value=0.002)
    drifted = ColumnDrift("distance", "feature", "ks", True, 0.3, 0.1, 0.001, 0.002, {"ks": test})
    calm = ColumnDrift("carrier", "feature", "js", False, 0.01, 0.1, 0.8, 0.9)
    unknown = ColumnDrift("air", "feature", reason="empty", undefined={"ks": Undefined("empty")})
    label = ColumnDrift("late", "label", "js", True, 0.5, 0.1, 0.001, 0.001)
    return DriftReport({c.column: c for c in (drifted, calm, unknown, label)}, rows=10, baseline_rows=20)


def test_record_is_a_mapping_of_its_fields():
    """A record reads the same by attribute and by key, and knows no other keys."""
    estimate = Estimate(0.5, 0.4, 0.6, 10)
    assert dict(estimate) == {"value": 0.5, "lower": 0.4, "upper": 0.6, "n": 10}
    assert estimate["lower"] == estimate.lower
    assert len(estimate) == 4
    with pytest.raises(KeyError):
        estimate["to_dict"]


def test_record_cannot_be_changed():
    """A result stays what it was when it was made."""
    with pytest.raises(AttributeError):
        Estimate(0.5, 0.4, 0.6, 10).value = 1.0  # type: ignore[misc]


def test_records_survive_pickling():
    """Results travel between processes."""
    report = _report()
    assert pickle.loads(pickle.dumps(report)) == report


def test_performance_results_are_read_by_metric():
    """`results["accuracy"]` is the metric, and iteration gives the names of metrics."""
    results = PerformanceResults(
        {
            "accuracy": MetricResult(0.7, baseline=0.9, drop=0.2, degraded=True),
            "f1": MetricResult(None, reason="empty"),
        }
    )
    assert results["accuracy"].drop == 0.2
    assert list(results) == ["accuracy", "f1"]
    assert results.degraded == ["accuracy"]


def test_drift_report_counts_only_features_with_a_verdict():
    """The ratio speaks of feature columns with a verdict; detected columns are of every role."""
    report = _report()
    assert report.ratio == 0.5
    assert report.detected_columns == ["distance", "late"]
    assert report["air"].detected is None
    assert DriftReport().ratio is None


def test_to_dict_gives_plain_json():
    """A whole evaluation passes through JSON unchanged."""
    evaluation = Evaluation(
        "m",
        "v1",
        Window("1d", 86400.0),
        ("origin", "JFK"),
        0.0,
        1.0,
        5,
        2,
        3.0,
        drift=_report(),
        quality=QualityReport({"a": 1.0}),
        label_delay=Delays(1.0, 2.0, 3.0),
        confusion=(("true", "false", 3),),
        class_performance={"a": {"recall": Estimate(1.0, 0.5, 1.0, 3)}},
    )
    data = evaluation.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["drift"]["detected_columns"] == ["distance", "late"]
    assert data["segment"] == ["origin", "JFK"]


def test_plain_turns_numpy_scalars_into_python():
    """NumPy numbers and truth values become what json.dumps understands."""
    assert json.dumps(plain({"a": np.float64(1.5), "b": np.bool_(True), "c": [np.int64(3)]})) == (
        '{"a": 1.5, "b": true, "c": [3]}'
    )
