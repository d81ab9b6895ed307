"""What the API answers about a model, read off its lane."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from exporter.errors import ConflictError, NotFoundError
from exporter.profiles import CategoricalColumn, ColumnGrid, NumericColumn
from exporter.results import Evaluation
from exporter.service.baselines.making import BaselineService
from exporter.service.ingestion.payload import segment_key
from exporter.service.lane import Lane
from exporter.service.publisher import is_stale
from exporter.service.questions.notes import notes, roc_auc_error_bound, stale_reason


def summary(lane: Lane, now: float) -> dict[str, Any]:
    """One line about a model: what it is and how it stands.

    What drifted and degraded is of the latest evaluation, also when that is `stale`.
    """
    with lane.lock:
        drifted = sorted({name for evaluation in _whole(lane) for name in evaluation.drift.detected_columns})
        degraded = sorted({name for evaluation in _whole(lane) for name in evaluation.performance.degraded})
        active = [baseline for baseline in lane.baselines.values() if baseline.active]
        last_batch = max((value for key, value in lane.state.items() if key[0] == "last_batch"), default=None)
        return {
            "model": lane.name,
            "task": str(lane.schema.task),
            "versions": sorted(lane.versions),
            "windows": [window.name for window in lane.config.windows],
            "baseline": None if not active else max(active, key=lambda item: item.created).id,
            "provisional": bool(active) and all(baseline.provisional for baseline in active),
            "rows": int(sum(count for key, count in lane.counters.items() if key[0] == "rows")),
            "last_batch": last_batch,
            "drifted_columns": drifted,
            "degraded_metrics": degraded,
            "stale": is_stale(lane, now),
            "reason": waiting_reason(lane) or stale_reason(lane, now),
        }


def waiting_reason(lane: Lane) -> str | None:
    """Why nothing is evaluated yet, as a sentence."""
    if lane.grid is not None:
        return None
    needed = lane.config.baseline.rows
    if lane.config.baseline.source == "first_rows":
        return (
            f"no baseline yet: {lane.raw_rows} of {needed} first rows have come; or push one to .../baselines"
        )
    return "no baseline yet: push one to .../baselines"


def details(lane: Lane, now: float) -> dict[str, Any]:
    """A model's configuration, versions, windows, baselines and columns."""
    with lane.lock:
        rejected: dict[str, dict[str, int]] = {}
        for key, count in lane.counters.items():
            if key[0] == "rejected":
                rejected.setdefault(key[1], {})[key[2]] = int(count)
        versions = {
            name: {
                "watermark": state.watermark,
                "rows": int(lane.counters.get(("rows", name), 0)),
                "labels": int(lane.counters.get(("labels", name), 0)),
                "batches": int(lane.counters.get(("batches", name), 0)),
                "last_batch": lane.state.get(("last_batch", name)),
                "last_label": lane.state.get(("last_label", name)),
                "rejected": rejected.get(name, {}),
            }
            for name, state in sorted(lane.versions.items())
        }
        columns = [
            {"name": column.name, "kind": str(column.kind), "role": str(column.role)}
            for column in (lane.grid.columns.values() if lane.grid is not None else ())
        ]
        return {
            **summary(lane, now),
            "generation": lane.generation,
            "notes": notes(lane),
            "roc_auc_error_bound": roc_auc_error_bound(lane),
            "configuration": lane.config.model_dump(mode="json", exclude_none=True),
            "versions": versions,
            "columns": columns,
            "grid": lane.grid.id if lane.grid is not None else None,
            "baselines": [
                BaselineService.describe(baseline)
                for baseline in sorted(lane.baselines.values(), key=lambda item: item.created)
            ],
            "pending_predictions": lane.index.pending,
        }


