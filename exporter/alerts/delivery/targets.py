"""Whether a channel still leads to the same place: threads that were begun elsewhere are not gone on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from pydantic import SecretStr

from exporter.alerts.config import ChannelSettings
from exporter.alerts.store.store import AlertStore

_HOW = frozenset({*ChannelSettings.model_fields, "ca_file", "charts", "tls", "username"})
"""Settings that say how something is sent, not where to."""


def note_targets(store: AlertStore, channels: Mapping[str, ChannelSettings]) -> list[str]:
    """Remember where channels lead to, and forget threads of those that led elsewhere; gives their names."""
    moved = []
    with store.write() as connection:
        for name, settings in channels.items():
            key, target = f"target:{name}", _target(settings)
            known = connection.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
            if known is not None and known[0] == target:
                continue
            connection.execute("INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)", (key, target))
            if known is not None:
                connection.execute("DELETE FROM threads WHERE channel = ?", (name,))
                moved.append(name)
    return moved


def _target(settings: ChannelSettings) -> str:
    given = {
        name: value
        for name, value in settings
        if name not in _HOW and not isinstance(value, SecretStr) and name != "headers"
    }
    text = json.dumps([type(settings).__name__, given], default=str, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
