"""Evaluations, counters and times become samples of the right families."""

from __future__ import annotations

from dataclasses import replace

from exporter.catalog import FAMILIES, QUALITY_CHECKS
from exporter.config import parse_config
from exporter.families import (
    MAX_UNDEFINED_SUBJECTS,
    baseline_ratio_samples,
    counter_samples,
    evaluation_samples,
    limit_samples,
    metric_info_samples,
    model_samples,
    threshold_samples,
    time_samples,
    undefined_samples,
)
from exporter.results import (
    ColumnDrift,
    Delays,
    DriftReport,
    Estimate,
    Evaluation,
    MetricResult,
    PerformanceResults,
    PerformanceWindow,
    QualityReport,
    TestResult,
    Window,
)

PLACE = ("m", "v1", "1d")


def evaluation(segment: tuple[str, str] | None = None) -> Evaluation:
    """Return an evaluation in which everything is measured."""
    test = TestResult("ks", 0.2, 0.05, 1e-9, detected=True, q_value=1e-8)
    return Evaluation(
        model="m",
        version="v1",
        window=Window("1d", 86400.0),
        segment=segment,
        start=100.0,
        end=200.0,
        rows=1000,
        labeled_rows=800,
        made_at=300.0,
        performance=PerformanceResults(
            {
                "f1": MetricResult(0.8, 0.75, 0.85, 0.9, 0.1, n=800),
                "roc_auc": MetricResult(None, reason="single_class"),
            },
            threshold=0.1,
        ),
        performance_window=PerformanceWindow(50.0, 150.0, 700),
        drift=DriftReport(
            {
                "distance": ColumnDrift(
                    "distance", "feature", "ks", True, 0.2, 0.05, 1e-9, 1e-8, methods={"ks": test}
                ),
                "carrier": ColumnDrift("carrier", "feature", reason="insufficient_rows"),
            }
        ),
        quality=QualityReport(
            completeness={"distance": 0.99},
            validity={"distance": {"min": 0.98}},
            consistency={"order": 0.97},
            duplicate=0.01,
            timeliness=0.96,
            score=0.95,
        ),
        labeled_ratio=0.8,
        label_delay=Delays(1.0, 2.0, 3.0),
        event_delay=Delays(4.0, 5.0, 6.0),
        confusion=(("positive", "negative", 3),),
        class_performance={"cat": {"recall": Estimate(0.7, 0.6, 0.8, 10)}},
        undefined=(("performance", "roc_auc", "single_class"), ("drift", "carrier", "insufficient_rows")),
    )


def by_series(samples):
    """Return samples as a mapping, each with as many label values as its family has labels."""
    found = {}
    for name, labels, value in samples:
        assert len(labels) == len(FAMILIES[name].labels), name
        assert (name, labels) not in found
        found[name, labels] = value
    return found


def test_evaluation_gives_every_measure():
    """Values stand where the contract says, with the labels in the catalogue's order."""
    found = by_series(evaluation_samples(evaluation(), drift_since={"distance": 120.0}))
    assert found["ml_performance", (*PLACE, "f1")] == 0.8
    assert found["ml_performance_upper", (*PLACE, "f1")] == 0.85
    assert found["ml_performance_drop_threshold", (*PLACE, "f1")] == 0.1
    assert ("ml_performance", (*PLACE, "roc_auc")) not in found
    assert found["ml_undefined", (*PLACE, "performance", "roc_auc", "single_class")] == 1
    assert found["ml_drift_detected", (*PLACE, "distance", "feature")] == 1
    assert ("ml_drift_detected", (*PLACE, "carrier", "feature")) not in found
    assert found["ml_drift_critical_value", (*PLACE, "distance", "feature", "ks")] == 0.05
    assert found["ml_drift_since_timestamp_seconds", (*PLACE, "distance", "feature")] == 120.0
    assert found["ml_drifted_columns_ratio", PLACE] == 1
    assert found["ml_quality_validity_ratio", (*PLACE, "distance", "min")] == 0.98
    assert found["ml_quality_consistency_ratio", (*PLACE, "order")] == 0.97
    assert found["ml_label_delay_seconds", (*PLACE, "p99")] == 3.0
    assert found["ml_confusion_rows", (*PLACE, "positive", "negative")] == 3
    assert found["ml_class_performance", (*PLACE, "cat", "recall")] == 0.7
    assert found["ml_performance_window_end_timestamp_seconds", PLACE] == 150.0
    assert found["ml_window_seconds", PLACE] == 86400


def test_a_test_of_missing_values_without_any_has_no_series():
    """It belongs to no family of hypotheses then, unless it is the one that decides."""
    nothing = TestResult("missing", 0.0, 0.01, 1.0, detected=False)
    tested = replace(nothing, q_value=0.5)
    cases = {"none": ("ks", nothing), "some": ("ks", tested), "chosen": ("missing", nothing)}
    drift = DriftReport(
        {
            name: ColumnDrift(name, "feature", deciding, methods={"missing": test})
            for name, (deciding, test) in cases.items()
        }
    )
    found = by_series(evaluation_samples(replace(evaluation(), drift=drift)))
    for part in ("statistic", "critical_value", "p_value"):
        columns = {labels[3] for name, labels in found if name == f"ml_drift_{part}"}
        assert columns == {"some", "chosen"}


