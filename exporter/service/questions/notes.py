"""What a person should know before trusting a model's numbers, in sentences."""

from __future__ import annotations

from datetime import UTC, datetime

from exporter.profiles import BinaryOutcome, Profile
from exporter.service.baselines.yardsticks import measuring_notes
from exporter.service.evaluation.evaluator import exported_versions
from exporter.service.lane import Lane
from exporter.service.publisher import is_stale
from exporter.store import StoredBaseline


def stale_reason(lane: Lane, now: float) -> str | None:
    """Why the results of a model are no longer those of now, as a sentence; None while they are."""
    if not is_stale(lane, now):
        return None
    last = max(at for key, at in lane.state.items() if key[0] == "last_batch")
    moment = datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return (
        f"stale: no rows have come since {moment}, which is longer than stale_after "
        f"({lane.config.stale_after:g} s); the results are those of then, and /metrics no longer has them"
    )


def notes(lane: Lane) -> list[str]:
    """What is uncertain about the active baselines, and which metrics are slow, one sentence each."""
    found = lane.custom.notes()
    for baseline, versions in _in_use(lane):
        if baseline.provisional:
            found.append(
                f"Baseline {baseline.id} is provisional: it was made of the first rows that came, which "
                "nobody has checked. Push one to .../baselines once there are rows that are known to be good."
            )
        late = any(baseline_id == baseline.id for baseline_id, *_ in lane.late_references)
        if not lane.baseline_profile(baseline).labeled_rows and not late:
            found.append(
                f"Baseline {baseline.id} has no labels, so ml_performance_drop cannot exist. Push a baseline "
                "with labels to .../baselines, or promote a past window that has them with "
                '{"from": T, "to": T}.'
            )
        found += _small(lane, baseline, versions)
        found += measuring_notes(lane, baseline)
    for scope, blocked in lane.blocked.items():
        whose = "all versions" if scope is None else f"version {scope}"
        since = datetime.fromtimestamp(blocked.since, UTC).isoformat(timespec="seconds")
        found.append(
            f"The baseline of {whose} is due for a refresh since {since}, but the newest window of version "
            f"{blocked.version} has {'; '.join(blocked.reasons)}."
        )
    return found


def _small(lane: Lane, baseline: StoredBaseline, versions: list[str]) -> list[str]:
    """Versions whose largest window holds more rows than the baseline."""
    found = []
    for version in versions:
        windows = [
            evaluation
            for key, evaluation in lane.evaluations.items()
            if key[0] == version and evaluation.segment is None
        ]
        largest = max(windows, key=lambda evaluation: evaluation.rows, default=None)
        if largest is not None and largest.rows > baseline.rows:
            found.append(
                f"Baseline {baseline.id} has {baseline.rows} rows, fewer than the {largest.rows} of window "
                f"{largest.window.name} of version {version}: without drift its verdicts may alarm for ever "
                "or never, because the baseline's own chance is seen at every look. Use a larger baseline."
            )
    return found


def roc_auc_error_bound(lane: Lane) -> float | None:
    """How far an ROC AUC read off the score grid can be from the exact one, on the active baselines."""
    bounds = [_bound(lane.baseline_profile(baseline)) for baseline, _ in _in_use(lane)]
    return max((bound for bound in bounds if bound is not None), default=None)


def _bound(profile: Profile) -> float | None:
    outcome = profile.outcome()
    return outcome.roc_auc_bound if isinstance(outcome, BinaryOutcome) else None


def _in_use(lane: Lane) -> list[tuple[StoredBaseline, list[str]]]:
    """Active baselines with the versions that are compared with them."""
    used: dict[str, tuple[StoredBaseline, list[str]]] = {}
    for version in [state.name for state in exported_versions(lane)] or ["default"]:
        baseline = lane.active_baseline(version)
        if baseline is not None and baseline.grid_id in lane.grids:
            used.setdefault(baseline.id, (baseline, []))[1].append(version)
    return list(used.values())
