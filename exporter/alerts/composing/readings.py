"""What the exporter says now of the measure that an alert is about."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from exporter.alerts.composing.facts import FactsSource, FactsUnavailableError
from exporter.alerts.composing.subjects import Subject, subject_of
from exporter.alerts.records import Alert, Facts, WorstColumn
from exporter.catalog import (
    DRIFT_METHODS,
    FAMILIES,
    MULTIVARIATE_METHODS,
    PERFORMANCE_METRICS,
    QUALITY_CHECKS,
    REASONS,
)
from exporter.durations import parse_duration

logger = logging.getLogger(__name__)

MESSAGE_SECONDS: Final = 1.0
"""After so long no further question is asked for one message; the last one may take a second more."""
MOST_POINTS: Final = 48
WORST_COLUMNS: Final = 5
_WINDOWS_BACK = 14
_MOST_ASKED = 1000
_HIGH_IS_BAD = frozenset({"duplicate", "outlier", "schema_changes"})
_OTHERS_HIGH_IS_BAD: Final[Mapping[str, bool]] = MappingProxyType(
    {
        "ml_labeled_ratio": False,
        "ml_quality_constant_columns": True,
        "ml_quality_new_categories": True,
        "ml_quality_vanished_categories": True,
    }
)
"""Families without a kind of their own whose bad side is known."""

UNREACHABLE: Final = "unreachable"


class Budget:
    """The time that the questions of one message may take together."""

    def __init__(self, seconds: float = MESSAGE_SECONDS) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> bool:
        return time.monotonic() < self._until


@dataclass(frozen=True, slots=True)
class Reading:
    """The current value of what an alert is about.

    Attributes
    ----------
    subject : Subject or None
        None where the alert is about no measure of a model.
    good : bool or None
        Whether the value is on the side where its rule does not fire; None when that cannot be told.
    known : bool
        The exporter answered. Then no current value means that there is none.
    detail : mapping
        What only some kinds have: `drop`, `drop_kind`, `method`, `since`, `columns`, `expected`, ...
    """

    facts: Facts = field(default_factory=Facts)
    subject: Subject | None = None
    good: bool | None = None
    known: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)


class Reader:
    """Asks a source about alerts. Never raises."""

    def __init__(self, source: FactsSource | None) -> None:
        self._source = source

    def read(self, alert: Alert, budget: Budget, *, now: float, with_history: bool = True) -> Reading:
        """What is known now; without a source, or when it does not answer, what the alert itself says."""
        subject = subject_of(alert)
        said = Facts(
            measure=subject.measure if subject else alert.annotations.get("measure", "")[:100],
            threshold=number_of(alert.annotations.get("threshold")),
        )
        if subject is None or self._source is None:
            return Reading(said, subject)
        try:
            reading = _Question(self._source, subject, said, budget, now).reading()
            if with_history and reading.known:
                reading = replace(reading, facts=_with_history(self._source, reading, budget))
        except FactsUnavailableError as error:
            if error.missing:
                return Reading(replace(said, undefined="empty"), subject, known=True)
            return Reading(replace(said, undefined=UNREACHABLE), subject)
        except Exception:
            logger.exception("The exporter's answer about %s could not be read", subject.kind)
            return Reading(said, subject)
        return reading


def _ask(source: FactsSource, budget: Budget, subject: Subject, what: str, **params: str) -> Any:
    if not budget.left:
        raise FactsUnavailableError("the time for questions is over")
    path = f"/api/v1/models/{quote(subject.model, safe='')}{what}"
    answer = source.get(path, {name: value for name, value in params.items() if value})
    if not isinstance(answer, Mapping):
        raise FactsUnavailableError("the answer is no JSON object")
    return answer


class _Question:
    """One subject, and the answers about it."""

    def __init__(
        self, source: FactsSource, subject: Subject, said: Facts, budget: Budget, now: float
    ) -> None:
        self._source, self._subject, self._said, self._budget, self._now = source, subject, said, budget, now

    def reading(self) -> Reading:
        """The answer, by the kind of the subject."""
        kinds = {
            "performance": self._performance,
            "estimate": self._estimate,
            "drift": self._drift,
            "share": self._share,
            "multivariate": self._multivariate,
            "quality": self._quality,
            "volume": self._volume,
            "comparison": self._comparison,
            "freshness": self._freshness,
            "other": self._other,
        }
        return kinds[self._subject.kind]()

    # -- asking -------------------------------------------------------------------------------------

    def _get(self, what: str, **params: str) -> Any:
        return _ask(self._source, self._budget, self._subject, what, **params)

    def _result(self, part: str) -> tuple[dict[str, Any] | None, str]:
        """The newest evaluation of the subject's version and window, or why there is none."""
        subject = self._subject
        answer = self._get(f"/{part}", window=subject.window, segment=subject.segment)
        for result in _list(answer.get("results")):
            if subject.version in ("", result.get("version")) and subject.window in (
                "",
                result.get("window"),
            ):
                return (None, "stale") if result.get("stale") else (result, "")
        return None, _reason(answer.get("reason")) or "empty"

    def _undefined(self, reason: str) -> Reading:
        return Reading(replace(self._said, undefined=reason or "empty"), self._subject, known=True)

    def _made(self, facts: Facts, good: bool | None, **detail: Any) -> Reading:
        return Reading(facts, self._subject, good if facts.current is not None else None, True, detail)

    def _worst(self) -> tuple[WorstColumn, ...]:
        """Feature columns that drifted, worst first; none where that cannot be asked."""
        try:
            result, _ = self._result("drift")
        except FactsUnavailableError:
            return ()
        drifted = []
        for name, column in _dict((result or {}).get("columns")).items():
            statistic, critical = number_of(column.get("statistic")), number_of(column.get("critical_value"))
            if not column.get("detected") or statistic is None or critical is None:
                continue
            if column.get("role") in ("feature", "embedding"):
                drifted.append(WorstColumn(str(name), statistic, critical, str(column.get("method") or "")))
        drifted.sort(key=lambda found: (-found.statistic / max(found.critical_value, 1e-12), found.column))
        return tuple(drifted[:WORST_COLUMNS])

    # -- performance --------------------------------------------------------------------------------

    def _performance(self) -> Reading:
        result, reason = self._result("performance")
        if result is None:
            return self._undefined(reason)
        metric, of_class = self._subject.of("metric"), self._subject.of("class")
        if of_class:
            value = number_of(_dict(_dict(result.get("class_performance")).get(of_class)).get(metric))
            found: dict[str, Any] = {"value": value}
        else:
            found = _dict(_dict(result.get("metrics")).get(metric))
        window = _dict(result.get("performance_window"))
        known = PERFORMANCE_METRICS.get(metric)
        facts = replace(
            self._said,
            current=number_of(found.get("value")),
            threshold=_first(self._said.threshold, number_of(result.get("threshold"))),
            baseline=number_of(found.get("baseline")),
            lower=number_of(found.get("lower")),
            upper=number_of(found.get("upper")),
            unit="" if known is None or known.unit == "label" else known.unit,
            rows=_count(found.get("n") or window.get("rows")),
            at=_first(number_of(window.get("end")), number_of(result.get("end"))),
        )
        if facts.current is None:
            return self._undefined(_reason(found.get("reason")))
        degraded, drop = found.get("degraded"), number_of(found.get("drop"))
        good = None if degraded is None else not degraded
        if drop is not None and facts.threshold is not None:
            good = drop <= facts.threshold  # which may be another one than `degraded` speaks of
        return self._made(
            replace(facts, worst_columns=self._worst()),
            good,
            drop=drop,
            drop_kind="difference" if known is None else known.drop,
            higher_is_better=known is None or known.higher_is_better,
        )

    def _estimate(self) -> Reading:
        result, reason = self._result("performance")
        if result is None:
            return self._undefined(reason)
        metric = self._subject.of("metric")
        found = _dict(_dict(result.get("estimated")).get(metric))
        baseline = number_of(_dict(_dict(result.get("metrics")).get(metric)).get("baseline"))
        known = PERFORMANCE_METRICS.get(metric)
        facts = replace(
            self._said,
            current=number_of(found.get("value")),
            threshold=_first(self._said.threshold, number_of(result.get("threshold"))),
            baseline=baseline,
            lower=number_of(found.get("lower")),
            upper=number_of(found.get("upper")),
            unit="" if known is None or known.unit == "label" else known.unit,
            rows=_count(found.get("rows")),
            at=number_of(result.get("end")),
        )
        if facts.current is None:
            return self._undefined(_reason(found.get("reason")))
        higher = known is None or known.higher_is_better
        kind = "difference" if known is None else known.drop
        best = drop_of(facts.upper if higher else facts.lower, baseline, kind, higher=higher)
        good = None if best is None or facts.threshold is None else best <= facts.threshold
        return self._made(
            replace(facts, worst_columns=self._worst()),
            good,
            drop=drop_of(facts.current, baseline, kind, higher=higher),
            drop_kind=kind,
            higher_is_better=higher,
        )

    # -- drift --------------------------------------------------------------------------------------

    def _drift(self) -> Reading:
        result, reason = self._result("drift")
        if result is None:
            return self._undefined(reason)
        column = _dict(_dict(result.get("columns")).get(self._subject.of("column")))
        method = self._subject.of("method") or str(column.get("method") or "")
        test = _dict(_dict(column.get("methods")).get(method))
        if method == column.get("method"):
            test = {**test, "detected": column.get("detected")}
        known = DRIFT_METHODS.get(method)
        facts = replace(
            self._said,
            current=number_of(test.get("statistic")),
            threshold=_first(number_of(test.get("critical_value")), self._said.threshold),
            unit="" if known is None else known.unit,
            rows=_count(result.get("rows")),
            at=number_of(result.get("end")),
        )
        if facts.current is None:
            return self._undefined(_reason(column.get("reason")))
        detected = test.get("detected")
        return self._made(
            facts,
            None if detected is None else not detected,
            method=method,
            role=str(column.get("role") or ""),
            since=number_of(column.get("since")),
        )

    def _share(self) -> Reading:
        result, reason = self._result("drift")
        if result is None:
            return self._undefined(reason)
        columns = _dict(result.get("columns")).values()
        features = [column for column in columns if column.get("role") in ("feature", "embedding")]
        facts = replace(
            self._said,
            current=number_of(result.get("ratio")),
            unit="ratio",
            rows=_count(result.get("rows")),
            at=number_of(result.get("end")),
            worst_columns=self._worst(),
        )
        if facts.current is None:
            return self._undefined(_reason(result.get("reason")))
        good = None if facts.threshold is None else facts.current <= facts.threshold
        drifted = sum(1 for column in features if column.get("detected"))
        tested = sum(1 for column in features if column.get("detected") is not None)
        return self._made(facts, good, columns=tested, drifted=drifted)

    def _multivariate(self) -> Reading:
        result, reason = self._result("drift")
        if result is None:
            return self._undefined(reason)
        together = _dict(result.get("multivariate"))
        methods = _dict(together.get("methods"))
        detected = [name for name, test in methods.items() if _dict(test).get("detected")]
        method = self._subject.of("method") or next(iter([*detected, *methods]), "")
        test = _dict(methods.get(method))
        known = MULTIVARIATE_METHODS.get(method)
        facts = replace(
            self._said,
            current=number_of(test.get("statistic")),
            threshold=_first(number_of(test.get("critical_value")), self._said.threshold),
            unit=str(getattr(known, "unit", "")),
            rows=_count(together.get("rows")),
            at=number_of(result.get("end")),
            worst_columns=self._worst(),
        )
        if facts.current is None:
            return self._undefined(_reason(test.get("reason")))
        found = test.get("detected")
        return self._made(facts, None if found is None else not found, method=method)

    # -- quality ------------------------------------------------------------------------------------

    def _quality(self) -> Reading:
        result, reason = self._result("quality")
        if result is None:
            return self._undefined(reason)
        check, column, rule = self._subject.check, self._subject.of("column"), self._subject.of("rule")
        found = result.get("outliers" if check == "outlier" else check)
        baseline: float | None = None
        names: list[str] = []
        if check == "schema_changes":
            change = self._subject.of("change")
            names = [str(one.get("column")) for one in _list(found) if change in ("", one.get("change"))]
            found = len(names)
        elif check == "outlier":
            of_column = _dict(_dict(found).get(column))
            found, baseline = of_column.get("ratio"), number_of(of_column.get("baseline_ratio"))
        elif check == "validity":
            found = _dict(_dict(found).get(column)).get(rule)
        elif isinstance(found, Mapping):
            found = found.get(rule if check == "consistency" else column)
        current = number_of(found)
        if current is None:
            return self._undefined(_missing_quality(result, check, column or rule))
        threshold = _first(self._said.threshold, self._quality_threshold(check))
        facts = replace(
            self._said,
            current=current,
            threshold=threshold,
            baseline=baseline,
            unit="" if check == "schema_changes" else "ratio",
            rows=_count(result.get("rows")),
            at=number_of(result.get("end")),
        )
        good = None
        if threshold is not None:
            good = current <= threshold if check in _HIGH_IS_BAD else current >= threshold
        elif check == "schema_changes":
            good = current == 0
        return self._made(facts, good, names=names)

    def _quality_threshold(self, check: str) -> float | None:
        usual = QUALITY_CHECKS.get(check)
        if usual is None:
            return None
        try:
            quality = _dict(_dict(self._get("").get("configuration")).get("quality"))
        except FactsUnavailableError:
            return usual
        return _first(number_of(_dict(quality.get("thresholds")).get(check)), usual)

    def _volume(self) -> Reading:
        result, reason = self._result("quality")
        if result is None:
            return self._undefined(reason)
        volume = _dict(result.get("volume"))
        span = _dict(_dict(volume.get("spans")).get(self._subject.of("span")))
        facts = replace(
            self._said,
            current=number_of(span.get("rows")),
            lower=number_of(span.get("lower")),
            upper=number_of(span.get("upper")),
            at=number_of(span.get("end")),
        )
        if facts.current is None or span.get("reason"):
            return self._undefined(_reason(span.get("reason") or volume.get("reason")))
        return self._made(facts, not span.get("detected"), expected=number_of(span.get("expected")))

    # -- others -------------------------------------------------------------------------------------

    def _comparison(self) -> Reading:
        answer = self._get("/comparisons")
        metric = self._subject.of("metric")
        for comparison in _list(answer.get("results")):
            if comparison.get("challenger") != self._subject.of("challenger"):
                continue
            ratio = _dict(comparison.get("sample_ratio"))
            if not metric:
                facts = replace(self._said, current=number_of(ratio.get("p_value")))
                if facts.current is None:
                    return self._undefined(_reason(ratio.get("reason")))
                rows = (_count(ratio.get("champion_rows")), _count(ratio.get("challenger_rows")))
                return self._made(facts, not ratio.get("mismatch"), rows=rows, expected=ratio.get("expected"))
            found = _dict(_dict(comparison.get("metrics")).get(metric))
            facts = replace(
                self._said,
                current=number_of(found.get("difference")),
                lower=number_of(found.get("lower")),
                upper=number_of(found.get("upper")),
                baseline=number_of(found.get("champion_value")),
                rows=_count(found.get("challenger_rows")),
                at=number_of(comparison.get("end")),
            )
            if facts.current is None:
                return self._undefined(_reason(found.get("reason")))
            return self._made(
                facts, not found.get("decided"), challenger_value=number_of(found.get("challenger_value"))
            )
        return self._undefined("empty")

    def _freshness(self) -> Reading:
        shown = self._get("")
        measure = self._subject.measure
        if measure == "ml_last_evaluation_timestamp_seconds":
            at = number_of(self._get("/performance", window=self._subject.window).get("evaluated"))
        else:
            name = "last_label" if "label" in measure else "last_batch"
            versions = _dict(shown.get("versions"))
            of_version = _dict(versions.get(self._subject.version))
            times = [of_version] if of_version else [_dict(one) for one in versions.values()]
            known = [moment for one in times if (moment := number_of(one.get(name))) is not None]
            at = max(known, default=None)
        if at is None:
            return self._undefined("empty")
        age = max(0.0, self._now - at)
        threshold = self._said.threshold
        facts = replace(self._said, current=age, unit="seconds", at=at)
        return self._made(facts, None if threshold is None else age <= threshold)

    def _other(self) -> Reading:
        result, reason = self._result("quality")
        if result is None:
            return self._undefined(reason)
        end = number_of(result.get("end"))
        points = _points(self._source, self._budget, self._subject, end)
        if not points:
            return self._undefined("empty")
        newest = points[-1]
        family = FAMILIES.get(self._subject.measure)
        facts = replace(
            self._said,
            current=number_of(newest.get("value")),
            unit="" if family is None else family.unit,
            rows=_count(result.get("rows")),
            at=number_of(newest.get("time")),
        )
        if facts.current is None:
            return self._undefined(_reason(newest.get("reason")))
        high_is_bad = _OTHERS_HIGH_IS_BAD.get(self._subject.measure)
        good = None
        if high_is_bad is not None and facts.threshold is not None:
            good = (facts.current > facts.threshold) != high_is_bad
        return self._made(facts, good)


