"""Times as the bridge's API writes them."""

from __future__ import annotations

from datetime import datetime


def seconds_of(given: float | str | None) -> float | None:
    """Seconds since the epoch of an RFC 3339 text or of seconds."""
    if given is None or given == "":
        return None
    return datetime.fromisoformat(given).timestamp() if isinstance(given, str) else float(given)
