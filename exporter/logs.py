"""Structured logs on standard error: logfmt (as Prometheus writes it) or one JSON object a line.

Any module logs in the usual way and names its fields with ``extra``::

    logger.info("batch stored", extra={"model": "flight_delay", "rows": 1000})

which gives ``time=2026-01-31T12:00:00.000Z level=info source=exporter.service msg="batch stored"
model=flight_delay rows=1000``.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "message",
    "asctime",
    "taskName",
}
_LEVEL_NAMES = {"WARNING": "warn", "CRITICAL": "error"}
_NEEDS_QUOTES = frozenset(' "=\\')


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "level": _LEVEL_NAMES.get(record.levelname, record.levelname.lower()),
        "source": record.name,
        "msg": record.getMessage(),
    }
    fields.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
    if record.exc_info:
        fields["traceback"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _logfmt_value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if not text or not text.isprintable() or not _NEEDS_QUOTES.isdisjoint(text):
        return json.dumps(text, ensure_ascii=False)
    return text


class LogfmtFormatter(logging.Formatter):
    """``key=value`` pairs on one line; values with spaces or quotes are quoted and escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_logfmt_value(value)}" for key, value in _fields(record).items())


class JsonFormatter(logging.Formatter):
    """One JSON object a line; values that JSON does not know are written as text."""

    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(_fields(record), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logging(level: str = "info", log_format: str = "logfmt", stream: TextIO | None = None) -> None:
    """Send the logs of the package and of its libraries to one stream (standard error when not given).

    Parameters
    ----------
    level : one of `LEVELS`
    log_format : one of `FORMATS`
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else LogfmtFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel({"warn": "WARNING"}.get(level, level.upper()))
    for chatty in ("urllib3", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
