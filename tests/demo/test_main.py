"""The demo as people run it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import requests
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from exporter.demo.replay import MODEL, days, replayed_days

PROGRAM = str(Path(sys.executable).with_name("ml-exporter"))
DAYS = 8


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Give the URL and the output of a demo that has replayed some days and serves on."""
    log = tmp_path_factory.mktemp("demo") / "out.txt"
    command = [PROGRAM, "demo", "--days", str(DAYS), "--web.listen-address", "127.0.0.1:0", "--speed", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while "Still serving" not in (text := log.read_text(encoding="utf-8")):
        assert process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.2)
    url = re.search(r"Still serving (http://\S+)", text)
    assert url
    yield url[1], text
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


@pytest.fixture(scope="module")
def pushed(flights, classifiers):
    """Give what the demo has pushed: one row a flight, with its label where that has come."""
    week = list(days(flights, classifiers, replayed_days(flights)[:DAYS]))
    answers = pd.concat(
        [table.to_pandas().assign(version=name) for day in week for name, table in day.predictions.items()]
    )
    labels = pd.concat([day.labels.to_pandas() for day in week])
    return answers.merge(labels, on="flight_id", how="left", validate="one_to_one")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["champion", "challenger"])
@pytest.mark.parametrize("window", ["1d", "7d"])
def test_performance_is_that_of_the_flights_in_its_window(demo, pushed, version, window):
    """What the API answers after the replay is what scikit-learn computes from the same flights."""
    url, _ = demo
    answer = requests.get(
        f"{url}/api/v1/models/{MODEL}/performance", params={"version": version, "window": window}, timeout=10
    ).json()
    (result,) = answer["results"]
    span = result["performance_window"]
    moment = pushed["scheduled"].map(pd.Timestamp.timestamp)
    rows = pushed[
        (pushed["version"] == version)
        & pushed["delayed"].notna()
        & (moment >= span["start"])
        & (moment < span["end"])
    ]
    truth = rows["delayed"].astype(bool)
    metrics = result["metrics"]
    assert span["rows"] == len(rows) > 100
    assert metrics["accuracy"]["value"] == pytest.approx(accuracy_score(truth, rows["predicted"]))
    assert metrics["f1"]["value"] == pytest.approx(f1_score(truth, rows["predicted"]))
    assert metrics["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, rows["probability"]), abs=2e-3)
    for metric in metrics.values():
        assert metric["lower"] <= metric["value"] <= metric["upper"]


@pytest.mark.slow
def test_exposition_counts_every_flight_once(demo, pushed):
    """The counters hold each pushed row and each label, by version."""
    url, _ = demo
    text = requests.get(f"{url}/metrics", timeout=10).text
    for version, rows in pushed.groupby("version"):
        for family, count in (
            ("ml_rows_total", len(rows)),
            ("ml_labels_total", rows["delayed"].notna().sum()),
        ):
            found = re.search(
                rf'^{family}{{model="{MODEL}",version="{version}"}} (\S+)$', text, flags=re.MULTILINE
            )
            assert found, f"{family} of {version} is not exposed"
            assert float(found[1]) == count


@pytest.mark.slow
def test_exposition_shows_segments_drift_and_late_labels(demo):
    """What the demo tells people to look at is there, with delays as in 2013."""
    url, _ = demo
    text = requests.get(f"{url}/metrics", timeout=10).text
    for start in (
        f'ml_segment_performance{{model="{MODEL}"',
        f'ml_drift_detected{{model="{MODEL}"',
        f'ml_quality_completeness_ratio{{model="{MODEL}"',
        f'ml_quality_validity_ratio{{model="{MODEL}"',
        f'ml_quality_consistency_ratio{{model="{MODEL}"',
        f'ml_labeled_ratio{{model="{MODEL}"',
    ):
        assert f"\n{start}" in text, f"nothing starts with {start}"
    delays = [float(value) for value in re.findall(r"^ml_label_delay_seconds{.*} (\S+)$", text, re.MULTILINE)]
    assert delays
    assert 3_600 < min(delays) <= max(delays) < 6 * 86_400


@pytest.mark.slow
def test_output_names_addresses_and_ends_in_tables(demo):
    """People see where to look, how far the replay is, and what came out."""
    url, text = demo
    assert f"{url}/metrics" in text
    assert "2013-02-08: " in text
    for title in ("Performance", "Challenger against champion", "Drift against January", "Quality"):
        assert title in text
    assert "Traceback" not in text


@pytest.mark.slow
def test_demo_exits_when_done_and_removes_its_store(tmp_path):
    """With --exit-when-done the demo ends by itself with 0 and leaves nothing behind."""
    run = subprocess.run(
        [PROGRAM, "demo", "--days", "1", "--exit-when-done", "--web.listen-address", "127.0.0.1:0"],
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "Replayed 1 days" in run.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_demo_keeps_a_store_that_was_asked_for(tmp_path):
    """With --storage.path the store stays, and a second run on it counts nothing twice."""
    command = [PROGRAM, "demo", "--days", "1", "--exit-when-done", "--web.listen-address", "127.0.0.1:0"]
    command += ["--storage.path", str(tmp_path / "kept")]
    first = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert first.returncode == 0, first.stderr
    assert list((tmp_path / "kept").iterdir())
    second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert second.returncode == 0, second.stderr
    table = re.compile(r"^│ (?:champion|challenger).*$", re.MULTILINE)
    assert len(table.findall(first.stdout)) == 12
    assert table.findall(second.stdout) == table.findall(first.stdout)


@pytest.mark.slow
def test_bridge_runs_with_the_exporter(demo):
    """Alerts, runbooks and the bridge's families are where the demo says that they are."""
    url, text = demo
    alerts = requests.get(f"{url}/api/v1/alerts", timeout=10).json()["alerts"]
    assert all(alert["model"] == MODEL for alert in alerts)
    assert f"Alerts: {len(alerts)} of dropped performance" in text
    assert f"{url}/alertmanager" in text
    assert requests.get(f"{url}/runbooks/", timeout=10).ok
    assert "ml_bridge_ready 1.0" in requests.get(f"{url}/metrics", timeout=10).text
