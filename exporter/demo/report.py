"""What the demo says at the end: tables read back from the running exporter's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from exporter.client import Client
from exporter.demo.model import VERSIONS
from exporter.demo.replay import MODEL

METRICS = ("accuracy", "f1", "roc_auc")


def evaluated_at(client: Client) -> float:
    """Return the time of the oldest of the latest evaluations; 0 before there is one."""
    results = client.performance(MODEL)["results"]
    return min((float(result["made_at"]) for result in results), default=0.0)


def performance_table(client: Client, windows: Sequence[str]) -> Table:
    """Return realised performance by version and window, with its 95 % bounds and its baseline."""
    table = Table(title="Performance, 95 % bounds (!: worse than January by more than alert_threshold)")
    table.add_column("version")
    table.add_column("window")
    table.add_column("labelled", justify="right")
    for metric in METRICS:
        table.add_column(metric, justify="right")
    for version in VERSIONS:
        for window in windows:
            found = _only(client.performance(MODEL, version=version, window=window))
            metrics = found.get("metrics", {})
            cells = [_metric_text(metrics.get(metric)) for metric in METRICS]
            table.add_row(version, window, f"{found.get('labeled_rows', 0):,}", *cells)
    return table


def drift_table(client: Client, windows: Sequence[str]) -> Table:
    """Return the share of drifted features and the strongest columns by version and window."""
    table = Table(title="Drift against January")
    table.add_column("version")
    table.add_column("window")
    table.add_column("drifted features", justify="right")
    table.add_column("most drifted (multiple of the critical value)")
    for version in VERSIONS:
        for window in windows:
            found = _only(client.drift(MODEL, version=version, window=window))
            ratio = found.get("ratio")
            table.add_row(
                version,
                window,
                "-" if ratio is None else f"{ratio:.0%}",
                _strongest(found.get("columns", {})),
            )
    return table


def quality_table(client: Client, windows: Sequence[str]) -> Table:
    """Return the quality score and the least complete columns by version and window."""
    table = Table(title="Quality")
    table.add_column("version")
    table.add_column("window")
    table.add_column("rows", justify="right")
    table.add_column("score", justify="right")
    table.add_column("least complete columns")
    for version in VERSIONS:
        for window in windows:
            found = _only(client.quality(MODEL, version=version, window=window))
            score = found.get("score")
            completeness: Mapping[str, float] = found.get("completeness", {})
            worst = sorted(completeness.items(), key=lambda item: item[1])[:2]
            table.add_row(
                version,
                window,
                f"{found.get('rows', 0):,}",
                "-" if score is None else f"{score:.3f}",
                ", ".join(f"{name} {ratio:.1%}" for name, ratio in worst),
            )
    return table


def comparison_table(client: Client, windows: Sequence[str]) -> Table:
    """Return the challenger against the champion by metric; `windows` do not matter to what is cumulative."""
    del windows
    table = Table(title="Challenger against champion since February, bounds that hold at all times")
    table.add_column("metric")
    table.add_column("champion", justify="right")
    table.add_column("challenger", justify="right")
    table.add_column("difference (positive: better)", justify="right")
    table.add_column("decided")
    for found in client.comparisons(MODEL)["results"]:
        for name, metric in found["metrics"].items():
            if metric["difference"] is None:
                table.add_row(name, "", "", metric["reason"], "")
                continue
            values = (f"{metric[key]:.4f}" for key in ("champion_value", "challenger_value"))
            bounds = f"{metric['difference']:+.4f} [{metric['lower']:+.4f}, {metric['upper']:+.4f}]"
            table.add_row(name, *values, bounds, "yes" if metric["decided"] else "no")
        ratio = found["sample_ratio"]
        if ratio["p_value"] is not None:
            counts = f"{ratio['champion_rows']:,}", f"{ratio['challenger_rows']:,}"
            verdict = "mismatch" if ratio["mismatch"] else "as it should be"
            table.add_row("rows", *counts, f"split p = {ratio['p_value']:.3g}", verdict)
    return table


def _only(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the one evaluation that was asked for, or an empty one while there is none."""
    results: Sequence[Mapping[str, Any]] = answer["results"]
    return results[0] if results else {}


def _metric_text(metric: Mapping[str, Any] | None) -> str:
    if not metric or metric.get("value") is None:
        return str((metric or {}).get("reason") or "-")
    text = f"{metric['value']:.3f} [{metric['lower']:.2f}, {metric['upper']:.2f}]"
    return f"! {text}" if metric.get("degraded") else text


def _strongest(columns: Mapping[str, Mapping[str, Any]]) -> str:
    """Name the three drifted features whose statistic is the largest multiple of its critical value."""
    drifted = [
        (column["statistic"] / column["critical_value"], name, column["method"])
        for name, column in columns.items()
        if column.get("detected") and column.get("role") == "feature" and column.get("critical_value")
    ]
    drifted.sort(reverse=True)
    return ", ".join(f"{name} ({method} x{times:.1f})" for times, name, method in drifted[:3]) or "none"
