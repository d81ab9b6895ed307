"""Estimators of a model's baselines, and estimates beside the realised performance of an evaluation."""

from __future__ import annotations

from dataclasses import replace

from exporter.estimation import Estimated, Estimator, estimated_performance, fit_estimator
from exporter.estimation.report import ERROR, LEAST_COVERAGE, MEASURE
from exporter.evaluation import Failed, Settings
from exporter.profiles import Profile
from exporter.results import Evaluation, Undefined
from exporter.service.lane import Lane, VersionState
from exporter.store import StoredBaseline
from exporter.windows import Pieces, Span

BROKEN = Undefined("error", "the estimator could not be made; see the log")


def estimator_of(
    lane: Lane, state: VersionState, baseline: StoredBaseline, profile: Profile, failed: Failed
) -> Estimator | Undefined:
    """The estimator of a version's baseline; the caller holds the lane's lock.

    Made once for each baseline. A provisional one whose labels came later learns from the version's rows of
    its time, again and again while labels still come.
    """
    known = lane.estimators.get(baseline.id)
    if known is None:
        known = lane.estimators[baseline.id] = _fitted(lane, profile, failed)
    if not isinstance(known, Undefined) or known.reason != "insufficient_labels" or not baseline.provisional:
        return known
    return _late(lane, state, baseline, failed) or known


def _fitted(lane: Lane, profile: Profile, failed: Failed) -> Estimator | Undefined:
    try:
        return fit_estimator(profile, minimum_labels=lane.config.drift.minimum_rows)
    except Exception as error:  # noqa: BLE001  # what is realised is evaluated all the same
        failed(MEASURE, None, error)
        return BROKEN


def _late(
    lane: Lane, state: VersionState, baseline: StoredBaseline, failed: Failed
) -> Estimator | Undefined | None:
    """From the labels that came after a provisional baseline; None while there are too few."""
    if state.whole is None:
        return None
    starts = [start for start, _ in baseline.buckets]
    until = max(starts) + lane.resolution if starts else baseline.created
    span = Span(min(starts, default=float("-inf")), until)
    labeled = sum(labeled for start, _, labeled in state.whole.coverage() if start in span)
    key = (baseline.id, state.name)
    known = lane.late_estimators.get(key)
    if labeled >= lane.config.drift.minimum_rows and (known is None or known[0] != labeled):
        known = lane.late_estimators[key] = labeled, _fitted(lane, state.whole.merged(span), failed)
    return None if known is None else known[1]


def with_estimates(
    evaluation: Evaluation,
    lane: Lane,
    estimator: Estimator | Undefined | None,
    *,
    recent: Pieces | None,
    outcomes: Pieces | None,
    settings: Settings,
    failed: Failed,
) -> Evaluation:
    """The evaluation with what its window is estimated to perform, and reasons for what is not estimated.

    Parameters
    ----------
    recent : Pieces or None
        The outcomes of the newest window; None where nothing is estimated, as for segments.
    outcomes : Pieces or None
        Those of the window that ends at the label watermark.
    """
    if recent is None or lane.config.estimation == "off":
        return evaluation
    least = lane.config.min_label_coverage
    try:
        made = estimated_performance(
            estimator,
            recent.merged(),
            None if outcomes is None else outcomes.merged(),
            evaluation.performance,
            metrics=settings.metrics,
            minimum_rows=settings.minimum_rows,
            coverage=LEAST_COVERAGE if least == "auto" else float(least),
        )
    except Exception as error:  # noqa: BLE001  # as above
        failed(MEASURE, None, error)
        made = Estimated(missing=((MEASURE, None, "error"), (ERROR, None, "error")))
    return replace(evaluation, estimates=made.metrics, undefined=(*evaluation.undefined, *made.missing))
