"""Performance without labels: beside NannyML and the labels on NannyML's data, coverage of bounds, cost.

NannyML runs in an environment of its own (tools/peer-venv nannyml); without it `--no-peer` leaves it out.

    python -m benchmarks.estimation [--no-peer] [--repetitions 200] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from exporter.batch import Batch, validate_batch
from exporter.estimation import Estimator, estimated_performance, fit_estimator, fit_losses, measure_itself
from exporter.profiles import NO_METERS, Grid, Meters, Profile, build_grid, profile_outcomes, profile_rows
from exporter.results import EstimatedMetric, PerformanceResults, Undefined
from exporter.schema import Column, Kind, Schema, Task
from exporter.statistics.performance import performance

ROOT = Path(__file__).parent.parent
CHUNK_ROWS = 5_000

NUMBERS = ("car_age", "km_driven", "price_new", "accident_count", "door_count")
CLASSES = ("prepaid_card", "highstreet_card", "upmarket_card")

SCHEMAS: Mapping[str, Schema] = {
    "car_loan": Schema(
        "car_loan", Task.BINARY, "y_pred", "repaid", score="y_pred_proba", positive_label=1, features=()
    ),
    "credit_card": Schema(
        "credit_card", Task.MULTICLASS, "y_pred", "y_true",
        score=tuple((name, f"y_pred_proba_{name}") for name in CLASSES), features=(),
    ),
    "car_price": Schema(
        "car_price", Task.REGRESSION, "y_pred", "y_true",
        features=(
            *(Column(name, Kind.NUMERIC) for name in NUMBERS),
            Column("fuel", Kind.CATEGORICAL), Column("transmission", Kind.CATEGORICAL),
        ),
    ),
}  # fmt: skip

NAMES = {"average_precision": "pr_auc"}


def whole(grid: Grid, batch: Batch, meters: Meters = NO_METERS) -> Profile:
    """The profile of labelled rows."""
    profile = profile_rows(grid, batch, meters=meters.of_whole.rows)
    return profile.merge(profile_outcomes(grid, batch.outcomes))


def learned(table: pa.Table, schema: Schema) -> tuple[Grid, Estimator, Batch]:
    """Grid and estimator of a baseline."""
    batch = validate_batch(table, schema, now=0.0, future_tolerance=float("inf"))
    grid = build_grid(batch)
    if schema.task is Task.REGRESSION:
        label = np.asarray(batch.outcomes.label, np.float64)
        made: Estimator | Undefined = fit_losses(batch, label, grid.target_scale, minimum_labels=100)
    else:
        profile = whole(grid, batch)
        measure_itself(profile, batch, batch.outcomes.label, minimum_labels=100)
        made = fit_estimator(profile, minimum_labels=100)
    assert not isinstance(made, Undefined), made
    return grid, made, batch


def estimated(estimator: Estimator, profile: Profile) -> Mapping[str, EstimatedMetric]:
    """What is estimated of a window."""
    return estimated_performance(estimator, profile, None, PerformanceResults(), minimum_rows=1).metrics


def chunks(table: pa.Table) -> Iterator[pa.Table]:
    """Whole chunks of rows, in order."""
    for start in range(0, table.num_rows - CHUNK_ROWS + 1, CHUNK_ROWS):
        yield table.slice(start, CHUNK_ROWS)


def compare(console: Console, directory: Path) -> None:
    """Chunk by chunk: ours, NannyML's, realised."""
    peer = json.loads((directory / "nannyml.json").read_text())
    summary = Table("data", "metric", "ours - NannyML", "ours - realised", "NannyML - realised",
                    "within bounds",
                    title="Mean absolute differences over chunks of 5,000 rows")  # fmt: skip
    for name, schema in SCHEMAS.items():
        start = time.perf_counter()
        grid, estimator, _ = learned(pq.read_table(directory / f"{name}-reference.parquet"), schema)
        ours, truth = [], []
        for rows in chunks(pq.read_table(directory / f"{name}-analysis.parquet")):
            batch = validate_batch(rows, schema, now=0.0, future_tolerance=float("inf"))
            profile = whole(grid, batch, estimator.meters)
            ours.append(estimated(estimator, profile))
            truth.append(performance(profile.outcome()))
        seconds = time.perf_counter() - start
        theirs = peer[name]
        console.print(
            f"{name}: ours {seconds:.1f} s (profiles and labels included), NannyML {theirs['seconds']:.1f} s"
        )
        for metric in [metric for metric in theirs if metric != "seconds"]:
            known = NAMES.get(metric, metric)
            table = Table("chunk", "ours", "bounds", "NannyML", "realised", title=f"{name}: {metric}")
            values = []
            for place, (mine, real) in enumerate(zip(ours, truth, strict=True)):
                value, other, realised = mine[known], theirs[metric][place], real[known].value
                inside = value.lower <= realised <= value.upper
                values.append((value.value, other, realised, inside))
                table.add_row(str(place), f"{value.value:.4g}", f"{value.lower:.4g} .. {value.upper:.4g}",
                              f"{other:.4g}", f"{realised:.4g}{'' if inside else ' *'}")  # fmt: skip
            if metric in ("roc_auc", "mae"):
                console.print(table)
            array = np.array(values, float)
            unit = 1.0 if known not in ("mae", "rmse") else float(array[:, 2].mean())
            differences = [
                np.abs(array[:, a] - array[:, b]).mean() / unit for a, b in ((0, 1), (0, 2), (1, 2))
            ]
            shown = [f"{100 * d:.2f} %" if unit != 1.0 else f"{d:.5f}" for d in differences]
            summary.add_row(name, metric, *shown, f"{int(array[:, 3].sum())} of {len(array)}")
    console.print(summary)


