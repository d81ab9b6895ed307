"""Reading what an exporter answered: anything may stand anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from exporter.catalog import REASONS


def drop_of(value: float | None, baseline: float | None, kind: str, *, higher: bool) -> float | None:
    """How much worse a value is than the baseline's: a difference, or a ratio of the baseline."""
    if value is None or baseline is None:
        return None
    worse = baseline - value if higher else value - baseline
    if kind == "difference":
        return worse
    return worse / abs(baseline) if baseline else None


def number_of(value: Any) -> float | None:
    """A finite number, from a number or its text.

    Examples
    --------
    >>> number_of("0.5"), number_of("NaN"), number_of(True), number_of("5 %")
    (0.5, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        figure = float(value)
    except (ValueError, OverflowError):
        return None
    return figure if math.isfinite(figure) else None


def count_of(value: Any) -> int | None:
    figure = number_of(value)
    return None if figure is None else int(figure)


def first_of(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def mapping_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else dict(value) if isinstance(value, Mapping) else {}


def mappings_of(value: Any) -> list[Any]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def reason_of(value: Any) -> str:
    """A reason of the catalogue; a sentence of the exporter speaks of what is not there yet."""
    if not isinstance(value, str):
        return "empty"
    if value.startswith("no baseline"):
        return "no_baseline"
    name = value.partition(":")[0]
    return name if name in REASONS else "empty"


def missing_quality(result: Mapping[str, Any], check: str, subject: str) -> str:
    for entry in result.get("undefined") or ():
        if isinstance(entry, list | tuple) and len(entry) == 3:
            measure, of, reason = entry
            if str(measure).startswith(f"quality_{check}") and of in (subject, None):
                return reason_of(reason)
    return "empty"
