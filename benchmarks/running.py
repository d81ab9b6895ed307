"""An exporter in a process of its own for benchmarks, and rows to push to it."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import requests

FLOATS, STRINGS = 50, 10


@dataclass(frozen=True)
class Running:
    """A running exporter: where it listens, its process, and where it stores."""

    url: str
    process: subprocess.Popen[bytes]
    storage: Path

    def memory_bytes(self) -> int:
        """Resident memory of the exporter's own process; its worker processes are not counted."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024


@contextmanager
def running(configuration: str, *, storage: Path | None = None) -> Iterator[Running]:
    """Start `ml-exporter serve`, wait until it is ready, stop it at the end."""
    with tempfile.TemporaryDirectory() as directory, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        probe.close()
        config = Path(directory) / "models.yml"
        config.write_text(configuration, encoding="utf-8")
        kept = storage or Path(directory) / "data"
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "exporter",
                "serve",
                f"--config.file={config}",
                f"--web.listen-address={address}",
                f"--storage.path={kept}",
                "--log.level=warn",
            ]
        )
        try:
            wait_until_ready(f"http://{address}", process)
            yield Running(f"http://{address}", process, kept)
        finally:
            process.terminate()
            process.wait(60)


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            if requests.get(f"{url}/-/ready", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.02)
    raise SystemExit("the exporter did not start")


def configuration(*, ids: bool = False, floats: int = FLOATS, strings: int = STRINGS, **more: str) -> str:
    """One model `m` with this many columns."""
    features = [f"f{place}: numeric" for place in range(floats)]
    features += [f"s{place}: categorical" for place in range(strings)]
    lines = [f"    {name}: {value}" for name, value in more.items()]
    return "\n".join(
        [
            "models:",
            "  m:",
            "    task: binary",
            f"    columns: {{{'id: id, ' if ids else ''}timestamp: at, prediction: answer, score: score}}",
            f"    features: {{{', '.join(features)}}}",
            "    windows: [1d]",
            *lines,
            "",
        ]
    )


def rows(
    count: int, *, seed: int, first: int | None = None, floats: int = FLOATS, strings: int = STRINGS
) -> pa.Table:
    """Rows of the last hour; with `first`, ids that count from it."""
    generator = np.random.default_rng(seed)
    score = generator.beta(1, 3, count)
    columns: dict[str, pa.Array] = (
        {} if first is None else {"id": pa.array([f"row-{first + position}" for position in range(count)])}
    )
    columns["at"] = pa.array(time.time() - 1800 + np.sort(generator.uniform(0, 60, count)))
    columns["answer"] = pa.array(score > 0.5)
    columns["score"] = pa.array(score)
    for place in range(floats):
        columns[f"f{place}"] = pa.array(generator.normal(100, 15, count))
    for place in range(strings):
        names = np.array([f"value {number}" for number in range(5 + 5 * place)])
        columns[f"s{place}"] = pa.array(names[generator.integers(0, len(names), count)])
    return pa.table(columns)
