"""The shipped rules in a real Prometheus: on a page where everything is wrong, and on a real exporter."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
import yaml

from exporter.client import Client

from .conftest import RunningExporter
from .prometheus import Prometheus, running_prometheus, serving
from .test_end_to_end import wait_until

RULES = Path(__file__).parent.parent / "alerting_rules"
QUICK = {
    r"\n +for: \w+": "",
    r"\n +keep_firing_for: \w+": "",
    r"\n +interval: \w+": "",
    r" offset 5m": "",
}
"""What a test cannot wait for is taken out of the rules."""

HOSTILE = "m\"o\\d{{e}}l's &x=1"


def quick_rules(directory: Path, *substitutions: tuple[str, str]) -> list[Path]:
    """Return copies of the shipped rules that do not wait."""
    copies = []
    for path in sorted([*RULES.glob("recording/*.yml"), *RULES.glob("alerts/*.yml")]):
        text = path.read_text(encoding="utf-8")
        for pattern, replacement in (*QUICK.items(), *substitutions):
            text = re.sub(pattern, replacement, text)
        copy = directory / f"{path.parent.name}-{path.name}"
        copy.write_text(text, encoding="utf-8")
        copies.append(copy)
    return copies


def alerts_of(prometheus: Prometheus) -> list[dict[str, Any]]:
    answer = requests.get(f"{prometheus.url}/api/v1/alerts", timeout=10).json()
    return answer["data"]["alerts"]


def shipped_alerts() -> set[tuple[str, str]]:
    return {
        (rule["alert"], rule["labels"]["severity"])
        for path in RULES.glob("alerts/*.yml")
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def sample(name: str, value: float, /, **labels: str) -> str:
    def escaped(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"")

    listed = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{listed}}} {value!r}\n"


def everything_wrong(model: str, scrape: int) -> Iterator[str]:
    """Return a page on which every alert fires; counters rise from scrape to scrape."""
    now = time.time()
    version = {"model": model, "version": "v1"}
    for window, seconds in (("1d", 86400.0), ("7d", 604800.0)):
        where = {**version, "window": window}
        yield from _performance(where, now)
        yield from _drift(where, now, seconds)
        yield from _quality(where)
        yield sample("ml_labeled_ratio", 0.1, **where)
        yield sample("ml_labeled_ratio_threshold", 0.5, **where)
        yield sample("ml_label_delay_seconds", 3600.0, **where, q="p95")
    yield sample("ml_undefined", 1, **version, window="1d", measure="window", reason="stale")
    yield sample("ml_undefined", 1, model=model, measure="drift_p_value", reason="budget")
    for subject in ("batch", "label", "evaluation", "baseline"):
        age = 864000.0 if subject == "batch" and model == "other" else 3600.0
        yield sample("ml_age_threshold_seconds", age, **version, subject=subject)
        name = {"batch": "ml_last_batch", "label": "ml_last_label", "evaluation": "ml_last_evaluation"}
        at = now - (2 * 86400 if subject == "label" else 86400)
        yield sample(f"{name.get(subject, 'ml_baseline')}_timestamp_seconds", at, **version)
    for direction in ("low", "high"):
        span = {**version, "span": "1h" if direction == "low" else "1d"}
        yield sample("ml_volume_rows", 10, **span)
        yield sample("ml_volume_expected_rows", 100, **span)
        yield sample("ml_volume_lower_rows", 50, **span)
        yield sample("ml_volume_upper_rows", 5, **span)
        yield sample("ml_volume_detected", 1, **span, direction=direction)
    yield sample("ml_rejected_rows_total", 10 * scrape, **version, reason="type")
    yield sample("ml_rows_total", 10 * scrape, **version)
    yield sample("ml_rejected_ratio_threshold", 0.05, **version)
    yield sample("ml_baseline_refresh_blocked", 1, **version)
    yield sample("ml_baseline_rows", 1000, **version)
    arms = {"model": model, "champion": "v1", "challenger": "v2"}
    for what, value in (("difference", 0.02), ("lower", 0.01), ("upper", 0.03), ("decided", 1)):
        yield sample(f"ml_comparison_{what}", value, **arms, metric="accuracy")
    for arm in ("champion", "challenger"):
        yield sample("ml_comparison_rows", 500, **arms, metric="accuracy", arm=arm)
    yield sample("ml_comparison_sample_ratio_p_value", 0.001, **arms)
    yield sample("ml_comparison_sample_ratio_mismatch", 1, **arms)
    yield sample("ml_exporter_errors_total", scrape, model=model, operation="evaluation")
    yield sample("ml_exporter_ingest_seconds_count", scrape, model=model, endpoint="batches")
    yield sample("ml_exporter_max_series", 100, model=model)


def _performance(where: dict[str, str], now: float) -> Iterator[str]:
    part = {**where, "segment": "s", "value": 'x"y'}
    for prefix, place in (("ml_performance", where), ("ml_segment_performance", part)):
        values = {"": 0.6, "_lower": 0.58, "_upper": 0.62, "_baseline": 0.9, "_drop": 0.3}
        for what, value in values.items():
            yield sample(f"{prefix}{what}", value, **place, metric="f1")
        yield sample(f"{prefix}_window_rows", 500, **place)
    yield sample("ml_performance_drop_threshold", 0.1, **where, metric="f1")
    yield sample("ml_performance_window_end_timestamp_seconds", now - 3600, **where)
    for what, value in (("", 0.6), ("_lower", 0.5), ("_upper", 0.7)):
        yield sample(f"ml_performance_estimate{what}", value, **where, metric="f1")


def _drift(where: dict[str, str], now: float, seconds: float) -> Iterator[str]:
    yield sample("ml_drift_alpha", 0.05, **where)
    yield sample("ml_window_seconds", seconds, **where)
    yield sample("ml_window_end_timestamp_seconds", now, **where)
    yield sample("ml_window_rows", 1000, **where)
    roles = {
        "distance": "feature",
        'c"\\': "embedding",
        "answer": "prediction",
        "truth": "label",
        "error": "error",
    }
    for column, role in roles.items():
        of = {**where, "column": column, "role": role}
        yield sample("ml_drift_detected", 1, **of)
        yield sample("ml_drift_q_value", 1e-9, **of)
        yield sample("ml_drift_since_timestamp_seconds", now - seconds / 2, **of)
        yield sample("ml_drift_statistic", 0.4, **of, method="ks")
        yield sample("ml_drift_critical_value", 0.1, **of, method="ks")
    yield sample("ml_drifted_columns_ratio", 1, **where)
    yield sample("ml_drifted_columns_ratio_threshold", 0.3, **where)
    for what, value in (("statistic", 0.4), ("critical_value", 0.1), ("p_value", 1e-9), ("detected", 1)):
        yield sample(f"ml_multivariate_drift_{what}", value, **where, method="mmd")


def _quality(where: dict[str, str]) -> Iterator[str]:
    for check in ("completeness", "uniqueness", "type_valid", "in_range", "known_category"):
        yield sample(f"ml_quality_{check}_ratio", 0.5, **where, column="distance")
        yield sample("ml_quality_threshold", 0.9, **where, check=check)
    yield sample("ml_quality_validity_ratio", 0.5, **where, column="distance", rule="min")
    yield sample("ml_quality_consistency_ratio", 0.5, **where, rule="order")
    yield sample("ml_quality_timeliness_ratio", 0.5, **where)
    yield sample("ml_event_delay_seconds", 7200, **where, q="p95")
    yield sample("ml_quality_score", 0.5, **where)
    for check in ("validity", "consistency", "timeliness", "score"):
        yield sample("ml_quality_threshold", 0.9, **where, check=check)
    yield sample("ml_quality_duplicate_ratio", 0.5, **where)
    yield sample("ml_quality_outlier_ratio", 0.5, **where, column="distance")
    for check in ("duplicate", "outlier"):
        yield sample("ml_quality_threshold", 0.01, **where, check=check)
    for change in ("added", "removed", "type"):
        yield sample("ml_quality_schema_changes", 2, **where, change=change)
    yield sample("ml_quality_constant_columns", 1, **where, change="constant")
    yield sample("ml_quality_vanished_categories", 1, **where, column="carrier")


def process_wrong(scrape: int, began: float) -> Iterator[str]:
    now = time.time()
    yield sample("ml_metric_info", 1, metric="f1", unit="ratio", higher_is_better="true")
    yield sample("ml_exporter_build_info", 1, version="1", python="3")
    yield sample("ml_exporter_ready", 0)
    yield sample("ml_exporter_snapshot_timestamp_seconds", began)
    for what in ("last_commit", "start"):
        yield sample(f"ml_exporter_{what}_timestamp_seconds", now - 3600)
    yield sample("ml_exporter_store_bytes", 1e9)
    yield sample("ml_exporter_evaluation_queue", 1)
    yield sample("ml_exporter_http_requests_total", scrape, method="POST", route="batches", status="503")
    yield sample("ml_bridge_ready", 0)
    yield sample("ml_bridge_start_timestamp_seconds", now - 3600)
    yield sample("ml_bridge_last_heartbeat_timestamp_seconds", now - 3600)
    yield sample("ml_bridge_webhooks_total", scrape, outcome="failed")
    for what in ("oldest_seconds", "queue", "dead"):
        yield sample(f"ml_bridge_{what}", 4000, channel="mail")


def known_families(page: str) -> None:
    """Fail where the page above has what no exporter would expose."""
    from exporter.catalog import FAMILIES

    for name, inside in re.findall(r"^(\w+)\{(.*)\} \S+$", page, re.MULTILINE):
        family = FAMILIES[re.sub(r"_count$", "", name) if name not in FAMILIES else name]
        assert set(re.findall(r'(?:^|,)(\w+)="', inside)) <= set(family.labels), name


@pytest.mark.slow
@pytest.mark.prometheus
def test_every_alert_is_written_as_people_will_read_it(
    requires_program: Callable[[str], Path], free_port: Callable[[], int], tmp_path: Path
) -> None:
    """Where all is wrong every alert fires, all lookups of its texts succeed, and groups share a summary."""
    program = requires_program("prometheus")
    # A lookup that finds nothing would leave a hole in the text.
    looked_up = (
        r"(\{\{ \. \| first \| value \|? ?[^}]*\}\})\{\{ end \}\}",
        r"\1{{ else }}NOTHING-FOUND{{ end }}",
    )
    scrapes, began = count(1), time.time()

    def page(*_: object) -> tuple[bytes, dict[str, str]]:
        scrape = next(scrapes)
        lines = [
            *process_wrong(scrape, began),
            *everything_wrong(HOSTILE, scrape),
            *everything_wrong("other", scrape),
        ]
        text = "".join(sorted(lines))
        known_families(text)
        return text.encode(), {"Content-Type": "text/plain; version=0.0.4"}

    files = quick_rules(tmp_path, looked_up)
    with serving(page) as address:
        jobs = {"ml": address, "ml-exporter": f"127.0.0.1:{free_port()}"}
        with running_prometheus(program, tmp_path, jobs, free_port(), rule_files=files) as prometheus:
            wanted = shipped_alerts()

            def missing() -> set[tuple[str, str]]:
                found = {(a["labels"]["alertname"], a["labels"]["severity"]) for a in alerts_of(prometheus)}
                return wanted - found

            try:
                wait_until(lambda: not missing(), 40)
            except AssertionError:
                pytest.fail(f"never fired: {missing()}\n{prometheus.log.read_text()[-3000:]}")
            alerts = alerts_of(prometheus)
    summaries: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for alert in alerts:
        labels, texts = alert["labels"], alert["annotations"]
        summaries[labels["alertname"], labels.get("model", ""), labels["severity"]].add(texts["summary"])
        for name, text in texts.items():
            about = f"{labels['alertname']} {name}: {text}"
            assert "NOTHING-FOUND" not in text, about
            assert not re.search(r"<no value>|<error|  |\( |%!|NaN|\$", text), about
        assert re.fullmatch(r"[-+0-9.e]+", texts["value"])
        assert re.fullmatch(r"[-+0-9.e]+", texts.get("threshold", "0")), texts
        assert re.fullmatch(r"http://127\.0\.0\.1:3000/d/[a-z-]+(\?[\w.=&%+*-]*)?", texts["dashboard_url"])
    assert {len(texts) for texts in summaries.values()} == {1}
    (tmp_path / "alerts.json").write_text(json.dumps(alerts, indent=1), encoding="utf-8")
    drop = next(a for a in alerts if a["labels"]["alertname"] == "MLPerformanceDrop" and "other" in str(a))
    assert "f1 of model other, version v1, window" in drop["annotations"]["description"]
    assert "is 0.6 where the baseline has 0.9: worse by 0.3" in drop["annotations"]["description"]


CONFIGURATION = """
defaults:
  task: binary
  columns: {id: id, timestamp: at, prediction: answer, score: score, label: truth}
  features: {distance: numeric, height: numeric, carrier: categorical}
  windows: [1h, 6h]
  evaluation_interval: 200ms
  counter_warmup: 0s
