"""What the history API answers: values in the order of time, page by page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from exporter.catalog import DRIFT_METHODS, FAMILIES, WINDOWED
from exporter.errors import BadRequestError, NotFoundError
from exporter.service.history.openmetrics import Excerpt, openmetrics
from exporter.service.history.recording import OUTCOMES, ROWS, UNDEFINED, part_of
from exporter.service.history.verdicts import deciding_method, own_verdict
from exporter.service.ingestion.payload import SEGMENT_SEPARATOR, segment_key
from exporter.service.lane import Lane
from exporter.store import BEFORE_ALL, HistoryKey, HistoryRecord, HistoryStore, Name

DEFAULT_POINTS, MOST_POINTS = 1000, 10_000
MOST_RECORDS = 2000
"""Records that one request reads; when they hold fewer points than asked for, the page ends early."""

_RECORDS_AT_ONCE = 250
SHORTEST_STEP_SECONDS = 15.0
"""Of repeated values in OpenMetrics."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a history is of.

    Attributes
    ----------
    families : mapping of family to text
        Whose values are points; the text tells them apart where there are several.
    companions : mapping of field to family
        What stands beside the value in a point.
    named : str
        The field that holds the text; empty where there is one family.
    """

    families: Mapping[str, str]
    companions: Mapping[str, str]
    named: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        of_roles = any("role" in FAMILIES[family].labels for family in self.families)
        return (ROWS, OUTCOMES) if of_roles else tuple(sorted({part_of(family) for family in self.families}))

    @property
    def labels(self) -> tuple[str, ...]:
        """Fields of points that say what a value is of, in the order of the families' labels."""
        names = [label for family in self.families for label in _labels(family)]
        return (*((self.named,) if self.named else ()), *dict.fromkeys(names))


def _beside(family: str, *fields: str) -> dict[str, str]:
    return {field: name for field in fields if (name := f"{family}_{field}") in FAMILIES}


def _measures() -> dict[str, Measure]:
    quality = {
        name: name.removeprefix("ml_quality_").removesuffix("_ratio")
        for name, family in FAMILIES.items()
        if name.startswith("ml_quality_") and family.labels[: len(WINDOWED)] == WINDOWED
    }
    quality.pop("ml_quality_threshold", None)
    window = {
        "ml_window_rows": "rows",
        "ml_window_labeled_rows": "labeled_rows",
        "ml_labeled_ratio": "labeled_ratio",
        "ml_label_delay_seconds": "label_delay_seconds",
        "ml_event_delay_seconds": "event_delay_seconds",
    }
    tested = {f: f"ml_drift_{f}" for f in ("critical_value", "p_value", "q_value", "detected")}
    measures = {
        "performance": Measure(
            {"ml_performance": ""}, _beside("ml_performance", "lower", "upper", "baseline", "drop")
        ),
        "class_performance": Measure({"ml_class_performance": ""}, {}),
        "performance_estimate": Measure(
            {"ml_performance_estimate": ""}, _beside("ml_performance_estimate", "lower", "upper", "error")
        ),
        "drift": Measure({"ml_drift_statistic": ""}, tested),
        "multivariate": Measure(
            {"ml_multivariate_drift_statistic": ""},
            _beside("ml_multivariate_drift", "critical_value", "p_value", "detected"),
        ),
        "quality": Measure(quality, {}, "check"),
        "window": Measure(window, {}, "name"),
    }
    return {name: measure for name, measure in measures.items() if set(measure.families) <= set(FAMILIES)}


MEASURES = _measures()


def measure_named(name: str) -> Measure:
    """A measure of the list, or one windowed family of the catalogue by its whole name."""
    if name in MEASURES:
        return MEASURES[name]
    family = FAMILIES.get(name)
    windowed = family is not None and family.labels[: len(WINDOWED)] == WINDOWED
    if windowed and not name.startswith(("ml_segment_", "ml_undefined")):
        return Measure({name: ""}, {})
    raise NotFoundError(
        f"no history of {name[:80]!r}; there is one of {', '.join(MEASURES)}, and of every windowed family "
        "of /metrics by its name"
    )


