"""When models are evaluated, and what goes into an evaluation."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from exporter.clock import Clock
from exporter.evaluation import Reference, Settings, Subject, evaluate, reference_performance
from exporter.profiles import Profile
from exporter.results import Evaluation, Window
from exporter.service.gaps import gaps
from exporter.service.lane import EvaluationKey, Lane, VersionState, split_segment
from exporter.service.telemetry import Telemetry
from exporter.windows import ProfileSeries, Span, label_watermark

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Input:
    """One window of one version or segment, copied out of the lane so that statistics need no lock."""

    subject: Subject
    current: Profile
    outcomes: Profile | None
    outcome_span: Span | None
    baseline: Profile | None
    reference: Reference
    labeled_ratio: float | None


def settings_of(lane: Lane) -> Settings:
    """The part of a model's configuration that evaluations depend on."""
    config = lane.config
    return Settings(
        drift_threshold=config.drift_threshold,
        alert_threshold=config.alert_threshold,
        metrics=config.metric_names,
        methods=config.drift.methods,
        correction=config.drift.correction,
        minimum_effect=config.drift.minimum_effect,
        minimum_rows=config.drift.minimum_rows,
        quality_weights=config.quality.weights,
        timeliness=config.quality.timeliness is not None,
        id_column=lane.schema.id,
    )


def exported_versions(lane: Lane) -> list[VersionState]:
    """The versions with the newest rows, at most `max_versions`, by name."""
    newest = sorted(
        (state for state in lane.versions.values() if state.watermark is not None),
        key=lambda state: state.watermark or 0.0,
        reverse=True,
    )
    return sorted(newest[: lane.config.max_versions], key=lambda state: state.name)


def evaluate_lane(lane: Lane, now: float) -> Mapping[EvaluationKey, Evaluation]:
    """Evaluate every window of every exported version and segment of a model."""
    with lane.lock:
        inputs = [
            prepared
            for state in exported_versions(lane)
            for key, series in sorted(state.series.items())
            if not series.empty
            for prepared in _inputs(lane, state, key, series, now)
        ]
        settings = settings_of(lane)
        custom_metrics = [("performance", name, "not_comparable") for name in lane.config.custom_metrics]
    evaluations = {}
    for prepared in inputs:
        made = evaluate(
            prepared.subject,
            prepared.current,
            outcomes=prepared.outcomes,
            outcome_span=(span.start, span.end) if (span := prepared.outcome_span) else None,
            baseline=prepared.baseline,
            reference=prepared.reference,
            settings=settings,
        )
        made = replace(made, labeled_ratio=prepared.labeled_ratio)
        made = replace(made, undefined=(*made.undefined, *custom_metrics, *gaps(lane, made)))
        evaluations[made.version, made.window.name, made.segment] = made
    return evaluations


def _inputs(lane: Lane, state: VersionState, key: str, series: ProfileSeries, now: float) -> list[_Input]:
    watermark = state.watermark
    baseline = lane.active_baseline(state.name)
    if watermark is None or lane.grid is None:
        return []
    profile, reference = None, None
    if baseline is not None and baseline.grid_id in lane.grids:
        profile = lane.baseline_profile(baseline)
        if baseline.id not in lane.references:
            lane.references[baseline.id] = reference_performance(profile, settings_of(lane))
        reference = lane.references[baseline.id]
    labeled_until = label_watermark(
        series.coverage(), lane.config.min_label_coverage, horizon_start=watermark - lane.config.label_horizon
    )
    prepared = []
    for window in lane.config.windows:
        span, current = series.window(window.name, watermark, "features")
        outcome_span, outcomes = None, None
        if labeled_until is not None:
            outcome_span, running = series.window(window.name, labeled_until, "outcomes")
            outcomes = running.copy()
        subject = Subject(
            model=lane.name,
            version=state.name,
            window=Window(window.name, window.seconds),
            segment=split_segment(key),
            start=span.start,
            end=span.end,
            made_at=now,
        )
        prepared.append(
            _Input(
                subject,
                current.copy(),
                outcomes,
                outcome_span,
                profile,
                reference,
                _labeled_ratio(series, span),
            )
        )
    return prepared


def _labeled_ratio(series: ProfileSeries, span: Span) -> float | None:
    """Share of the rows in the window whose label is known."""
    counted = [(rows, labeled) for start, rows, labeled in series.coverage() if start in span]
    rows = sum(rows for rows, _ in counted)
    return sum(labeled for _, labeled in counted) / rows if rows else None


def note_drift_since(lane: Lane) -> None:
    """Remember since which event time each verdict stands; a verdict that ends is forgotten."""
    standing: dict[tuple[str, ...], float] = {}
    for (version, window, segment), evaluation in lane.evaluations.items():
        if segment is not None:
            continue
        for name, column in evaluation.drift.columns.items():
            if column.detected:
                key = (version, window, name)
                standing[key] = lane.drift_since.get(key, evaluation.end)
    lane.drift_since = standing


class Evaluator:
    """Evaluates models soon after new rows came, each at most once in its `evaluation_interval`.

    `publish` is called with a lane after its evaluation, and without one when nothing but time has passed.
    """

    TICK_SECONDS = 0.1

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        clock: Clock,
        telemetry: Telemetry,
        evaluated: Callable[[Lane], None],
        failed: Callable[[Lane, Exception], None],
    ) -> None:
        self._lanes = lanes
        self._clock = clock
        self._telemetry = telemetry
        self._evaluated = evaluated
        self._failed = failed
        self._wake = threading.Event()
        self._last: dict[str, float] = {}
        """When each model was last evaluated, by the monotonic clock: a replay would else never pause."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="evaluator", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish what is under way, then end."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def notify(self) -> None:
        self._wake.set()

    @property
    def queue(self) -> int:
        """Models that wait for an evaluation."""
        return sum(lane.dirty for lane in self._lanes.values())

    def run_pending(self) -> int:
        """Evaluate what is due now; how many models were."""
        done = 0
        for lane in list(self._lanes.values()):
            if self._stopping:
                break
            last = self._last.get(lane.name, float("-inf"))
            if lane.dirty and time.monotonic() - last >= lane.config.evaluation_interval:
                self.evaluate_now(lane, self._clock.time())
                done += 1
        return done

    def evaluate_now(self, lane: Lane, now: float) -> None:
        """Evaluate one model; a failure is reported and leaves the values of before."""
        lane.dirty = False
        self._last[lane.name] = time.monotonic()
        try:
            with self._telemetry.timed(self._telemetry.evaluation_seconds, lane.name):
                lane.evaluations = evaluate_lane(lane, now)
            note_drift_since(lane)
            lane.evaluated_at = now
            self._evaluated(lane)
        except Exception as error:
            log.exception("evaluation of model %s failed", lane.name)
            self._failed(lane, error)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(timeout=self.TICK_SECONDS if self.queue else 1.0)
            self._wake.clear()
            self.run_pending()
