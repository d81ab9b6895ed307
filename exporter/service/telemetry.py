"""What the exporter counts of itself; kept with prometheus_client on a registry of its own."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.samples import Sample

from exporter.catalog import FAMILIES

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def package_version() -> str:
    """Version of the installed package."""
    try:
        return version("ml-exporter")
    except PackageNotFoundError:
        return "unknown"


class Telemetry:
    """Counters, gauges and histograms of one exporter; safe to use from many threads."""

    def __init__(self, started: float) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.http_requests = self._counter("ml_exporter_http_requests_total")
        self.http_seconds = self._histogram("ml_exporter_http_request_seconds")
        self.ingest_seconds = self._histogram("ml_exporter_ingest_seconds")
        self.evaluation_seconds = self._histogram("ml_exporter_evaluation_seconds")
        self.render_seconds = self._histogram("ml_exporter_render_seconds")
        self.errors = self._counter("ml_exporter_errors_total")
        self.ready = self._gauge("ml_exporter_ready")
        self.store_bytes = self._gauge("ml_exporter_store_bytes")
        self.last_commit = self._gauge("ml_exporter_last_commit_timestamp_seconds")
        self.evaluation_queue = self._gauge("ml_exporter_evaluation_queue")
        self.pending_predictions = self._gauge("ml_exporter_pending_predictions")
        self.held_labels = self._gauge("ml_exporter_held_labels")
        self.index_bytes = self._gauge("ml_exporter_prediction_index_bytes")
        self._gauge("ml_exporter_start_timestamp_seconds").set(started)
        self._gauge("ml_exporter_build_info").labels(package_version(), platform.python_version()).set(1)

    def _counter(self, name: str) -> Counter:
        family = FAMILIES[name]
        return Counter(family.base, family.help, family.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        family = FAMILIES[name]
        return Gauge(name, family.help, family.labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        family = FAMILIES[name]
        return Histogram(name, family.help, family.labels, registry=self.registry, buckets=SECONDS_BUCKETS)

    @contextmanager
    def timed(self, histogram: Histogram, *labels: str) -> Iterator[None]:
        """Observe how long the block took, also when it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            (histogram.labels(*labels) if labels else histogram).observe(time.perf_counter() - started)

    def samples(self) -> Iterator[tuple[str, Sample]]:
        """(family name, sample); without the `_created` samples."""
        for metric in self.registry.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    yield name, sample
