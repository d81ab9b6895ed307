"""Profiles as bytes: versioned, checksummed, small, each part decodable without the other.

A header (magic, version, grid id, rows, lengths, checksum) and up to two envelopes, `features` and
`outcomes`. In an envelope: the counts (sparse as gaps and values, or dense, whichever is smaller), sums,
extremes, and JSON for what lies on no grid.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from exporter.errors import ConflictError, CorruptStoreError, UnreadableError
from exporter.profiles.categorical import NAME_LENGTH
from exporter.profiles.envelope import open_envelope, seal
from exporter.profiles.packing import LARGEST, Reader, pack
from exporter.profiles.profile import Part, Profile
from exporter.profiles.vectors import Counts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from exporter.profiles.grid import Grid
    from exporter.profiles.layout import PartLayout
    from exporter.profiles.profile import Tallies

MAGIC, VERSION = b"MLXP", 1
PART_MAGIC: Mapping[str, bytes] = {"features": b"MLXF", "outcomes": b"MLXO"}

HEAD = struct.Struct("<4sB3x8sqqII")
"""Magic, version, grid id, rows, labelled rows, lengths of the two envelopes; a CRC-32 of these follows."""

HEAD_BYTES = HEAD.size + 4
PART_HEAD = struct.Struct("<BI")
"""0 dense or 1 sparse, and the length of the JSON."""

MOST_TALLIES = 4 * 1024 * 1024
MOST_TOTALS = 1024 * 1024
"""Elements of all totals of a part together, at most."""
NAME_BYTES = 6 * (NAME_LENGTH + 20) + 24
"""Bytes of JSON at most: all tallies together, and one new category with its count."""

SPARSE_BYTES = 3
"""A sparse count takes about this many times the room of a dense one."""

PartName = Literal["features", "outcomes"]
BOTH: tuple[PartName, PartName] = ("features", "outcomes")


def encode(profile: Profile) -> bytes:
    """The profile as bytes."""
    features = _encode_part(profile.features, profile.tallies, "features")
    outcomes = _encode_part(profile.outcomes, {}, "outcomes")
    head = HEAD.pack(
        MAGIC,
        VERSION,
        bytes.fromhex(profile.grid.id),
        profile.rows,
        profile.labeled_rows,
        len(features),
        len(outcomes),
    )
    return b"".join((head, zlib.crc32(head).to_bytes(4, "little"), features, outcomes))


def grid_id(data: bytes | memoryview) -> str:
    """The id of the grid that an encoded profile was made on; raises UnreadableError."""
    grid: str = _head(data)[0]
    return grid


def decode(
    data: bytes | memoryview, grid: Grid, parts: Collection[PartName] = BOTH, *, stored: bool = False
) -> Profile:
    """The profile that :func:`encode` wrote.

    Parameters
    ----------
    parts : collection of "features" and "outcomes"
        Others are left empty, unread. Tallies come with the features.
    stored : bool
        True for bytes out of the store: then damage is a CorruptStoreError.

    Raises
    ------
    UnreadableError
        When these are not a profile's bytes. Takes no more memory than a profile on this grid.
    ConflictError
        When the profile was made on another grid.

    Notes
    -----
    Signed counts are right here (they take labels back), so what a stranger sent needs
    :meth:`Profile.verify` as well.
    """
    try:
        return _decode(data, grid, parts)
    except UnreadableError as error:
        if stored:
            raise CorruptStoreError(error.message) from error
        raise


def _head(data: bytes | memoryview) -> tuple[str, int, int, int, int]:
    if len(data) < HEAD_BYTES:
        raise UnreadableError(f"expected a profile, got {len(data)} bytes")
    magic, version, grid, rows, labeled, features, outcomes = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise UnreadableError(f"expected a profile that starts with {MAGIC!r}, got {magic!r}")
    if version != VERSION:
        raise UnreadableError(f"expected a profile of version {VERSION}, got version {version}")
    if zlib.crc32(memoryview(data)[: HEAD.size]).to_bytes(4, "little") != bytes(data[HEAD.size : HEAD_BYTES]):
        raise UnreadableError("the profile is damaged: its header's checksum does not fit")
    if len(data) != HEAD_BYTES + features + outcomes:
        raise UnreadableError(
            f"the profile should be {HEAD_BYTES + features + outcomes} bytes long, got {len(data)}"
        )
    return grid.hex(), rows, labeled, features, outcomes


def row_counts(data: bytes | memoryview) -> tuple[int, int]:
    """Rows and labelled rows of an encoded profile, read off its head."""
    _, rows, labeled, _, _ = _head(data)
    return rows, labeled


def _decode(data: bytes | memoryview, grid: Grid, parts: Collection[PartName]) -> Profile:
    made_on, rows, labeled, features, outcomes = _head(data)
    if made_on != grid.id:
        raise ConflictError(f"expected a profile on grid {grid.id}, got one on {made_on}", code="stale_grid")
    if max(abs(rows), abs(labeled)) > LARGEST:
        raise UnreadableError("the profile speaks of more rows than can be")
    profile = Profile(grid, rows=rows, labeled_rows=labeled)
    body = memoryview(data)[HEAD_BYTES:]
    if "features" in parts and features:
        profile.features, profile.tallies = _decode_part(
            body[:features], grid, grid.layout.features, "features"
        )
    if "outcomes" in parts and outcomes:
        profile.outcomes, _ = _decode_part(body[features:], grid, grid.layout.outcomes, "outcomes")
    return profile


def _encode_part(part: Part, tallies: Tallies, name: PartName) -> bytes:
    if part.counts.is_empty and not tallies and not part.totals:
        return b""
    index, values = part.counts.nonzero()
    sparse = len(index) * SPARSE_BYTES < part.counts.size
    extra = b""
    if part.novel or tallies or part.totals:
        lengths = [[*key, len(vector)] for key, vector in part.totals.items()]
        extra = orjson.dumps([part.novel, [[*key, count] for key, count in tallies.items()], lengths])
    content = [PART_HEAD.pack(sparse, len(extra)), extra]
    if sparse:
        content += [pack(np.diff(index, prepend=-1) - 1), pack(values)]
    else:
        content.append(pack(part.counts.dense()))
    content += [_planes(part.sums), _planes(part.extremes), *map(_planes, part.totals.values())]
    return seal(PART_MAGIC[name], b"".join(content))


def _planes(values: np.ndarray[Any, np.dtype[np.float64]]) -> bytes:
    """Floats with bytes of like weight together, which compresses their exponents."""
    return values.astype("<f8").reshape(-1).view(np.uint8).reshape(-1, 8).T.tobytes()


def _floats(reader: Reader, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    planes = reader.array("u1", 8 * count).reshape(8, count)
    return np.ascontiguousarray(planes.T).reshape(-1).view("<f8").astype(np.float64, copy=False)


def _extra_limit(grid: Grid, layout: PartLayout) -> int:
    """Bytes that the JSON of a part can have at most."""
    return MOST_TALLIES + len(layout.categorical) * grid.novel_cap * NAME_BYTES


def _limit(grid: Grid, layout: PartLayout) -> int:
    """Bytes that a part can have at most."""
    floats = layout.sums + 2 * layout.extremes + MOST_TOTALS
    return 24 * layout.size + 8 * floats + _extra_limit(grid, layout) + 1024


def _decode_part(data: memoryview, grid: Grid, layout: PartLayout, name: PartName) -> tuple[Part, Tallies]:
    reader = Reader(open_envelope(PART_MAGIC[name], data, _limit(grid, layout), f"profile's {name}"))
    sparse, length = PART_HEAD.unpack(reader.take(PART_HEAD.size))
    if sparse > 1 or length > _extra_limit(grid, layout):
        raise UnreadableError(f"the profile's {name} do not begin as they should")
    novel, tallies, lengths = _decode_extra(bytes(reader.take(length)), grid, layout)
    if sparse:
        gaps, values = reader.unpack(layout.size), reader.unpack(layout.size)
        index = np.cumsum(gaps.astype(np.int64) + 1) - 1
        if len(gaps) != len(values) or (
            len(gaps) and (int(gaps.min()) < 0 or int(gaps.max()) >= layout.size or index[-1] >= layout.size)
        ):
            raise UnreadableError(f"the profile's {name} name cells that the grid does not have")
        counts = Counts(layout.size, index=index, value=values.astype(np.int64))
    else:
        dense = reader.unpack(layout.size)
        if len(dense) != layout.size:
            raise UnreadableError(f"the profile's {name} should have {layout.size} cells, got {len(dense)}")
        counts = Counts(layout.size, dense=dense)
    sums = _floats(reader, layout.sums)
    extremes = _floats(reader, 2 * layout.extremes).reshape(2, -1)
    totals = {key: _floats(reader, size) for key, size in lengths.items()}
    finite = all(bool(np.isfinite(vector).all()) for vector in (sums, *totals.values()))
    if len(reader.rest()) or not finite or np.isnan(extremes).any():
        raise UnreadableError(f"the profile's {name} have sums that cannot be")
    return Part(layout, counts, sums, extremes, novel, totals=totals), tallies


def _decode_extra(
    data: bytes, grid: Grid, layout: PartLayout
) -> tuple[dict[str, dict[str, int]], Tallies, Tallies]:
    """New categories, tallies, and the length of each of the totals."""
    if not data:
        return {}, {}, {}
    try:
        novel, listed, sized = orjson.loads(data)
        names = set(layout.categorical)
        tallies = {tuple(key): count for *key, count in listed}
        lengths = {tuple(key): length for *key, length in sized}
        fits = (
            set(novel) <= names
            and all(len(kept) <= grid.novel_cap for kept in novel.values())
            and all(_is_count(count) for kept in novel.values() for count in kept.values())
            and all(
                _is_count(count) and all(isinstance(text, str) for text in key)
                for key, count in (*tallies.items(), *lengths.items())
            )
            and min(lengths.values(), default=0) >= 0
            and sum(lengths.values()) <= MOST_TOTALS
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UnreadableError(f"the profile's new categories or tallies do not decode: {error}") from error
    if not fits:
        raise UnreadableError("the profile's new categories or tallies are not what they should be")
    return novel, tallies, lengths


def _is_count(value: object) -> bool:
    return type(value) is int and abs(value) <= LARGEST