def status(
    lane: Lane, now: float, window: str | None = None, version: str | None = None, segment: str | None = None
) -> dict[str, Any]:
    """How fresh a model's values are, and every reason for one that is missing.

    The lists are of the chosen windows, versions and segments; what drifted and degraded is of the whole
    model where no segment is chosen.
    """
    _check_window(lane, window)
    _check_rows(lane, version, segment)
    with lane.lock:
        chosen = [
            evaluation
            for evaluation in lane.evaluations.values()
            if window in (None, evaluation.window.name)
            and version in (None, evaluation.version)
            and segment in (None, "*", _segment(evaluation))
        ]
        shown = [evaluation for evaluation in chosen if segment is not None or evaluation.segment is None]
        return {
            **summary(lane, now),
            "drifted_columns": sorted({name for one in shown for name in one.drift.detected_columns}),
            "degraded_metrics": sorted({name for one in shown for name in one.performance.degraded}),
            "evaluated": lane.evaluated_at or None,
            "notes": notes(lane),
            "roc_auc_error_bound": roc_auc_error_bound(lane),
            "failures": _failures(lane),
            "undefined": [
                {
                    "version": evaluation.version,
                    "window": evaluation.window.name,
                    "segment": _segment(evaluation),
                    "measure": measure,
                    "subject": subject,
                    "reason": reason,
                }
                for evaluation in chosen
                for measure, subject, reason in evaluation.undefined
            ],
        }


def _failures(lane: Lane) -> dict[str, dict[str, str]]:
    """Why rules and custom metrics failed on the newest rows of each version, by path or `metrics.name`."""
    failures = {version: dict(lane.failures.get(version, {})) for version in {*lane.failures, *lane.versions}}
    for version, failed in failures.items():
        for name, error in lane.custom.failures(version).items():
            failed[f"metrics.{name}"] = error.message
    return {version: failed for version, failed in sorted(failures.items()) if failed}


def evaluations(
    lane: Lane, part: str, now: float, *, window: str | None, version: str | None, segment: str | None
) -> dict[str, Any]:
    """One part (`performance`, `drift`, `quality`) of the latest evaluations, filtered.

    Those of a stale model are kept, and each says that it is.
    """
    _check_window(lane, window)
    _check_rows(lane, version, segment)
    stale = is_stale(lane, now)
    chosen = []
    for evaluation in lane.evaluations.values():
        if window not in (None, evaluation.window.name) or version not in (None, evaluation.version):
            continue
        if (_segment(evaluation) or "") != (segment or "") and segment != "*":
            continue
        chosen.append({**_part(lane, evaluation, part), "stale": stale})
    return {
        "model": lane.name,
        "evaluated": lane.evaluated_at or None,
        "stale": stale,
        "reason": waiting_reason(lane) or stale_reason(lane, now),
        "results": chosen,
    }


def _part(lane: Lane, evaluation: Evaluation, part: str) -> dict[str, Any]:
    whole = evaluation.to_dict()
    result = {
        **whole[part],
        "version": evaluation.version,
        "window": evaluation.window.name,
        "segment": _segment(evaluation),
        "start": evaluation.start,
        "end": evaluation.end,
        "rows": evaluation.rows,
        "labeled_rows": evaluation.labeled_rows,
        "made_at": evaluation.made_at,
    }
    if part == "performance":
        for name in ("performance_window", "labeled_ratio", "label_delay", "confusion", "class_performance"):
            result[name] = whole[name]
        result |= {name: whole[name] for name in ("ranking", "residuals") if whole[name] is not None}
        result["class_rows"] = class_rows(evaluation)
        result["estimated"] = whole["estimates"]
    if part == "drift":
        for name, column in result["columns"].items():
            column["since"] = lane.drift_since.get((evaluation.version, evaluation.window.name, name))
    if part == "quality":
        result["event_delay"] = whole["event_delay"]
        judged = lane.volumes.get(evaluation.version) if evaluation.segment is None else None
        result["volume"] = None if judged is None else judged.report.to_dict()
    return result


def class_rows(evaluation: Evaluation) -> dict[str, int]:
    """Labelled rows of each class: the support of its metrics."""
    rows: dict[str, int] = {}
    for actual, _, count in evaluation.confusion:
        rows[actual] = rows.get(actual, 0) + count
    return rows


