"""Alertmanager's webhook, version 4 of its payload: bytes to alerts, or a sentence that names the place.

Unknown keys and later versions are taken: newer Alertmanagers add keys. An alert that cannot be read does not
take the others of its payload with it, since Alertmanager never sends a refused payload again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from exporter.alerts.records import Alert, RefusedAlert, Webhook
from exporter.errors import BadRequestError, TooLargeError, UnreadableError

MOST_BYTES = 8 << 20
MOST_LABELS = 64
"""Labels of an alert, and annotations of an alert; those that we read ourselves stay, then by name."""

LONGEST_NAME = 256
LONGEST_LABEL = 1024
LONGEST_ANNOTATION = 8192
MOST_CHARACTERS = 32 * 1024
"""Characters of all annotations of an alert together."""

LONGEST_KEY = 4096
MARK = "\N{HORIZONTAL ELLIPSIS}"
"""Ends a text that was cut."""

_FIRST = ("alertname", "model", "severity", "version", "window", "metric", "column", "job", "instance")
_FIRST_ANNOTATIONS = (
    "summary",
    "description",
    "runbook_url",
    "dashboard_url",
    "measure",
    "value",
    "threshold",
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")
_ZERO_YEAR = "0001-"
_ROUNDING = 5e-4
"""In milliseconds: more than what floats of our times lose, less than a microsecond."""
_FNV_OFFSET, _FNV_PRIME, _64_BITS = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


class Bounded(NamedTuple):
    """Texts within the limits, and how many were shortened or left out."""

    texts: dict[str, str]
    cut: int


class _WrongError(Exception):
    """What was expected where, and what came."""


def parse_webhook(body: bytes) -> Webhook:
    """The alerts of a payload, in its order; `refused` has those that cannot be read.

    Times are cut to milliseconds, as in Alertmanager's API, so that an alert has one name in both.

    Raises
    ------
    TooLargeError
        More than `MOST_BYTES`.
    UnreadableError
        It is not JSON.
    BadRequestError
        It is no webhook of Alertmanager, or no alert of it can be read.
    """
    if len(body) > MOST_BYTES:
        raise TooLargeError(f"expected at most {MOST_BYTES} bytes, but {len(body)} came")
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"expected JSON as Alertmanager's webhook sends it, but {error}") from error
    try:
        return _webhook(given)
    except _WrongError as error:
        raise BadRequestError(str(error)) from None


def parse_time(text: str) -> float | None:
    """Seconds of an RFC 3339 time, cut to milliseconds; None for Go's zero time, which stands for none.

    Raises
    ------
    ValueError
    """
    if _TIME.fullmatch(text) is None:
        raise ValueError(text)
    if text.startswith(_ZERO_YEAR):
        return None
    return to_milliseconds(datetime.fromisoformat(text.upper()).timestamp())


def to_milliseconds(seconds: float) -> float:
    """Seconds, cut to whole milliseconds; what is cut already stays as it is.

    Examples
    --------
    >>> to_milliseconds(1795492800.123999)
    1795492800.123
    """
    return (seconds * 1000 + _ROUNDING) // 1 / 1000


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """Alertmanager's fingerprint of labels: FNV-1a over the sorted names and values.

    Examples
    --------
    >>> fingerprint_of({"alertname": "InstanceDown"})
    '87b13d6d636b9edd'
    """
    value = _FNV_OFFSET
    for name in sorted(labels):
        for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
            value = ((value ^ byte) * _FNV_PRIME) & _64_BITS
    return f"{value:016x}"


def bounded_labels(texts: Mapping[str, str]) -> Bounded:
    """Labels within the limits."""
    return _bounded(texts, _FIRST, LONGEST_LABEL, MOST_LABELS * (LONGEST_LABEL + LONGEST_NAME))


def bounded_annotations(texts: Mapping[str, str]) -> Bounded:
    """Annotations within the limits."""
    return _bounded(texts, _FIRST_ANNOTATIONS, LONGEST_ANNOTATION, MOST_CHARACTERS)


def shortened(text: str, longest: int) -> str:
    """The text, cut with a mark when it is longer."""
    return text if len(text) <= longest else text[: longest - 1] + MARK


def _webhook(given: Any) -> Webhook:
    payload = _mapping(given, "the body", what="an object as Alertmanager's webhook sends it")
    _require_version(payload.get("version"))
    if "alerts" not in payload:
        raise _WrongError("alerts: expected a list of alerts, but there is none")
    listed = payload["alerts"]
    if not isinstance(listed, list):
        raise _WrongError(f"alerts: expected a list of alerts, but {_shown(listed)} came")
    if not listed:
        raise _WrongError("alerts: expected at least one alert, but the list is empty")
    group_labels = _texts(payload.get("groupLabels"), "groupLabels")
    alerts: list[Alert] = []
    refused: list[RefusedAlert] = []
    cut = 0
    for number, entry in enumerate(listed):
        try:
            alert, shortenings = _alert(entry, f"alerts[{number}]")
        except _WrongError as error:
            refused.append(RefusedAlert(str(error), orjson.dumps(entry)))
        else:
            alerts.append(alert)
            cut += shortenings
    if not alerts:
        more = f" (and {len(refused) - 1} more like it)" if len(refused) > 1 else ""
        raise _WrongError(refused[0].reason + more)
    labels = bounded_labels(group_labels)
    return Webhook(
        receiver=shortened(_text(payload.get("receiver"), "receiver"), LONGEST_LABEL),
        group_key=shortened(_text(payload.get("groupKey"), "groupKey"), LONGEST_KEY),
        group_labels=labels.texts,
        alerts=tuple(alerts),
        external_url=shortened(_text(payload.get("externalURL"), "externalURL"), LONGEST_LABEL),
        truncated_alerts=_count(payload.get("truncatedAlerts")),
        refused=tuple(refused),
        cut=cut + labels.cut,
    )


def _require_version(version: Any) -> None:
    if version is None:
        return
    text = str(version)
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) >= 4):
        raise _WrongError(f'version: expected "4" or later, but {_shown(version)} came')


def _alert(given: Any, place: str) -> tuple[Alert, int]:
    entry = _mapping(given, place, what="an object with an alert")
    status = entry.get("status")
    if status not in ("firing", "resolved"):
        raise _WrongError(f'{place}.status: expected "firing" or "resolved", but {_shown(status)} came')
    labels = _texts(entry.get("labels"), f"{place}.labels")
    if not labels:
        raise _WrongError(f"{place}.labels: expected at least one label, but there is none")
    annotations = _texts(entry.get("annotations"), f"{place}.annotations")
    starts_at = _moment(entry.get("startsAt"), f"{place}.startsAt")
    if starts_at is None:
        raise _WrongError(f"{place}.startsAt: expected the time when it began, but the zero time came")
    firing = status == "firing"
    ends_at = None if firing or "endsAt" not in entry else _moment(entry["endsAt"], f"{place}.endsAt")
    fingerprint = _text(entry.get("fingerprint"), f"{place}.fingerprint")
    if not fingerprint or len(fingerprint) > LONGEST_NAME:
        fingerprint = fingerprint_of(labels)
    url = _text(entry.get("generatorURL"), f"{place}.generatorURL")
    kept, described = bounded_labels(labels), bounded_annotations(annotations)
    alert = Alert(
        fingerprint=fingerprint,
        firing=firing,
        labels=kept.texts,
        annotations=described.texts,
        starts_at=starts_at,
        ends_at=ends_at,
        generator_url=url if len(url) <= LONGEST_KEY else "",
    )
    return alert, kept.cut + described.cut


def _bounded(texts: Mapping[str, str], first: tuple[str, ...], longest: int, most: int) -> Bounded:
    if len(texts) <= MOST_LABELS:
        size = 0
        for name, text in texts.items():
            size += len(text)
            if len(name) > LONGEST_NAME or len(text) > longest:
                break
        else:
            if size <= most:
                return Bounded(dict(texts), 0)
    rank = {name: place for place, name in enumerate(first)}
    names = sorted(texts, key=lambda name: (rank.get(name, len(rank)), name))
    kept: dict[str, str] = {}
    cut, left = 0, most
    for name in names:
        if len(kept) == MOST_LABELS or left <= 0 or len(name) > LONGEST_NAME:
            cut += 1
            continue
        text = shortened(texts[name], min(longest, max(left, len(MARK))))
        cut += text != texts[name]
        left -= len(text)
        kept[name] = text
    return Bounded(kept, cut)


def _moment(given: Any, place: str) -> float | None:
    if given is None:
        raise _WrongError(f"{place}: expected an RFC 3339 time, but there is none")
    try:
        if isinstance(given, str):
            return parse_time(given)
    except (ValueError, OverflowError):
        pass
    raise _WrongError(f"{place}: expected an RFC 3339 time, but {_shown(given)} came")


def _texts(given: Any, place: str) -> dict[str, str]:
    if given is None:
        return {}
    mapping = _mapping(given, place, what="an object of texts")
    for name, value in mapping.items():
        if not isinstance(value, str):
            raise _WrongError(f"{place}.{shortened(name, 64)}: expected a text, but {_shown(value)} came")
    return mapping


def _text(given: Any, place: str) -> str:
    if given is None:
        return ""
    if not isinstance(given, str):
        raise _WrongError(f"{place}: expected a text, but {_shown(given)} came")
    return given


def _mapping(given: Any, place: str, *, what: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _WrongError(f"{place}: expected {what}, but {_shown(given)} came")
    return given


def _count(given: Any) -> int:
    """How many alerts were left out; what is no number only costs the count."""
    return given if isinstance(given, int) and given > 0 else 0


def _shown(value: Any) -> str:
    """What came, short enough for a sentence."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return shortened(orjson.dumps(value).decode(), 64)