def simulated(task: Task, rng: np.random.Generator, rows: int, shift: float) -> tuple[pa.Table, Schema]:
    """Rows of a model whose scores are too bold, or whose errors grow with a feature."""
    if task is Task.BINARY:
        margin = rng.normal(shift, 1.5, rows)
        score = 1 / (1 + np.exp(-margin))
        truth = rng.random(rows) < 1 / (1 + np.exp(0.3 - 0.7 * margin))
        table = pa.table({"answer": score > 0.5, "score": score, "truth": truth})
        return table, Schema("m", task, "answer", "truth", score="score", features=())
    if task is Task.MULTICLASS:
        logits = rng.normal(0, 1.2, (rows, 4)) + shift * np.arange(4) / 3
        chance, bold = np.exp(logits), np.exp(1.6 * logits)
        chance, bold = chance / chance.sum(axis=1, keepdims=True), bold / bold.sum(axis=1, keepdims=True)
        truth = (rng.random((rows, 1)) > np.cumsum(chance, axis=1)[:, :3]).sum(axis=1)
        names = np.array(list("abcd"))
        columns = {f"p_{name}": bold[:, place] for place, name in enumerate(names)}
        table = pa.table({"answer": names[bold.argmax(axis=1)], "truth": names[truth], **columns})
        score = tuple((name, f"p_{name}") for name in names)
        return table, Schema("m", task, "answer", "truth", score=score, features=())
    x = rng.normal(0, 1, (rows, 5))
    x[:, 0] += shift
    answer = 50 + x @ np.array([5.0, 3, 1, 0, 0])
    truth = answer + np.exp(0.4 * x[:, 0] - 0.3 * x[:, 1]) * rng.normal(size=rows)
    columns = {f"x{place}": x[:, place] for place in range(5)}
    features = tuple(Column(name, Kind.NUMERIC) for name in columns)
    return pa.table({"answer": answer, "truth": truth, **columns}), Schema(
        "m", task, "answer", "truth", features=features
    )


CASES = {
    Task.BINARY: [(500, 100_000, 0.0), (1_000, 100_000, 0.0), (1_000, 100_000, 0.5), (2_000, 2_000, 0.0),
                  (10_000, 1_000, 0.5), (10_000, 100_000, 1.0)],
    Task.MULTICLASS: [(1_000, 20_000, 0.0), (2_000, 2_000, 0.0), (10_000, 1_000, 0.5), (5_000, 20_000, 0.5)],
    Task.REGRESSION: [(1_000, 20_000, 0.0), (2_000, 2_000, 0.0), (5_000, 1_000, 0.5), (5_000, 20_000, 0.5)],
}  # fmt: skip


