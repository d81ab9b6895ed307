"""Estimators of a model's baselines, and estimates beside the realised performance of an evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.batch import Batch
from exporter.estimation import (
    Estimated,
    Estimator,
    LossEstimator,
    MulticlassEstimator,
    estimated_performance,
    fit_estimator,
    fit_losses,
    measure_itself,
    read_estimator,
    write_estimator,
)
from exporter.estimation.report import ERROR, LEAST_COVERAGE, MEASURE
from exporter.evaluation import Failed, Settings, log_failure
from exporter.profiles import Grid, Profile, RowMeter, decode
from exporter.results import Evaluation, Undefined
from exporter.schema import Task
from exporter.service.lane import Lane, VersionState
from exporter.store import StoredBaseline
from exporter.windows import Pieces, Span

log = logging.getLogger(__name__)

BROKEN = Undefined("error", "the estimator could not be made; see the log")

MORE_LABELS = 2
"""A late estimator whose sums are made at ingestion is replaced when there are so many times its labels: with
each one the sums begin anew."""


def losses_of(lane: Lane, grid: Grid, batch: Batch, labels: Any) -> bytes:
    """What a baseline's labelled rows teach of a regressor's errors; empty for other tasks and few labels."""
    if lane.schema.task is not Task.REGRESSION or labels is None or lane.config.estimation == "off":
        return b""
    try:
        made = fit_losses(
            batch,
            np.asarray(labels, np.float64),
            grid.target_scale,
            minimum_labels=lane.config.drift.minimum_rows,
        )
    except Exception:  # a baseline without estimates is better than none
        log.exception("the errors of model %s cannot be learned", lane.name)
        return b""
    return b"" if isinstance(made, Undefined) else write_estimator(made)


def note_own_estimates(lane: Lane, profile: Profile, batch: Batch, labels: Any) -> None:
    """Let the profile of a new baseline tell how far its own estimates are from its labels."""
    if lane.config.estimation == "off":
        return
    try:
        measure_itself(profile, batch, labels, minimum_labels=lane.config.drift.minimum_rows)
    except Exception:  # as in losses_of
        log.exception("the estimates of model %s cannot be checked", lane.name)


def inherited(lane: Lane, version: str | None) -> bytes:
    """What earlier rows taught, for a baseline that is made of profiles."""
    with lane.lock:
        before = lane.active_baseline(version or "")
    return b"" if before is None else before.estimator


def note_estimator(lane: Lane, baseline: StoredBaseline, grid: Grid) -> None:
    """Make the estimator of a baseline that is about to be kept, for rows that wait for its grid."""
    profile = decode(baseline.profile, grid, stored=True)
    lane.estimators[baseline.id] = _made(lane, baseline, profile, log_failure)
    lane.next_baseline = baseline


def total_sizes(lane: Lane) -> dict[tuple[str, ...], int]:
    """How long the sums of each known estimator are; the caller holds the lane's lock or gate."""
    late = [estimator for _, estimator in tuple(lane.late_estimators.values())]
    known = (*lane.estimators.values(), *late)
    return {one.key: one.size for one in known if isinstance(one, (LossEstimator, MulticlassEstimator))}


def estimate_meters(lane: Lane, version: str, grid: Grid | None) -> tuple[RowMeter, ...]:
    """What a version's estimator measures of rows; nothing for tasks that are estimated from cells.

    The caller holds the lane's lock or its gate.
    """
    if lane.config.estimation == "off" or lane.schema.task not in (Task.MULTICLASS, Task.REGRESSION):
        return ()
    new = lane.next_baseline
    waiting = grid is not lane.grid and new is not None and new.active and new.version in (None, version)
    baseline = new if waiting else lane.active_baseline(version)
    if baseline is None or grid is None or baseline.grid_id != grid.id:
        return ()
    known = lane.estimators.get(baseline.id)
    if known is None and grid.id in lane.grids:
        profile = lane.baseline_profile(baseline)
        known = lane.estimators[baseline.id] = _made(lane, baseline, profile, log_failure)
    late = lane.late_estimators.get((baseline.id, version))
    if isinstance(known, Undefined) and late is not None:
        known = late[1]
    if known is None or isinstance(known, Undefined):
        return ()
    return tuple(_Careful(lane.name, meter) for meter in known.meters.of_whole.rows)


class _Careful:
    """A meter whose failure leaves its totals out and rejects no rows."""

    def __init__(self, model: str, meter: RowMeter) -> None:
        self._model = model
        self._meter = meter

    def __call__(self, batch: Batch) -> Mapping[tuple[str, ...], NDArray[np.float64]]:
        try:
            return self._meter(batch)
        except Exception:
            log.exception("rows of model %s cannot be measured for estimates", self._model)
            return {}


def estimator_of(
    lane: Lane, state: VersionState, baseline: StoredBaseline, profile: Profile, failed: Failed
) -> Estimator | Undefined:
    """The estimator of a version's baseline; the caller holds the lane's lock.

    Made once for each baseline. A provisional one whose labels came later learns from the version's rows of
    its time, again and again while labels still come.
    """
    known = lane.estimators.get(baseline.id)
    if known is None:
        known = lane.estimators[baseline.id] = _made(lane, baseline, profile, failed)
    if not isinstance(known, Undefined) or known.reason != "insufficient_labels" or not baseline.provisional:
        return known
    return _late(lane, state, baseline, failed) or known


def _made(lane: Lane, baseline: StoredBaseline, profile: Profile, failed: Failed) -> Estimator | Undefined:
    if not baseline.estimator:
        return _fitted(lane, profile, failed)
    try:
        return read_estimator(baseline.estimator)
    except Exception as error:  # noqa: BLE001  # as in _fitted
        failed(MEASURE, None, error)
        return BROKEN


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
    again = known is None or known[0] != labeled
    if known is not None and not isinstance(known[1], Undefined) and known[1].meters.of_whole.rows:
        again = labeled >= MORE_LABELS * known[0]
    if labeled >= lane.config.drift.minimum_rows and again:
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
        The outcomes of the newest window; None where nothing is estimated.
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
    # of segments estimates are in the API only, and what is not exported is not missing there
    missing = made.missing if evaluation.segment is None else ()
    return replace(evaluation, estimates=made.metrics, undefined=(*evaluation.undefined, *missing))
