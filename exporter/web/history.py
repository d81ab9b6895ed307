"""What a request for history asks, read off its query parameters."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.durations import parse_duration
from exporter.errors import BadRequestError
from exporter.service.history.questions import DEFAULT_POINTS, Question
from exporter.web.operation import parse_time


def history_question(asked: Mapping[str, str | None]) -> Question:
    """The question that query parameters ask. Raises :class:`BadRequestError` (400)."""
    start, end, limit = asked.get("from"), asked.get("to"), asked.get("limit")
    question = Question(
        measure=asked.get("measure") or "performance",
        metric=asked.get("metric"),
        column=asked.get("column"),
        method=asked.get("method"),
        window=asked.get("window"),
        version=asked.get("version"),
        segment=asked.get("segment"),
        start=float("-inf") if start is None else parse_time(start, "the query parameter from"),
        end=float("inf") if end is None else parse_time(end, "the query parameter to"),
        limit=DEFAULT_POINTS if limit is None else _whole(limit),
        next=asked.get("next"),
    )
    if question.start > question.end:
        raise BadRequestError("expected a time for `from` that is not after `to`", code="bad_time")
    return question


def parse_seconds(text: str, what: str) -> float:
    """Seconds of a duration such as `4m` or of a number. Raises :class:`BadRequestError` (400)."""
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text)
    except ValueError as error:
        raise BadRequestError(
            f"expected a duration such as 4m for {what}, but {text[:80]!r} came", code="bad_parameter"
        ) from error


def _whole(text: str) -> int:
    if not text.isdigit() or len(text) > 9:
        raise BadRequestError(
            f"expected a whole number for the query parameter limit, but {text[:80]!r} came",
            code="bad_parameter",
        )
    return int(text)