def coverage(console: Console, repetitions: int, seed: int) -> None:
    """How often what the labels say lies within 95 % bounds; a new baseline each time."""
    for task, cases in CASES.items():
        rows: dict[str, list[str]] = {}
        for m, n, shift in cases:
            rng = np.random.default_rng([seed, m, n])
            repeated = repetitions if task is Task.BINARY else max(repetitions // 4, 10)
            hits: dict[str, list[bool]] = {}
            for _ in range(repeated):
                table, schema = simulated(task, rng, m, 0.0)
                grid, estimator, _ = learned(table, schema)
                table, _ = simulated(task, rng, n, shift)
                batch = validate_batch(table, schema, now=0.0)
                profile = whole(grid, batch, estimator.meters)
                real = performance(profile.outcome())
                for metric, value in estimated(estimator, profile).items():
                    realised = real[metric]
                    if value.value is not None and not isinstance(realised, Undefined):
                        hits.setdefault(metric, []).append(value.lower <= realised.value <= value.upper)
            for metric, inside in hits.items():
                rows.setdefault(metric, []).append(f"{100 * np.mean(inside):.0f}")
        heads = [f"m={m:,} n={n:,} shift {shift:g}" for m, n, shift in cases]
        table = Table("metric", *heads, title=f"{task}: % of realised values within the bounds")
        for metric, cells in rows.items():
            table.add_row(metric, *cells)
        console.print(table)


def cost(console: Console, seed: int) -> None:
    """Processor time to learn, to measure at ingestion and to estimate a window."""
    table = Table("task", "learn from 10,000 rows", "measure 10,000 rows", "estimate a window",
                  "bytes a bucket",
                  title="Cost, milliseconds of one core")  # fmt: skip
    import sklearn.ensemble  # noqa: F401  # its import is not what learning costs

    for task in CASES:
        rng = np.random.default_rng(seed)
        rows, schema = simulated(task, rng, 10_000, 0.0)
        batch = validate_batch(rows, schema, now=0.0)
        grid = build_grid(batch)
        profile = whole(grid, batch)
        start = time.process_time()
        if task is Task.REGRESSION:
            label: Any = np.asarray(batch.outcomes.label, np.float64)
            made: Estimator | Undefined = fit_losses(batch, label, grid.target_scale, minimum_labels=100)
        else:
            made = fit_estimator(profile, minimum_labels=100)
        learn = time.process_time() - start
        assert not isinstance(made, Undefined)
        start = time.process_time()
        totals = [meter(batch) for meter in made.meters.of_whole.rows]
        measure = time.process_time() - start
        for one in totals:
            profile.outcomes.add_totals(one)
        start = time.process_time()
        estimated(made, profile)
        window = time.process_time() - start
        size = sum(8 * len(vector) for one in totals for vector in one.values())
        table.add_row(str(task), *(f"{1000 * part:.1f}" for part in (learn, measure, window)), f"{size:,}")
    console.print(table)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--peer-output", type=Path, help="what benchmarks/peers/estimates.py wrote earlier")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    console = Console(width=150)
    cost(console, arguments.seed)
    if arguments.peer_output:
        compare(console, arguments.peer_output)
    elif not arguments.no_peer:
        python = subprocess.run(
            [ROOT / "tools/peer-venv", "nannyml"], check=True, capture_output=True, text=True, cwd=ROOT
        ).stdout.strip()
        with tempfile.TemporaryDirectory() as directory:
            script = ROOT / "benchmarks/peers/estimates.py"
            subprocess.run([python, script, directory], check=True, stdout=sys.stderr, cwd=ROOT)
            compare(console, Path(directory))
    coverage(console, arguments.repetitions, arguments.seed)


if __name__ == "__main__":
    main()
