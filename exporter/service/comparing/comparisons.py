"""Comparisons of versions: kept up with what comes, evaluated with their model, answered by the API."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from exporter.evaluation import Failed, Missing, log_failure
from exporter.profiles import Profile
from exporter.results.comparison import ComparedMetric, Comparison, SampleRatio
from exporter.service.comparing.contests import STATE, Contest, Contests, Count, Key
from exporter.service.comparing.pairs import PAIR
from exporter.service.lane import Lane, VersionState
from exporter.statistics.comparison import compare, compare_ratios, default_metrics, is_paired, pair_count

MISMATCH_ALPHA = 0.01
"""Chance that a right split is ever called a mismatch."""

FORGOTTEN = -1.0
"""A start that was kept of a champion whose data were deleted since."""

ERROR = ComparedMetric(reason="error", detail="the computation failed; the log says more")


def compare_lane(lane: Lane, now: float, failed: Failed = log_failure) -> dict[str, Comparison]:
    """Compare every challenger with the champion; by challenger. Nothing without a configured champion.

    What fails is told to `failed` and left out; it takes no evaluation with it.
    """
    compared: dict[str, Comparison] = {}
    with lane.lock:
        lane.contests.failed = False
        try:
            update_contests(lane)
        except Exception as error:  # noqa: BLE001  # the windows are evaluated all the same
            failed("comparison", None, error)
            lane.contests.failed = True
            return compared
        taken = [
            (contest, contest.first.copy(), contest.second.copy())
            for contest in lane.contests.by_challenger.values()
        ]
    for contest, first, second in taken:
        try:
            compared[contest.challenger] = _comparison(lane, contest, first, second, now=now, failed=failed)
        except Exception as error:  # noqa: BLE001  # the other challengers go on
            failed("comparison", contest.challenger, error)
            lane.contests.failed = True
    return compared


# -- keeping up ----------------------------------------------------------------------------------------


def update_contests(lane: Lane) -> None:
    """Open and close contests as versions come and go, and let what has ended count; under the lock."""
    contests = lane.contests
    champion = None if lane.config.champion is None else lane.versions.get(lane.config.champion)
    if champion is None or not _has_rows(champion):
        _forget(contests, lane.config.champion)
        contests.by_challenger = {}
    else:
        challengers = _challengers(lane, champion)
        for gone in contests.by_challenger.keys() - {state.name for state in challengers}:
            del contests.by_challenger[gone]
        for challenger in challengers:
            contest = contests.by_challenger.get(challenger.name) or _opened(lane, champion, challenger)
            if contest is not None and champion.whole is not None and challenger.whole is not None:
                older = min(champion.watermark or 0.0, challenger.watermark or 0.0)
                contest.advance(champion.whole, challenger.whole, older)
                contest.count_rows(champion.whole, challenger.whole, older)
    contests.complete = True


def _has_rows(state: VersionState) -> bool:
    return state.watermark is not None and state.whole is not None


def _challengers(lane: Lane, champion: VersionState) -> list[VersionState]:
    """The versions with the newest rows beside the champion, `max_versions` with it, by name."""
    others = [state for state in lane.versions.values() if state is not champion and _has_rows(state)]
    others.sort(key=lambda state: state.watermark or 0.0, reverse=True)
    return sorted(others[: lane.config.max_versions - 1], key=lambda state: state.name)


def _opened(lane: Lane, champion: VersionState, challenger: VersionState) -> Contest | None:
    """The contest of two versions as it was kept, or a new one; None while one of them has no bucket."""
    grid, contests = lane.grid, lane.contests
    if grid is None or champion.whole is None or challenger.whole is None:
        return None
    since = lane.config.comparison.since
    key: Key = (challenger.name, champion.name, grid.id, "" if since is None else since.isoformat())
    kept = contests.known
    start = kept.get((STATE, *key, "start"), FORGOTTEN)
    share = expected_share(lane, champion.name, challenger.name)
    if start == FORGOTTEN:
        oldest = [series.coverage()[:1] for series in (champion.whole, challenger.whole)]
        if not all(oldest):
            return None
        younger = max(bucket[0][0] for bucket in oldest)
        start, count = _start(lane, younger)
    else:
        names = ("champion_rows", "challenger_rows", _p_value_name(share))
        first, second, p_value = (kept.get((STATE, *key, name)) for name in names)
        until = kept.get((STATE, *key, "until"), start)
        count = Count(until, int(first or 0), int(second or 0), share, 1.0 if p_value is None else p_value)
    count.share = share
    contest = Contest(
        champion.name,
        challenger.name,
        int(start),
        int(start),
        key,
        Profile.empty(grid),
        Profile.empty(grid),
        count,
    )
    contests.open(contest, grid)
    return contest


def _start(lane: Lane, younger: int) -> tuple[float, Count]:
    """Where a new contest starts, given the oldest bucket of the younger arm.

    Without `since` rows are counted from the next bucket on: in its first one the younger arm was not there
    from the beginning, so that the shares of the rows cannot be those of the split.
    """
    since, width = lane.config.comparison.since, lane.resolution
    if since is None:
        return float(younger), Count(younger + width)
    start = math.ceil(since.timestamp() / width) * width
    if len(lane.grids) > 1:
        start = max(start, younger)
    return start, Count(start)


def _forget(contests: Contests, champion: str | None) -> None:
    """Of a champion without data nothing that was kept holds any more."""
    for key, value in contests.known.items():
        if key[2] == champion and key[-1] == "start" and value != FORGOTTEN:
            contests.forgotten[key] = FORGOTTEN


def _p_value_name(share: float | None) -> str:
    return Count(0.0, share=share).p_value_name


def expected_share(lane: Lane, champion: str, challenger: str) -> float | None:
    """The challenger's share of the rows of the two as configured; None where no split is."""
    split = lane.config.comparison.split
    if split is None:
        return None
    if split == "equal":
        return 0.5
    shares = dict(split)
    if champion not in shares or challenger not in shares:
        return None
    return shares[challenger] / (shares[champion] + shares[challenger])


