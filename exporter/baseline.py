"""Baselines: profiles on the model's grid, which windows are compared with, and the file that carries one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from exporter.batch import Batch, Codes, infer_columns
from exporter.errors import UnreadableError, UnusableBatchError
from exporter.profiles import Grid, Profile, build_grid, decode, encode, profile_outcomes, profile_rows
from exporter.schema import Schema
from exporter.windows import bucket_starts

ARTIFACT_TYPE = "application/vnd.ml-exporter.baseline"
_MAGIC = b"MLXB\x01"
_DIGEST_BYTES = 32
MAX_BASELINE_BUCKETS = 2_000
"""Buckets kept beside a baseline's total; with more, only the total is kept."""


@dataclass(frozen=True, slots=True)
class BuiltBaseline:
    """A baseline profile with the buckets it is the sum of."""

    grid: Grid
    profile: Profile
    buckets: tuple[tuple[int, bytes], ...]


def resolved_schema(schema: Schema, batch: Batch) -> Schema:
    """The schema with its features; inferred from the batch where the configuration names none."""
    if schema.features is not None:
        return schema
    features = infer_columns(batch.table, schema)
    if not features:
        raise UnusableBatchError(
            "a baseline needs at least one feature column beside id, timestamp and outcomes"
        )
    return schema.with_features(features)


def grid_of(batch: Batch, *, category_cap: int = 200, class_cap: int = 20) -> Grid:
    """A new grid, cut at the quantiles of these rows."""
    return build_grid(batch, category_cap=category_cap, class_cap=class_cap)


def build(grid: Grid, batch: Batch, labels: Codes | None, *, resolution: float | None) -> BuiltBaseline:
    """Profile a batch as a baseline.

    Parameters
    ----------
    labels : as `Outcomes.label`, or None
        The labels of the rows, where known.
    resolution : float or None
        Bucket width in seconds; None where the rows have no event time of their own.
    """
    if resolution is None:
        profile = _whole(grid, batch, labels)
        return BuiltBaseline(grid, profile, ())
    starts = bucket_starts(batch.event_time, resolution)
    distinct = np.unique(starts)
    if distinct.size > MAX_BASELINE_BUCKETS:
        return BuiltBaseline(grid, _whole(grid, batch, labels), ())
    total = Profile.empty(grid)
    buckets = []
    for start in distinct:
        positions = np.flatnonzero(starts == start)
        part = _whole(grid, batch.take(positions), _pick(labels, positions))
        buckets.append((int(start), encode(part)))
        total.add(part)
    return BuiltBaseline(grid, total, tuple(buckets))


def _whole(grid: Grid, batch: Batch, labels: Codes | None) -> Profile:
    profile = profile_rows(grid, batch, threads=2)
    if labels is not None:
        profile = profile.merge(profile_outcomes(grid, replace(batch.outcomes, label=labels)))
    return profile


def _pick(labels: Codes | None, positions: NDArray[np.intp]) -> Codes | None:
    if labels is None:
        return None
    return labels.take(positions) if hasattr(labels, "take") else labels[positions]


def write_artifact(header: Mapping[str, Any], grid: bytes, profile: bytes) -> bytes:
    """A baseline as one file: magic, SHA-256 of the rest, header length, JSON header, grid, profile."""
    head = orjson.dumps({**header, "grid_bytes": len(grid), "profile_bytes": len(profile)})
    rest = len(head).to_bytes(4, "big") + head + grid + profile
    return _MAGIC + hashlib.sha256(rest).digest() + rest


def read_artifact(data: bytes) -> tuple[dict[str, Any], Grid, Profile]:
    """The header, grid and profile of an artifact.

    Raises
    ------
    UnreadableError
        Not a baseline artifact, or damaged.
    """
    start = len(_MAGIC) + _DIGEST_BYTES
    rest = data[start:]
    if not data.startswith(_MAGIC):
        raise UnreadableError("this is not a baseline artifact (GET .../baselines/{id}/artifact makes one)")
    if hashlib.sha256(rest).digest() != data[len(_MAGIC) : start]:
        raise UnreadableError("the baseline artifact is damaged: its checksum does not match")
    size = int.from_bytes(rest[:4], "big")
    try:
        header = orjson.loads(rest[4 : 4 + size])
        grid_bytes, profile_bytes = int(header["grid_bytes"]), int(header["profile_bytes"])
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableError("the baseline artifact's header cannot be read") from error
    if min(grid_bytes, profile_bytes) < 0 or 4 + size + grid_bytes + profile_bytes != len(rest):
        raise UnreadableError("the baseline artifact is not as long as its header says")
    middle = 4 + size + grid_bytes
    grid = Grid.from_bytes(rest[4 + size : middle])
    profile = decode(rest[middle:], grid)
    profile.verify()
    return header, grid, profile
