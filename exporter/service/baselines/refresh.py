"""Baselines that are replaced by themselves: on a schedule, for a new version, or when somebody asks."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from exporter.baseline import BuiltBaseline
from exporter.clock import Clock
from exporter.config import Refresh
from exporter.errors import ConflictError, ExporterError
from exporter.evaluation import Subject, evaluate
from exporter.results import Evaluation, Window
from exporter.service.answers import Answer
from exporter.service.baselines.health import ailments
from exporter.service.baselines.making import BaselineService, past_window
from exporter.service.baselines.yardsticks import yardstick
from exporter.service.evaluation.evaluator import exported_versions, settings_of
from exporter.service.lane import Blocked, Lane
from exporter.store import StoredBaseline
from exporter.windows import Span, label_watermark

log = logging.getLogger(__name__)

REFRESH, NEW_VERSION = "refresh", "new_version"
"""Where a baseline that was made by itself comes from: its `source`."""

RETRIES = 30
"""A refresh that is due and blocked is tried again so many times in the time between two refreshes."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A span of a version's time that may become a baseline.

    `scope` is whose baseline it becomes: a version's, or (None) that of all without one of their own.
    """

    scope: str | None
    version: str
    span: Span
    source: str


class Refresher:
    """Looks after the baselines of one exporter. `tick` is cheap when nothing is due."""

    def __init__(self, baselines: BaselineService, clock: Clock) -> None:
        self._baselines = baselines
        self._clock = clock
        self._next: dict[tuple[str, str], float] = {}
        """Not before, by (model, version): so that a blocked refresh is not tried at every tick."""

    def tick(self, lane: Lane) -> bool:
        """Do what is due; whether a baseline was replaced."""
        policy = lane.config.baseline.refresh
        if policy is None or lane.grid is None:
            return False
        now = self._clock.time()
        changed = False
        for candidate in self._due(lane, policy, now):
            key = (lane.name, candidate.version)
            if now < self._next.get(key, float("-inf")):
                continue
            self._next[key] = now + policy.every / RETRIES
            try:
                self._replace(lane, candidate, force=policy.only_if == "always")
            except ConflictError as error:
                log.info("no new baseline for model %s, version %s: %s", lane.name, candidate.version, error)
            except ExporterError:
                log.exception("the baseline of model %s, version %s", lane.name, candidate.version)
            else:
                changed = True
        return changed

    def now(self, lane: Lane, version: str | None, *, force: bool) -> Answer:
        """Replace a baseline because somebody asks.

        Raises
        ------
        ConflictError
            `unhealthy_window` with the reasons, unless `force`; `no_window` when there is nothing to promote.
        """
        with lane.lock:
            served = _served(lane)
            scope = version if version is not None and (version in served) else None
            source = self._source_version(lane, served.get(scope), version)
            if source is None:
                raise ConflictError("no rows have come that a baseline could be made of", code="no_window")
            candidate = Candidate(version, source, _window_span(lane, source), REFRESH)
        return self._replace(lane, candidate, force=force)

    def _due(self, lane: Lane, policy: Refresh, now: float) -> list[Candidate]:
        with lane.lock:
            found = []
            for scope, (baseline, versions) in _served(lane).items():
                if now - baseline.created >= policy.every:
                    source = self._source_version(lane, (baseline, versions), None)
                    if source is not None:
                        found.append(Candidate(scope, source, _window_span(lane, source), REFRESH))
                elif scope is None and policy.on_new_version:
                    found += [
                        Candidate(version, version, span, NEW_VERSION)
                        for version in versions
                        if (span := _first_rows(lane, version, baseline)) is not None
                    ]
            return found

    @staticmethod
    def _source_version(
        lane: Lane, served: tuple[StoredBaseline, list[str]] | None, version: str | None
    ) -> str | None:
        """Whose window is promoted: the version asked for, the champion, or the one with the newest rows."""
        names = [state.name for state in exported_versions(lane)] if served is None else served[1]
        if version is not None:
            return version if version in names or version in lane.versions else None
        if lane.config.champion in names:
            return lane.config.champion
        return max(names, key=lambda name: lane.versions[name].watermark or 0.0, default=None)

    def _replace(self, lane: Lane, candidate: Candidate, *, force: bool) -> Answer:
        """Promote a span unless it is unhealthy; what blocks it is kept on the lane."""
        with lane.gate.exclusive():
            grid = lane.grid
            if grid is None:
                raise ConflictError("there is no grid yet", code="no_grid")
            built = past_window(lane, grid, candidate.span, candidate.version)
            least = _least_rows(lane, candidate)
            reasons = []
            if built.profile.rows < least:
                reasons.append(f"{built.profile.rows} rows, {least} are needed")
            elif not force:
                reasons = self._ailments(lane, candidate, built)
            if reasons:
                self._block(lane, candidate, reasons)
                raise ConflictError(
                    f"the window from {candidate.span.start:g} to {candidate.span.end:g} of version "
                    f"{candidate.version!r} does not become a baseline: {'; '.join(reasons)}",
                    code="unhealthy_window",
                    details=reasons,
                )
            answer = self._baselines.promote(
                lane, built, candidate.scope, source=candidate.source, period=candidate.span
            )
            with lane.lock:
                lane.blocked.pop(candidate.scope, None)
        self._prune(lane, candidate.scope)
        return answer

    def _ailments(self, lane: Lane, candidate: Candidate, built: BuiltBaseline) -> list[str]:
        evaluation = self._evaluated(lane, candidate, built)
        if evaluation is None:
            return []
        return ailments(evaluation, lane.config, inputs_only=candidate.source == NEW_VERSION)

    def _evaluated(self, lane: Lane, candidate: Candidate, built: BuiltBaseline) -> Evaluation | None:
        """The span against the baseline that it would replace; None where that is on another grid."""
        with lane.lock:
            baseline = lane.active_baseline(candidate.version)
            if baseline is None or baseline.grid_id != built.grid.id:
                return None
            profile = lane.baseline_profile(baseline)
            reference = lane.references.get(baseline.id)
            settings = settings_of(lane)
        span = candidate.span
        ruler = yardstick(lane, baseline, span, span.end - span.start)
        return evaluate(
            Subject(
                model=lane.name,
                version=candidate.version,
                window=Window("baseline", span.end - span.start),
                segment=None,
                start=span.start,
                end=span.end,
                made_at=self._clock.time(),
            ),
            built.profile,
            outcomes=built.profile,
            outcome_span=(span.start, span.end),
            baseline=profile,
            reference=reference,
            settings=settings,
            seasonal=ruler.profile,
            block_nulls=ruler.block_nulls,
        )

    def _block(self, lane: Lane, candidate: Candidate, reasons: list[str]) -> None:
        with lane.lock:
            before = lane.blocked.get(candidate.scope)
            since = self._clock.time() if before is None else before.since
            lane.blocked[candidate.scope] = Blocked(candidate.version, since, tuple(reasons))

    def _prune(self, lane: Lane, scope: str | None) -> None:
        """Delete the oldest baselines that were made by themselves and are in use no more."""
        policy = lane.config.baseline.refresh
        with lane.lock:
            made = sorted(
                (
                    baseline
                    for baseline in lane.baselines.values()
                    if baseline.source in (REFRESH, NEW_VERSION)
                    and not baseline.active
                    and baseline.version == scope
                ),
                key=lambda baseline: baseline.created,
            )
        for baseline in made[: max(0, len(made) - (policy or Refresh()).keep)]:
            self._baselines.delete(lane, baseline.id)


def _served(lane: Lane) -> dict[str | None, tuple[StoredBaseline, list[str]]]:
    """Active baselines by the version that each belongs to, with the versions that are compared with it."""
    served: dict[str | None, tuple[StoredBaseline, list[str]]] = {}
    for state in exported_versions(lane):
        baseline = lane.active_baseline(state.name)
        if baseline is not None and lane.grid is not None and baseline.grid_id == lane.grid.id:
            served.setdefault(baseline.version, (baseline, []))[1].append(state.name)
    return served


def _window_span(lane: Lane, version: str) -> Span:
    """The newest window to promote: one that ends at the label watermark where there are labels."""
    policy = lane.config.baseline.refresh
    windows = {window.name: window.seconds for window in lane.config.windows}
    wanted = None if policy is None else policy.window
    name = wanted if wanted in windows else max(windows, key=lambda window: windows[window])
    state = lane.versions[version]
    newest = state.watermark or 0.0
    if state.whole is None:
        return Span(newest, newest)
    labeled = label_watermark(
        state.whole.coverage(),
        lane.config.min_label_coverage,
        horizon_start=newest - lane.config.label_horizon,
    )
    return state.whole.span(name, newest if labeled is None else labeled)


def _first_rows(lane: Lane, version: str, shared: StoredBaseline) -> Span | None:
    """The first buckets of a version that came after another and after the shared baseline, once enough.

    Where the model has labels, once theirs have come too or are not waited for any more.
    """
    state = lane.versions[version]
    begun = {name: lane.state.get(("bins_since", name, shared.grid_id)) for name in lane.versions}
    first = min((at for at in begun.values() if at is not None), default=shared.created)
    mine = begun[version]
    if mine is None or mine <= max(first, shared.created) or version == lane.config.champion:
        return None
    if state.whole is None:
        return None
    rows, labeled = 0, False
    coverage = state.whole.coverage()
    for start, came, known in coverage:
        rows += came
        labeled = labeled or known > 0
        if rows >= lane.config.baseline.rows:
            span = Span(coverage[0][0], start + lane.resolution)
            break
    else:
        return None
    newest = state.watermark or 0.0
    mark = label_watermark(coverage, lane.config.min_label_coverage, horizon_start=span.start)
    waited = newest - span.end > lane.config.label_horizon
    complete = mark is not None and mark + lane.resolution >= span.end
    any_labels = any(key[0] == "last_label" for key in lane.state)
    return span if complete or waited or not any_labels else None


def _least_rows(lane: Lane, candidate: Candidate) -> int:
    """Half the rows of what is replaced, at most the configured `rows`; never fewer than a verdict needs."""
    with lane.lock:
        baseline = lane.active_baseline(candidate.version)
    old = lane.config.baseline.rows if baseline is None else baseline.rows // 2
    return max(lane.config.drift.minimum_rows, min(old, lane.config.baseline.rows))


def blocked_refreshes(lane: Lane) -> list[dict[str, object]]:
    """Refreshes that are due and cannot be, with the reasons; the caller holds the lock."""
    return [
        {"scope": scope, "version": blocked.version, "since": blocked.since, "reasons": list(blocked.reasons)}
        for scope, blocked in lane.blocked.items()
    ]
