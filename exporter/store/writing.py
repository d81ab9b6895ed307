"""Commits to rows: encoded by the thread that brings them, merged and inserted by the writer."""

from __future__ import annotations

import base64
import secrets
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from exporter.errors import ConflictError
from exporter.profiles import encode
from exporter.store.labels import narrowest
from exporter.store.past import write_marks, write_past
from exporter.store.payloads import encode_payload
from exporter.store.records import BIN_TYPE, NOT_JOINED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from exporter.profiles import Profile
    from exporter.store.records import Commit, LabelChunk, PredictionChunk, StoredBaseline

DeltaKey = tuple[int, str, str, int, str]
"""(model row, version, segment, bucket, grid id)."""


@dataclass(slots=True)
class EncodedCommit:
    """A commit with its arrays as bytes, ready to be inserted."""

    commit: Commit
    predictions: list[tuple[Any, ...]] = field(default_factory=list)
    """(id, version, day, checksum, hashes)"""
    payloads: list[tuple[Any, ...]] = field(default_factory=list)
    """(id, checksum, data)"""
    labels: list[tuple[Any, ...]] = field(default_factory=list)
    """(arrival, day, width, checksum, hashes, label)"""
    nbytes: int = 0


def encode_commit(commit: Commit) -> EncodedCommit:
    """Bytes of what is large; runs in the thread that brings the commit."""
    encoded = EncodedCommit(commit)
    for chunk in commit.predictions:
        prediction, payload = _encode_prediction(chunk)
        encoded.predictions.append(prediction)
        encoded.payloads.append(payload)
        encoded.nbytes += len(prediction[-1]) + len(payload[-1])
    if commit.labels is not None:
        encoded.labels = list(_encode_labels(commit.labels))
        encoded.nbytes += sum(len(row[-1]) + len(row[-2]) for row in encoded.labels)
    encoded.nbytes += sum(len(data) for _, data in commit.rows)
    return encoded


def _encode_prediction(chunk: PredictionChunk) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    if len(chunk.hashes) != chunk.payload.num_rows:
        raise ValueError(f"chunk {chunk.id} has {len(chunk.hashes)} hashes and {chunk.payload.num_rows} rows")
    hashes = np.ascontiguousarray(chunk.hashes, dtype="<u8").tobytes()
    data = encode_payload(chunk.payload)
    return (
        (chunk.id, chunk.version, chunk.day, zlib.crc32(hashes), hashes),
        (chunk.id, zlib.crc32(data), data),
    )


def _encode_labels(chunk: LabelChunk) -> Iterable[tuple[Any, ...]]:
    """One row for the labels that joined, which expires with their newest day, and one for the others."""
    days = np.full(len(chunk.hashes), NOT_JOINED) if chunk.days is None else chunk.days
    for joined in (True, False):
        chosen = (days != NOT_JOINED) == joined
        if not chosen.any():
            continue
        hashes = np.ascontiguousarray(chunk.hashes[chosen], dtype="<u8").tobytes()
        values = np.asarray(chunk.values[chosen], dtype=np.float64)
        width = np.dtype(np.float64) if np.isnan(values).any() else narrowest(values)
        label = values.astype(width.newbyteorder("<")).tobytes()
        day = int(days[chosen].max()) if joined else None
        yield chunk.arrival, day, width.str.lstrip("<|"), zlib.crc32(label, zlib.crc32(hashes)), hashes, label


def write_group(connection: sqlite3.Connection, group: list[EncodedCommit]) -> dict[int, ConflictError]:
    """Insert a group inside the transaction that the caller opened.

    Returns the positions of commits that were left out because their idempotency key has an answer already.
    """
    refused: dict[int, ConflictError] = {}
    profiles: dict[DeltaKey, list[Profile]] = defaultdict(list)
    counters: dict[tuple[int, tuple[str, ...]], float] = defaultdict(float)
    bins: dict[tuple[int, str, str], NDArray[np.int64]] = {}
    state: dict[tuple[int, tuple[str, ...]], float] = {}
    for position, encoded in enumerate(group):
        commit = encoded.commit
        model = model_row(connection, commit.model)
        if not _insert_answer(connection, model, commit):
            refused[position] = ConflictError(
                "another request with this Idempotency-Key was answered meanwhile"
            )
            continue
        _insert(connection, model, encoded)
        write_marks(connection, model, commit.marks)
        write_past(connection, model, commit.deltas)
        for delta in commit.deltas:
            if delta.backfilled is not None:
                continue
            profiles[model, delta.version, delta.segment, delta.bucket, delta.profile.grid.id].append(
                delta.profile
            )
        for key, increment in commit.counters.items():
            counters[model, key] += increment
        for (version, grid), increments in commit.bins.items():
            place = (model, version, grid)
            bins[place] = bins[place] + increments if place in bins else increments
        for key, value in commit.state.items():
            state[model, key] = value
    connection.executemany(
        "INSERT INTO deltas (model, version, segment, bucket, grid, profile) VALUES (?, ?, ?, ?, ?, ?)",
        ((*key, encode(merged(several))) for key, several in profiles.items()),
    )
    connection.executemany(
        "INSERT INTO counters (model, key, version, value) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (model, key) DO UPDATE SET value = value + excluded.value",
        _keyed(counters),
    )
    for place, increments in bins.items():
        _add_bins(connection, place, increments)
    connection.executemany(
        "INSERT INTO state (model, key, version, value) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (model, key) DO UPDATE SET value = excluded.value",
        _keyed(state),
    )
    return refused