# -- evaluating ----------------------------------------------------------------------------------------


def _comparison(
    lane: Lane, contest: Contest, first: Profile, second: Profile, *, now: float, failed: Failed
) -> Comparison:
    champion, challenger = first.outcome(), second.outcome()
    pairs = first.outcomes.totals.get((PAIR, contest.challenger))
    rows = champion.labelled_rows, challenger.labelled_rows
    paired = is_paired(pair_count(pairs), *rows)
    alpha = lane.config.comparison.alpha
    metrics: dict[str, ComparedMetric] = {}
    for name in _metric_names(lane, champion):
        try:
            metrics |= compare(champion, challenger, [name], pairs=pairs, alpha=alpha)
        except Exception as error:  # noqa: BLE001  # the other metrics go on
            failed("comparison", name, error)
            metrics[name] = ERROR
    metrics |= _custom(lane, first, second, alpha)
    return Comparison(
        model=lane.name,
        champion=contest.champion,
        challenger=contest.challenger,
        start=float(contest.start),
        end=float(contest.until),
        made_at=now,
        alpha=alpha,
        champion_rows=rows[0],
        challenger_rows=rows[1],
        paired_rows=pair_count(pairs),
        metrics=metrics,
        sample_ratio=_sample_ratio(contest.count, paired=paired),
    )


def _metric_names(lane: Lane, outcome: Any) -> tuple[str, ...]:
    """Metrics of the catalogue and of the labels that are compared."""
    configured = lane.config.comparison.metrics
    if configured is None:
        return default_metrics(outcome, lane.config.metric_names)
    custom = {metric.name for metric in lane.config.custom_metrics}
    return tuple(name for name in configured if name.rpartition(":")[2] not in custom)


def _custom(lane: Lane, first: Profile, second: Profile, alpha: float) -> dict[str, ComparedMetric]:
    """Custom metrics, from the sums that both arms keep of them."""
    configured = lane.config.comparison.metrics
    wanted = None if configured is None else {name.rpartition(":")[2] for name in configured}
    compared = {}
    for measure in lane.custom.measures:
        if wanted is not None and measure.name not in wanted:
            continue
        if measure.total:
            reason = "a sum over rows grows with them, so that two arms have nothing to compare"
            compared[measure.name] = ComparedMetric(reason="not_comparable", detail=reason)
            continue
        sums = (profile.outcomes.totals.get(measure.key) for profile in (first, second))
        compared[measure.name] = compare_ratios(*sums, better=measure.higher_is_better, alpha=alpha)
    return compared


def _sample_ratio(count: Count, *, paired: bool) -> SampleRatio:
    known: dict[str, Any] = {
        "champion_rows": count.champion,
        "challenger_rows": count.challenger,
        "expected": count.share,
        "counted_until": count.until,
    }
    if paired:
        detail = "both versions answer the same ids, so that nothing is divided between them"
        return SampleRatio(**known, reason="not_comparable", detail=detail)
    if count.share is None:
        detail = "comparison.split does not say how rows are meant to be divided between the two"
        return SampleRatio(**known, reason="not_comparable", detail=detail)
    if not count.champion + count.challenger:
        detail = "no bucket has ended for both arms since the comparison began"
        return SampleRatio(**known, reason="insufficient_rows", detail=detail)
    return SampleRatio(**known, p_value=count.p_value, mismatch=count.p_value < MISMATCH_ALPHA)


# -- answering -----------------------------------------------------------------------------------------


def missing_of(lane: Lane) -> dict[str, list[Missing]]:
    """What has no value and why, by version: a challenger, or the champion when there is none to compare.

    The sample ratio is missing only where a split is configured.
    """
    champion = lane.config.champion
    if champion is None:
        return {}
    if lane.contests.failed:
        return {champion: [("comparison", None, "error")]}
    if not lane.comparisons:
        return {champion: [("comparison", None, "no_baseline" if lane.grid is None else "empty")]}
    missing: dict[str, list[Missing]] = {}
    for challenger, comparison in lane.comparisons.items():
        missing[challenger] = [
            ("comparison", name, metric.reason)
            for name, metric in comparison.metrics.items()
            if metric.reason is not None
        ]
        reason = comparison.sample_ratio.reason
        if lane.config.comparison.split is not None and reason is not None:
            missing[challenger].append(("comparison_sample_ratio", None, reason))
    return missing


def comparisons(lane: Lane) -> dict[str, Any]:
    """All comparisons of a model for the API."""
    with lane.lock:
        found: Mapping[str, Comparison] = lane.comparisons
        reason = None
        if lane.config.champion is None:
            reason = "no version is the champion: name one in `champion`"
        elif lane.contests.failed:
            reason = "a comparison failed; the log says more"
        elif not found:
            reason = f"there are no rows of the champion {lane.config.champion!r} and of another version yet"
        return {
            "model": lane.name,
            "champion": lane.config.champion,
            "evaluated": lane.evaluated_at or None,
            "reason": reason,
            "results": [comparison.to_dict() for comparison in found.values()],
        }
