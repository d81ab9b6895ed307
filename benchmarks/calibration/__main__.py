"""Publish how often drift verdicts are false and how often they find what changed, beside the peers'.

    make bench-calibration
    python -m benchmarks.calibration [--repetitions 400] [--families 200] [--tables 60] [--seed 1]
                                     [--parts methods,families,peers] [--write docs/calibration.md]

`methods` takes each test alone at 5 % with minimum effect 0; `families` whole verdicts over 5 to 500
columns; `peers` gives the same tables to the exporter, Evidently, NannyML and whylogs, each with its
defaults and in an environment of its own (tools/peer-venv). Beside rates stand two standard errors.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.calibration import ours
from benchmarks.calibration.null_rates import FAMILIES, FAMILY_SIZES, SIZES, family_rate, method_rates
from benchmarks.calibration.scenes import SHIFTS, STABLE, table

PEERS = ("evidently", "nannyml", "whylogs")
TOOLS = ("ml-exporter", *PEERS)
BASELINE_ROWS = 10_000
WINDOW_ROWS = (100, 1_000, 10_000)
REPOSITORY = Path(__file__).parents[2]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def two_errors(count: int) -> float:
    return 2 * math.sqrt(0.05 * 0.95 / count)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def methods_tables(wanted: int, seed: int) -> str:
    """Mean rate of each method over the columns, by sizes; and the rates by column at the worst size."""
    rows, details = [], []
    columns: dict[str, dict[str, list[float]]] = {}
    for n, m in SIZES:
        begun = time.perf_counter()
        count, found = method_rates(n, m, wanted=wanted, seed=seed)
        found = {method: by for method, by in found.items() if by}
        say(f"methods {n:,} v {m:,}: {count} pairs in {time.perf_counter() - begun:.0f} s")
        rows.append(
            [f"{n:,}", f"{m:,}", f"{count} (+-{two_errors(count):.3f})"]
            + [f"{np.mean(list(by.values())):.3f}" if by else "" for by in found.values()]
        )
        for method, by in found.items():
            for column, rate in by.items():
                columns.setdefault(column, {}).setdefault(method, []).append(rate)
        names = list(found)
    for column, by in columns.items():
        cells = [f"{np.mean(by[name]):.3f} ({max(by[name]):.2f})" if name in by else "" for name in names]
        details.append([column, *cells])
    return "\n\n".join(
        (
            "Share of false alarms at 5 %, mean over the columns for which the method is defined:",
            markdown(["window", "baseline", "pairs", *names], rows),
            "The same by column: mean over all sizes (and the largest at one size):",
            markdown(["column", *names], details),
        )
    )


def families_table(wanted: int, seed: int) -> str:
    rows = []
    for n, m in FAMILY_SIZES:
        cells = []
        for columns in FAMILIES:
            begun = time.perf_counter()
            count, rate = family_rate(columns, n, m, wanted=wanted, seed=seed)
            say(f"family {columns} x {n:,} v {m:,}: {count} in {time.perf_counter() - begun:.0f} s")
            cells.append(f"{rate:.3f} (+-{two_errors(count):.3f})")
        rows.append([f"{n:,}", f"{m:,}", *cells])
    return "\n\n".join(
        (
            "Share of windows with any false verdict among so many columns (minimum effect 0):",
            markdown(["window", "baseline", *(f"{columns} columns" for columns in FAMILIES)], rows),
        )
    )


def peer_tables(tables: int, seed: int) -> str:
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        rng = np.random.default_rng(seed)
        for rows in WINDOW_ROWS:
            for number in range(tables):
                name = f"{rows}-{number:04d}"
                baseline = table(rng, BASELINE_ROWS, changed=False)
                current = table(rng, rows, changed=True)
                baseline.to_parquet(where / f"{name}-baseline.parquet")
                current.to_parquet(where / f"{name}-current.parquet")
                found = ours.verdicts(baseline, current)
                (where / f"{name}-ml-exporter.json").write_text(json.dumps(found), encoding="utf-8")
        for peer in PEERS:
            python = subprocess.run(
                ["tools/peer-venv", peer], cwd=REPOSITORY, check=True, capture_output=True, text=True
            ).stdout.strip()
            begun = time.perf_counter()
            subprocess.run(
                [python, "benchmarks/peers/verdicts.py", peer, str(where)],
                cwd=REPOSITORY, check=True, capture_output=True, text=True,
            )  # fmt: skip
            say(f"{peer}: {time.perf_counter() - begun:.0f} s")
        verdicts = {
            (tool, rows): [
                json.loads(path.read_text(encoding="utf-8"))
                for path in sorted(where.glob(f"{rows}-????-{tool}.json"))
            ]
            for tool in TOOLS
            for rows in WINDOW_ROWS
        }
    return _peer_report(verdicts, tables)


def _peer_report(verdicts: dict[tuple[str, int], list[dict[str, bool]]], tables: int) -> str:
    def share(tool: str, rows: int, said: Callable[[dict[str, bool]], float]) -> str:
        return f"{np.mean([said(found) for found in verdicts[tool, rows]]):.2f}"

    head = ["", *(f"{tool}, {rows:,}" for rows in WINDOW_ROWS for tool in TOOLS)]

    def line(title: str, said: Callable[[dict[str, bool]], float]) -> list[str]:
        return [title, *(share(tool, rows, said) for rows in WINDOW_ROWS for tool in TOOLS)]

    false = [
        line("any of the 13", lambda found: any(found.get(name, False) for name in STABLE)),
        *(line(name, lambda found, name=name: found.get(name, False)) for name in STABLE),
    ]
    power = [line(name, lambda found, name=name: found.get(name, False)) for name in SHIFTS]
    return "\n\n".join(
        (
            f"{tables} tables of {len(STABLE) + len(SHIFTS)} columns against {BASELINE_ROWS:,} rows.",
            "**False verdicts** on columns that did not change, each tool with its defaults:",
            markdown(head, false),
            "**Power**, the share of tables in which the changed column was found:",
            markdown(head, power),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--families", type=int, default=200)
    parser.add_argument("--tables", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", default="methods,families,peers")
    parser.add_argument("--write", type=Path, help="a page whose tables between the marks are replaced")
    given = parser.parse_args()
    parts = {
        "methods": lambda: methods_tables(given.repetitions, given.seed),
        "families": lambda: families_table(given.families, given.seed),
        "peers": lambda: peer_tables(given.tables, given.seed),
    }
    for part in given.parts.split(","):
        text = parts[part]()
        print(f"## {part}\n\n{text}\n", flush=True)
        if given.write is not None:
            page = given.write.read_text(encoding="utf-8")
            first, last = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
            before, _, rest = page.partition(first)
            _, _, after = rest.partition(last)
            given.write.write_text(f"{before}{first}\n\n{text}\n\n{last}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