def distributions(lane: Lane, column: str, window: str | None, version: str | None) -> dict[str, Any]:
    """Counts of a column in the baseline and in a window, on the same bins."""
    _check_window(lane, window)
    with lane.lock:
        if lane.grid is None:
            raise ConflictError(waiting_reason(lane) or "no baseline yet", code="no_baseline")
        if column not in lane.grid.columns:
            raise NotFoundError(
                f"model {lane.name!r} profiles no column {column!r}; it has {', '.join(lane.grid.columns)}"
            )
        chosen = window or lane.config.windows[0].name
        name = version if version is not None else next(iter(sorted(lane.versions)), None)
        state = lane.versions.get(name) if name is not None else None
        if state is None or name is None or state.whole is None or state.watermark is None:
            raise NotFoundError(f"model {lane.name!r} has no rows of version {version!r}")
        span, current = state.whole.window(chosen, state.watermark, "features")
        grid = lane.grid.columns[column]
        if grid.role == "label":
            span, current = state.whole.window(chosen, state.watermark, "outcomes")
        baseline = lane.active_baseline(name)
        reference = lane.baseline_profile(baseline) if baseline is not None else None
        return {
            "model": lane.name,
            "version": name,
            "window": chosen,
            "column": column,
            "kind": str(grid.kind),
            "role": str(grid.role),
            "grid": lane.grid.id,
            "start": span.start,
            "end": span.end,
            "bins": bin_descriptions(grid),
            "current": [int(count) for count in current.coarse_counts(column)],
            "baseline": None
            if reference is None
            else [int(count) for count in reference.coarse_counts(column)],
            "current_summary": column_summary(current.column(column)),
            "baseline_summary": None if reference is None else column_summary(reference.column(column)),
        }


def bin_descriptions(grid: ColumnGrid) -> list[dict[str, Any]]:
    """Name, title and upper edge (numeric columns; null where it is open) of each coarse bin."""
    bins = grid.coarse
    upper = [None] * len(bins) if bins.upper is None else bins.upper.tolist()
    return [
        {"bin": name, "title": title, "upper": edge if edge is not None and np.isfinite(edge) else None}
        for name, title, edge in zip(bins.names, bins.titles, upper, strict=True)
    ]


def column_summary(column: NumericColumn | CategoricalColumn) -> dict[str, Any]:
    if isinstance(column, NumericColumn):
        values = {
            "rows": int(column.n),
            "missing": int(column.missing),
            "nonfinite": int(column.nonfinite),
            "mean": column.mean,
            "standard_deviation": column.std,
            "minimum": column.minimum,
            "maximum": column.maximum,
        }
        return {
            key: None if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in values.items()
        }
    return {
        "rows": int(column.n),
        "missing": int(column.missing),
        "novel": {str(name): int(count) for name, count in column.novel.items()},
        "other": int(column.other),
    }


def grid(lane: Lane) -> dict[str, Any]:
    """What a remote profiler needs: the grid's id and bytes, and the bucket width."""
    if lane.grid is None:
        raise ConflictError(waiting_reason(lane) or "no grid yet", code="no_grid")
    return {
        "model": lane.name,
        "grid": lane.grid.id,
        "resolution": lane.resolution,
        "data": base64.b64encode(lane.grid.to_bytes()).decode(),
    }


def _whole(lane: Lane) -> list[Evaluation]:
    return [evaluation for key, evaluation in lane.evaluations.items() if key[2] is None]


def _segment(evaluation: Evaluation) -> str | None:
    return None if evaluation.segment is None else "=".join(evaluation.segment)


def _check_window(lane: Lane, window: str | None) -> None:
    names = [configured.name for configured in lane.config.windows]
    if window is not None and window not in names:
        raise NotFoundError(f"model {lane.name!r} has no window {window!r}; it has {', '.join(names)}")


def _check_rows(lane: Lane, version: str | None, segment: str | None) -> None:
    """Refuse a version that nothing came of, and a segment of which nothing is measured."""
    with lane.lock:
        versions = sorted({*lane.versions, *(evaluation.version for evaluation in lane.evaluations.values())})
        measured = {key for state in lane.versions.values() for key in state.series}
    if version is not None and version not in versions:
        exist = ", ".join(versions) or "none yet"
        raise NotFoundError(f"model {lane.name!r} has no version {version[:80]!r}; it has {exist}")
    if not segment or segment == "*":
        return
    column, equals, value = segment.partition("=")
    if not equals or column not in lane.config.segments:
        raise NotFoundError(
            f"expected a segment as column=value or *, but {segment[:80]!r} came; model {lane.name!r} has "
            f"segments by {', '.join(lane.config.segments) or 'no column'}"
        )
    if lane.grid is not None and segment_key(column, value) not in measured:
        raise NotFoundError(
            f"model {lane.name!r} measures no segment {segment[:80]!r}; .../segments lists them"
        )
