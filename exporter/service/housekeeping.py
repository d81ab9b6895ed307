"""What happens by itself: stale models, expiry, compaction and the exporter's own gauges."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from exporter.clock import Clock
from exporter.service.baselines.refresh import Refresher
from exporter.service.evaluation.arrivals import judge_again
from exporter.service.evaluation.evaluator import Evaluator
from exporter.service.history.upkeep import HistoryUpkeep
from exporter.service.lane import Lane
from exporter.service.publisher import Publisher
from exporter.service.telemetry import Telemetry
from exporter.store import Store

log = logging.getLogger(__name__)

SECONDS_PER_DAY = 86_400
TICK_SECONDS = 1.0
EXPIRE_EVERY_SECONDS = 60.0


class Housekeeping:
    """One thread that looks after the store and the snapshot once a second."""

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        store: Store,
        clock: Clock,
        *,
        telemetry: Telemetry,
        publisher: Publisher,
        evaluator: Evaluator,
        refresher: Refresher,
        history: HistoryUpkeep,
    ) -> None:
        self._lanes = lanes
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._publisher = publisher
        self._evaluator = evaluator
        self._history = history
        self._refresher = refresher
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._one = threading.Lock()
        self._expired_at = 0.0
        self._transactions = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            try:
                self.tick()
            except Exception:
                log.exception("housekeeping failed; it is tried again")
                self._telemetry.errors.labels("", "housekeeping").inc()

    def tick(self) -> None:
        """Do what is due; one at a time, whoever asks."""
        with self._one:
            self._tick()

    def _tick(self) -> None:
        now = self._clock.time()
        for lane in list(self._lanes.values()):
            self._publisher.check_stale(lane, now)
            if judge_again(lane, now):
                self._publisher.update(lane)
            if self._refresher.tick(lane):
                self._evaluator.notify()
            self._history.tick(lane, now)
        if not 0 <= now - self._expired_at < EXPIRE_EVERY_SECONDS:
            self._expired_at = now
            for lane in list(self._lanes.values()):
                self.expire(lane, now)
                self._history.expire(lane, now)
        self._measure()
        self._publisher.publish()

    def expire(self, lane: Lane, now: float) -> None:
        """Drop what nobody can ask for any more, and merge small rows of the store."""
        horizon, retention = lane.config.label_horizon, lane.retention_seconds
        with lane.lock:
            known = {name: lane.age_of(state, now) for name, state in lane.versions.items()}
            ages = {name: age for name, age in known.items() if age is not None}
            days = {name: int((age - horizon) // SECONDS_PER_DAY) for name, age in ages.items()}
            for name, age in ages.items():
                for series in lane.versions[name].series.values():
                    series.expire(age - retention)
                lane.versions[name].errors.expire(age - retention)
                lane.index.expire_days(days[name], version=name)
            lane.index.expire_held(now - horizon)
            compared = lane.config.champion is None or lane.contests.complete
            spans = {name: lane.contests.spans(name) for name in ages}
        for name, age in ages.items():
            self._history.before_expiry(lane, name, int(age - retention))
            self._store.expire(
                lane.name,
                version=name,
                before_bucket=int(age - retention) if compared else None,
                before_day=days[name],
                carry=spans[name],
            )
        if ages:
            self._store.expire(
                lane.name,
                before_day=min(days.values()),
                labels_before=now - 2 * horizon,
                answers_before=now - lane.config.idempotency_retention,
            )
        self._store.compact(lane.name)

    def _measure(self) -> None:
        telemetry = self._telemetry
        telemetry.store_bytes.set(self._store.size_bytes())
        if self._store.transactions != self._transactions:
            self._transactions = self._store.transactions
            telemetry.last_commit.set(self._clock.time())
        telemetry.evaluation_queue.set(self._evaluator.queue)
        for lane in list(self._lanes.values()):
            telemetry.pending_predictions.labels(lane.name).set(lane.index.pending)
            telemetry.held_labels.labels(lane.name).set(lane.index.held)
            telemetry.index_bytes.labels(lane.name).set(lane.index.memory_bytes)
