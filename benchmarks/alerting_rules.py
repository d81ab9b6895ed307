"""What the shipped rules cost Prometheus: series that they make, and seconds that a round takes.

Run as ``python -m benchmarks.alerting_rules [--models 100] [--columns 60]`` (needs the program `prometheus`).
A page like that of real models is scraped; ranges of an hour and a day are cut to half a minute, so that the
rules have something to compute. Nothing drifts but in one model of ten.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from exporter.catalog import QUALITY_CHECKS
from exporter.exposition import Exposition, Sample
from tests.prometheus import running_prometheus, serving

RULES = Path(__file__).parent.parent / "alerting_rules"
WINDOWS = {"1d": 86400.0, "7d": 604800.0}
METRICS = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "specificity",
    "mcc",
    "roc_auc",
    "pr_auc",
    "log_loss",
    "brier",
)
BINNED, BINS, ROUNDS = 22, 10, 4
INTERVAL = 30


def samples(model: str, columns: int, now: float, round_: int, *, sick: bool) -> Iterator[Sample]:
    """Return what one version of a model exposes."""
    version = (model, "v1")
    for window, seconds in WINDOWS.items():
        where = (*version, window)
        for metric in METRICS:
            values = {
                "": 0.9,
                "_lower": 0.89,
                "_upper": 0.91,
                "_baseline": 0.9,
                "_drop": 0.3 if sick else 0.0,
            }
            for what, value in (*values.items(), ("_drop_threshold", 0.1)):
                yield f"ml_performance{what}", (*where, metric), value
        yield "ml_performance_window_rows", where, 1000
        yield "ml_window_rows", where, 1000
        yield "ml_window_labeled_rows", where, 900
        yield "ml_window_seconds", where, seconds
        yield "ml_window_end_timestamp_seconds", where, now
        yield "ml_drift_alpha", where, 0.05
        yield "ml_drifted_columns_ratio", where, 0.1
        yield "ml_drifted_columns_ratio_threshold", where, 0.3
        yield "ml_quality_score", where, 0.99
        for check, threshold in QUALITY_CHECKS.items():
            yield "ml_quality_threshold", (*where, check), threshold
        for number in range(columns):
            of = (*where, f"column_{number}", "feature")
            drifted = sick and number < 6
            yield "ml_drift_detected", of, float(drifted)
            yield "ml_drift_q_value", of, 1e-9 if drifted else 0.5
            yield "ml_drift_statistic", (*of, "ks"), 0.3 if drifted else 0.01
            yield "ml_drift_critical_value", (*of, "ks"), 0.05
            yield "ml_drift_p_value", (*of, "ks"), 0.5
            for check in ("completeness", "type_valid", "in_range"):
                yield f"ml_quality_{check}_ratio", of[:-1], 0.999
    for number in range(BINNED):
        for name in range(BINS):
            place = (*version, f"column_{number}", "grid", f"{name:02}")
            yield "ml_column_rows_total", place, 1000.0 * (round_ + name)
            yield "ml_baseline_ratio", place, 1 / BINS
    yield "ml_baseline_rows", version, 10_000
    yield "ml_rows_total", version, 10_000.0 * round_
    yield "ml_model_info", (*version, "binary", "b"), 1
    yield "ml_last_batch_timestamp_seconds", version, now
    for subject in ("batch", "label", "evaluation", "baseline"):
        yield "ml_age_threshold_seconds", (*version, subject), 1e6


class Page:
    """Ready bytes, made before anything is measured; those of a round follow on those of the one before."""

    def __init__(self, models: int, columns: int) -> None:
        self._bytes: list[bytes] = []
        self._begin = time.monotonic()
        self.series = 0
        exposition = Exposition()
        for round_ in range(1, ROUNDS + 3):
            at = time.time() + INTERVAL * round_
            for number in range(models):
                rows = samples(f"model_{number}", columns, at, round_, sick=number % 10 == 0)
                exposition.update(f"model_{number}", rows)
            snapshot = exposition.snapshot((), made_at=at)
            self._bytes.append(snapshot.text)
            self.series = snapshot.series

    def start(self) -> None:
        self._begin = time.monotonic()

    def answer(self, *_: object) -> tuple[bytes, dict[str, str]]:
        round_ = int((time.monotonic() - self._begin) / INTERVAL)
        body = self._bytes[min(round_, len(self._bytes) - 1)]
        return body, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


def short_rules(directory: Path) -> list[Path]:
    copies = []
    for path in sorted([*RULES.glob("recording/*.yml"), *RULES.glob("alerts/*.yml")]):
        text = re.sub(r"offset 1[hd]", f"offset {INTERVAL}s", path.read_text(encoding="utf-8"))
        copies.append(directory / f"{path.parent.name}-{path.name}")
        copies[-1].write_text(re.sub(r"interval: \w+", f"interval: {INTERVAL}s", text), encoding="utf-8")
    return copies


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(program: Path, models: int, columns: int) -> None:
    page = Page(models, columns)
    with tempfile.TemporaryDirectory() as directory, serving(page.answer) as address:
        rules = short_rules(Path(directory))
        with running_prometheus(
            program, Path(directory), address, free_port(), interval=f"{INTERVAL}s", rule_files=rules
        ) as prometheus:
            page.start()
            time.sleep(INTERVAL * ROUNDS + 15)
            groups = requests.get(f"{prometheus.url}/api/v1/rules", timeout=30).json()["data"]["groups"]
            made = prometheus.values('count by (__name__) ({__name__=~".+:.+:.+"})', "__name__")
            alerts = prometheus.values("count by (alertstate) (ALERTS)", "alertstate")
    report(page, groups, made, alerts)


def report(
    page: Page, groups: list[dict[str, object]], made: dict[str, float], alerts: dict[str, float]
) -> None:
    print(f"{page.series:,} series scraped, {sum(made.values()):,.0f} recorded, alerts {alerts}")
    for name, count in sorted(made.items(), key=lambda item: -item[1]):
        print(f"  {count:8,.0f} {name}")
    print(f"{sum(float(str(group['evaluationTime'])) for group in groups):.2f} s for one round of all groups")
    for group in sorted(groups, key=lambda group: -float(str(group["evaluationTime"]))):
        print(f"  {float(str(group['evaluationTime'])):8.3f} s {group['name']}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--columns", type=int, default=60)
    options = parser.parse_args()
    program = shutil.which("prometheus")
    if program is None:
        print("the program prometheus is not installed; nothing was measured", file=sys.stderr)
        return 0
    measure(Path(program), options.models, options.columns)
    return 0


if __name__ == "__main__":
    sys.exit(main())
