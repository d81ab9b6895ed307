"""Inhibition of the alerts that the shipped rules really make: Prometheus decides, Alertmanager mutes."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.alertmanager import running_alertmanager
from tests.prometheus import running_prometheus, serving

RULES = Path(__file__).parent.parent / "alerting_rules"
OLD, LONG_AGO = "old", "long ago"


def series(name, value, /, **labels):
    """Return one line of an exposition; a value may be a time."""
    number = {OLD: time.time() - 40 * 86400, LONG_AGO: time.time() - 400 * 86400}.get(value, value)
    inner = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{inner}}} {number}\n"


def drifting(**part):
    """Return a window in which two columns have drifted on strong evidence, for long, and all together."""
    yield series("ml_drifted_columns_ratio", 0.8, **part)
    yield series("ml_drifted_columns_ratio_threshold", 0.3, **part)
    yield series("ml_drift_alpha", 0.05, **part)
    yield series("ml_window_seconds", 86400, **part)
    yield series("ml_window_end_timestamp_seconds", 2e9, **part)
    for column in ("age", "plan"):
        verdict = {**part, "column": column, "role": "feature"}
        yield series("ml_drift_statistic", 0.9, **verdict, method="ks")
        yield series("ml_drift_critical_value", 0.1, **verdict, method="ks")
        yield series("ml_drift_detected", 1, **verdict)
        yield series("ml_drift_q_value", 1e-9, **verdict)
        yield series("ml_drift_since_timestamp_seconds", 1e9, **verdict)
    yield series("ml_multivariate_drift_statistic", 0.9, **part, method="mmd")
    yield series("ml_multivariate_drift_critical_value", 0.1, **part, method="mmd")
    yield series("ml_multivariate_drift_p_value", 1e-9, **part, method="mmd")
    yield series("ml_multivariate_drift_detected", 1, **part, method="mmd")


def dropping(**part):
    """Return a window in which a metric has dropped: realised, as estimated, and in a segment."""
    yield series("ml_performance_window_rows", 1000, **part)
    yield series("ml_metric_info", 1, metric="f1", unit="ratio", higher_is_better="true")
    values = {"": 0.4, "_lower": 0.38, "_upper": 0.42, "_baseline": 0.8, "_drop": 0.4, "_drop_threshold": 0.1,
              "_estimate": 0.5, "_estimate_lower": 0.48, "_estimate_upper": 0.52}  # fmt: skip
    for name, value in values.items():
        yield series(f"ml_performance{name}", value, **part, metric="f1")
    segment = {**part, "segment": "origin", "value": "JFK"}
    yield series("ml_segment_performance_window_rows", 1000, **segment)
    for name in ("", "_lower", "_upper", "_baseline", "_drop"):
        yield series(f"ml_segment_performance{name}", values[name], **segment, metric="f1")


def poor(**part):
    """Return a window of incomplete rows that came late."""
    yield series("ml_window_rows", 1000, **part)
    for check, value in (("score", 0.2), ("timeliness", 0.2)):
        name = "ml_quality_score" if check == "score" else f"ml_quality_{check}_ratio"
        yield series(name, value, **part)
    yield series("ml_quality_completeness_ratio", 0.2, **part, column="age")
    for check in ("score", "timeliness", "completeness"):
        yield series("ml_quality_threshold", 0.9, **part, check=check)


def uncovered(**part):
    """Return a window of which few rows have labels."""
    yield series("ml_labeled_ratio", 0.1, **part)
    yield series("ml_labeled_ratio_threshold", 0.5, **part)
    yield series("ml_label_delay_seconds", 60, **part, q="p95")


def silent(model, *, batch, label):
    """Return a version without new batches or labels."""
    version = {"model": model, "version": "v1"}
    yield series("ml_last_batch_timestamp_seconds", batch, **version)
    yield series("ml_last_label_timestamp_seconds", label, **version)
    for subject in ("batch", "label", "baseline"):
        yield series("ml_age_threshold_seconds", 86400, **version, subject=subject)


def contested(**arms):
    """Return a comparison that is decided, of arms that are not split as they should be."""
    for name, value in {"difference": 0.1, "lower": 0.05, "upper": 0.15, "decided": 1}.items():
        yield series(f"ml_comparison_{name}", value, **arms, metric="f1")
    yield series("ml_comparison_sample_ratio_p_value", 1e-9, **arms)
    yield series("ml_comparison_sample_ratio_mismatch", 1, **arms)


def exposition():
    """Return an exporter in whose models everything happens at once."""
    part = {"version": "v1", "window": "1d"}
    yield series("ml_exporter_build_info", 1, version="0", python="3")
    yield f"ml_exporter_snapshot_timestamp_seconds {time.time()}\n"
    yield from drifting(model="drifting", **part)
    yield from dropping(model="dropping", **part)
    yield from poor(model="silent", **part)
    yield from uncovered(model="silent", **part)
    yield series("ml_window_seconds", 86400, model="silent", **part)
    yield from silent("silent", batch=OLD, label=OLD)
    volume = {"model": "silent", "version": "v1", "span": "1d"}
    yield series("ml_volume_rows", 1, **volume)
    yield series("ml_volume_detected", 1, **volume, direction="low")
    yield from silent("unlabelled", batch=time.time() + 1000, label=OLD)
    yield from uncovered(model="unlabelled", **part)
    yield series("ml_window_rows", 1000, model="unlabelled", **part)
    yield series("ml_window_seconds", 86400, model="unlabelled", **part)
    yield series("ml_baseline_timestamp_seconds", LONG_AGO, model="silent", version="v1")
    yield series("ml_baseline_refresh_blocked", 1, model="silent", version="v1")
    yield from contested(model="contested", champion="v1", challenger="v2")


def starting():
    """Return an exporter that is not ready, with the values of before."""
    yield series("ml_exporter_build_info", 1, version="0", python="3")
    yield series("ml_exporter_ready", 0)
    yield f"ml_exporter_snapshot_timestamp_seconds {time.time()}\n"
    yield from silent("early", batch=OLD, label=OLD)


def broken_bridge():
    """Return a bridge that is not ready, with deliveries that wait."""
    yield series("ml_bridge_ready", 0)
    yield series("ml_bridge_oldest_seconds", 5000, channel="mail")
    yield series("ml_bridge_dead", 3, channel="mail")


MUTED = {
    "MLColumnDrift", "MLColumnDriftStrong", "MLMultivariateDrift", "MLEstimatedPerformanceDrop",
    "MLSegmentPerformanceDrop", "MLVolumeLow", "MLTimelinessLow", "MLLabelCoverageLow", "MLQualityScoreLow",
    "MLBaselineOld", "MLComparisonDecided", "MLBridgeQueueStuck", "MLBridgeDeadLetters",
}  # fmt: skip
HEARD = {
    "MLDatasetDrift", "MLCompletenessLow", "MLLabelsStale", "MLBaselineRefreshBlocked",
    "MLSampleRatioMismatch", "MLBridgeDown", "MLExporterNotReady",
}  # fmt: skip
BOTH = {"MLPerformanceDrop": {"critical": False, "warning": True}}
"""Muted or not by severity."""


def at_once(directory):
    """Return copies of the shipped rules that wait for nothing."""
    for path in sorted(RULES.glob("alerts/*.yml")):
        text = re.sub(
            r"^ +(for|keep_firing_for): .*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE
        )
        (directory / path.name).write_text(text, encoding="utf-8")
        yield directory / path.name


def page(lines):
    """Return what a target answers."""
    text = "".join(lines()).encode()
    return lambda *_: (text, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


@pytest.mark.slow
@pytest.mark.prometheus
def test_alerts_of_the_shipped_rules_mute_each_other(requires_program, tmp_path, free_port):
    """Rules keep the labels by which Alertmanager tells consequences from causes."""
    port = free_port()
    configuration = (RULES / "alertmanager.yml").read_text(encoding="utf-8")
    with ExitStack() as stack:
        server = stack.enter_context(
            running_alertmanager(requires_program("alertmanager"), tmp_path / "am", configuration, port)
        )
        pages = {"ml-exporter": exposition, "starting": starting, "ml-bridge": broken_bridge}
        targets = {job: stack.enter_context(serving(page(lines))) for job, lines in pages.items()}
        stack.enter_context(
            running_prometheus(
                requires_program("prometheus"),
                tmp_path / "prometheus",
                targets,
                free_port(),
                rule_files=list(at_once(tmp_path)),
                alertmanagers=[f"127.0.0.1:{port}"],
            )
        )
        found = wait_for(server, MUTED | HEARD | {"MLBatchesStale", *BOTH})
    assert not wrong(found)


def wrong(found):
    """Return the alerts that are muted and should not be, or the other way round."""
    return [labels for labels, muted in found if should_be_muted(labels) not in (None, muted)]


def should_be_muted(labels):
    """Return whether an alert is muted by another one; None where nothing is said of it."""
    name = labels["alertname"]
    if name == "MLBatchesStale":
        return labels["job"] == "starting"
    if name in BOTH:
        return BOTH[name][labels["severity"]]
    return True if name in MUTED else False if name in HEARD else None


def wait_for(server, wanted, within=60.0):
    """Return (labels, muted) of all alerts, once the wanted ones fire and all is as it should be."""
    deadline = time.monotonic() + within
    while True:
        alerts = [(each["labels"], bool(each["status"]["inhibitedBy"])) for each in server.alerts()]
        jobs = {labels.get("job") for labels, _ in alerts if labels["alertname"] == "MLBatchesStale"}
        missing = wanted - {labels["alertname"] for labels, _ in alerts}
        complete = not missing and jobs == {"ml-exporter", "starting"}
        if (complete and not wrong(alerts)) or time.monotonic() > deadline:
            assert complete, missing
            return alerts
        time.sleep(0.2)
