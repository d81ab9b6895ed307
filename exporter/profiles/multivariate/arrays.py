"""Arrays as text in a grid's JSON: every bit, in little-endian order."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def array_to_text(array: NDArray[Any], dtype: str) -> str:
    """The elements in the given (little-endian) type, as base64."""
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode("ascii")


def array_from_text(text: object, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array that :func:`array_to_text` wrote, read-only; ValueError when it has another size."""
    try:
        data = base64.b64decode(str(text), validate=True)
    except binascii.Error as error:
        raise ValueError("an array of the grid is not base64") from error
    array = np.frombuffer(data, dtype)
    if array.size != int(np.prod(shape)) or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise ValueError(f"an array of the grid should have {shape} finite elements, got {array.size}")
    return array.reshape(shape)
