"""Compressed, checksummed bytes with a magic number: what grids and the parts of profiles are wrapped in."""

from __future__ import annotations

import struct
import zlib

import zstandard

from exporter.errors import UnreadableError

LEVEL = 1
"""Zstandard level: higher ones save a few percent for several times the time."""

HEAD = struct.Struct("<4sIII")
"""Magic, length of the compressed bytes, length of the content, CRC-32 of magic, length and bytes."""


def seal(magic: bytes, content: bytes) -> bytes:
    """`content` in an envelope; nothing at all for no content."""
    body = zstandard.ZstdCompressor(level=LEVEL).compress(content)
    return HEAD.pack(magic, len(body), len(content), _checksum(magic, len(content), body)) + body


def _checksum(magic: bytes, length: int, body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(magic + length.to_bytes(4, "little")))


def open_envelope(magic: bytes, data: bytes | memoryview, limit: int, what: str) -> bytes:
    """The content of an envelope.

    Parameters
    ----------
    limit : int
        Bytes that the content may have; checked before anything is decompressed.
    what : str
        For the message of an error.

    Raises
    ------
    UnreadableError
        When it is not an envelope of this magic, damaged, cut short, or larger.
    """
    if len(data) < HEAD.size:
        raise UnreadableError(f"expected a {what}, got {len(data)} bytes")
    found, packed, length, checksum = HEAD.unpack_from(data)
    if found != magic:
        raise UnreadableError(f"expected a {what} that starts with {magic!r}, got {found!r}")
    body = memoryview(data)[HEAD.size :]
    if len(body) != packed:
        raise UnreadableError(f"the {what} should be {HEAD.size + packed} bytes long, got {len(data)}")
    if length > limit:
        raise UnreadableError(f"the {what} should hold at most {limit} bytes, got {length}")
    if _checksum(magic, length, body) != checksum:
        raise UnreadableError(f"the {what} is damaged: its checksum does not fit")
    return decompressed(body, length, what)


def decompressed(body: bytes | memoryview, length: int, what: str) -> bytes:
    """Exactly `length` bytes; never more memory than that."""
    try:
        if zstandard.frame_content_size(body) != length:
            raise UnreadableError(f"the {what} does not hold the {length} bytes that it should")
        content = zstandard.ZstdDecompressor().decompress(body, max_output_size=length)
    except zstandard.ZstdError as error:
        raise UnreadableError(f"the {what} is damaged: {error}") from error
    if len(content) != length:
        raise UnreadableError(f"the {what} does not hold the {length} bytes that it should")
    return content
