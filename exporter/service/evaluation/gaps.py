"""Why rules and delays have no value: reasons that the profiles of a window do not know."""

from __future__ import annotations

from exporter.evaluation import ERROR_COLUMN, Missing
from exporter.results import Evaluation
from exporter.schema import Role, Task
from exporter.service.evaluation.arrivals import volume_gaps
from exporter.service.lane import Lane

UNMEASURED = (
    "performance",
    "drift",
    "multivariate_drift",
    "quality",
    "window",
    "labeled_ratio",
    "label_delay_seconds",
    "event_delay_seconds",
    "volume",
)
"""What a model without an evaluation lacks; `performance`, `drift`, `quality` and `window` stand for all
families whose names begin so."""

OF_TASK: dict[Task, tuple[str, ...]] = {
    Task.BINARY: ("confusion_rows",),
    Task.MULTICLASS: ("confusion_rows", "class_performance"),
    Task.RANKING: ("ranking_groups",),
}
"""What only models of one task have, and lack without labels."""

_DELAYS = (("label_delay", "insufficient_labels"), ("event_delay", "empty"))


def gaps(lane: Lane, evaluation: Evaluation) -> tuple[Missing, ...]:
    """What is not exported of the whole of a version and window, with the reason.

    Measures that nobody configured (rules, timeliness) are not missing. A rule that the newest rows of the
    version did not allow is an `error`, also while the window still has a ratio from earlier rows. Segments
    have neither rules nor delays.
    """
    if evaluation.segment is not None:
        return ()
    volumes = volume_gaps(lane.volumes, evaluation.version)
    return (*_rule_gaps(lane, evaluation), *_coverage_gaps(lane, evaluation), *volumes)


def _rule_gaps(lane: Lane, evaluation: Evaluation) -> list[Missing]:
    failures = lane.failures.get(evaluation.version, {})
    quality = evaluation.quality
    missing: list[Missing] = []
    for path, (kind, *names) in lane.rules.paths.items():
        if kind == "rule":
            measure, known = "quality_validity_ratio", names[1] in quality.validity.get(names[0], {})
        else:
            measure, known = "quality_consistency_ratio", names[0] in quality.consistency
        if path in failures:
            missing.append((measure, "/".join(names), "error"))
        elif not known:
            missing.append((measure, "/".join(names), "empty"))
    return missing


def _coverage_gaps(lane: Lane, evaluation: Evaluation) -> list[Missing]:
    missing: list[Missing] = [
        (f"{name}_seconds", None, reason) for name, reason in _DELAYS if evaluation[name] is None
    ]
    missing += [
        ("performance_baseline", name, "no_baseline")
        for name, metric in evaluation.performance.metrics.items()
        if metric.value is not None and metric.baseline is None
    ]
    present = {
        "confusion_rows": evaluation.confusion,
        "class_performance": evaluation.class_performance,
        "ranking_groups": evaluation.ranking,
    }
    missing += [
        (measure, None, "insufficient_labels")
        for measure in OF_TASK.get(lane.schema.task, ())
        if not present[measure]
    ]
    known = any(column.role == Role.ERROR for column in evaluation.drift.columns.values())
    if not known and ("concept_drift", None, "error") not in evaluation.undefined:
        ranked = lane.schema.task is Task.RANKING  # which has no loss of a row
        missing.append(("drift", ERROR_COLUMN, "not_comparable" if ranked else "insufficient_labels"))
    if evaluation.labeled_ratio is None:
        missing.append(("labeled_ratio", None, "empty"))
    return missing
