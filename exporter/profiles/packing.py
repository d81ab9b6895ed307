"""Integer vectors as few bytes: narrow integers, the few large ones apart, bytes of like weight together."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.errors import UnreadableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.profiles.vectors import Integers

HEAD = struct.Struct("<BBHII")
"""Width in bytes, 1 if signed, 0, number of integers, number of exceptions."""

EXCEPTION_SHARE = 64
"""At most one integer in this many may stand apart because it does not fit the width."""

LARGEST = 2**53
"""No count is larger."""

WIDTHS = (1, 2, 4, 8)


def pack(values: Integers) -> bytes:
    """A vector of integers within +-2^53 as bytes."""
    signed = bool(len(values)) and int(values.min()) < 0
    for width in WIDTHS:
        dtype = np.dtype(f"<{'i' if signed else 'u'}{width}")
        bounds = np.iinfo(dtype)
        outside = (
            np.flatnonzero((values > bounds.max) | (values < bounds.min))
            if width < 8
            else np.empty(0, np.intp)
        )
        if len(outside) * EXCEPTION_SHARE <= len(values):
            break
    narrow = values.astype(dtype)
    narrow[outside] = 0
    planes = narrow.view(np.uint8).reshape(-1, width).T.tobytes() if width > 1 else narrow.tobytes()
    return b"".join(
        (
            HEAD.pack(width, signed, 0, len(values), len(outside)),
            planes,
            outside.astype("<u4").tobytes(),
            values[outside].astype("<i8").tobytes(),
        )
    )


class Reader:
    """Reads what was packed, one thing after the other; UnreadableError when there is less than it says."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, length: int) -> memoryview:
        start, self._at = self._at, self._at + length
        if length < 0 or self._at > len(self._data):
            raise UnreadableError("a profile's part is shorter than what it says it holds")
        return memoryview(self._data)[start : self._at]

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """A read-only array of the bytes."""
        return np.frombuffer(self.take(np.dtype(dtype).itemsize * count), dtype)

    def rest(self) -> memoryview:
        return self.take(len(self._data) - self._at)

    def unpack(self, most: int) -> NDArray[np.integer[Any]]:
        """A vector that :func:`pack` wrote, of at most `most` integers."""
        width, signed, _, count, exceptions = HEAD.unpack(self.take(HEAD.size))
        if width not in WIDTHS or signed > 1 or count > most or exceptions > count:
            raise UnreadableError("a profile's part does not begin as it should")
        planes = self.array("u1", width * count)
        if width > 1:
            planes = np.ascontiguousarray(planes.reshape(width, count).T).reshape(-1)
        values: NDArray[np.integer[Any]] = planes.view(f"<{'i' if signed else 'u'}{width}")
        if exceptions:
            where, large = self.array("<u4", exceptions), self.array("<i8", exceptions)
            if int(where.max()) >= count or int(large.max()) > LARGEST or int(large.min()) < -LARGEST:
                raise UnreadableError("a profile's part names a cell or a count that cannot be")
            values = values.astype(np.int64)
            values[where] = large
        elif width == 8 and count and (int(values.max()) > LARGEST or int(values.min()) < -LARGEST):
            raise UnreadableError("a profile's part names a count that cannot be")
        return values
