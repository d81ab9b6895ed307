"""The history looked after: corrected a little at every tick, thinned and dropped in its time."""

from __future__ import annotations

from exporter.service.history.recomputation import Recomputation, age_of
from exporter.service.history.recording import HistoryRecorder
from exporter.service.lane import Lane
from exporter.store import Store


class HistoryUpkeep:
    """What housekeeping does for the history."""

    def __init__(self, store: Store, recorder: HistoryRecorder) -> None:
        self._store = store
        self._recorder = recorder
        self._recomputation = Recomputation(store)
        self._thinned: dict[str, float] = {}
        """Up to where each model's history is thinned."""

    def tick(self, lane: Lane, now: float, *, at_once: bool = False) -> None:
        """Correct some records, where rows or labels came late; `at_once` without a rest before."""
        self._recomputation.tick(lane, now, at_once=at_once)

    def before_expiry(self, lane: Lane, version: str, before: int) -> None:
        """Told that a version's buckets before an instant are about to be dropped."""
        self._store.past.note_gone(lane.name, version, before=before)

    def expire(self, lane: Lane, now: float) -> None:
        """Thin what is no longer wanted in full, drop what is no longer wanted."""
        settings, history = lane.config.history, self._store.history
        age = age_of(lane, self._store.past, now)
        history.expire(lane.name, before=age - settings.retention)
        step = int(settings.thinned_to)
        until = (age - settings.full_resolution) // step * step
        since = self._thinned.get(lane.name, float("-inf"))
        if until > since:
            history.thin(lane.name, before=until, step=step, since=max(since - step, -1e15))
            self._thinned[lane.name] = until
        self._drop_past(lane, now, age)

    def _drop_past(self, lane: Lane, now: float, age: float) -> None:
        """Rows of the past go when labels can no longer come for them, or when nobody asks for them."""
        past = self._store.past
        spans = past.past_spans(lane.name)
        if not spans:
            return
        waiting = {mark.version for mark in past.marks(lane.name)}
        longest = max(window.seconds for window in lane.config.windows)
        for version in spans.keys() - waiting:
            past.drop(
                lane.name,
                version,
                stored_before=now - lane.config.label_horizon,
                older_than=age - lane.config.history.retention - longest,
            )
        self._recorder.past_changed(lane.name)
