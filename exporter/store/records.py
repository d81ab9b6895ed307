"""What goes into the store and comes out of it, as plain records.

Everything that one push changes is one :class:`Commit`; the store writes it in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from exporter.profiles import Profile
    from exporter.store.predictions import PredictionIndex

BucketKey = tuple[str, str, int]
"""(version, segment, bucket), as in :class:`Delta`."""

BIN_TYPE = "<i8"
"""How totals of bins are stored."""

NOT_JOINED = -(2**31)
"""The day in :attr:`LabelChunk.days` of a label whose prediction has not come yet."""


@dataclass(frozen=True, slots=True)
class Delta:
    r"""What one push adds to one bucket.

    Attributes
    ----------
    version : str
    segment : str
        "" for all rows, else ``"column\x1fvalue"``.
    bucket : int
        Start of the bucket, unix seconds.
    profile : Profile
        Never changed by the store; it may be shared with the caller.
    backfilled : float or None
        When it came (Unix seconds), if it is for the history only: it is kept apart from what windows of now
        are merged from.
    """

    version: str
    segment: str
    bucket: int
    profile: Profile
    backfilled: float | None = None


@dataclass(frozen=True, slots=True)
class PredictionChunk:
    """Predictions of one version and event day that wait for their labels.

    Attributes
    ----------
    id : int
        From :meth:`PredictionIndex.next_chunk_id`; unique in the model.
    version : str
    day : int
        Event day, days since the Unix epoch.
    hashes : uint64 array (n,)
        From :meth:`PredictionIndex.hash_ids`.
    payload : pyarrow.RecordBatch
        n rows: what the join needs (event time, prediction, scores, bucket, segments, metric columns).
    """

    id: int
    version: str
    day: int
    hashes: NDArray[np.uint64]
    payload: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class LabelChunk:
    """Labels of one push.

    Attributes
    ----------
    hashes : uint64 array (n,)
    values : float64 array (n,)
        Binary 0/1, regression the value, multiclass the code in the model's class table; NaN takes a
        label back.
    arrival : float
        Unix seconds.
    days : int32 array (n,) or None
        Newest event day that each label joined (:attr:`Matches.day`), `NOT_JOINED` for labels held for a
        prediction to come. With it joined labels expire with their predictions; without it all of them
        expire by `arrival`.
    """

    hashes: NDArray[np.uint64]
    values: NDArray[np.float64]
    arrival: float
    days: NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The first answer to an idempotency key; `created` is in unix seconds.

    `version` is the one that the request named; the answer goes when that version's data are deleted. None
    for requests about no one version.
    """

    endpoint: str
    key: str
    body_hash: str
    status: int
    body: bytes
    created: float
    version: str | None = None


@dataclass(frozen=True, slots=True)
class StoredBaseline:
    """A baseline; `version` None serves all versions without one of their own.

    Attributes
    ----------
    period : (float, float) or None
        Unix seconds, when it was promoted from a past window.
    profile : bytes
        Encoded profile.
    buckets : tuple of (int, bytes)
        Encoded profiles by bucket start, for statistics that need the spread between buckets.
    estimator : bytes
        What its rows taught of the errors of a regressor; empty where they taught nothing.
    segments : tuple of (str, bytes)
        Encoded profiles by segment key: its parts, which segments are compared with.
    """

    id: str
    model: str
    version: str | None
    grid_id: str
    created: float
    rows: int
    source: str
    provisional: bool
    active: bool
    period: tuple[float, float] | None
    profile: bytes
    buckets: tuple[tuple[int, bytes], ...] = ()
    estimator: bytes = b""
    segments: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class Commit:
    """All that one push changes in one model; written in one transaction or not at all.

    Attributes
    ----------
    counters : mapping
        Increments. The second part of a key is the version where there is one: ("rows", version),
        ("rejected", version, reason).
    rows : list of (str, bytes)
        (version, Arrow IPC bytes): raw rows before a grid exists.
    bins : mapping of (version, grid id) to int64 array
        Increments of the lifetime totals of all coarse bins of a grid, in the order of its bins.
    state : mapping
        Values that are set: ("watermark", version), ("last_batch", version).
    drop_rows : bool
        Deletes the raw rows that were committed before this commit.
    grid : (str, bytes) or None
        Grid id and bytes to keep.
    baseline : StoredBaseline or None
        Stored, and activated when `active`, together with the rest.
    marks : mapping of (version, bucket) to int
        What changed in buckets that windows of the history cover; see :class:`exporter.store.Change`.
    """

    model: str
    deltas: list[Delta] = field(default_factory=list)
    counters: dict[tuple[str, ...], float] = field(default_factory=dict)
    bins: dict[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)
    answer: StoredAnswer | None = None
    predictions: list[PredictionChunk] = field(default_factory=list)
    labels: LabelChunk | None = None
    rows: list[tuple[str, bytes]] = field(default_factory=list)
    state: dict[tuple[str, ...], float] = field(default_factory=dict)
    drop_rows: bool = False
    grid: tuple[str, bytes] | None = None
    baseline: StoredBaseline | None = None
    marks: dict[tuple[str, int], int] = field(default_factory=dict)


@dataclass(slots=True)
class StoredModel:
    """A model as recovered: buckets stay encoded, payloads of predictions stay on disk.

    `generation` is an id that changes whenever data of the model are deleted on request.
    """

    name: str
    generation: str
    buckets: dict[BucketKey, list[tuple[str, bytes]]]
    counters: dict[tuple[str, ...], float]
    bins: dict[tuple[str, str], NDArray[np.int64]]
    state: dict[tuple[str, ...], float]
    grids: dict[str, bytes]
    baselines: list[StoredBaseline]
    rows: list[tuple[str, bytes]]
    index: PredictionIndex
    carried: dict[tuple[str, int], list[tuple[str, bytes]]] = field(default_factory=dict)
    """(grid id, encoded outcomes) of buckets that have expired, by version and the start they count from."""
