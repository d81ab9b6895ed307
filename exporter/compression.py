"""Decompression that stops before a bomb fills the memory."""

from __future__ import annotations

import pyarrow as pa

from exporter.errors import TooLargeError, UnreadableError, UnsupportedFormatError

Bytes = bytes | bytearray | memoryview

_CODECS = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
_PIECE_BYTES = 1 << 20


def decompress(body: Bytes, encoding: str | None, *, maximum_bytes: int) -> Bytes:
    """Undo a `Content-Encoding` of gzip or zstd; None, empty and identity give the body itself.

    Raises
    ------
    UnsupportedFormatError
        Any other encoding, or several.
    UnreadableError
        Damaged or cut bytes.
    TooLargeError
        More than `maximum_bytes` would come out; at most 1 MiB more was made.
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        return body
    codec = _CODECS.get(name)
    if codec is None:
        raise UnsupportedFormatError(f"Expected Content-Encoding gzip or zstd, but {encoding!r:.80} came.")
    content = bytearray()  # grows in place, and goes back to the system as a whole
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
            while piece := stream.read(_PIECE_BYTES):
                content += piece
                if len(content) > maximum_bytes:
                    raise TooLargeError(
                        f"Expected at most {maximum_bytes} bytes once {name} is undone, but more came."
                    )
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError(f"The body is not whole {name}: {error}") from error
    if not content and len(body):
        raise UnreadableError(f"The body holds nothing once {name} is undone.")
    return content
