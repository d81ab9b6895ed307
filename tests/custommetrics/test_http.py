"""Custom metrics, segments and the search for weak ones through a running exporter, over HTTP."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests

MODULE = """
from exporter import custom_metric

@custom_metric(unit="eur", columns=["amount"])
def margin(rows):
    return rows["amount"] * ((rows["prediction"] == rows["label"]) - 0.5)

def flaky(rows):
    raise RuntimeError("no luck")
"""

CONFIGURATION = """
models:
  shop:
    task: binary
    columns: {id: id, timestamp: at, prediction: answer, label: truth}
    features: {amount: numeric, country: categorical}
    metrics:
      - accuracy
      - shop_metrics:margin
      - shop_metrics:flaky
      - {name: lost, sql: "sum(case when prediction <> label then amount else 0 end) / sum(amount)",
         unit: ratio, higher_is_better: false}
    windows: [6h]
    segments: [country]
    segment_search: {columns: [country, amount], minimum_rows: 50}
    baseline: {rows: 400}
"""


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on PYTHONPATH with a module of metrics."""
    (tmp_path / "shop_metrics.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def csv(frame: pd.DataFrame) -> dict[str, Any]:
    body = io.StringIO()
    frame.to_csv(body, index=False)
    return {"data": body.getvalue().encode(), "headers": {"Content-Type": "text/csv"}}


def test_metrics_of_ones_own_reach_the_exposition_and_the_api(
    running_exporter: Callable[..., Any], on_path: Path
) -> None:
    """Rows and late labels in, margins, lost shares, reasons and the weak segment out; also after a kill."""
    exporter = running_exporter(CONFIGURATION)
    generator = np.random.default_rng(9)
    now = time.time()
    frame = pd.DataFrame(
        {
            "id": [f"o{number}" for number in range(1600)],
            "at": now - 3600 + np.sort(generator.uniform(0, 3500, 1600)),
            "answer": generator.uniform(size=1600) < 0.5,
            "amount": generator.uniform(1, 99, 1600).round(2),
            "country": generator.choice(["de", "fr", "it"], 1600),
        }
    )
    wrong = generator.uniform(size=1600) < np.where(frame["country"] == "it", 0.4, 0.05)
    labels = pd.DataFrame({"id": frame["id"], "truth": frame["answer"] ^ wrong})
    api = f"{exporter.url}/api/v1/models/shop"
    for part in (frame[:500], frame[500:]):
        assert requests.post(f"{api}/batches", **csv(part), timeout=30).status_code == 202
    answer = requests.post(f"{api}/labels", **csv(labels), timeout=30)
    assert (answer.status_code, answer.json()["matched"]) == (202, 1600)
    expected = {
        "margin": float((frame["amount"] * np.where(wrong, -0.5, 0.5)).mean()),
        "lost": float(frame["amount"][wrong].sum() / frame["amount"].sum()),
    }
    for _ in range(2):
        deadline = time.monotonic() + 20
        found: dict[str, Any] = {}
        while time.monotonic() < deadline and found.get("margin", {}).get("n") != 1600:
            time.sleep(0.2)
            results = requests.get(f"{api}/performance", timeout=30).json()["results"]
            found = results[0]["metrics"] if results else {}
        for name, value in expected.items():
            assert found[name]["value"] == pytest.approx(value, rel=1e-9)
            assert found[name]["lower"] < value < found[name]["upper"]
        segments = requests.get(f"{api}/segments", params={"metric": "lost", "limit": "1"}, timeout=30).json()
        assert [one["segment"] for one in segments["segments"]] == ["country=it"]
        assert (segments["total"], segments["next"]) == (3, "1")
        weak = segments["weak_segments"]["default"]["slices"]
        assert weak[0]["conditions"] == [["country", "it"]]
        exporter.kill()
        exporter.start()
    metrics = requests.get(f"{exporter.url}/metrics", timeout=30).text
    assert 'ml_metric_info{metric="margin",unit="eur",higher_is_better="true"} 1' in metrics
    assert 'ml_metric_info{metric="lost",unit="ratio",higher_is_better="false"} 1' in metrics
    assert requests.get(f"{api}/segments?limit=x", timeout=30).status_code == 400
    corrected = requests.post(f"{api}/labels", **csv(labels.assign(truth=~labels["truth"])), timeout=30)
    assert corrected.json()["corrected"] == 1600
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        metrics = requests.get(f"{exporter.url}/metrics", timeout=30).text
        if 'subject="flaky",reason="error"' in metrics:
            break
        time.sleep(0.2)
    assert 'subject="flaky",reason="error"' in metrics
    flipped = requests.get(f"{api}/performance", timeout=30).json()["results"][0]["metrics"]["margin"][
        "value"
    ]
    assert flipped == pytest.approx(-expected["margin"], rel=1e-9)


def test_check_config_names_each_metric_that_cannot_be_used(tmp_path: Path, on_path: Path) -> None:
    """An import that fails and an expression that is not mergeable stand with their paths in the file."""
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text(CONFIGURATION, encoding="utf-8")
    text = CONFIGURATION.replace("shop_metrics:flaky", "shop_metrics:missing").replace(
        "sum(case", "median(case"
    )
    bad.write_text(text, encoding="utf-8")
    command = str(Path(sys.executable).with_name("ml-exporter"))
    for path, code in ((good, 0), (bad, 2)):
        done = subprocess.run(
            [command, "check-config", str(path)], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, done.stderr
    assert "models.shop.metrics[2]: shop_metrics has no function missing" in done.stderr
    assert "models.shop.metrics[3]: expected a ratio of sums" in done.stderr
