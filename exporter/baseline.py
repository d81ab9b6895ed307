"""Baselines: profiles on the model's grid, which windows are compared with, and the file that carries one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from exporter.batch import Batch, Codes, infer_columns
from exporter.errors import UnreadableError, UnusableBatchError
from exporter.estimation import read_estimator
from exporter.profiles import (
    NO_METERS,
    Grid,
    Meters,
    Profile,
    build_grid,
    decode,
    encode,
    profile_outcomes,
    profile_rows,
)
from exporter.schema import Schema
from exporter.windows import bucket_starts

BASELINE_TYPE = "application/vnd.ml-exporter.baseline"
"""Media type of a baseline in a file."""
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
    segments: tuple[tuple[str, bytes], ...] = ()
    """Encoded profiles of its parts, by segment key."""


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


def grid_of(batch: Batch, *, category_cap: int = 200, class_cap: int = 20, multivariate: bool = True) -> Grid:
    """A new grid, cut at the quantiles of these rows; `multivariate` counts columns together too."""
    return build_grid(batch, category_cap=category_cap, class_cap=class_cap, multivariate=multivariate)


def build(
    grid: Grid,
    batch: Batch,
    labels: Codes | None,
    *,
    resolution: float | None,
    meters: Meters = NO_METERS,
) -> BuiltBaseline:
    """Profile a batch as a baseline.

    Parameters
    ----------
    labels : as `Outcomes.label`, or None
        The labels of the rows, where known.
    resolution : float or None
        Bucket width in seconds; None where the rows have no event time of their own.
    meters : Meters
        What else is measured of the rows.
    """
    if resolution is None:
        profile = _whole(grid, batch, labels, meters)
        return BuiltBaseline(grid, profile, ())
    starts = bucket_starts(batch.event_time, resolution)
    distinct = np.unique(starts)
    if distinct.size > MAX_BASELINE_BUCKETS:
        return BuiltBaseline(grid, _whole(grid, batch, labels, meters), ())
    total = Profile.empty(grid)
    buckets = []
    for start in distinct:
        positions = np.flatnonzero(starts == start)
        part = _whole(grid, batch.take(positions), _pick(labels, positions), meters)
        buckets.append((int(start), encode(part)))
        total.add(part)
    return BuiltBaseline(grid, total, tuple(buckets))


def _whole(grid: Grid, batch: Batch, labels: Codes | None, meters: Meters) -> Profile:
    measured = meters.of_whole
    profile = profile_rows(grid, batch, threads=2, meters=measured.rows)
    if labels is not None:
        outcomes = replace(batch.outcomes, label=labels)
        profile = profile.merge(profile_outcomes(grid, outcomes, meters=measured.outcomes))
    return profile


def _pick(labels: Codes | None, positions: NDArray[np.intp]) -> Codes | None:
    if labels is None:
        return None
    return labels.take(positions) if hasattr(labels, "take") else labels[positions]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A baseline in a file: what is said of it, its grid, its profile, and the buckets that add up to it."""

    header: Mapping[str, Any]
    grid: Grid
    profile: Profile
    buckets: tuple[tuple[int, bytes], ...]
    estimator: bytes = b""
    """Of a regressor's losses; empty where the baseline has none."""
    segments: tuple[tuple[str, bytes], ...] = ()
    """Profiles of its parts by segment key; none in a file that was written without."""


def write_artifact(
    header: Mapping[str, Any],
    grid: bytes,
    profile: bytes,
    buckets: Sequence[tuple[int, bytes]] = (),
    estimator: bytes = b"",
    *,
    segments: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """A baseline as one file: magic, SHA-256 of the rest, header length, header, then its pieces.

    The pieces are the grid, the profile, the estimator, the buckets and the segments, as long as the header
    says.
    """
    sizes = [[start, len(data)] for start, data in buckets]
    head = orjson.dumps(
        {
            **header,
            "grid_bytes": len(grid),
            "profile_bytes": len(profile),
            "estimator_bytes": len(estimator),
            "bucket_bytes": sizes,
            "segment_bytes": [[key, len(data)] for key, data in segments],
        }
    )
    rest = len(head).to_bytes(4, "big") + head + grid + profile + estimator
    rest += b"".join(data for _, data in (*buckets, *segments))
    return _MAGIC + hashlib.sha256(rest).digest() + rest


def read_artifact(data: bytes) -> Artifact:
    """Read what :func:`write_artifact` wrote.

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
        sizes = [int(header[f"{piece}_bytes"]) for piece in ("grid", "profile", "estimator")]
        starts = [int(bucket) for bucket, _ in header["bucket_bytes"]]
        sizes += [int(length) for _, length in header["bucket_bytes"]]
        keys = [str(key) for key, _ in header.get("segment_bytes", ())]
        sizes += [int(length) for _, length in header.get("segment_bytes", ())]
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableError("the baseline artifact's header cannot be read") from error
    if min(sizes) < 0 or len(starts) > MAX_BASELINE_BUCKETS or 4 + size + sum(sizes) != len(rest):
        raise UnreadableError("the baseline artifact is not as long as its header says")
    pieces, place = [], 4 + size
    for length in sizes:
        pieces.append(rest[place : place + length])
        place += length
    grid = Grid.from_bytes(pieces[0])
    profile = decode(pieces[1], grid)
    profile.verify()
    if pieces[2]:
        read_estimator(pieces[2])
    buckets = tuple(zip(starts, pieces[3:], strict=False))
    segments = tuple(zip(keys, pieces[3 + len(starts) :], strict=True))
    for _, encoded in (*buckets, *segments):
        decode(encoded, grid).verify()
    return Artifact(header, grid, profile, buckets, pieces[2], segments)
