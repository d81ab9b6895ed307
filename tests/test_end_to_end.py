"""The exporter as people run it: a process of its own, real HTTP, a real Prometheus, and `kill -9`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests

from exporter.client import Client

from .conftest import RunningExporter
from .prometheus import running_prometheus

Run = Callable[..., RunningExporter]

CONFIGURATION = """
models:
  flights:
    task: binary
    columns: {id: id, timestamp: at, prediction: answer, score: score, label: truth}
    features: {distance: numeric, carrier: categorical}
    segments: [carrier]
    windows: [1h, 6h]
    evaluation_interval: 200ms
    counter_warmup: 0s
    quality:
      timeliness: 12h
      validation_rules: {distance: {not_null: true}}
      consistency_rules: {scored: "score IS NOT NULL"}
"""


def frame(count: int, first: int = 0, *, shift: float = 0.0, seed: int = 7) -> pd.DataFrame:
    generator = np.random.default_rng([seed, first])
    score = generator.uniform(size=count)
    return pd.DataFrame(
        {
            "id": [f"f{first + position}" for position in range(count)],
            "at": time.time() - generator.uniform(0, 1800, count),
            "answer": score > 0.5,
            "score": score,
            "distance": generator.normal(size=count) + shift,
            "carrier": generator.choice(["AA", 'U"A\n', "D\\L"], count),
        }
    )


def labels(rows: pd.DataFrame, wrong: int) -> pd.DataFrame:
    truth = rows["answer"].to_numpy().copy()
    truth[:wrong] = ~truth[:wrong]
    return pd.DataFrame({"id": rows["id"], "truth": truth})


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError("waited in vain")


@pytest.mark.prometheus
def test_prometheus_reads_back_what_was_pushed(
    running_exporter: Run,
    requires_program: Callable[[str], Path],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """Rows pushed by HTTP come back from a real Prometheus as performance, drift, quality and counters."""
    program = requires_program("prometheus")
    exporter = running_exporter(CONFIGURATION)
    client = Client(exporter.url)
    baseline = frame(3000, seed=1)
    client.create_baseline("flights", baseline.assign(truth=baseline["answer"]))
    rows = frame(2000, shift=1.0)
    client.push("flights", rows, version="v1")
    client.push_labels("flights", labels(rows, wrong=500))
    target = exporter.url.removeprefix("http://")
    with running_prometheus(program, tmp_path, target, free_port()) as prometheus:
        prometheus.wait_for_scrape()
        where = 'model="flights",version="v1",window="6h"'
        wait_until(lambda: prometheus.value(f'ml_performance{{{where},metric="accuracy"}}') is not None)
        assert prometheus.value(f'ml_performance{{{where},metric="accuracy"}}') == pytest.approx(0.75)
        assert prometheus.value(f'ml_performance_drop{{{where},metric="accuracy"}}') == pytest.approx(0.25)
        assert prometheus.value(f'ml_drift_detected{{{where},column="distance"}}') == 1
        assert prometheus.value(f'ml_drift_detected{{{where},column="carrier"}}') == 0
        above = f"ml_drift_statistic{{{where}}} > ml_drift_critical_value{{{where}}}"
        assert set(prometheus.values(above, "column")) == {"distance"}
        assert prometheus.value(f"ml_labeled_ratio{{{where}}}") == 1
        assert prometheus.value('ml_rows_total{model="flights",version="v1"}') == 2000
        bins = prometheus.value('sum(ml_column_rows_total{model="flights",version="v1",column="distance"})')
        assert bins == 2000
        assert prometheus.value('sum(ml_baseline_ratio{version="v1",column="distance"})') == pytest.approx(1)
        below = (
            "ml_quality_completeness_ratio < ignoring (column, check) group_left () "
            'ml_quality_threshold{check="completeness"}'
        )
        assert prometheus.query(below) == []
        assert prometheus.value(f'ml_quality_consistency_ratio{{{where},rule="scored"}}') == 1
        carriers = prometheus.values(f"ml_segment_window_rows{{{where}}}", "value")
        assert set(carriers) == {"AA", 'U"A\n', "D\\L"} or set(carriers) == {"AA", "D\\L"}
        assert prometheus.value('ml_exporter_http_requests_total{route=~".*labels",status="202"}') == 1


def test_nothing_acknowledged_is_lost_and_nothing_counts_twice(running_exporter: Run) -> None:
    """Killed at random moments while eight threads push, the exporter has every batch exactly once."""
    exporter = running_exporter(CONFIGURATION)
    client = Client(exporter.url)
    baseline = frame(1000, seed=1)
    client.create_baseline("flights", baseline.assign(truth=baseline["answer"]))
    batches = [frame(50, first=50 * number) for number in range(160)]
    stop = threading.Event()

    def push(number: int) -> None:
        body = json.dumps(batches[number].to_dict(orient="records"))
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"batch-{number}"}
        url = f"{exporter.url}/api/v1/models/flights/batches"
        while not stop.is_set():
            try:
                answer = requests.post(url, data=body, headers=headers, timeout=10)
            except requests.RequestException:
                time.sleep(0.05)
                continue
            if answer.status_code in (200, 202):
                assert answer.json()["accepted"] == 50
                return
            assert answer.status_code in (409, 503), answer.text
            time.sleep(0.05)

    def kill() -> None:
        generator = np.random.default_rng(3)
        for _ in range(3):
            time.sleep(float(generator.uniform(0.1, 0.5)))
            exporter.kill()
            exporter.start()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(push, range(len(batches)), timeout=120))
    finally:
        stop.set()
        killer.join()
    total = 50 * len(batches)
    model = requests.get(f"{exporter.url}/api/v1/models/flights", timeout=10).json()
    assert model["versions"]["default"]["rows"] == total
    assert model["versions"]["default"]["batches"] == len(batches)
    assert model["pending_predictions"] == total
    client = Client(exporter.url)
    answered = client.push_labels("flights", labels(pd.concat(batches), wrong=0))
    assert answered.matched == total
    view = f"{exporter.url}/api/v1/models/flights/performance?window=6h"
    results = wait_until(
        lambda: [
            result
            for result in requests.get(view, timeout=10).json()["results"]
            if (result["rows"], result["labeled_rows"]) == (total, total)
        ]
    )
    assert results[0]["metrics"]["accuracy"]["value"] == 1.0


def test_bad_rows_are_rejected_one_by_one(running_exporter: Run) -> None:
    """Wrong types are counted by column and rejected by row with a reason; the good rows count."""
    exporter = running_exporter(CONFIGURATION)
    rows = json.loads(frame(20).to_json(orient="records"))
    rows[0]["distance"] = "far"
    rows[1]["score"] = 1.5
    rows[2]["id"] = None
    rows[3]["at"] = "yesterday"
    rows[4]["answer"] = None
    answer = requests.post(f"{exporter.url}/api/v1/models/flights/batches", json=rows, timeout=10)
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert (body["rows"], body["accepted"], body["rejected"]) == (20, 15, 5)
    assert body["reasons"] == {"type": 2, "out_of_range": 1, "missing_id": 1, "missing_prediction": 1}


@pytest.mark.prometheus
def test_promtool_has_no_complaint(running_exporter: Run, requires_program: Callable[[str], Path]) -> None:
    """The exposition of a model with every kind of value passes promtool's lints."""
    import subprocess

    program = requires_program("promtool")
    exporter = running_exporter(CONFIGURATION)
    client = Client(exporter.url)
    baseline = frame(1000, seed=1)
    client.create_baseline("flights", baseline.assign(truth=baseline["answer"]))
    rows = frame(500)
    client.push("flights", rows)
    client.push_labels("flights", labels(rows, wrong=50))
    text = wait_until(
        lambda: (
            (page := requests.get(f"{exporter.url}/metrics", timeout=10).content)
            and b"ml_performance{" in page
            and page
        )
    )
    checked = subprocess.run([str(program), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
