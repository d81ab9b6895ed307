"""The steps of alerts' lives, written beside what they did, in the same transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import orjson


def append_event(
    connection: sqlite3.Connection,
    alert_ids: Iterable[int],
    at: float,
    kind: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one step into the life of each alert.

    Kinds are `firing`, `resolved`, `suppressed` (its severity is not told of), `unrouted`, `rerouted`,
    `silenced`, `inhibited`, `unsilenced`, `uninhibited`, `notified` and `undelivered`.
    """
    text = orjson.dumps(dict(detail or {})).decode()
    connection.executemany(
        "INSERT INTO events (alert, at, kind, detail) VALUES (?, ?, ?, ?)",
        [(alert_id, at, kind, text) for alert_id in alert_ids],
    )