def test_segment_has_families_of_its_own():
    """Nothing of a segment appears under the name of the whole."""
    found = by_series(evaluation_samples(evaluation(("origin", "JFK"))))
    assert {name[:11] for name, _ in found} == {"ml_segment_"}
    place = (*PLACE, "origin", "JFK")
    assert found["ml_segment_performance", (*place, "f1")] == 0.8
    assert found["ml_segment_undefined", (*place, "drift", "carrier", "insufficient_rows")] == 1


def test_many_undefined_subjects_are_summed_up():
    """Twenty subjects of a measure are named; one more and their number stands in one series a reason."""
    entries = [("drift", f"c{number}", "empty") for number in range(MAX_UNDEFINED_SUBJECTS)]
    assert len(by_series(undefined_samples("ml_undefined", PLACE, entries))) == MAX_UNDEFINED_SUBJECTS
    entries.append(("drift", "last", "constant"))
    assert by_series(undefined_samples("ml_undefined", PLACE, entries)) == {
        ("ml_undefined", (*PLACE, "drift", "", "empty")): MAX_UNDEFINED_SUBJECTS,
        ("ml_undefined", (*PLACE, "drift", "", "constant")): 1,
    }


def test_counters_and_times_go_to_their_families():
    """Lifetime totals and times have no window, and unknown counts are left out."""
    counters = {
        ("rows", "v1"): 10.0,
        ("rejected", "v1", "type"): 2.0,
        ("bins", "v1", "g", "distance", "03"): 4.0,
        ("something", "v1"): 1.0,
    }
    assert by_series(counter_samples("m", counters)) == {
        ("ml_rows_total", ("m", "v1")): 10.0,
        ("ml_rejected_rows_total", ("m", "v1", "type")): 2.0,
        ("ml_column_rows_total", ("m", "v1", "distance", "g", "03")): 4.0,
    }
    times = {("watermark", "v1"): 5.0, ("last_label", "v1"): None, ("other", "v1"): 1.0}
    assert by_series(time_samples("m", times)) == {("ml_last_event_timestamp_seconds", ("m", "v1")): 5.0}


def test_baseline_ratios_sum_to_one():
    """The shares of a column's bins are those of the baseline's rows."""
    found = by_series(baseline_ratio_samples("m", "v1", "g", "distance", {"00": 1, "01": 3}))
    assert found["ml_baseline_ratio", ("m", "v1", "distance", "g", "01")] == 0.75
    assert not by_series(baseline_ratio_samples("m", "v1", "g", "distance", {"00": 0}))


def test_thresholds_and_catalogue_are_exported():
    """Every window has a threshold a check; every metric tells its unit and direction."""
    config = parse_config({"models": {"m": {"task": "binary", "quality": {"thresholds": {"score": 0.5}}}}})
    found = by_series(threshold_samples("m", "v1", config.models["m"]))
    assert len(found) == 2 * (len(QUALITY_CHECKS) + 2)
    assert found["ml_quality_threshold", (*PLACE, "score")] == 0.5
    assert ("ml_metric_info", ("rmse", "label", "false")) in by_series(metric_info_samples())
    assert by_series(model_samples("m", "v1", task="binary", baseline=None)) == {
        ("ml_model_info", ("m", "v1", "binary", "none")): 1
    }


def test_limits_follow_the_windows_unless_they_are_given():
    """Ages that alert are twice the smallest window for batches, the largest for labels, or as configured."""
    models = {
        "plain": {"task": "binary", "windows": ["1h", "1d"], "min_label_coverage": 0.1},
        "given": {
            "task": "binary",
            "alerts": {"batch_age": "5h", "rejected_rows": 0.5, "labeled_ratio": 0.2},
        },
    }
    config = parse_config({"models": models}).models
    plain, given = (by_series(limit_samples("m", "v1", config[name])) for name in models)
    assert plain["ml_age_threshold_seconds", ("m", "v1", "batch")] == 7200
    assert plain["ml_age_threshold_seconds", ("m", "v1", "label")] == 86400
    assert plain["ml_age_threshold_seconds", ("m", "v1", "evaluation")] == 900
    assert plain["ml_rejected_ratio_threshold", ("m", "v1")] == 0.05
    assert given["ml_age_threshold_seconds", ("m", "v1", "batch")] == 18000
    assert given["ml_rejected_ratio_threshold", ("m", "v1")] == 0.5
    coverage = [
        by_series(threshold_samples("m", "v1", config[name]))[
            "ml_labeled_ratio_threshold", ("m", "v1", window)
        ]
        for name, window in (("plain", "1h"), ("given", "1d"))
    ]
    assert coverage == [0.1, 0.2]