# -- history -------------------------------------------------------------------------------------------


def _with_history(source: FactsSource, reading: Reading, budget: Budget) -> Facts:
    """The facts with at most `MOST_POINTS` earlier values; without them where they cannot be had."""
    facts, subject = reading.facts, reading.subject
    if subject is None or subject.kind in ("volume", "comparison", "freshness"):
        return facts
    try:
        points = _points(source, budget, subject, facts.at, str(reading.detail.get("method", "")))
    except FactsUnavailableError:
        return facts
    history = []
    for point in points:
        moment, value = number_of(point.get("time")), number_of(point.get("value"))
        if moment is not None and value is not None:
            history.append((moment, value))
    return replace(facts, history=thinned(history))


def thinned(history: list[tuple[float, float]], most: int = MOST_POINTS) -> tuple[tuple[float, float], ...]:
    """At most `most` of the points at even distances, the newest one among them.

    Examples
    --------
    >>> thinned([(float(i), 0.0) for i in range(10)], 3)
    ((3.0, 0.0), (6.0, 0.0), (9.0, 0.0))
    """
    count = len(history)
    if count <= most:
        return tuple(history)
    return tuple(history[round((index + 1) * (count - 1) / most)] for index in range(most))


def _points(
    source: FactsSource, budget: Budget, subject: Subject, end: float | None, method: str = ""
) -> list[dict[str, Any]]:
    """The newest points of the subject's history, oldest first."""
    measure = {
        "performance": "class_performance" if subject.of("class") else "performance",
        "estimate": "performance_estimate",
        "share": "ml_drifted_columns_ratio",
    }.get(subject.kind) or (subject.kind if subject.kind in ("drift", "multivariate") else subject.measure)
    measure = measure.replace("ml_segment_", "ml_", 1)
    params = {
        "measure": measure,
        "metric": subject.of("metric") if subject.kind in ("performance", "estimate") else "",
        "column": subject.of("column"),
        "method": method or subject.of("method"),
        "window": subject.window,
        "version": subject.version,
        "segment": subject.segment,
        "limit": str(_MOST_ASKED),
    }
    try:
        span = _WINDOWS_BACK * parse_duration(subject.window)
    except ValueError:
        span = 0.0
    found: list[dict[str, Any]] = []
    for part in (1.0, 0.1, 0.01) if span and end is not None else (0.0,):
        begin = "" if end is None or not part else f"{end - span * part:.0f}"
        answer = _ask(source, budget, subject, "/history", **params, **{"from": begin})
        wanted = (point for point in _list(answer.get("points")) if _is_of(point, subject))
        found = [point for point in wanted if end is None or (number_of(point.get("time")) or 0) <= end + 1]
        if answer.get("next") is None:
            break
    return found


