"""Recovery: a model as it was committed, without reading the payloads of its predictions."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from exporter.errors import CorruptStoreError
from exporter.store.carrying import read_carried
from exporter.store.predictions import PredictionIndex
from exporter.store.records import BIN_TYPE, BucketKey, StoredAnswer, StoredBaseline, StoredModel

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from numpy.typing import NDArray

LABELS_AT_ONCE = 1 << 22
"""Stored labels are looked up this many at a time."""


def read_model(connection: sqlite3.Connection, name: str, model: int, hash_key: bytes) -> StoredModel:
    """Everything of a model; in one read transaction that the caller opened.

    Raises
    ------
    CorruptStoreError
        Hashes or labels that do not match their checksum.
    """
    index = PredictionIndex(hash_key)
    index.restore(_chunks(connection, model))
    for labels in _labels(connection, model):
        index.replay(*labels)
    generation = connection.execute("SELECT generation FROM models WHERE id = ?", (model,)).fetchone()[0]
    return StoredModel(
        name=name,
        generation=str(generation),
        buckets=_buckets(connection, model),
        counters=_keyed(connection, "SELECT key, value FROM counters WHERE model = ?", model),
        bins={
            (str(version), str(grid)): np.frombuffer(data, dtype=BIN_TYPE).astype(np.int64)
            for version, grid, data in connection.execute(
                "SELECT version, grid, data FROM bins WHERE model = ?", (model,)
            )
        },
        state=_keyed(connection, "SELECT key, value FROM state WHERE model = ?", model),
        grids={
            str(grid): bytes(data)
            for grid, data in connection.execute(
                "SELECT id, data FROM grids WHERE model = ? ORDER BY rowid", (model,)
            )
        },
        baselines=_baselines(connection, name, model),
        rows=[
            (version, data)
            for version, data in connection.execute(
                "SELECT version, data FROM raw_rows WHERE model = ? ORDER BY id", (model,)
            )
        ],
        index=index,
        carried=read_carried(connection, model),
    )


def read_answer(connection: sqlite3.Connection, model: str, endpoint: str, key: str) -> StoredAnswer | None:
    row = connection.execute(
        "SELECT endpoint, key, body_hash, status, body, created, version FROM answers"
        " WHERE model = (SELECT id FROM models WHERE name = ?) AND endpoint = ? AND key = ?",
        (model, endpoint, key),
    ).fetchone()
    return None if row is None else StoredAnswer(*row)


def _buckets(connection: sqlite3.Connection, model: int) -> dict[BucketKey, list[tuple[str, bytes]]]:
    buckets: dict[BucketKey, list[tuple[str, bytes]]] = {}
    rows = connection.execute(
        "SELECT version, segment, bucket, grid, profile FROM deltas WHERE model = ? ORDER BY id", (model,)
    )
    for version, segment, bucket, grid, profile in rows:
        buckets.setdefault((version, segment, bucket), []).append((grid, profile))
    return buckets


def _keyed(connection: sqlite3.Connection, query: str, model: int) -> dict[tuple[str, ...], float]:
    return {tuple(orjson.loads(key)): float(value) for key, value in connection.execute(query, (model,))}


def _chunks(connection: sqlite3.Connection, model: int) -> Iterator[tuple[int, str, int, NDArray[np.uint64]]]:
    rows = connection.execute(
        "SELECT id, version, day, checksum, hashes FROM predictions WHERE model = ? ORDER BY id", (model,)
    )
    for chunk_id, version, day, checksum, hashes in rows:
        if zlib.crc32(hashes) != checksum:
            raise CorruptStoreError(
                f"the id hashes of prediction chunk {chunk_id} do not match their checksum"
            )
        yield chunk_id, version, day, np.frombuffer(hashes, dtype="<u8")


def _labels(
    connection: sqlite3.Connection, model: int
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.number[Any]], NDArray[np.float64], NDArray[np.bool_]]]:
    """(hashes, values, arrivals, joined) of all labels, oldest first, one range of hashes after the other.

    A range of hashes meets only that range of the index's sorted runs, so all labels cost one pass over it.
    """
    size = connection.execute(
        "SELECT total(length(hashes)) FROM labels WHERE model = ?", (model,)
    ).fetchone()[0]
    total = int(size) // 8
    hashes, push = np.empty(total, np.uint64), np.empty(total, np.int32)
    values: list[NDArray[np.number[Any]]] = [np.empty(0, np.int8)]
    arrivals: list[float] = []
    joined: list[bool] = []
    end = 0
    for label_id, arrival, day, width, checksum, keys, label in connection.execute(
        "SELECT id, arrival, day, width, checksum, hashes, label FROM labels WHERE model = ? ORDER BY id",
        (model,),
    ):
        if zlib.crc32(label, zlib.crc32(keys)) != checksum:
            raise CorruptStoreError(f"the labels of push {label_id} do not match their checksum")
        start, end = end, end + len(keys) // 8
        hashes[start:end] = np.frombuffer(keys, dtype="<u8")
        push[start:end] = len(arrivals)
        values.append(np.frombuffer(label, dtype=np.dtype(width).newbyteorder("<")))
        arrivals.append(arrival)
        joined.append(day is not None)
    labels, when, found = np.concatenate(values), np.array(arrivals), np.array(joined, dtype=bool)
    del values
    bits = min(max(total // LABELS_AT_ONCE, 0).bit_length(), 8)
    ranges = (hashes >> np.uint64(56)).astype(np.uint8) >> (8 - bits)
    for number in range(1 << bits):
        chosen = np.flatnonzero(ranges == number)
        yield hashes[chosen], labels[chosen], when[push[chosen]], found[push[chosen]]


def _baselines(connection: sqlite3.Connection, name: str, model: int) -> list[StoredBaseline]:
    buckets: dict[str, list[tuple[int, bytes]]] = {}
    for baseline, bucket, data in connection.execute(
        "SELECT baseline, bucket, profile FROM baseline_buckets WHERE model = ? ORDER BY bucket", (model,)
    ):
        buckets.setdefault(baseline, []).append((bucket, data))
    segments: dict[str, list[tuple[str, bytes]]] = {}
    for baseline, segment, data in connection.execute(
        "SELECT baseline, segment, profile FROM baseline_segments WHERE model = ? ORDER BY segment", (model,)
    ):
        segments.setdefault(baseline, []).append((segment, data))
    rows = connection.execute(
        "SELECT id, version, grid, created, rows, source, provisional, active, period_from, period_to,"
        " profile, estimator FROM baselines WHERE model = ? ORDER BY rowid",
        (model,),
    )
    return [
        StoredBaseline(
            id=baseline,
            model=name,
            version=version,
            grid_id=grid,
            created=created,
            rows=count,
            source=source,
            provisional=bool(provisional),
            active=bool(active),
            period=None if start is None else (start, end),
            profile=profile,
            buckets=tuple(buckets.get(baseline, ())),
            estimator=estimator,
            segments=tuple(segments.get(baseline, ())),
        )
        for (
            baseline,
            version,
            grid,
            created,
            count,
            source,
            provisional,
            active,
            start,
            end,
            profile,
            estimator,
        ) in rows
    ]