models:
  sick: {}
  healthy: {}
"""


def frame(rows: int, name: str, *, shift: float, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    score = generator.uniform(size=rows)
    return pd.DataFrame(
        {
            "id": [f"{name}{row}" for row in range(rows)],
            "at": time.time() - generator.uniform(0, 3000, rows),
            "answer": score > 0.5,
            "score": score,
            "distance": generator.normal(size=rows) + shift,
            "height": generator.normal(size=rows) + shift,
            "carrier": generator.choice(["AA", "UA", "DL"], rows),
            "truth": generator.uniform(size=rows) < score,
        }
    )


@pytest.mark.slow
@pytest.mark.prometheus
def test_drift_and_a_drop_alert_and_healthy_rows_do_not(
    running_exporter: Callable[..., RunningExporter],
    requires_program: Callable[[str], Path],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """Rows with drift and wrong answers make the alerts of their model fire, and none of the healthy one."""
    program = requires_program("prometheus")
    exporter = running_exporter(CONFIGURATION)
    client = Client(exporter.url)
    for number, model in enumerate(("sick", "healthy")):
        client.create_baseline(model, frame(5000, "b", shift=0.0, seed=number))
    address = exporter.url.removeprefix("http://")
    files = quick_rules(tmp_path)
    targets = {"ml-exporter": address}
    with running_prometheus(program, tmp_path, targets, free_port(), rule_files=files) as prometheus:
        prometheus.wait_for_scrape("ml-exporter")

        def firing(model: str) -> set[tuple[str, str]]:
            return {
                (alert["labels"]["alertname"], alert["labels"]["severity"])
                for alert in alerts_of(prometheus)
                if alert["labels"].get("model") == model
            }

        healthy = frame(4000, "r", shift=0.0, seed=5)
        sick = frame(4000, "r", shift=1.0, seed=6)
        sick["truth"] = ~sick["answer"]
        client.push("healthy", healthy, version="v1")
        client.push("sick", sick, version="v1")
        expected = {
            ("MLPerformanceDrop", "warning"),
            ("MLPerformanceDrop", "critical"),
            ("MLColumnDriftStrong", "warning"),
            ("MLDatasetDrift", "warning"),
            ("MLMultivariateDrift", "warning"),
        }
        wait_until(lambda: expected <= firing("sick"), 40)
        rows = 'ml_window_rows{model="healthy",version="v1",window="6h"}'
        wait_until(lambda: prometheus.value(rows) == 4000, 40)
        # Two more scrapes, so that rules have seen what the exporter says of the healthy rows.
        prometheus.wait_for_scrape("ml-exporter")
        assert firing("healthy") == set()
        columns = {a["labels"].get("column") for a in alerts_of(prometheus)} - {None}
        assert columns == {"distance", "height"}
        assert ("MLHeartbeat", "info") in firing_of_all(prometheus)
        assert not {name for name, _ in firing_of_all(prometheus)} & {
            "MLExporterDown",
            "MLExporterNotReady",
            "MLExporterSnapshotOld",
            "MLExporterErrors",
            "MLExporterStoreStuck",
        }


TROUBLED = """
defaults:
  task: binary
  columns: {id: id, timestamp: at, prediction: answer, score: score, label: truth}
  features: {distance: numeric, height: numeric, carrier: categorical}
  windows: [1h, 6h]
  evaluation_interval: 200ms
  counter_warmup: 0s
