"""Segments by how much worse they are than the whole: worst first in the API and under the series budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.catalog import PERFORMANCE_METRICS
from exporter.custommetrics import Measure
from exporter.errors import BadRequestError, NotFoundError
from exporter.evaluation import Missing
from exporter.results import Evaluation, MetricResult
from exporter.service.ingestion.slices import search_window
from exporter.service.lane import EvaluationKey, Lane
from exporter.statistics.performance.report import drop

MOST_SEGMENTS = 1_000
"""Segments in one answer."""

TOO_SMALL: Missing = ("segment", None, "insufficient_rows")
"""What is missing of a segment with fewer rows than `segment_minimum_rows`: all of it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one segment stands in one window.

    Attributes
    ----------
    gap : float or None
        How much worse its metric is than that of the whole window: a difference for scores in [0, 1], a ratio
        of the whole's for errors. Positive is worse.
    certain_gap : float or None
        The same with the better bound of the segment's metric in place of its value.
    drifted : float
        Share of its columns that drifted.
    """

    evaluation: Evaluation
    metric: str | None
    whole: MetricResult | None
    own: MetricResult | None
    gap: float | None
    certain_gap: float | None
    drifted: float

    @property
    def order(self) -> tuple[float, float, int, tuple[str, str]]:
        """Worst first: by the gap that is certain, then by drift, then by rows."""
        certain = float("-inf") if self.certain_gap is None else self.certain_gap
        return (-certain, -self.drifted, -self.evaluation.rows, self.evaluation.segment or ("", ""))


def is_too_small(evaluation: Evaluation) -> bool:
    """Whether a segment has fewer rows than the configuration asks for."""
    return TOO_SMALL in evaluation.undefined


def standings(
    evaluations: Mapping[EvaluationKey, Evaluation],
    measures: Iterable[Measure] = (),
    metric: str | None = None,
) -> list[Standing]:
    """Segments that are large enough, worst first.

    They are ranked by `metric`, or by the first metric that the whole window has a value of.
    """
    custom = {measure.name: measure for measure in measures}
    found = []
    for evaluation in evaluations.values():
        if evaluation.segment is not None and not is_too_small(evaluation):
            whole = evaluations.get((evaluation.version, evaluation.window.name, None))
            found.append(_standing(evaluation, whole, metric, custom))
    return sorted(found, key=lambda one: one.order)


def _standing(
    evaluation: Evaluation, whole: Evaluation | None, metric: str | None, custom: Mapping[str, Measure]
) -> Standing:
    metrics = {} if whole is None else whole.performance.metrics
    chosen = metric or next((name for name, result in metrics.items() if result.value is not None), None)
    reference = metrics.get(chosen) if chosen is not None else None
    own = evaluation.performance.metrics.get(chosen) if chosen is not None else None
    gap = certain = None
    if chosen is not None and reference is not None and own is not None:
        higher = (custom.get(chosen) or PERFORMANCE_METRICS[chosen]).higher_is_better
        gap = _gap(chosen, own.value, reference.value, custom)
        certain = _gap(chosen, own.upper if higher else own.lower, reference.value, custom)
    drifted = evaluation.drift.ratio or 0.0
    return Standing(evaluation, chosen, reference, own, gap, certain, drifted)


def _gap(name: str, value: float | None, whole: float | None, custom: Mapping[str, Measure]) -> float | None:
    if value is None or whole is None:
        return None
    return custom[name].drop(value, whole) if name in custom else drop(name, value, whole)


def worst_first(lane: Lane) -> list[EvaluationKey]:
    """Keys of all evaluations in the order of exposition: wholes, then segments by their worst standing.

    All windows and versions of a segment stand together, so that a budget cuts whole segments. Those that are
    too small are left out.
    """
    wholes = [key for key in lane.evaluations if key[2] is None]
    place: dict[tuple[str, str] | None, int] = {}
    ranked = standings(lane.evaluations, lane.custom.measures)
    for one in ranked:
        place.setdefault(one.evaluation.segment, len(place))
    keys = [(one.evaluation.version, one.evaluation.window.name, one.evaluation.segment) for one in ranked]
    return [*wholes, *sorted(keys, key=lambda key: place[key[2]])]


def too_small(evaluations: Mapping[EvaluationKey, Evaluation], version: str, window: str) -> list[Missing]:
    """Which segments of a window are left out of export, as `column=value`."""
    return [
        ("segment", "=".join(evaluation.segment), TOO_SMALL[2])
        for (of_version, of_window, _), evaluation in evaluations.items()
        if evaluation.segment is not None
        and (of_version, of_window) == (version, window)
        and is_too_small(evaluation)
    ]


def segments(
    lane: Lane,
    *,
    window: str | None,
    version: str | None,
    metric: str | None,
    limit: str | None,
    offset: str | None,
) -> dict[str, Any]:
    """Segments worst first, paged, and the weak ones that the search found.

    Raises
    ------
    NotFoundError
        There is no such window, version or metric.
    BadRequestError
        `limit` or `next` is no number.
    """
    names = [configured.name for configured in lane.config.windows]
    chosen = window or names[0]
    if chosen not in names:
        raise NotFoundError(f"model {lane.name!r} has no window {chosen!r}; it has {', '.join(names)}")
    most, first = _number("limit", limit, 100, least=1, most=MOST_SEGMENTS), _number("next", offset, 0)
    with lane.lock:
        if version is not None and version not in lane.versions:
            raise NotFoundError(f"model {lane.name!r} has no version {version!r}")
        evaluations = {
            key: evaluation
            for key, evaluation in lane.evaluations.items()
            if key[1] == chosen and version in (None, key[0])
        }
        states = [state for name, state in sorted(lane.versions.items()) if version in (None, name)]
        measures = lane.custom.measures
    known = {*(measure.name for measure in measures), *lane.config.metric_names}
    if metric is not None and metric not in known:
        raise NotFoundError(
            f"model {lane.name!r} has no metric {metric!r}; it has {', '.join(sorted(known))}"
        )
    ranked = standings(evaluations, measures, metric)
    searched = {state.name: search_window(lane, state, chosen) for state in states}
    return {
        "model": lane.name,
        "window": chosen,
        "evaluated": lane.evaluated_at or None,
        "total": len(ranked),
        "segments": [_described(one) for one in ranked[first : first + most]],
        "next": str(first + most) if first + most < len(ranked) else None,
        "too_small": [
            {"version": key[0], "segment": "=".join(key[2]), "rows": evaluation.rows}
            for key, evaluation in evaluations.items()
            if key[2] is not None and is_too_small(evaluation)
        ],
        "weak_segments": {
            name: search.to_dict() if search is not None else None for name, search in searched.items()
        },
    }


def _number(name: str, text: str | None, default: int, *, least: int = 0, most: int = 10**9) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or not least <= int(text[:12]) <= most:
        raise BadRequestError(
            f"expected a whole number from {least} to {most} for the query parameter {name}, but "
            f"{text[:80]!r} came",
            code="bad_parameter",
        )
    return int(text)


def _described(one: Standing) -> dict[str, Any]:
    evaluation, own = one.evaluation, one.own
    return {
        "segment": "=".join(evaluation.segment or ()),
        "version": evaluation.version,
        "rows": evaluation.rows,
        "labeled_rows": evaluation.labeled_rows,
        "metric": one.metric,
        "value": None if own is None else own.value,
        "lower": None if own is None else own.lower,
        "upper": None if own is None else own.upper,
        "whole": None if one.whole is None else one.whole.value,
        "gap": one.gap,
        "certain_gap": one.certain_gap,
        "baseline": None if own is None else own.baseline,
        "drop": None if own is None else own.drop,
        "degraded": own is not None and own.degraded,
        "drifted_columns": evaluation.drift.detected_columns,
        "drifted_ratio": evaluation.drift.ratio,
    }
