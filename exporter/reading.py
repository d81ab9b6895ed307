"""What surrounds the reading of every format: limits before it, errors after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from exporter.compression import Bytes, decompress
from exporter.errors import ExporterError, TooLargeError, UnreadableError, UnusableBatchError
from exporter.limits import Limits

_HIGH_BITS = 0x8080_8080_8080_8080


def opened(body: Bytes, content_encoding: str | None, limits: Limits) -> Bytes:
    """The body within the limits, decompressed, without a byte order mark."""
    if len(body) > limits.body_bytes:
        raise TooLargeError(f"Expected at most {limits.body_bytes} bytes, but {len(body)} came.")
    content = decompress(body, content_encoding, maximum_bytes=limits.decoded_bytes)
    if not len(content):
        raise UnreadableError("The body is empty; expected rows.")
    return content[3:] if bytes(content[:3]) == b"\xef\xbb\xbf" else content


def _is_ascii(text: Bytes) -> bool:
    """Whether no byte has its highest bit set; looked at eight by eight, without a copy."""
    whole = len(text) // 8 * 8
    words = np.frombuffer(text, np.uint64, whole // 8)
    return not int(np.bitwise_or.reduce(words)) & _HIGH_BITS and bytes(text[whole:]).isascii()


def check_utf8(text: Bytes) -> None:
    """Raise UnreadableError at the first byte that is no UTF-8."""
    if not _is_ascii(text):
        try:
            bytes(text).decode()
        except UnicodeDecodeError as error:
            raise UnreadableError(
                f"Expected UTF-8, but byte {error.start} is not: {error.reason}."
            ) from error


def guarded(reader: Callable[..., pa.Table], content: Bytes, *arguments: Any, **options: Any) -> pa.Table:
    """Call a reader; its library's errors become ours, and names must be unique."""
    try:
        table = reader(content, *arguments, **options)
    except ExporterError:
        raise
    except (MemoryError, pa.ArrowCapacityError) as error:
        raise TooLargeError("The body needs more memory than there is; send less at once.") from error
    except (pa.ArrowException, OSError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableError(f"The body cannot be read: {str(error)[:300]}") from error
    if len(set(table.column_names)) < table.num_columns:
        twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        raise UnusableBatchError(
            f"Every column needs a name of its own, but {twice[0]!r:.80} came twice.", details=twice[:20]
        )
    return table