models:
  silent: {stale_after: 2s, alerts: {batch_age: 1s}}
  cramped: {max_series: 100}
  old: {alerts: {baseline_age: 1s}}
  gappy: {quality: {validation_rules: {distance: {not_null: true}}}}
"""


@pytest.mark.slow
@pytest.mark.prometheus
def test_what_a_real_exporter_says_of_trouble_makes_its_alert_fire(
    running_exporter: Callable[..., RunningExporter],
    requires_program: Callable[[str], Path],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """Silence, a spent budget, an old baseline, missing values, rejected rows and a kill are each told of."""
    program = requires_program("prometheus")
    exporter = running_exporter(TROUBLED)
    client = Client(exporter.url)
    models = ("silent", "cramped", "old", "gappy")
    for number, model in enumerate(models):
        client.create_baseline(model, frame(1000, "b", shift=0.0, seed=number))
        rows = frame(500, "r", shift=0.0, seed=10 + number)
        client.push(model, rows.assign(distance=rows["distance"].where(rows.index % 4 > 0)), version="v1")
    targets = {"ml-exporter": exporter.url.removeprefix("http://")}
    rejected = json.dumps([{"id": None, "answer": True, "distance": 1.0}, *json.loads(_good(5))])
    with running_prometheus(
        program, tmp_path, targets, free_port(), rule_files=quick_rules(tmp_path)
    ) as prometheus:
        prometheus.wait_for_scrape("ml-exporter")

        def told(model: str, alert: str, severity: str) -> bool:
            labels = [alert["labels"] for alert in alerts_of(prometheus)]
            wanted = {"model": model, "alertname": alert, "severity": severity}
            return any(wanted.items() <= found.items() for found in labels)

        expected = {
            ("silent", "MLBatchesStale", "warning"),
            ("silent", "MLBatchesStale", "critical"),
            ("cramped", "MLSeriesDropped", "warning"),
            ("old", "MLBaselineOld", "info"),
            ("gappy", "MLValidationRuleFailing", "warning"),
            ("gappy", "MLCompletenessLow", "warning"),
        }
        wait_until(lambda: all(told(*one) for one in expected), 40)
        assert not any(told(model, "MLBatchesStale", "warning") for model in models[1:])
        assert not any(told(model, "MLSeriesDropped", "warning") for model in ("silent", "old", "gappy"))

        def refused() -> bool:
            url = f"{exporter.url}/api/v1/models/gappy/batches?version=v1"
            headers = {"Content-Type": "application/json"}
            assert requests.post(url, data=rejected, headers=headers, timeout=10).status_code == 202
            return told("gappy", "MLRowsRejected", "warning")

        wait_until(refused, 40)
        exporter.kill()
        wait_until(lambda: ("MLExporterDown", "critical") in firing_of_all(prometheus), 40)


def _good(rows: int) -> str:
    made = frame(rows, f"g{time.time()}", shift=0.0, seed=3).drop(columns="truth")
    return str(made.to_json(orient="records"))


def firing_of_all(prometheus: Prometheus) -> set[tuple[str, str]]:
    return {(a["labels"]["alertname"], a["labels"]["severity"]) for a in alerts_of(prometheus)}
