"""What an Arrow IPC stream declares, read from its metadata before any buffer is decompressed.

Arrow's reader allocates whatever a compressed buffer says that it holds. This walks over the messages'
flatbuffers (tables of Apache Arrow's `Message.fbs`, format version 5) and adds up rows and bytes; what is
malformed is left to Arrow's reader to report.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from exporter.compression import Bytes
from exporter.errors import UnreadableError

_CONTINUATION = 0xFFFFFFFF
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3


@dataclass(frozen=True, slots=True)
class Declared:
    """Rows of all record batches; bytes of all buffers once decompressed."""

    rows: int
    bytes: int


def declared(body: Bytes) -> Declared:
    """What the stream in `body` declares.

    Raises
    ------
    UnreadableError
        The messages do not fit into the body.
    """
    view = memoryview(body)
    position = rows = size = 0
    try:
        while position + 8 <= len(view):
            marker, length = struct.unpack_from("<Ii", view, position)
            start = position + 8
            if marker != _CONTINUATION:  # streams written before Arrow 0.15
                length, start = marker, position + 4
            if length == 0:
                break
            message = _Table.root(view[start : start + length])
            content = start + length
            body_length = message.number(3, "<q")
            kind = message.number(1, "<B")
            if body_length < 0 or content + body_length > len(view):
                raise UnreadableError("The Arrow stream is cut: a message is longer than what is left.")
            if kind in (_DICTIONARY_BATCH, _RECORD_BATCH):
                batch = message.table(2)
                if kind == _DICTIONARY_BATCH:
                    batch = batch.table(1)
                else:
                    rows += batch.number(0, "<q")
                size += _buffer_bytes(batch, view[content : content + body_length])
            position = content + body_length
    except (struct.error, IndexError) as error:
        raise UnreadableError(f"The Arrow stream is damaged: {error}") from error
    return Declared(rows, size)


def _buffer_bytes(batch: _Table, body: memoryview) -> int:
    """Bytes of a batch's buffers; a compressed buffer begins with its length as int64, -1 when it is not."""
    compressed = batch.offset(3) is not None
    total = 0
    for offset, length in batch.pairs(2):
        if compressed and length >= 8:
            (original,) = struct.unpack_from("<q", body, offset)
            total += max(original, length if original == -1 else 0)
        else:
            total += length
    return total


class _Table:
    """A flatbuffer table: fields by slot."""

    def __init__(self, view: memoryview, position: int) -> None:
        self._view = view
        self._position = position
        (back,) = struct.unpack_from("<i", view, position)
        self._slots = position - back
        if self._slots < 0:
            raise IndexError("a table lies outside of its message")
        (self._size,) = struct.unpack_from("<H", view, self._slots)

    @classmethod
    def root(cls, view: memoryview) -> _Table:
        return cls(view, struct.unpack_from("<I", view, 0)[0])

    def offset(self, slot: int) -> int | None:
        """Where a field is; None when it is left out."""
        entry = 4 + 2 * slot
        if entry + 2 > self._size:
            return None
        (relative,) = struct.unpack_from("<H", self._view, self._slots + entry)
        return self._position + relative if relative else None

    def number(self, slot: int, code: str) -> int:
        offset = self.offset(slot)
        return 0 if offset is None else int(struct.unpack_from(code, self._view, offset)[0])

    def table(self, slot: int) -> _Table:
        return _Table(self._view, self._target(slot))

    def pairs(self, slot: int) -> list[tuple[int, int]]:
        """A vector of structs of two int64."""
        if self.offset(slot) is None:
            return []
        start = self._target(slot)
        (count,) = struct.unpack_from("<I", self._view, start)
        end = start + 4 + 16 * count
        if end > len(self._view):
            raise IndexError("a vector lies outside of its message")
        return list(struct.iter_unpack("<qq", self._view[start + 4 : end]))

    def _target(self, slot: int) -> int:
        offset = self.offset(slot)
        if offset is None:
            raise IndexError(f"field {slot} is missing")
        return offset + int(struct.unpack_from("<I", self._view, offset)[0])
