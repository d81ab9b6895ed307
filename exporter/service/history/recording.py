"""Evaluations to the records that the history keeps.

Every window is recorded under its own end: what is known of rows under the end of the window that was
evaluated, what their labels say under the end of the performance window, which is earlier. A record is
replaced by a later one of the same end.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from exporter.catalog import FAMILIES, WINDOWED
from exporter.errors import BusyError, StoreError
from exporter.evaluation import Missing
from exporter.exposition import Sample
from exporter.families import evaluation_samples
from exporter.results import Evaluation
from exporter.service.ingestion.payload import segment_key
from exporter.service.lane import Lane
from exporter.store import Change, HistoryKey, HistoryRecord, HistoryStore, Name, PastStore
from exporter.windows import Span

log = logging.getLogger(__name__)

UNDEFINED = "undefined"
"""The first part of names that say why a value is missing: (UNDEFINED, measure, subject or "", reason)."""

ROWS, OUTCOMES = "features", "outcomes"

_OF_LABELS = (
    "ml_performance",
    "ml_class_performance",
    "ml_ranking_groups",
    "ml_confusion_rows",
    "ml_label_delay_seconds",
    "ml_labeled_ratio",
    "ml_window_labeled_rows",
)
"""How the names of families begin whose values come with the labels."""

_OF_ROWS = ("ml_performance_estimate",)
_LABEL_ROLES = frozenset({"label", "error"})
_COUNTED = ("ml_window_labeled_rows", "ml_labeled_ratio")


def whole_name(family: str) -> str:
    """The family of the whole that a family of segments belongs to."""
    return "ml_" + family.removeprefix("ml_segment_") if family.startswith("ml_segment_") else family


def part_of(family: str, labels: Name = ()) -> str:
    """Which window a family's value speaks of: that of the newest rows, or that of the newest labels.

    `labels` are its label values, without those that say of what.
    """
    name = whole_name(family)
    if name == "ml_performance_estimate_error":
        return OUTCOMES
    if name.startswith(_OF_LABELS) and not name.startswith(_OF_ROWS):
        return OUTCOMES
    known = FAMILIES.get(name)
    if known is not None and "role" in known.labels and len(labels) + len(WINDOWED) == len(known.labels):
        return OUTCOMES if labels[known.labels.index("role") - len(WINDOWED)] in _LABEL_ROLES else ROWS
    return ROWS


def samples_by_name(samples: Iterable[Sample], *, segment: bool) -> dict[Name, float]:
    """Values by family and labels, without the labels that say of what; reasons are left out.

    What is not finite is named as an error instead.
    """
    places = len(WINDOWED) + (2 if segment else 0)
    values: dict[Name, float] = {}
    for family, labels, value in samples:
        name = whole_name(family)
        if name == "ml_undefined":
            continue
        if math.isfinite(value):
            values[name, *labels[places:]] = float(value)
        else:
            values[UNDEFINED, name.removeprefix("ml_"), "", "error"] = 1.0
    return values


def reasons_by_name(missing: Iterable[Missing]) -> dict[Name, float]:
    return {
        (UNDEFINED, measure.removeprefix("ml_"), subject or "", reason): 1.0
        for measure, subject, reason in missing
    }


def _part_of_name(name: Name) -> str:
    return part_of(f"ml_{name[1]}") if name[0] == UNDEFINED else part_of(name[0], name[1:])


def records_of(
    evaluation: Evaluation,
    *,
    since: Mapping[str, float],
    baseline: str | None,
    labeled: tuple[int, int] | None = None,
) -> list[HistoryRecord]:
    """What an evaluation says, by the windows that it speaks of.

    Parameters
    ----------
    since : mapping of column to Unix seconds
        Event time since which a column's verdict stands.
    baseline : str or None
        Id of the baseline that it was compared with.
    labeled : (int, int), optional
        (rows, labelled rows) of the performance window, where that is another one than the window itself.
    """
    values = samples_by_name(
        evaluation_samples(evaluation, drift_since=since), segment=evaluation.segment is not None
    )
    values |= reasons_by_name(evaluation.undefined)
    parts: dict[str, dict[Name, float]] = {ROWS: {}, OUTCOMES: {}}
    for name, value in values.items():
        parts[_part_of_name(name)][name] = value
    if labeled is not None:
        rows, known = labeled
        for family in _COUNTED:
            parts[OUTCOMES].pop((family,), None)
        parts[OUTCOMES]["ml_window_labeled_rows",] = float(known)
        if rows:
            parts[OUTCOMES]["ml_labeled_ratio",] = known / rows
    spans = {ROWS: (evaluation.start, evaluation.end), OUTCOMES: (evaluation.start, evaluation.end)}
    if evaluation.performance_window is not None:
        spans[OUTCOMES] = (evaluation.performance_window.start, evaluation.performance_window.end)
    segment = segment_key(*evaluation.segment) if evaluation.segment is not None else ""
    return [
        HistoryRecord(
            key=HistoryKey(int(spans[part][1]), evaluation.version, segment, evaluation.window.name, part),
            start=int(spans[part][0]),
            made=evaluation.made_at,
            baseline=baseline,
            values=found,
        )
        for part, found in parts.items()
    ]


@dataclass
class _Written:
    """What is on disk, or on its way there, of a model's newest records."""

    generation: str
    values: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)
    """(version, segment, window, part) to the end and a hash of the values."""


