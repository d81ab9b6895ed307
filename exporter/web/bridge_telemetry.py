"""What a bridge that runs alone exposes: its own families, its HTTP server's, and the process'."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.samples import Sample

from exporter.catalog import FAMILIES
from exporter.clock import Clock
from exporter.exposition import Exposition, Snapshot
from exporter.service.telemetry import SECONDS_BUCKETS

_EVERY_SECONDS = 1.0


class BridgeExposition:
    """Renders the exposition once a second, so that a scrape only hands out bytes.

    Parameters
    ----------
    samples : of the bridge: (family, sample)
    is_ready : whether the bridge takes work
    clock : times of snapshots
    """

    def __init__(
        self,
        samples: Callable[[], Iterable[tuple[str, Sample]]],
        is_ready: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._samples = samples
        self._is_ready = is_ready
        self._clock = clock
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        requests, seconds = (
            FAMILIES["ml_bridge_http_requests_total"],
            FAMILIES["ml_bridge_http_request_seconds"],
        )
        self._requests = Counter(requests.base, requests.help, requests.labels, registry=self._registry)
        self._seconds = Histogram(
            seconds.name, seconds.help, seconds.labels, registry=self._registry, buckets=SECONDS_BUCKETS
        )
        self._exposition = Exposition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exposition", daemon=True)
        self._snapshot = self._render()

    @property
    def ready(self) -> bool:
        return self._is_ready()

    def snapshot(self) -> Snapshot:
        """What `/metrics` answers."""
        return self._snapshot

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self._snapshot = self._render()

    def _render(self) -> Snapshot:
        return self._exposition.snapshot(self._all(), made_at=self._clock.time())

    def _all(self) -> Iterator[tuple[str, Sample]]:
        yield from self._samples()
        for metric in self._registry.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    yield name, sample
