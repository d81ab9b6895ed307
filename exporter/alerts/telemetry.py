"""What the bridge counts of itself; kept with prometheus_client on a registry of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.samples import Sample

from exporter.alerts.records import Severity
from exporter.catalog import FAMILIES

SEND_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
WEBHOOK_OUTCOMES = ("accepted", "duplicate", "rejected", "failed")
DELIVERY_OUTCOMES = ("delivered", "delivered_plain", "retried", "dead")
OPERATIONS = (
    *("send", "compose", "delivery", "lease", "outbox", "aggregation", "housekeeping"),
    *("supervision", "heartbeat", "reconciliation", "retention", "queues", "alerts", "removed"),
)
"""Where failures are caught."""

MOST_MODELS = 1000
"""Models that `ml_bridge_firing_alerts` names; those of further ones are counted together, without one."""


class BridgeTelemetry:
    """Counters, gauges and histograms of one bridge; safe to use from many threads.

    Every counter that an alert may rest on begins at 0, so that its first increase is seen.
    """

    def __init__(self, started: float) -> None:
        self.registry = CollectorRegistry()
        self.ready = self._gauge("ml_bridge_ready")
        self._gauge("ml_bridge_start_timestamp_seconds").set(started)
        self.webhooks = self._counter("ml_bridge_webhooks_total")
        self.last_webhook = self._gauge("ml_bridge_last_webhook_timestamp_seconds")
        self.last_heartbeat = self._gauge("ml_bridge_last_heartbeat_timestamp_seconds")
        self.alerts = self._counter("ml_bridge_alerts_total")
        self.unrouted = self._counter("ml_bridge_unrouted_alerts_total")
        self.reconciled = self._counter("ml_bridge_reconciled_alerts_total")
        self.firing = self._gauge("ml_bridge_firing_alerts")
        self.pending_groups = self._gauge("ml_bridge_pending_groups")
        self.notifications = self._counter("ml_bridge_notifications_total")
        self.queue = self._gauge("ml_bridge_queue")
        self.oldest = self._gauge("ml_bridge_oldest_seconds")
        self.dead = self._gauge("ml_bridge_dead")
        self.throttled = self._counter("ml_bridge_throttled_total")
        self.last_delivery = self._gauge("ml_bridge_last_delivery_timestamp_seconds")
        self.delivery_seconds = self._histogram("ml_bridge_delivery_seconds")
        self.template_failures = self._counter("ml_bridge_template_failures_total")
        self.errors = self._counter("ml_bridge_errors_total")
        self.store_bytes = self._gauge("ml_bridge_store_bytes")
        self.reloaded = self._gauge("ml_bridge_config_last_reload_successful")
        self.reloaded.set(1)
        for outcome in WEBHOOK_OUTCOMES:
            self.webhooks.labels(outcome)
        for severity in Severity:
            for change in ("firing", "resolved"):
                self.alerts.labels(severity.text, change)
        for operation in OPERATIONS:
            self.errors.labels(operation)
        for finding in ("missed", "ended"):
            self.reconciled.labels(finding)

    def _counter(self, name: str) -> Counter:
        family = FAMILIES[name]
        return Counter(family.base, family.help, family.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        family = FAMILIES[name]
        return Gauge(name, family.help, family.labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        family = FAMILIES[name]
        return Histogram(name, family.help, family.labels, registry=self.registry, buckets=SEND_BUCKETS)

    def know_channel(self, channel: str) -> None:
        """Begin the series of a channel at 0."""
        for outcome in DELIVERY_OUTCOMES:
            self.notifications.labels(channel, outcome)
        self.throttled.labels(channel)
        self.delivery_seconds.labels(channel)
        for gauge in (self.queue, self.oldest, self.dead):
            gauge.labels(channel)

    def forget_channel(self, channel: str) -> None:
        """End the gauges of a channel that is neither configured nor has anything queued."""
        for gauge in (self.queue, self.oldest, self.dead, self.last_delivery):
            with suppress(KeyError):
                gauge.remove(channel)

    def show_firing(self, counts: Mapping[tuple[str, str, str], int]) -> None:
        """Set the alerts that fire now: (model, severity, state) to their number."""
        shown: dict[tuple[str, str, str], int] = {}
        models: set[str] = set()
        for (model, severity, state), count in sorted(counts.items()):
            if model not in models and len(models) >= MOST_MODELS:
                model = ""  # noqa: PLW2901
            models.add(model)
            key = (model, severity, state)
            shown[key] = shown.get(key, 0) + count
        for labels in self._labels_of(self.firing):
            if labels not in shown:
                self.firing.remove(*labels)
        for labels, count in shown.items():
            self.firing.labels(*labels).set(count)

    def _labels_of(self, gauge: Gauge) -> Iterable[tuple[str, ...]]:
        names = FAMILIES["ml_bridge_firing_alerts"].labels
        return [
            tuple(sample.labels[name] for name in names)
            for metric in gauge.collect()
            for sample in metric.samples
        ]

    def samples(self) -> Iterator[tuple[str, Sample]]:
        """(family name, sample); without the `_created` samples."""
        for metric in self.registry.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    yield name, sample
