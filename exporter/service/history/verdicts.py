"""Which of a column's recorded tests decided, and what each of them said for itself."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.catalog import DRIFT_METHODS
from exporter.statistics.concept import DETECTORS
from exporter.store import HistoryRecord

_MISSING = "missing"
_ORDER = (*(name for name in DRIFT_METHODS if name != _MISSING), *DETECTORS)


def own_verdict(record: HistoryRecord, column: tuple[str, str], method: str) -> float | None:
    """1 when the statistic exceeded its critical value, else 0; None where they are not recorded.

    `column` is its name and its role.
    """
    statistic, critical = (
        record.values.get((f"ml_drift_{part}", *column, method)) for part in ("statistic", "critical_value")
    )
    return None if statistic is None or critical is None else float(statistic > critical)


def deciding_method(record: HistoryRecord, column: tuple[str, str], methods: Iterable[str]) -> str | None:
    """The method whose q-value and verdict the column has; None where no test is recorded.

    The first of `methods` that is recorded, or else the first of the catalogue; the test of missing values
    where it alone found drift.
    """
    recorded = (
        name for name in (*methods, *_ORDER, _MISSING) if own_verdict(record, column, name) is not None
    )
    first = next(recorded, None)
    if first is not None and not own_verdict(record, column, first) and own_verdict(record, column, _MISSING):
        return _MISSING
    return first
