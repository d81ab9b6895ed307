"""The shipped rules: valid, tested on both sides, documented, and made of metrics that exist."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from scipy.stats import chi2

from exporter.baseline import grid_of, resolved_schema
from exporter.batch import Batch, validate_batch
from exporter.catalog import FAMILIES
from exporter.profiles.profiling import profile_rows
from exporter.schema import Schema, Task
from exporter.service.history.questions import measure_named
from exporter.statistics.drift.divergence import population_stability_index

RULES = Path(__file__).parent.parent / "alerting_rules"
FILES = sorted([*RULES.glob("recording/*.yml"), *RULES.glob("alerts/*.yml")])
UNIT_TESTS = sorted(RULES.glob("tests/*.yml"))
DOCUMENT = Path(__file__).parent.parent / "docs" / "alerting-rules.md"
DASHBOARDS = {
    "ml-fleet", "ml-model", "ml-drift", "ml-quality", "ml-segments", "ml-ab", "ml-alerts", "ml-exporter",
}  # fmt: skip
AT_ONCE = {
    "MLColumnDriftStrong": "a false alarm at each look is a hundredth of the stated rate",
    "MLColumnDrift": "how long the verdict has held is counted by event time",
    "MLPredictionDrift": "as MLColumnDrift and MLColumnDriftStrong",
    "MLLabelDrift": "as MLColumnDrift and MLColumnDriftStrong",
    "MLConceptDrift": "as MLColumnDrift and MLColumnDriftStrong",
    "MLMultivariateDrift": "strong evidence, or six hours in the expression",
    "MLComparisonDecided": "the bounds hold at all times together",
    "MLHeartbeat": "fires always",
}
"""Alerts without `for`, and why."""
KNOWN_KEYS = {"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}
TARGET_LABELS = {"job", "instance"}
OWN_SERIES = {"up", "ALERTS"}
"""What Prometheus itself adds."""
_WORDS = {
    "and", "or", "unless", "on", "ignoring", "group_left", "group_right", "by", "without", "offset", "time",
    "vector", "sum", "max", "min", "avg", "count", "topk", "absent", "increase", "rate", "clamp_min", "ln",
    "sqrt", "last_over_time", "min_over_time", "label_replace", "changes",
}  # fmt: skip


def rules(kind: str = "") -> Iterator[tuple[Path, dict[str, Any]]]:
    """Return every rule with its file; `kind` is alert or record."""
    for path in FILES:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            assert set(group) <= {"name", "interval", "rules"}, path
            yield from ((path, rule) for rule in group["rules"] if kind in ("", *rule))


ALERTS = [rule for _, rule in rules("alert")]
RECORDED = {rule["record"] for _, rule in rules("record")}


def name_of(rule: dict[str, Any]) -> str:
    return f"{rule['alert']}-{rule['labels']['severity']}"


def promtool(program: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, check=False, cwd=RULES / "tests"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.prometheus
def test_promtool_accepts_the_rules(requires_program: Callable[[str], Path]) -> None:
    """`promtool check rules` has no complaint; it is that of the oldest Prometheus that is supported."""
    assert "FAILED" not in promtool(requires_program("promtool"), "check", "rules", *FILES)


@pytest.mark.slow
@pytest.mark.prometheus
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_unit_tests_of_the_rules_pass(requires_program: Callable[[str], Path], path: Path) -> None:
    """`promtool test rules` passes."""
    promtool(requires_program("promtool"), "test", "rules", path)


@pytest.mark.parametrize("rule", ALERTS, ids=name_of)
def test_every_alert_says_what_people_need(rule: dict[str, Any]) -> None:
    """Severity, summary, description, runbook, dashboard, value, and a known measure where there is one."""
    assert set(rule) <= KNOWN_KEYS
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    annotations = rule["annotations"]
    assert set(annotations) <= {
        "summary", "description", "runbook_url", "dashboard_url", "measure", "value", "threshold",
    }  # fmt: skip
    assert {"summary", "description", "runbook_url", "dashboard_url", "value"} <= set(annotations)
    assert annotations["runbook_url"] == f"http://127.0.0.1:10090/runbooks/{rule['alert']}"
    assert annotations["value"] == "{{ $value }}"
    dashboard = re.fullmatch(r"http://127\.0\.0\.1:3000/d/([a-z-]+)(?:\?(.+))?", annotations["dashboard_url"])
    assert dashboard is not None
    assert dashboard[1] in DASHBOARDS
    for part in (dashboard[2] or "").split("&"):
        assert not part or re.fullmatch(r"var-(\w+)=\{\{ \$labels\.\1 \| urlquery \}\}", part)
    if "measure" in annotations:
        measure_named(annotations["measure"])


@pytest.mark.parametrize("rule", ALERTS, ids=name_of)
def test_summary_is_the_same_for_all_alerts_of_a_group(rule: dict[str, Any]) -> None:
    """Alertmanager groups by alertname, model and severity: a summary reads no other label and no value."""
    summary = rule["annotations"]["summary"]
    assert len(summary) <= 120
    assert set(re.findall(r"\{\{.*?\}\}", summary)) <= {"{{ $labels.model }}"}


@pytest.mark.parametrize("rule", ALERTS, ids=name_of)
def test_every_alert_has_a_runbook(rule: dict[str, Any]) -> None:
    """A page for each alert lies beside the rules."""
    assert (RULES / "runbooks" / f"{rule['alert']}.md").is_file()


@pytest.mark.parametrize("rule", ALERTS, ids=name_of)
def test_every_alert_waits_or_says_why_not(rule: dict[str, Any]) -> None:
    """`for` is there, or left out for a reason."""
    assert ("for" in rule) != (rule["alert"] in AT_ONCE)


def checks() -> Iterator[tuple[str, bool]]:
    """Return the alert and whether it is expected to fire, of every check in the unit tests."""
    for path in UNIT_TESTS:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for check in test["promql_expr_test"]:
                alert = re.search(r'ALERTS\{alertname="(\w+)"', check["expr"])
                if alert is not None and "pending" not in check["expr"]:
                    yield alert[1], bool(check["exp_samples"])


def test_every_alert_is_tested_on_both_sides() -> None:
    """For each alert and severity one check that it fires, and for each alert one that it does not."""
    known = set(checks())
    for rule in ALERTS:
        assert (rule["alert"], True) in known
        assert (rule["alert"], False) in known or rule["alert"] == "MLHeartbeat"
    assert {alert for alert, _ in known} == {rule["alert"] for rule in ALERTS}
    fired = {
        (match[1], label[1])
        for path in UNIT_TESTS
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for check in test["promql_expr_test"]
        if (match := re.search(r'ALERTS\{alertname="(\w+)"', check["expr"]))
        for sample in check["exp_samples"]
        if (label := re.search(r'severity="(\w+)"', sample["labels"]))
    }
    assert {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS} <= fired


def queries() -> Iterator[tuple[str, str]]:
    """Return every PromQL expression: of rules, and of lookups in annotations."""
    for path, rule in rules():
        yield f"{path.name}: {rule.get('alert', rule.get('record'))}", rule["expr"]
        for name, text in rule.get("annotations", {}).items():
            for query in re.findall(r"printf `([^`]*)` ", text):
                if not query.startswith("job="):
                    filled = query.replace("{%s", '{job=""').replace("%q", '""')
                    yield f"{path.name}: {rule['alert']}, {name}", filled


def labels_of(name: str) -> set[str] | None:
    """Return the labels of a series, None where any label may be (what is recorded, or Prometheus's own)."""
    if name in RECORDED or name in OWN_SERIES:
        return None
    family = FAMILIES.get(name) or FAMILIES.get(re.sub(r"_(count|sum|bucket)$", "", name))
    return None if family is None else {*family.labels, *TARGET_LABELS}


@pytest.mark.parametrize(("where", "query"), [*queries()], ids=[where for where, _ in queries()])
def test_rules_read_metrics_and_labels_that_exist(where: str, query: str) -> None:
    """Every metric is in the catalogue or recorded, and carries the labels by which it is chosen."""
    strings = re.sub(r'"(?:[^"\\]|\\.)*"', '""', query)
    selectors = re.findall(
        r"([a-zA-Z_:][\w:]*)(\{[^}]*\})?", re.sub(r"\[\w+\]|\boffset \w+|\b\d\S*", "", strings)
    )
    listed = {
        label
        for names in re.findall(r"\b(?:on|ignoring|by|without|group_left|group_right) ?\(([^)]*)\)", strings)
        for label in re.findall(r"\w+", names)
    }
    inside = {label for _, matchers in selectors for label in re.findall(r"(\w+)\s*[=!]", matchers or "")}
    seen: set[str] = set()
    for name, matchers in selectors:
        if name in _WORDS | listed | inside:
            continue
        known = labels_of(name)
        assert known is not None or name in RECORDED | OWN_SERIES, f"{where}: there is no metric {name}"
        for label in re.findall(r"(\w+)\s*[=!]", matchers or ""):
            assert known is None or label in known, f"{where}: {name} has no label {label}"
        seen |= known or set()
    if seen and not RECORDED & {name for name, _ in selectors}:
        assert listed <= seen | TARGET_LABELS | {"alertname", "severity"}, f"{where}: {listed - seen}"


def test_thresholds_are_metrics() -> None:
    """No alert on a model compares with a number of its own, but for rows, evidence and what is 0 or 1."""
    allowed = {"0", "1", "2", "3", "4", "9", "100", "100.0", "0.02"}
    for path, rule in rules("alert"):
        if path.stem in {"exporter", "bridge", "heartbeat"}:
            continue
        text = re.sub(r'"[^"]*"|\[\w+\]|offset \w+|\w*[a-z_]\w*', "", rule["expr"])
        assert set(re.findall(r"\d[\d.]*", text)) <= allowed, rule["alert"]


def test_recorded_series_are_named_by_level_metric_and_operation() -> None:
    """`level:metric:operations`."""
    for name in RECORDED:
        assert re.fullmatch(r"(column|metric|model|fleet):[a-z_]+:[a-z0-9_]+", name), name


def test_document_has_every_alert_and_recorded_series() -> None:
    """The page of the rules names each alert with its severities, and each recorded series."""
    page = DOCUMENT.read_text(encoding="utf-8")
    for rule in ALERTS:
        rows = re.findall(rf"^\| `{rule['alert']}` \|.*$", page, re.MULTILINE)
        wait = rule.get("for", "at once")
        assert any(f"| {wait}" in row and rule["labels"]["severity"] in row for row in rows), rule["alert"]
    for name in RECORDED:
        assert f"`{name}`" in page


# -- drift recomputed from counters -----------------------------------------------------------------

SCHEMA = Schema("m", Task.BINARY, "answer", "truth", id="id", timestamp="at")


def batch_of(rows: int, shift: float, seed: int, schema: Schema = SCHEMA) -> Batch:
    generator = np.random.default_rng(seed)
    table = pa.table(
        {
            "id": [f"{seed}-{row}" for row in range(rows)],
            "at": generator.uniform(0, 4000, rows),
            "answer": generator.uniform(size=rows) < 0.5,
            "x": generator.normal(shift, 1, rows),
            "c": generator.choice(["a", "b", "d"], rows, p=[0.5 - shift / 10, 0.3 + shift / 10, 0.2]),
        }
    )
    return validate_batch(table, schema, now=1e5)


def counters(column: str, counts: np.ndarray, ratios: np.ndarray, grid: str = "g") -> dict[str, str]:
    """Two replicas that took the rows between minute 61 and 120, the first of them two thirds."""
    series = {}
    for number, (count, ratio) in enumerate(zip(counts.tolist(), ratios.tolist(), strict=True)):
        for instance, part in (("a:1", count - count // 3), ("b:1", count // 3)):
            where = f'job="ml",instance="{instance}",model="m",version="v"'
            of_bin = f'{where},column="{column}",grid="{grid}",bin="{number:02d}"'
            series[f"ml_column_rows_total{{{of_bin}}}"] = f"1000+0x60 {1000 + part}+0x1500"
            series[f"ml_baseline_ratio{{{of_bin}}}"] = f"{ratio!r}+0x1560"
    return series


def index_of(counts: np.ndarray, ratios: np.ndarray, baseline_rows: int) -> tuple[float, float]:
    """PSI and its critical value as the rules define them."""
    p, q = (counts + 0.5) / (counts + 0.5).sum(), np.maximum(ratios, 1e-4)
    k = len(counts) - 1
    quantile = k * (1 - 2 / (9 * k) + 3.0902 * math.sqrt(2 / (9 * k))) ** 3
    return float(((p - q) * np.log(p / q)).sum()), max(
        0.02, quantile * (1 / counts.sum() + 1 / baseline_rows)
    )


@pytest.mark.prometheus
def test_psi_of_counters_is_that_of_the_statistics(
    requires_program: Callable[[str], Path], tmp_path: Path
) -> None:
    """On the same counts, over two replicas, the rules give what the exporter's own PSI gives."""
    schema = resolved_schema(SCHEMA, batch_of(4000, 0.0, 1))
    before, now = batch_of(4000, 0.0, 1, schema), batch_of(3000, 0.5, 2, schema)
    grid = grid_of(before)
    baseline, current = (profile_rows(grid, batch) for batch in (before, now))
    series = {
        f'ml_baseline_rows{{job="ml",instance="{instance}",model="m",version="v"}}': "4000+0x1560"
        for instance in ("a:1", "b:1")
    }
    samples, critical = [], []
    for column in ("x", "c"):
        earlier, counts = baseline.coarse_counts(column), current.coarse_counts(column)
        ratios = earlier / earlier.sum()
        series |= counters(column, counts, ratios)
        value, limit = index_of(counts, ratios, 4000)
        exact = population_stability_index(baseline.column(column), current.column(column))
        assert value == pytest.approx(exact.statistic, rel=0.01)
        samples.append((column, value))
        critical.append((column, limit))
    check_psi(requires_program("promtool"), tmp_path, series, samples, critical)


def check_psi(
    program: Path,
    directory: Path,
    series: dict[str, str],
    samples: list[tuple[str, float]],
    critical: list[tuple[str, float]],
) -> None:
    expected = {"psi": samples, "psi_critical": critical}
    test = {
        "rule_files": [str(RULES / "recording" / "drift.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f"round(column:ml_column_rows:{what}{span}, 1e-7)",
                        "eval_time": at,
                        "exp_samples": [
                            {
                                "labels": f'{{job="ml",model="m",version="v",column="{column}",grid="g"}}',
                                "value": round(round(value / 1e-7) * 1e-7, 7),
                            }
                            for column, value in found
                        ],
                    }
                    for what, found in expected.items()
                    for span, at in (("1h", "90m"), ("1d", "1470m"))
                ],
            }
        ],
    }
    source = directory / "psi.json"
    source.write_text(json.dumps(test), encoding="utf-8")
    promtool(program, "test", "rules", source)


@pytest.mark.prometheus
def test_psi_is_of_one_grid_and_of_enough_rows(
    requires_program: Callable[[str], Path], tmp_path: Path
) -> None:
    """Counters of an earlier grid, which has no baseline any more, and fewer than 100 rows have no PSI."""
    ratios = np.full(4, 0.25)
    few, enough = np.array([25, 25, 25, 24]), np.array([10, 30, 30, 30])
    rows = {'ml_baseline_rows{job="ml",instance="a:1",model="m",version="v"}': "5000+0x1560"}
    series = rows | counters("few", few, ratios) | counters("enough", enough, ratios)
    series |= {
        name: values
        for name, values in counters("enough", enough, ratios, grid="earlier").items()
        if "baseline" not in name
    }
    value, limit = index_of(enough, ratios, 5000)
    check_psi(requires_program("promtool"), tmp_path, series, [("enough", value)], [("enough", limit)])


def test_critical_value_of_psi_is_rarely_exceeded_by_chance() -> None:
    """Without drift at most 0.2 % of looks exceed it (nominal 0.1 %), from 100 rows on; the quantile fits."""
    generator = np.random.default_rng(11)
    for bins, rows, baseline_rows in ((10, 100, 10_000), (10, 1000, 1000), (5, 5000, 10_000), (11, 300, 500)):
        shares = np.full(bins, 1 / bins)
        k = bins - 1
        quantile = k * (1 - 2 / (9 * k) + 3.0902 * math.sqrt(2 / (9 * k))) ** 3
        assert quantile == pytest.approx(chi2.ppf(0.999, k), rel=0.02)
        now = generator.multinomial(rows, shares, 20_000)
        before = generator.multinomial(baseline_rows, shares, 20_000)
        p = (now + 0.5) / (rows + 0.5 * bins)
        q = np.maximum(before / baseline_rows, 1e-4)
        values = ((p - q) * np.log(p / q)).sum(axis=1)
        critical = max(0.02, quantile * (1 / rows + 1 / baseline_rows))
        assert (values > critical).mean() <= 0.002