def _add_bins(
    connection: sqlite3.Connection, place: tuple[int, str, str], increments: NDArray[np.int64]
) -> None:
    """Add to the totals of a version's coarse bins on a grid."""
    query = "SELECT data FROM bins WHERE model = ? AND version = ? AND grid = ?"
    stored = connection.execute(query, place).fetchone()
    if stored is not None:
        increments = increments + np.frombuffer(stored[0], dtype=BIN_TYPE)
    connection.execute(
        "INSERT INTO bins VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data",
        (*place, increments.astype(BIN_TYPE).tobytes()),
    )


def merged(profiles: list[Profile]) -> Profile:
    """The sum of profiles on one grid; none of them is changed."""
    first, *others = profiles
    if not others:
        return first
    total = first.merge(others[0])
    for other in others[1:]:
        total.add(other)
    return total


def _keyed(values: Mapping[tuple[int, tuple[str, ...]], float]) -> Iterable[tuple[int, str, str, float]]:
    for (model, key), value in values.items():
        yield model, orjson.dumps(key).decode(), key[1] if len(key) > 1 else "", float(value)


def model_row(connection: sqlite3.Connection, name: str) -> int:
    """Row id of a model; made, with a hash key of its own, when the model is new."""
    row = connection.execute("SELECT id FROM models WHERE name = ?", (name,)).fetchone()
    if row is None:
        key = base64.b64encode(secrets.token_bytes(12))  # 16 ASCII bytes, 96 of their bits random
        query = "INSERT INTO models (name, hash_key, generation) VALUES (?, ?, ?)"
        row = (connection.execute(query, (name, key, new_generation())).lastrowid,)
    return int(row[0])


def new_generation() -> str:
    """An id for what a model has stored; another one is made when some of it is deleted."""
    return secrets.token_hex(8)


def _insert_answer(connection: sqlite3.Connection, model: int, commit: Commit) -> bool:
    answer = commit.answer
    if answer is None:
        return True
    cursor = connection.execute(
        "INSERT INTO answers (model, endpoint, key, body_hash, status, body, created, version)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            model,
            answer.endpoint,
            answer.key,
            answer.body_hash,
            answer.status,
            answer.body,
            answer.created,
            answer.version,
        ),
    )
    return cursor.rowcount == 1


def _insert(connection: sqlite3.Connection, model: int, encoded: EncodedCommit) -> None:
    commit = encoded.commit
    if commit.drop_rows:
        connection.execute("DELETE FROM raw_rows WHERE model = ?", (model,))
    connection.executemany(
        "INSERT INTO raw_rows (model, version, data) VALUES (?, ?, ?)",
        ((model, version, data) for version, data in commit.rows),
    )
    connection.executemany(
        "INSERT INTO predictions (model, id, version, day, checksum, hashes) VALUES (?, ?, ?, ?, ?, ?)",
        ((model, *row) for row in encoded.predictions),
    )
    connection.executemany(
        "INSERT INTO payloads (model, id, checksum, data) VALUES (?, ?, ?, ?)",
        ((model, *row) for row in encoded.payloads),
    )
    connection.executemany(
        "INSERT INTO labels (model, arrival, day, width, checksum, hashes, label)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((model, *row) for row in encoded.labels),
    )
    if commit.grid is not None:
        insert_grid(connection, model, *commit.grid)
    if commit.baseline is not None:
        insert_baseline(connection, model, commit.baseline)


def insert_grid(connection: sqlite3.Connection, model: int, grid_id: str, data: bytes) -> None:
    connection.execute("INSERT INTO grids VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (model, grid_id, data))


def insert_baseline(connection: sqlite3.Connection, model: int, baseline: StoredBaseline) -> None:
    """Keep a baseline; an active one takes the place of the active one of its version."""
    if baseline.active:
        deactivate(connection, model, baseline.version)
    start, end = baseline.period if baseline.period is not None else (None, None)
    connection.execute(
        "INSERT INTO baselines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            model,
            baseline.id,
            baseline.version,
            baseline.grid_id,
            baseline.created,
            baseline.rows,
            baseline.source,
            baseline.provisional,
            baseline.active,
            start,
            end,
            baseline.profile,
            baseline.estimator,
        ),
    )
    connection.executemany(
        "INSERT INTO baseline_buckets VALUES (?, ?, ?, ?)",
        ((model, baseline.id, bucket, data) for bucket, data in baseline.buckets),
    )
    connection.executemany(
        "INSERT INTO baseline_segments VALUES (?, ?, ?, ?)",
        ((model, baseline.id, segment, data) for segment, data in baseline.segments),
    )


def deactivate(connection: sqlite3.Connection, model: int, version: str | None) -> None:
    connection.execute("UPDATE baselines SET active = 0 WHERE model = ? AND version IS ?", (model, version))
