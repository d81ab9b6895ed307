"""Profiles on their way: what a remote profiler pushes, by time bucket and on a named grid.

Layout: magic, SHA-256 of the rest, length of the header (4 bytes, big endian), JSON header, encoded profiles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, ValidationError

from exporter.errors import TooLargeError, UnreadableError
from exporter.profiles import Grid, Profile, decode, encode

PROFILE_TYPE = "application/vnd.ml-exporter.profile"
_MAGIC = b"MLXP\x01"
_DIGEST_BYTES = 32
MAX_BUCKETS = 20_000
LATEST = 253_402_300_800
"""Seconds from the epoch to the year 10000."""


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """Profiles by bucket start (seconds since the epoch), and the newest event time among their rows."""

    grid: Grid
    newest_event: float
    resolution: float
    buckets: tuple[tuple[int, Profile], ...]


def write_profiles(
    grid: Grid, buckets: Sequence[tuple[int, Profile]], *, newest_event: float, resolution: float
) -> bytes:
    """The bytes that `POST .../profiles` takes."""
    encoded = [(start, encode(profile)) for start, profile in buckets]
    header = orjson.dumps(
        {
            "grid": grid.id,
            "newest_event": newest_event,
            "resolution": resolution,
            "buckets": [[start, len(data)] for start, data in encoded],
        }
    )
    rest = len(header).to_bytes(4, "big") + header + b"".join(data for _, data in encoded)
    return _MAGIC + hashlib.sha256(rest).digest() + rest


def grid_id_of(data: bytes) -> str:
    """The grid that a profile file was made on, before anything else is read."""
    return _header(data)[0].grid


def read_profiles(data: bytes, grid: Grid) -> ProfileFile:
    """Read what :func:`write_profiles` wrote.

    Raises
    ------
    UnreadableError
        Not a profile file, damaged, or with profiles that no rows can have.
    TooLargeError
        More buckets than an exporter takes at once.
    """
    header, start = _header(data)
    if len(header.buckets) > MAX_BUCKETS:
        raise TooLargeError(
            f"a profile file holds at most {MAX_BUCKETS} buckets, this one {len(header.buckets)}"
        )
    if start + sum(size for _, size in header.buckets) != len(data):
        raise UnreadableError("the profile file is not as long as its header says")
    buckets = []
    for bucket, size in header.buckets:
        profile = decode(data[start : start + size], grid)
        profile.verify()
        buckets.append((bucket, profile))
        start += size
    return ProfileFile(grid, header.newest_event, header.resolution, tuple(buckets))


class _Header(BaseModel):
    """The JSON header, as strictly as it is written."""

    model_config = ConfigDict(strict=True, frozen=True)

    grid: str
    newest_event: FiniteFloat
    resolution: Annotated[FiniteFloat, Field(gt=0)]
    buckets: list[tuple[Annotated[int, Field(ge=-LATEST, le=LATEST)], NonNegativeInt]]


def _header(data: bytes) -> tuple[_Header, int]:
    begin = len(_MAGIC) + _DIGEST_BYTES
    if not data.startswith(_MAGIC):
        raise UnreadableError(
            f"expected a profile file ({PROFILE_TYPE}) made by monitor.profile_file or ml-exporter profile"
        )
    if hashlib.sha256(data[begin:]).digest() != data[len(_MAGIC) : begin]:
        raise UnreadableError("the profile file is damaged: its checksum does not match")
    size = int.from_bytes(data[begin : begin + 4], "big")
    try:
        header = _Header.model_validate_json(data[begin + 4 : begin + 4 + size])
    except ValidationError as error:
        wrong = [".".join(map(str, problem["loc"])) or "header" for problem in error.errors()]
        raise UnreadableError(
            "the profile file's header is not JSON with grid, newest_event, resolution and buckets",
            details=wrong[:20],
        ) from error
    return header, begin + 4 + size
