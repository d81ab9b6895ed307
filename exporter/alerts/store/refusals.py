"""Payloads that could not be read, kept for inspection: the last ones, and of each the beginning."""

from __future__ import annotations

import sqlite3

MOST_KEPT = 100
LONGEST_KEPT = 64 * 1024
"""Bytes of a body; its size and the reason are kept in any case."""

LONGEST_REASON = 1000


def keep_refused(connection: sqlite3.Connection, at: float, reason: str, body: bytes) -> None:
    """Keep a body, and let go of the oldest. Only bodies come here: no header, so no credentials."""
    connection.execute(
        "INSERT INTO rejected (received, reason, body, bytes) VALUES (?, ?, ?, ?)",
        (at, reason[:LONGEST_REASON], body[:LONGEST_KEPT], len(body)),
    )
    connection.execute("DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?", (MOST_KEPT,))