class HistoryRecorder:
    """Keeps every evaluation; one transaction each, when something changed."""

    def __init__(self, store: HistoryStore, past: PastStore) -> None:
        self._store = store
        self._past = past
        self._spans: dict[str, dict[str, tuple[int, int]]] = {}
        """First and last bucket with rows of the past by model and version."""
        self._lock = threading.Lock()
        self._written: dict[str, _Written] = {}
        self._last: dict[str, Future[bool]] = {}

    def record(self, lane: Lane) -> None:
        """Queue what the model's latest evaluations say and have not said before; does not wait."""
        with lane.lock:
            generation, since = lane.generation, dict(lane.drift_since)
            compared = dict(lane.compared_with)
            evaluations = [(each, _labeled(lane, each)) for each in lane.evaluations.values()]
        records = [
            record
            for each, labeled in evaluations
            for record in records_of(
                each,
                since=since_of(since, each.version, each.window.name),
                baseline=compared.get(each.version),
                labeled=labeled,
            )
        ]
        changed = self._changed(lane.name, generation, records)
        try:
            alone = self._without_past(lane, changed)
            future = self._store.write(lane.name, generation, alone)
        except (BusyError, StoreError):
            log.exception("the history of model %s could not be written; it is tried again", lane.name)
            self._forget(lane.name)
            return
        if future is not None:
            self._last[lane.name] = future
            future.add_done_callback(lambda done: self._done(lane.name, done))

    def _changed(self, model: str, generation: str, records: list[HistoryRecord]) -> list[HistoryRecord]:
        """Those of the records that say something new; taken for written from here on."""
        changed = []
        with self._lock:
            written = self._written.get(model)
            if written is None or written.generation != generation:
                written = self._written[model] = _Written(generation)
            for record in records:
                place, said = record.key[1:], (record.key.end, hash(frozenset(record.values.items())))
                if written.values.get(place) != said:
                    written.values[place] = said
                    changed.append(record)
        return changed

    def _without_past(self, lane: Lane, records: list[HistoryRecord]) -> list[HistoryRecord]:
        """Records of windows without rows of the past; the others are marked, to be made with them."""
        if lane.name not in self._spans:
            self._spans[lane.name] = self._past.past_spans(lane.name)
        spans = self._spans[lane.name]
        alone, marks = [], {}
        for record in records:
            first, last = spans.get(record.key.version, (record.key.end, record.start - 1))
            if first < record.key.end and last >= record.start:
                marks[record.key.version, int(record.key.end - lane.resolution)] = int(Change.END)
            else:
                alone.append(record)
        if marks:
            self._past.mark(lane.name, marks)
        return alone

    def past_changed(self, model: str) -> None:
        """Told that rows of the past came or went."""
        self._spans.pop(model, None)

    def settle(self, model: str) -> None:
        """Wait until what was recorded of a model is on disk."""
        future = self._last.get(model)
        if future is not None:
            future.exception()

    def _done(self, model: str, future: Future[bool]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            log.error("the history of model %s could not be written; it is tried again: %s", model, error)
        if future.cancelled() or error is not None or not future.result():
            self._forget(model)

    def _forget(self, model: str) -> None:
        """Write everything again after the next evaluation."""
        with self._lock:
            self._written.pop(model, None)


def since_of(since: Mapping[tuple[str, ...], float], version: str, window: str) -> dict[str, float]:
    """Since when verdicts of one version and window stand, by column."""
    return {column: at for (of, name, column), at in since.items() if (of, name) == (version, window)}


def _labeled(lane: Lane, evaluation: Evaluation) -> tuple[int, int] | None:
    """(rows, labelled rows) of an evaluation's performance window; the caller holds the lane's lock."""
    window = evaluation.performance_window
    if window is None:
        return None
    state = lane.versions.get(evaluation.version)
    key = segment_key(*evaluation.segment) if evaluation.segment is not None else ""
    series = None if state is None else state.series.get(key)
    if series is None:
        return None
    return series.covered(evaluation.window.name, Span(window.start, window.end))
