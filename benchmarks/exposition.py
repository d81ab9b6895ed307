"""100,000 series to ready bytes, against prometheus_client on the same series in the same run.

Run as ``python benchmarks/exposition.py [--series 100000] [--models 10] [--scrape]``.
`--scrape` lets a real Prometheus scrape the result (needs the program `prometheus`).
"""

from __future__ import annotations

import argparse
import gc
import gzip
import shutil
import socket
import tempfile
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.catalog import FAMILIES
from exporter.exposition import Exposition, negotiate

METHODS = ("ks", "psi", "js", "wasserstein", "missing")
REPEATS = 7


def samples(model: str, count: int, change: float) -> list[tuple[str, tuple[str, ...], float]]:
    """Return `count` series of one model in eight families; `change` makes every value another."""
    made = []
    windowed = ("ml_drift_statistic", "ml_drift_critical_value", "ml_drift_p_value")
    for at in range(count // 4):
        column, method, window = f"column_{at // 10}", METHODS[at % 5], ("1d", "7d")[at // 5 % 2]
        made += [
            (family, (model, "v1", window, column, "feature", method), change * (at + 1) / 7)
            for family in windowed
        ]
        made.append(("ml_column_rows_total", (model, "v1", column, "grid", f"{at % 10:02}"), at + change))
    return made


class Collector:
    """The same series as prometheus_client's users would give them."""

    def __init__(self, rows) -> None:
        self.rows = rows

    def describe(self):
        return []

    def collect(self):
        families = {}
        for name, labels, value in self.rows:
            if name not in families:
                catalogued = FAMILIES[name]
                families[name] = GaugeMetricFamily(
                    name.removesuffix("_total"), catalogued.help, labels=catalogued.labels
                )
            families[name].add_metric(labels, value)
        return families.values()


def median(function, times: int = REPEATS) -> float:
    """Return the median milliseconds of a call."""
    taken = []
    for attempt in range(times):
        gc.collect()
        started = time.perf_counter()
        function(attempt)
        taken.append(time.perf_counter() - started)
    return sorted(taken)[times // 2] * 1000


def show(name: str, milliseconds: float, note: str = "") -> None:
    print(f"{name:<66} {milliseconds:8.1f} ms  {note}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--series", type=int, default=100_000)
    arguments.add_argument("--models", type=int, default=10)
    arguments.add_argument("--scrape", action="store_true")
    options = arguments.parse_args()
    each = options.series // options.models
    versions = [
        {f"model_{at}": samples(f"model_{at}", each, change) for at in range(options.models)}
        for change in (1.0, 1.5)
    ]
    exposition = Exposition()

    def render_all(attempt: int) -> None:
        for model, rows in versions[attempt % 2].items():
            exposition.update(model, rows)
        exposition.snapshot(made_at=0.0)

    started = time.perf_counter()
    render_all(0)
    first = (time.perf_counter() - started) * 1000
    shot = exposition.snapshot(made_at=0.0)
    print(
        f"{shot.series} series of {options.models} models: text {len(shot.text) / 1e6:.1f} MB, "
        f"gzip {len(shot.text_gzip) / 1e6:.2f} MB"
    )
    everything = median(lambda attempt: render_all(attempt + 1))
    one = median(
        lambda attempt: (
            exposition.update("model_0", versions[attempt % 2]["model_0"]),
            exposition.snapshot(made_at=0.0),
        )
    )
    nothing = median(lambda _: exposition.snapshot(made_at=0.0))
    show("first render of all (label texts are made)", first)
    show("re-render of all, every value changed: four forms of bytes", everything, "must be < 250")
    show("re-render of one model, the others unchanged: four forms", one)
    show("nothing changed: bytes joined, checksums", nothing)
    show("what a scrape does (an attribute is read)", median(lambda _: shot.openmetrics_gzip))

    registry = CollectorRegistry()
    registry.register(Collector([row for rows in versions[0].values() for row in rows]))
    text = median(lambda _: generate_latest(registry), 3)
    openmetrics = median(lambda _: generate_openmetrics(registry), 3)
    compressed = median(lambda _: gzip.compress(shot.text), 3)
    show("prometheus_client, custom collector, text", text, f"{text / everything:.1f} x ours, one form")
    show(
        "prometheus_client, custom collector, OpenMetrics",
        openmetrics,
        f"{openmetrics / everything:.1f} x ours",
    )
    show("gzip of the text as prometheus_client does it (level 9)", compressed)
    if options.scrape:
        scrape(shot)


def scrape(shot) -> None:
    """Print how long a real Prometheus takes for the ready bytes."""
    from tests.prometheus import running_prometheus, serving

    program = shutil.which("prometheus")
    if program is None:
        print("prometheus is not installed: no scrape measured")
        return

    def answer(accept, accept_encoding):
        form = negotiate(accept, accept_encoding)
        return getattr(shot, form.attribute), form.headers

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(answer) as address,
        running_prometheus(Path(program), Path(directory), address, port, interval="3s") as prometheus,
    ):
        first = prometheus.wait_for_scrape()["lastScrapeDuration"] * 1000
        later = prometheus.wait_for_scrape()["lastScrapeDuration"] * 1000
        count = prometheus.value("scrape_samples_scraped")
        show(f"a real Prometheus scrapes {count:.0f} samples", later, f"{first:.0f} ms the time before")


if __name__ == "__main__":
    main()
