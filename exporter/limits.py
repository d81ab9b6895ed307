"""How much one request may bring."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one body may hold; beyond it is a :class:`exporter.errors.TooLargeError`.

    Attributes
    ----------
    body_bytes : int
        As sent.
    decoded_bytes : int
        Once decompressed, and again as columns.
    rows, columns : int
    json_values : int
        Values in one JSON or NDJSON body (a parsed value takes up to 100 bytes for a while).
    """

    body_bytes: int = 64 * MIB
    decoded_bytes: int = 512 * MIB
    rows: int = 2_000_000
    columns: int = 5_000
    json_values: int = 20_000_000