def _is_of(point: Mapping[str, Any], subject: Subject) -> bool:
    names = ("metric", "column", "role", "method", "rule", "class", "change", "q", "span")
    return all(point.get(name) in (None, subject.of(name)) or not subject.of(name) for name in names)


# -- reading what came ---------------------------------------------------------------------------------


def drop_of(value: float | None, baseline: float | None, kind: str, *, higher: bool) -> float | None:
    """How much worse a value is than the baseline's: a difference, or a ratio of the baseline."""
    if value is None or baseline is None:
        return None
    worse = baseline - value if higher else value - baseline
    if kind == "difference":
        return worse
    return worse / abs(baseline) if baseline else None


def number_of(value: Any) -> float | None:
    """A finite number, from a number or its text.

    Examples
    --------
    >>> number_of("0.5"), number_of("NaN"), number_of(True), number_of("5 %")
    (0.5, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        figure = float(value)
    except (ValueError, OverflowError):
        return None
    return figure if math.isfinite(figure) else None


def _count(value: Any) -> int | None:
    figure = number_of(value)
    return None if figure is None else int(figure)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else dict(value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _reason(value: Any) -> str:
    """A reason of the catalogue; a sentence of the exporter speaks of what is not there yet."""
    if not isinstance(value, str):
        return "empty"
    if value.startswith("no baseline"):
        return "no_baseline"
    name = value.partition(":")[0]
    return name if name in REASONS else "empty"


def _missing_quality(result: Mapping[str, Any], check: str, subject: str) -> str:
    for entry in result.get("undefined") or ():
        if isinstance(entry, list | tuple) and len(entry) == 3:
            measure, of, reason = entry
            if str(measure).startswith(f"quality_{check}") and of in (subject, None):
                return _reason(reason)
    return "empty"
