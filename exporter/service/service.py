"""The exporter behind its doors: everything that the web and the command line ask for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import pyarrow as pa

from exporter.clock import Clock, SystemClock
from exporter.config import Config
from exporter.errors import BusyError, ExporterError, NotFoundError, UnusableBatchError
from exporter.exposition import Snapshot
from exporter.rules import RuleSet, RuleWorker
from exporter.schema import Schema
from exporter.service.answers import Answer, Request
from exporter.service.baselines.making import BaselineService
from exporter.service.baselines.refresh import Refresher, blocked_refreshes
from exporter.service.baselines.succession import succession
from exporter.service.comparing.comparisons import comparisons
from exporter.service.evaluation.evaluator import Evaluator
from exporter.service.history.questions import Question, history, known_versions, open_history
from exporter.service.history.recording import HistoryRecorder
from exporter.service.history.upkeep import HistoryUpkeep
from exporter.service.housekeeping import Housekeeping
from exporter.service.ingestion.batches import BatchIngestion
from exporter.service.ingestion.labels import LabelIngestion
from exporter.service.ingestion.remote import ProfileIngestion
from exporter.service.lane import Lane
from exporter.service.publisher import OwnSamples, Publisher
from exporter.service.questions import queries
from exporter.service.questions.curves import curves
from exporter.service.questions.segments import segments
from exporter.service.recovery import recover
from exporter.service.telemetry import Telemetry
from exporter.store import Commit, Store

log = logging.getLogger(__name__)

MAX_VERSION_CHARACTERS = 200


class Service:
    """One exporter: its models, its store, its evaluations and its snapshot.

    Parameters
    ----------
    config : Config
    store : Store
        Opened and closed by the caller.
    clock : Clock
    """

    def __init__(self, config: Config, store: Store, *, clock: Clock | None = None) -> None:
        self._config = config
        self._store = store
        self._clock = clock or SystemClock()
        self._lanes: dict[str, Lane] = {}
        self._ready = False
        self._stopping = False
        self.telemetry = Telemetry(self._clock.time())
        self._rule_worker = RuleWorker()
        self._batches = BatchIngestion(store, self._clock)
        self._labels = LabelIngestion(store, self._clock)
        self._profiles = ProfileIngestion(store, self._clock)
        self._baselines = BaselineService(store, self._clock)
        self._refresher = Refresher(self._baselines, self._clock)
        self._publisher = Publisher(self._lanes, self.telemetry, self._clock)
        self._history = HistoryRecorder(store.history, store.past)
        self._evaluator = Evaluator(
            self._lanes, self._clock, self.telemetry, self._evaluation_done, self._evaluation_failed
        )
        self._housekeeping = Housekeeping(
            self._lanes,
            store,
            self._clock,
            telemetry=self.telemetry,
            publisher=self._publisher,
            evaluator=self._evaluator,
            refresher=self._refresher,
            history=HistoryUpkeep(store, self._history),
        )

    # -- life ---------------------------------------------------------------------------------------

    def start(self, *, background: bool = False) -> None:
        """Recover the models, then evaluate and publish.

        With `background` it returns at once, and `ready` turns true when recovery is done.
        """
        if background:
            threading.Thread(target=self._start, name="recovery", daemon=True).start()
        else:
            self._start()

    def _start(self) -> None:
        for name, config in self._config.models.items():
            rules = RuleSet.compile(
                {column: rule.checks() for column, rule in config.quality.validation_rules.items()},
                config.quality.consistency_rules,
                config.schema(name),
                worker=self._rule_worker,
            )
            self._lanes[name] = recover(name, config, self._store, rules)
        self._publisher.announce()
        for lane in self._lanes.values():
            self._make_provisional(lane)
            self._evaluator.evaluate_now(lane, self._clock.time())
        self._ready = True
        self.telemetry.ready.set(1)
        self._evaluator.start()
        self._housekeeping.start()

    def stop(self) -> None:
        """Finish what is under way; nothing new is taken from here on. Whoever opened the store closes it."""
        self._stopping = True
        self._ready = False
        self.telemetry.ready.set(0)
        self._housekeeping.stop()
        self._evaluator.stop()
        self._rule_worker.close()

    @property
    def ready(self) -> bool:
        """Whether the store is recovered and work is taken."""
        return self._ready

    # -- ingestion ----------------------------------------------------------------------------------

    def ingest_batch(
        self,
        model: str,
        table: pa.Table,
        *,
        version: str = "default",
        key: str | None = None,
        body_hash: str = "",
        backfill: bool = False,
    ) -> Answer:
        """Take rows; blocks until they are durable."""
        lane = self._lane(model)
        check_version(version)
        with self.telemetry.timed(self.telemetry.ingest_seconds, model, "batches"):
            answer = self._batches.ingest(
                lane, table, version, Request("batches", key, body_hash, version), backfill=backfill
            )
        if backfill:
            self._history.past_changed(model)
        self._taken(lane)
        return answer

    def ingest_labels(
        self, model: str, table: pa.Table, *, key: str | None = None, body_hash: str = ""
    ) -> Answer:
        """Take labels; blocks until they are durable."""
        lane = self._lane(model)
        with self.telemetry.timed(self.telemetry.ingest_seconds, model, "labels"):
            answer = self._labels.ingest(lane, table, Request("labels", key, body_hash))
        self._evaluator.notify()
        return answer

    def ingest_profile(
        self,
        model: str,
        data: bytes,
        *,
        version: str = "default",
        key: str | None = None,
        body_hash: str = "",
    ) -> Answer:
        """Take profiles that were made elsewhere on the current grid; blocks until they are durable."""
        lane = self._lane(model)
        check_version(version)
        with self.telemetry.timed(self.telemetry.ingest_seconds, model, "profiles"):
            answer = self._profiles.ingest(lane, data, version, Request("profiles", key, body_hash, version))
        self._evaluator.notify()
        return answer

    def _taken(self, lane: Lane) -> None:
        self._make_provisional(lane)
        self._evaluator.notify()

    def _make_provisional(self, lane: Lane) -> None:
        """Make a baseline of the first rows when there are enough; they were taken, whatever comes of it."""
        if lane.grid is not None or lane.raw_rows < lane.config.baseline.rows:
            return
        try:
            self._baselines.make_provisional(lane)
        except ExporterError:
            log.exception("no provisional baseline could be made for model %s", lane.name)
            self.telemetry.errors.labels(lane.name, "baseline").inc()

    # -- baselines ----------------------------------------------------------------------------------

    def create_baseline(
        self,
        model: str,
        *,
        version: str | None = None,
        table: pa.Table | None = None,
        period: tuple[float, float] | None = None,
        artifact: bytes | None = None,
        activate: bool = True,
        regrid: bool = False,
        key: str | None = None,
        body_hash: str = "",
    ) -> Answer:
        """Make a baseline from exactly one of `table`, `period` and `artifact`."""
        lane = self._lane(model)
        if version is not None:
            check_version(version)
        request = Request("baselines", key, body_hash)
        if table is not None:
            answer = self._baselines.from_rows(
                lane, table, version, request, activate=activate, regrid=regrid
            )
        elif period is not None:
            answer = self._baselines.from_period(lane, period, version, request, activate=activate)
        elif artifact is not None:
            answer = self._baselines.from_artifact(
                lane, artifact, version, request, activate=activate, regrid=regrid
            )
        else:
            raise UnusableBatchError('a baseline is made from rows, {"from": T, "to": T} or an artifact')
        self._evaluator.notify()
        return answer

    def list_baselines(self, model: str) -> dict[str, Any]:
        lane = self._lane(model)
        with lane.lock:
            ordered = sorted(lane.baselines.values(), key=lambda baseline: baseline.created)
            described = [{**self._baselines.describe(one), **succession(lane, one)} for one in ordered]
            return {"model": model, "baselines": described, "blocked": blocked_refreshes(lane)}

    def show_baseline(self, model: str, baseline: str) -> dict[str, Any]:
        lane = self._lane(model)
        stored = self._baselines.get(lane, baseline)
        profile = lane.baseline_profile(stored)
        columns = {
            name: queries.column_summary(profile.column(name)) for name, grid in profile.grid.columns.items()
        }
        return {**self._baselines.describe(stored), "columns": columns}

    def baseline_artifact(self, model: str, baseline: str) -> bytes:
        return self._baselines.artifact(self._lane(model), baseline)

    def activate_baseline(self, model: str, baseline: str) -> Answer:
        answer = self._baselines.activate(self._lane(model), baseline)
        self._evaluator.notify()
        return answer

    def refresh_baseline(self, model: str, version: str | None = None, *, force: bool = False) -> Answer:
        """Promote the newest window in place of the active baseline; guarded unless `force`."""
        if version is not None:
            check_version(version)
        answer = self._refresher.now(self._lane(model), version, force=force)
        self._evaluator.notify()
        return answer

    def roll_back_baseline(self, model: str, version: str | None = None) -> Answer:
        answer = self._baselines.roll_back(self._lane(model), version)
        self._evaluator.notify()
        return answer

    def compare_baselines(self, model: str, baseline: str, other: str | None = None) -> dict[str, Any]:
        return self._baselines.difference(self._lane(model), baseline, other)

    def delete_baseline(self, model: str, baseline: str) -> Answer:
        answer = self._baselines.delete(self._lane(model), baseline)
        self._evaluator.notify()
        return answer

    # -- questions ----------------------------------------------------------------------------------

    def schema(self, model: str) -> Schema:
        return self._lane(model).schema

    def list_models(self) -> dict[str, Any]:
        now = self._clock.time()
        return {"models": [queries.summary(lane, now) for lane in self._lanes.values()]}

    def show_model(self, model: str) -> dict[str, Any]:
        return queries.details(self._lane(model), self._clock.time())

    def performance(
        self, model: str, window: str | None = None, version: str | None = None, segment: str | None = None
    ) -> dict[str, Any]:
        return queries.evaluations(
            self._lane(model),
            "performance",
            self._clock.time(),
            window=window,
            version=version,
            segment=segment,
        )

    def drift(
        self, model: str, window: str | None = None, version: str | None = None, segment: str | None = None
    ) -> dict[str, Any]:
        return queries.evaluations(
            self._lane(model), "drift", self._clock.time(), window=window, version=version, segment=segment
        )

    def quality(
        self, model: str, window: str | None = None, version: str | None = None, segment: str | None = None
    ) -> dict[str, Any]:
        return queries.evaluations(
            self._lane(model), "quality", self._clock.time(), window=window, version=version, segment=segment
        )

    def comparisons(self, model: str) -> dict[str, Any]:
        """Every challenger against the champion, since their comparison began."""
        return comparisons(self._lane(model))

    def status(
        self, model: str, window: str | None = None, version: str | None = None, segment: str | None = None
    ) -> dict[str, Any]:
        return queries.status(self._lane(model), self._clock.time(), window, version, segment)

    def segments(
        self,
        model: str,
        *,
        window: str | None = None,
        version: str | None = None,
        metric: str | None = None,
        limit: str | None = None,
        offset: str | None = None,
    ) -> dict[str, Any]:
        """Segments worst first, paged, and the weak ones that the search found."""
        return segments(
            self._lane(model), window=window, version=version, metric=metric, limit=limit, offset=offset
        )

    def distributions(
        self, model: str, column: str | None = None, window: str | None = None, version: str | None = None
    ) -> dict[str, Any]:
        lane = self._lane(model)
        if column is None:
            raise UnusableBatchError("say which column: ?column=NAME", code="missing_parameter")
        return queries.distributions(lane, column, window, version)

    def history(self, model: str, question: Question) -> dict[str, Any]:
        """One page of what earlier evaluations said."""
        lane = self._lane(model)
        self._history.settle(model)
        return history(lane, self._store.history, question)

    def history_openmetrics(self, model: str, question: Question, *, step: float = 0.0) -> Iterator[bytes]:
        """The text of what scrapes would have seen, in pieces; names are checked before the first one."""
        lane = self._lane(model)
        self._history.settle(model)
        return open_history(lane, self._store.history, question, step=step)

    def curves(
        self,
        model: str,
        curve: str | None = None,
        *,
        window: str | None = None,
        version: str | None = None,
        segment: str | None = None,
        of_class: str | None = None,
    ) -> Mapping[str, Any]:
        """One curve over all thresholds, of a window and of its baseline."""
        return curves(self._lane(model), curve, window, version, segment, of_class=of_class)

    def grid(self, model: str) -> Mapping[str, Any]:
        return queries.grid(self._lane(model))

    # -- forgetting ---------------------------------------------------------------------------------

    def delete_data(self, model: str) -> Answer:
        """Forget all rows, labels and baselines of a model; its configuration stays."""
        lane = self._lane(model)
        with lane.gate.exclusive():
            self._store.delete_model(model)
            fresh = recover(model, lane.config, self._store, lane.rules)
            with lane.lock:
                lane.become(fresh)
        self._history.past_changed(model)
        self._evaluator.evaluate_now(lane, self._clock.time())
        return Answer(200, {"model": model, "deleted": True})

    def delete_version(self, model: str, version: str) -> Answer:
        """Forget what one version saw and answered, and its baselines."""
        lane = self._lane(model)
        if version not in lane.versions and version not in known_versions(self._store.history, model):
            raise NotFoundError(f"model {model!r} has no version {version!r}")
        with lane.gate.exclusive():
            self._store.delete_version(model, version)
            fresh = recover(model, lane.config, self._store, lane.rules)
            with lane.lock:
                lane.become(fresh)
        self._history.past_changed(model)
        self._evaluator.evaluate_now(lane, self._clock.time())
        return Answer(200, {"model": model, "version": version, "deleted": True})

    # -- exposition ---------------------------------------------------------------------------------

    def expose(self, samples: OwnSamples) -> None:
        """Put what `samples` gives, time and again, on `/metrics` too."""
        self._publisher.expose(samples)

    def snapshot(self) -> Snapshot:
        """Ready bytes; never computes and never waits."""
        return self._publisher.snapshot

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self.telemetry.http_requests.labels(method, route, str(status)).inc()
        self.telemetry.http_seconds.labels(method, route).observe(seconds)

    def evaluate(self, model: str) -> None:
        """Evaluate a model now, whatever its interval; for tests and tools."""
        self._evaluator.evaluate_now(self._lane(model), self._clock.time())

    # -- inside -------------------------------------------------------------------------------------

    def _lane(self, model: str) -> Lane:
        if self._stopping:
            raise BusyError(
                "the exporter is stopping; try again soon", retry_after_seconds=5, code="stopping"
            )
        if model not in self._config.models:
            raise NotFoundError(
                f"there is no model {model!r}; configured are "
                f"{', '.join(sorted(self._config.models)) or 'none'}"
            )
        if not self._ready:
            raise BusyError(
                "the exporter is still recovering its store", retry_after_seconds=2, code="not_ready"
            )
        return self._lanes[model]

    def _evaluation_done(self, lane: Lane) -> None:
        """Publish, and keep since when verdicts stand: 0 for one that has ended."""
        changed: dict[tuple[str, ...], float] = {}
        with lane.lock:
            for key in lane.drift_since.keys() | lane.kept_drift_since.keys():
                since = lane.drift_since.get(key, 0.0)
                if lane.kept_drift_since.get(key, 0.0) != since:
                    changed["drift_since", *key] = since
            lane.kept_drift_since = dict(lane.drift_since)
            changed |= lane.contests.unsaved()
        if changed:
            try:
                future = self._store.submit(Commit(model=lane.name, state=changed))
            except BusyError:
                lane.kept_drift_since = {}  # tried again after the next evaluation
                lane.contests.not_kept()
            else:
                future.add_done_callback(lambda done: self._note_kept(lane, done))
        self._publisher.update(lane)
        self._history.record(lane)

    @staticmethod
    def _note_kept(lane: Lane, done: Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            lane.kept_drift_since = {}  # tried again after the next evaluation
            lane.contests.not_kept()

    def _evaluation_failed(self, lane: Lane, error: Exception) -> None:  # noqa: ARG002  # logged by the evaluator
        self.telemetry.errors.labels(lane.name, "evaluation").inc()


def check_version(version: str) -> None:
    """A version is any text of 1 to 200 printable characters."""
    if not version or len(version) > MAX_VERSION_CHARACTERS or not version.isprintable():
        raise UnusableBatchError(
            f"a version is text of 1 to {MAX_VERSION_CHARACTERS} printable characters, got {version!r}",
            code="bad_version",
        )
