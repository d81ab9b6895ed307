"""When models are evaluated, and what goes into an evaluation."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from exporter.clock import Clock
from exporter.custommetrics import with_failures
from exporter.estimation import BinaryEstimator, Estimator
from exporter.evaluation import (
    Failed,
    Missing,
    Reference,
    Settings,
    Subject,
    evaluate,
    log_failure,
    reference_performance,
)
from exporter.profiles import Profile
from exporter.results import Evaluation, Undefined, Window
from exporter.service.baselines.parts import part_of, part_reference
from exporter.service.baselines.yardsticks import Yardstick, yardstick
from exporter.service.comparing.comparisons import compare_lane
from exporter.service.evaluation.arrivals import judge_volumes, with_arrivals
from exporter.service.evaluation.estimates import estimator_of, with_estimates
from exporter.service.evaluation.gaps import gaps
from exporter.service.ingestion.payload import segment_key
from exporter.service.lane import EvaluationKey, Lane, VersionState, split_segment
from exporter.service.questions.segments import TOO_SMALL
from exporter.service.telemetry import Telemetry
from exporter.statistics.concept import ErrorStream
from exporter.store import StoredBaseline
from exporter.windows import Pieces, Span, label_watermark

log = logging.getLogger(__name__)


ERROR = tuple((measure, None, "error") for measure in ("performance", "drift", "quality"))
"""What is missing of a window whose profile could not be read."""

SHORTEST_BACKOFF, LONGEST_BACKOFF = 1.0, 60.0
"""Seconds between a failed evaluation of a model and the next one; each failure doubles them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A version that is evaluated: its segments, and what they are compared with."""

    version: str
    segments: tuple[str, ...]
    watermark: float
    baseline: Profile | None
    reference: Reference
    estimator: Estimator | Undefined | None
    """What estimates performance without labels."""
    stored: StoredBaseline | None
    """The baseline with its buckets."""

    @property
    def estimates_segments(self) -> bool:
        """Whether estimates are read off cells, which segments have too."""
        return isinstance(self.estimator, BinaryEstimator)


@dataclass(frozen=True, slots=True)
class Input:
    """One window of one version or segment, copied out of the lane so that statistics need no lock."""

    subject: Subject
    current: Pieces
    outcomes: Pieces | None
    outcome_span: Span | None
    rows: int
    labeled_rows: int
    errors: ErrorStream | None
    recent: Pieces | None


def settings_of(lane: Lane) -> Settings:
    """The part of a model's configuration that evaluations depend on."""
    config = lane.config
    return Settings(
        drift_threshold=config.drift_threshold,
        alert_threshold=config.alert_threshold,
        metrics=config.metric_names,
        custom=lane.custom.measures,
        methods=config.drift.methods,
        correction=config.drift.correction,
        minimum_effect=config.drift.minimum_effect,
        minimum_rows=config.drift.minimum_rows,
        multivariate=config.drift.multivariate,
        quality_weights=config.quality.weights,
        column_weights=config.quality.column_weights,
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


def evaluate_lane(lane: Lane, now: float, failed: Failed = log_failure) -> Mapping[EvaluationKey, Evaluation]:
    """Evaluate every window of every exported version and segment of a model.

    One window at a time is copied out of the lane, evaluated and dropped, so that neither memory nor the
    time under the lock grows with versions, segments and windows. `failed` is told of what could not be
    computed.
    """
    with lane.lock:
        settings = settings_of(lane)
        plans = [plan_of(lane, state, failed) for state in exported_versions(lane)]
        lane.volumes = judge_volumes(lane, exported_versions(lane), now)
    evaluations = {}
    for plan in plans:
        for taken in _inputs(lane, plan, now):
            made = measured(lane, plan, taken, settings, failed)
            evaluations[made.version, made.window.name, made.segment] = made
    return evaluations


def measured(lane: Lane, plan: Plan, taken: Input, settings: Settings, failed: Failed) -> Evaluation:
    """All that is measured of one window."""
    subject = taken.subject
    if subject.segment is not None and taken.rows < lane.config.segment_minimum_rows:
        return _nothing(taken, TOO_SMALL)
    if subject.segment is not None:
        plan = _of_segment(lane, plan, segment_key(*subject.segment), settings, failed)
    ruler = yardstick(lane, plan.stored, Span(subject.start, subject.end), subject.window.seconds)
    made = _evaluated(taken, plan, ruler, settings, failed)
    made = with_estimates(
        made,
        lane,
        plan.estimator,
        recent=taken.recent,
        outcomes=taken.outcomes,
        settings=settings,
        failed=failed,
    )
    made = with_arrivals(lane, with_failures(made, lane.custom.failures(plan.version)))
    return replace(made, undefined=(*made.undefined, *gaps(lane, made)))


def plan_of(lane: Lane, state: VersionState, failed: Failed, baseline: StoredBaseline | None = None) -> Plan:
    """What a version is evaluated with; against its active baseline unless another one is given."""
    then = baseline
    baseline = then or lane.active_baseline(state.name)
    profile, reference, estimator = None, None, None
    if baseline is not None and baseline.grid_id in lane.grids:
        profile = lane.baseline_profile(baseline)
        if baseline.id not in lane.references:
            lane.references[baseline.id] = reference_performance(profile, settings_of(lane), failed)
        reference = lane.references[baseline.id]
        if reference is None and baseline.provisional:
            reference = _late_reference(lane, state, "", baseline, failed)
        estimator = estimator_of(lane, state, baseline, profile, failed)
    if then is None:
        lane.compared_with[state.name] = None if baseline is None else baseline.id
    series = tuple(sorted(state.series))
    return Plan(state.name, series, state.watermark or 0.0, profile, reference, estimator, baseline)


def _of_segment(lane: Lane, plan: Plan, key: str, settings: Settings, failed: Failed) -> Plan:
    """The plan of a segment, which is compared with its own part of the baseline."""
    baseline = plan.stored
    if baseline is None:
        return plan
    part = part_of(lane, baseline, key)
    with lane.lock:
        reference = part_reference(lane, (baseline.id, key), part, settings, failed)
        state = lane.versions.get(plan.version)
        if reference is None and baseline.provisional and part is not None and state is not None:
            reference = _late_reference(lane, state, key, baseline, failed)
    return replace(plan, baseline=part, reference=reference)


def _late_reference(
    lane: Lane, state: VersionState, segment: str, baseline: StoredBaseline, failed: Failed
) -> Reference:
    """Metrics of a provisional baseline whose labels came later, from the version's rows of its time.

    None until there are as many labels as a verdict needs rows. It is computed anew while labels still come,
    and stays as it was last when the rows expire.
    """
    series = state.series.get(segment)
    if series is None:
        return None
    starts = [start for start, _ in baseline.buckets]
    until = max(starts) + lane.resolution if starts else baseline.created
    span = Span(min(starts, default=float("-inf")), until)
    labeled = sum(labeled for start, _, labeled in series.coverage() if start in span)
    key = (baseline.id, state.name, segment)
    known = lane.late_references.get(key)
    if labeled >= lane.config.drift.minimum_rows and (known is None or known[0] != labeled):
        outcomes = series.merged(span)
        known = lane.late_references[key] = (
            labeled,
            reference_performance(outcomes, settings_of(lane), failed),
        )
    return None if known is None else known[1]


def _evaluated(taken: Input, plan: Plan, ruler: Yardstick, settings: Settings, failed: Failed) -> Evaluation:
    """The evaluation of one window; when its profile cannot be read, all of it is an `error`."""
    subject = taken.subject
    try:
        return evaluate(
            subject,
            taken.current.merged(),
            outcomes=None if taken.outcomes is None else taken.outcomes.merged(),
            outcome_span=(span.start, span.end) if (span := taken.outcome_span) else None,
            baseline=plan.baseline,
            reference=plan.reference,
            settings=settings,
            labeled_rows=taken.labeled_rows,
            errors=taken.errors,
            seasonal=ruler.profile,
            block_nulls=ruler.block_nulls,
            failed=failed,
        )
    except Exception as error:  # noqa: BLE001  # the other windows go on
        failed(
            "evaluation", "/".join((subject.version, subject.window.name, *(subject.segment or ()))), error
        )
        return _nothing(taken, *ERROR)


def _nothing(taken: Input, *undefined: Missing) -> Evaluation:
    """An evaluation that only says how many rows there are, and why nothing else is known."""
    subject = taken.subject
    return Evaluation(
        model=subject.model,
        version=subject.version,
        window=subject.window,
        segment=subject.segment,
        start=subject.start,
        end=subject.end,
        rows=taken.rows,
        labeled_rows=taken.labeled_rows,
        made_at=subject.made_at,
        undefined=undefined,
    )


def _inputs(lane: Lane, plan: Plan, now: float) -> Iterator[Input]:
    """The windows of a version and its segments, each taken under the lock when it is asked for."""
    for key in plan.segments:
        labeled_until: float | None = None
        for first, window in enumerate(lane.config.windows):
            with lane.lock:
                state = lane.versions.get(plan.version)
                series = None if state is None else state.series.get(key)
                if state is None or series is None or series.empty:
                    break  # deleted or expired meanwhile
                if not first:
                    labeled_until = label_watermark(
                        series.coverage(),
                        lane.config.min_label_coverage,
                        horizon_start=plan.watermark - lane.config.label_horizon,
                    )
                taken = input_of(lane, plan, state, key, window, labeled_until=labeled_until, now=now)
            yield taken


def input_of(
    lane: Lane,
    plan: Plan,
    state: VersionState,
    key: str,
    window: Window,
    *,
    labeled_until: float | None,
    now: float,
) -> Input:
    """One window of a version or segment that ends with the watermark; the caller holds the lane's lock.

    `labeled_until` is the label watermark, None before there are labels.
    """
    series = state.series[key]
    span = series.span(window.name, plan.watermark)
    rows, labeled = series.covered(window.name, span)
    large = not key or rows >= lane.config.segment_minimum_rows
    current = Pieces(series.grid, "features", (), ())
    if large:
        span, current = series.pieces(window.name, plan.watermark, "features")
    outcome_span, outcomes, errors = None, None, None
    if labeled_until is not None and large:
        outcome_span, outcomes = series.pieces(window.name, labeled_until, "outcomes")
        if not key:
            errors = state.errors.stream(float("-inf"), outcome_span.end)
    recent = None
    if large and lane.config.estimation != "off" and (not key or plan.estimates_segments):
        recent = series.pieces(window.name, plan.watermark, "outcomes", "recent")[1]
    subject = Subject(
        model=lane.name,
        version=plan.version,
        window=Window(window.name, window.seconds),
        segment=split_segment(key),
        start=span.start,
        end=span.end,
        made_at=now,
    )
    return Input(subject, current, outcomes, outcome_span, rows, labeled, errors, recent)


def note_drift_since(lane: Lane) -> None:
    """Remember since which event time each verdict stands; a verdict that ends is forgotten.

    So is one against another baseline than the last evaluation's.
    """
    rebased = {
        version
        for version, baseline in lane.compared_with.items()
        if lane.drift_against.get(version, baseline) != baseline
    }
    lane.drift_against = dict(lane.compared_with)
    standing: dict[tuple[str, ...], float] = {}
    for (version, window, segment), evaluation in lane.evaluations.items():
        if segment is not None:
            continue
        for name, column in evaluation.drift.columns.items():
            if column.detected:
                key = (version, window, name)
                since = None if version in rebased else lane.drift_since.get(key)
                standing[key] = evaluation.end if since is None else since
    lane.drift_since = standing


class _Failures:
    """What failed in one evaluation; a failure that the last one had too is not logged again."""

    def __init__(self, model: str, before: Mapping[tuple[str, str | None, str], Exception]) -> None:
        self._model = model
        self._before = before
        self.seen: dict[tuple[str, str | None, str], Exception] = {}

    def __call__(self, measure: str, subject: str | None, error: Exception) -> None:
        what = (measure, subject, type(error).__name__)
        if what not in self.seen and what not in self._before:
            name = measure if subject is None else f"{measure} of {subject}"
            log.error("model %s: %s failed", self._model, name, exc_info=error)
        self.seen[what] = error


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
        self._retry: dict[str, tuple[float, float]] = {}
        """Models whose evaluation failed: (not before, by the monotonic clock; seconds of back-off)."""
        self._failures: dict[str, Mapping[tuple[str, str | None, str], Exception]] = {}
        self._one = threading.Lock()
        """One evaluation at a time, so that an older one never replaces a newer one."""
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
            retry, _ = self._retry.get(lane.name, (float("-inf"), 0.0))
            instant = time.monotonic()
            if lane.dirty and instant - last >= lane.config.evaluation_interval and instant >= retry:
                self.evaluate_now(lane, self._clock.time())
                done += 1
        return done

    def evaluate_now(self, lane: Lane, now: float) -> None:
        """Evaluate one model; a failure is reported, leaves the values of before, and is tried again."""
        with self._one:
            lane.dirty = False
            self._last[lane.name] = time.monotonic()
            failures = _Failures(lane.name, self._failures.get(lane.name, {}))
            try:
                with self._telemetry.timed(self._telemetry.evaluation_seconds, lane.name):
                    lane.evaluations = evaluate_lane(lane, now, failures)
                    lane.comparisons = compare_lane(lane, now, failures)
                note_drift_since(lane)
                lane.evaluated_at = now
                self._evaluated(lane)
            except Exception as error:
                log.exception("evaluation of model %s failed", lane.name)
                self._failed(lane, error)
                _, before = self._retry.get(lane.name, (0.0, SHORTEST_BACKOFF / 2))
                backoff = min(2 * before, LONGEST_BACKOFF)
                self._retry[lane.name] = time.monotonic() + backoff, backoff
                lane.dirty = True
            else:
                self._retry.pop(lane.name, None)
            self._failures[lane.name] = failures.seen
            for failure in failures.seen.values():
                self._failed(lane, failure)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(timeout=self.TICK_SECONDS if self.queue else 1.0)
            self._wake.clear()
            self.run_pending()