def _labels(family: str) -> tuple[str, ...]:
    return FAMILIES[family].labels[len(WINDOWED) :]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for; None leaves a filter out. Times are Unix seconds of the ends of windows."""

    measure: str
    metric: str | None = None
    column: str | None = None
    method: str | None = None
    window: str | None = None
    version: str | None = None
    segment: str | None = None
    start: float = float("-inf")
    end: float = float("inf")
    limit: int = DEFAULT_POINTS
    next: str | None = None


def history(lane: Lane, store: HistoryStore, question: Question) -> dict[str, Any]:
    """One page of the history of a model."""
    measure = measure_named(question.measure)
    if not 1 <= question.limit <= MOST_POINTS:
        raise BadRequestError(
            f"expected a limit of 1 to {MOST_POINTS}, but {question.limit} came", code="bad_parameter"
        )
    check_names(lane, store, question)
    segment = checked_segment(lane, question.segment)
    after, skipped = _position(question.next)
    points: list[dict[str, Any]] = []
    methods = () if lane.config.drift.methods == "auto" else lane.config.drift.methods
    read = 0
    following: str | None = None
    while following is None:
        records = store.read(
            lane.name,
            start=question.start,
            end=question.end,
            parts=measure.parts,
            window=question.window,
            version=question.version,
            segment=segment,
            after=after,
            limit=_RECORDS_AT_ONCE,
        )
        for record in records:
            found = points_of(record, measure, question, methods)[skipped:]
            room = question.limit - len(points)
            points += found[:room]
            if len(found) > room:
                following = _cursor(after, skipped + room)
                break
            after, skipped = record.key, 0
        read += len(records)
        if len(records) < _RECORDS_AT_ONCE:
            break
        if read >= MOST_RECORDS and following is None:
            following = _cursor(after, 0)
    return {
        "model": lane.name,
        "measure": question.measure,
        "from": _instant(question.start),
        "to": _instant(question.end),
        "points": points,
        "next": following,
    }


def _instant(value: float) -> float | None:
    return value if abs(value) != float("inf") else None


def points_of(
    record: HistoryRecord, measure: Measure, question: Question, methods: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The points of one record, in the order of their names; `methods` are those of `drift.methods`."""
    wanted = {
        name: value
        for name in ("metric", "column", "method")
        if (value := getattr(question, name)) is not None and name in measure.labels
    }
    points = []
    for name, value in sorted(record.values.items()):
        if name[0] == UNDEFINED:
            point = _missing(name, measure)
        elif name[0] in measure.families:
            point = _valued(record, measure, name, value)
            if name[0] == "ml_drift_statistic" and measure.companions:
                point |= _of_own_test(record, point, methods)
        else:
            continue
        if point is not None and all(point[key] in (None, text) for key, text in wanted.items()):
            if point["value"] is None:
                point |= {key: text for key, text in wanted.items() if point[key] is None and key == "metric"}
            points.append(_placed(record, point))
    return points


def _placed(record: HistoryRecord, point: dict[str, Any]) -> dict[str, Any]:
    segment = record.key.segment
    return {
        "time": record.key.end,
        "start": record.start,
        "version": record.key.version,
        "window": record.key.window,
        "segment": segment.replace(SEGMENT_SEPARATOR, "=", 1) if segment else None,
        **point,
    }


def _valued(record: HistoryRecord, measure: Measure, name: Name, value: float) -> dict[str, Any]:
    family, *labels = name
    of = dict(zip(_labels(family), labels, strict=False))
    point: dict[str, Any] = {label: of.get(label) for label in measure.labels}
    if measure.named:
        point[measure.named] = measure.families[family]
    point["value"] = value
    for field, companion in measure.companions.items():
        point[field] = record.values.get((companion, *(of.get(label, "") for label in _labels(companion))))
    return {**point, "reason": None}


def _of_own_test(
    record: HistoryRecord, point: dict[str, Any], methods: Collection[str]
) -> dict[str, float | None]:
    """The column's q-value is that of the test that decided; another test has a verdict of its own only."""
    column, method = (point["column"], point["role"]), point["method"]
    if method == deciding_method(record, column, methods):
        return {}
    return {"q_value": None, "detected": own_verdict(record, column, method)}


def _missing(name: Name, measure: Measure) -> dict[str, Any] | None:
    """A point without a value: the reason speaks of one family, or of all that begin like it."""
    _, what, subject, reason = name
    families = [family for family in measure.families if f"{family}_".startswith(f"ml_{what}_")]
    if what == "drift" and "ml_drift_statistic" in measure.families:
        families = ["ml_drift_statistic"]
    if what == "performance" and "ml_performance" not in measure.families:
        families = [family for family in families if "estimate" not in family]
    if not families:
        return None
    point: dict[str, Any] = dict.fromkeys(measure.labels)
    labels = _labels(families[0])
    if subject and labels:
        point[labels[0]] = subject
    if measure.named:
        point[measure.named] = measure.families[families[0]] if len(families) == 1 else None
    return {**point, "value": None, **dict.fromkeys(measure.companions), "reason": reason}


