"""What outlives the process: one SQLite file, group commit, the index of predictions that wait for labels."""

from exporter.store.history import BEFORE_ALL, HistoryKey, HistoryRecord, HistoryStore, Name
from exporter.store.past import Change, Mark, PastStore
from exporter.store.predictions import Matches, PredictionIndex
from exporter.store.records import (
    NOT_JOINED,
    Commit,
    Delta,
    LabelChunk,
    PredictionChunk,
    StoredAnswer,
    StoredBaseline,
    StoredModel,
)
from exporter.store.store import Store

__all__ = [
    "BEFORE_ALL",
    "NOT_JOINED",
    "Change",
    "Commit",
    "Delta",
    "HistoryKey",
    "HistoryRecord",
    "HistoryStore",
    "LabelChunk",
    "Mark",
    "Matches",
    "Name",
    "PastStore",
    "PredictionChunk",
    "PredictionIndex",
    "Store",
    "StoredAnswer",
    "StoredBaseline",
    "StoredModel",
]
