"""Arguments of `send_alert` to an alert."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping

from exporter.alerts.config import SEVERITIES
from exporter.alerts.payload import fingerprint_of
from exporter.alerts.records import Alert

_LONGEST_TYPE = 256
_LONGEST_SUMMARY = 300
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OURS = frozenset({"alertname", "model", "severity"})


def make_alert(
    model: str,
    alert_type: str,
    message: str,
    severity: str,
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    value: float | None,
    threshold: float | None,
) -> Alert:
    """A firing alert without a time. Its labels and its message make it the same. Raises ValueError."""
    if severity not in SEVERITIES:
        raise ValueError(f"expected a severity of {', '.join(SEVERITIES)}, but {repr(severity)[:100]} came")
    text = str(message)
    all_labels = {**labels, "alertname": checked_type(alert_type), "model": model, "severity": severity}
    first = next((line.strip() for line in text.splitlines() if line.strip()), alert_type)
    told = {str(name): str(given) for name, given in annotations.items()}
    told["summary"] = first[:_LONGEST_SUMMARY]
    if text != told["summary"]:
        told["description"] = text
    for name, number in (("value", value), ("threshold", threshold)):
        if number is not None and math.isfinite(number):
            told[name] = repr(float(number))
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
    return Alert(f"{fingerprint_of(_readable(all_labels))}-{digest}", True, all_labels, told, 0.0)


def checked_type(alert_type: str) -> str:
    """A type that can be used. Raises ValueError."""
    if not isinstance(alert_type, str) or not alert_type.strip() or len(alert_type) > _LONGEST_TYPE:
        raise ValueError(
            f"expected a type of 1 to {_LONGEST_TYPE} characters such as 'drift', "
            f"but {repr(alert_type)[:300]} came"
        )
    return alert_type


def checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels that can be used, as text. Raises ValueError."""
    for name in labels:
        if not isinstance(name, str) or _LABEL.fullmatch(name) is None:
            raise ValueError(f"expected label names of letters, digits and _, but {repr(name)[:100]} came")
        if name in _OURS:
            raise ValueError(f"the label {name} is set by AlertManager itself; give another name")
    return {name: str(value) for name, value in labels.items()}


def _readable(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value.encode("utf-8", "replace").decode() for name, value in labels.items()}