def open_history(lane: Lane, store: HistoryStore, question: Question, *, step: float) -> Iterator[bytes]:
    """The history as OpenMetrics; of all segments and the whole unless one segment is asked for.

    Raises
    ------
    NotFoundError, BadRequestError
        Before anything is read.
    """
    if step and step < SHORTEST_STEP_SECONDS:
        raise BadRequestError(
            f"expected a step of at least {SHORTEST_STEP_SECONDS:g} s", code="bad_parameter"
        )
    check_names(lane, store, question)
    excerpt = Excerpt(
        start=max(question.start, -1e15),
        end=min(question.end, 1e15),
        window=question.window,
        version=question.version,
        segment=None if question.segment is None else checked_segment(lane, question.segment),
        step=step,
    )
    return openmetrics(
        lane.name, store, excerpt, {window.name: window.seconds for window in lane.config.windows}
    )


def check_names(lane: Lane, store: HistoryStore, question: Question) -> None:
    """Refuse what does not exist, and say what does."""
    with lane.lock:
        windows = [window.name for window in lane.config.windows]
        versions = set(lane.versions)
        columns: list[str] = [] if lane.grid is None else list(lane.grid.columns)
        metrics = {str(name) for name in (*lane.config.metric_names, *lane.config.custom_metrics)}
    seen = Seen(lane.name, store)
    _check(lane, "window", question.window, windows, lambda: seen.groups(2))
    _check(lane, "version", question.version, versions, lambda: seen.groups(0))
    _check(lane, "metric", question.metric, metrics, lambda: seen.labels("metric"))
    _check(lane, "column", question.column, columns, lambda: seen.labels("column"))
    _check(lane, "method", question.method, DRIFT_METHODS, lambda: seen.labels("method"))


def known_versions(store: HistoryStore, model: str) -> set[str]:
    """Versions with a history."""
    return Seen(model, store).groups(0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the history itself knows beside the configuration of today."""

    model: str
    store: HistoryStore

    def groups(self, position: int) -> set[str]:
        return {group[position] for group in self.store.groups(self.model, start=-1e15, end=1e15)}

    def labels(self, label: str) -> set[str]:
        values = set()
        for name in self.store.names(self.model):
            if name[0] != UNDEFINED and name[0] in FAMILIES and label in (labels := _labels(name[0])):
                values.add(name[1 + labels.index(label)])
        return values


def _check(
    lane: Lane, what: str, name: str | None, known: Collection[str],
    seen: Callable[[], set[str]],
) -> None:  # fmt: skip
    if name is None or name in known:
        return
    kept = seen()
    if name not in kept:
        exist = ", ".join(sorted({*known, *kept})) or "none yet"
        raise NotFoundError(f"model {lane.name!r} has no {what} {name[:80]!r}; it has {exist}")


def checked_segment(lane: Lane, segment: str | None) -> str:
    """The key of a segment that was asked for as `column=value`; "" for the whole."""
    if segment is None:
        return ""
    column, equals, value = segment.partition("=")
    if not equals or column not in lane.config.segments:
        raise NotFoundError(
            f"expected a segment as column=value, but {segment[:80]!r} came; model {lane.name!r} has "
            f"segments by {', '.join(lane.config.segments) or 'no column'}"
        )
    return segment_key(column, value)


def _cursor(key: HistoryKey, skipped: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([*key, skipped])).decode().rstrip("=")


def _position(cursor: str | None) -> tuple[HistoryKey, int]:
    if cursor is None:
        return BEFORE_ALL, 0
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        end, version, segment, window, part, skipped = values
        key = HistoryKey(int(end), str(version), str(segment), str(window), str(part))
        position = key, int(skipped)
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadRequestError(
            "expected the text of an earlier answer's `next` as the query parameter next",
            code="bad_parameter",
        ) from error
    if position[1] < 0 or abs(key.end) > -BEFORE_ALL.end:
        raise BadRequestError("the query parameter next is out of range", code="bad_parameter")
    return position
