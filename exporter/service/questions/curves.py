"""Curves over all thresholds of a window and its baseline, for the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.errors import BadRequestError, NotFoundError
from exporter.profiles import BinaryOutcome, MulticlassOutcome, Profile
from exporter.results import Estimate, Undefined
from exporter.schema import ScoreKind, Task
from exporter.service.baselines.parts import part_of
from exporter.service.ingestion.payload import segment_key
from exporter.service.lane import Lane
from exporter.statistics.intervals import normal_quantile
from exporter.statistics.performance.curves import CURVES, shown_scores
from exporter.statistics.performance.scoring import average_precision, calibration_error, roc_auc
from exporter.windows import label_watermark

CONFIDENCE = 0.95

_SUMMARIES = {"roc": "roc_auc", "pr": "pr_auc", "calibration": "ece"}
"""The metric that sums a curve up."""


def curves(
    lane: Lane,
    curve: str | None,
    window: str | None,
    version: str | None,
    segment: str | None,
    *,
    of_class: str | None,
) -> Mapping[str, Any]:
    """One curve of the labelled rows of a window, beside the baseline's.

    Raises
    ------
    BadRequestError
        There is no such curve or class, or the model has no scores to draw it from.
    NotFoundError
        There is no such window, version or segment.
    """
    name = "roc" if curve is None else curve
    if name not in CURVES:
        raise BadRequestError(
            f"expected the query parameter curve as one of {', '.join(CURVES)}, but {name[:80]!r} came",
            code="bad_parameter",
        )
    chosen_class = _class_of(lane, of_class)
    with lane.lock:
        names = [configured.name for configured in lane.config.windows]
        chosen = names[0] if window is None else window
        if chosen not in names:
            raise NotFoundError(f"model {lane.name!r} has no window {chosen!r}; it has {', '.join(names)}")
        of_version = version if version is not None else next(iter(sorted(lane.versions)), None)
        state = lane.versions.get(of_version or "")
        series = None if state is None else state.series.get(_segment_key(segment))
        if state is None or of_version is None or series is None or state.watermark is None:
            raise NotFoundError(
                f"model {lane.name!r} has no rows of version {version!r}"
                + (f" in the segment {segment!r}" if segment else "")
            )
        until = label_watermark(
            series.coverage(),
            lane.config.min_label_coverage,
            horizon_start=state.watermark - lane.config.label_horizon,
        )
        span, pieces = (None, None) if until is None else series.pieces(chosen, until, "outcomes")
        baseline = lane.active_baseline(of_version)
        reference = None if baseline is None else lane.baseline_profile(baseline)
        if baseline is not None and segment:
            reference = part_of(lane, baseline, _segment_key(segment))
    answer: dict[str, Any] = {
        "model": lane.name,
        "version": of_version,
        "window": chosen,
        "segment": segment,
        "class": chosen_class,
        "curve": name,
        "start": None if span is None else span.start,
        "end": None if span is None else span.end,
        **_drawn(None if pieces is None else pieces.merged(), name, chosen_class),
    }
    answer["baseline"] = None if reference is None else _drawn(reference, name, chosen_class)
    return answer


def _class_of(lane: Lane, of_class: str | None) -> str | None:
    """The class against the rest, in multiclass."""
    schema = lane.schema
    if schema.task not in (Task.BINARY, Task.MULTICLASS) or schema.score is None:
        raise BadRequestError(
            f"curves need a score, and model {lane.name!r} of the task {schema.task} has none",
            code="no_score",
        )
    if isinstance(schema.score, str):
        if of_class is not None:
            raise BadRequestError("a binary model has no curve by class", code="bad_parameter")
        return None
    scored = [name for name, _ in schema.score]
    if of_class not in scored:
        raise BadRequestError(
            f"expected the query parameter class as one of {', '.join(scored)[:500]}, but {of_class!r} came",
            code="bad_parameter",
        )
    return of_class


def _segment_key(segment: str | None) -> str:
    return "" if not segment else segment_key(*(segment.split("=", 1) if "=" in segment else (segment, "")))


def _drawn(profile: Profile | None, curve: str, of_class: str | None) -> dict[str, Any]:
    """Labelled rows with a score, the metric that sums the curve up, and its points or why there are none."""
    found = None if profile is None else _histograms(profile, of_class)
    if found is None:
        return {"rows": 0, "metrics": {}, "points": [], "reason": "insufficient_labels"}
    negatives, positives, values, kind = found
    z = normal_quantile(CONFIDENCE)
    margins = kind is ScoreKind.MARGIN
    shown: list[Any] | Undefined
    if curve == "calibration" and margins:
        shown = Undefined("not_comparable", "scores are margins, not probabilities")
    else:
        shown = CURVES[curve](negatives, positives, shown_scores(values, margins=margins), z)
    metrics = {
        "roc": lambda: roc_auc(negatives, positives, z),
        "pr": lambda: average_precision(negatives, positives, z),
        "calibration": lambda: calibration_error(negatives, positives, values, z),
    }
    summary = None if isinstance(shown, Undefined) or curve not in metrics else metrics[curve]()
    return {
        "rows": int(negatives.sum() + positives.sum()),
        "metrics": {_SUMMARIES[curve]: summary.to_dict()} if isinstance(summary, Estimate) else {},
        "points": [] if isinstance(shown, Undefined) else shown,
        "reason": shown.reason if isinstance(shown, Undefined) else None,
    }


def _histograms(
    profile: Profile, of_class: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], ScoreKind] | None:
    """(negatives, positives, scores, their kind) of the labelled rows; None where the grid has no scores."""
    outcome = profile.outcome()
    if isinstance(outcome, BinaryOutcome):
        negatives, positives = outcome.labelled[:, :, :-1].sum(axis=1)
        return negatives, positives, outcome.score_values[:-1], outcome.score_kind
    if not isinstance(outcome, MulticlassOutcome) or outcome.scores is None or outcome.score_values is None:
        return None
    if of_class not in outcome.classes[:-1]:
        return None
    negatives, positives = outcome.scores[outcome.classes.index(of_class), :, :-1]
    return negatives, positives, outcome.score_values[:-1], outcome.score_kind
