"""A numerator and a denominator for each row, and the sums that are kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from exporter.errors import ExporterError

Floats = NDArray[np.float64]


class CustomMetricError(ExporterError):
    """A custom metric gave nothing for these rows; `reason` is that of `ml_undefined`."""

    code = "custom_metric_failed"

    def __init__(self, message: str, reason: Literal["error", "not_comparable"] = "error") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Terms:
    """What each row adds to the numerator and to the denominator; both float64 (n,) and finite.

    A row for which the metric is not defined adds 0 to both.
    """

    numerator: Floats
    denominator: Floats

    def sums(self, *, total: bool) -> Floats:
        """[units, A, B, AA, AB, BB]: the sums of both, and of their products.

        Units are the rows that add anything; of a `total`, which has no denominator, all rows.
        """
        a, b = self.numerator, self.denominator
        units = a.size if total else np.count_nonzero((a != 0) | (b != 0))
        return np.array([units, a.sum(), b.sum(), a @ a, a @ b, b @ b], np.float64)


def sums_of_call(numerator: float, denominator: float) -> Floats:
    """The same of one call that gave sums: the call is the unit, since nothing is known of its rows."""
    a, b = numerator, denominator
    return np.array([1.0, a, b, a * a, a * b, b * b])


def checked(numerator: Floats, denominator: Floats) -> Terms:
    """Terms with 0 for the rows where either is NaN; CustomMetricError for infinite ones."""
    known = ~(np.isnan(numerator) | np.isnan(denominator))
    if np.isinf(numerator[known]).any() or np.isinf(denominator[known]).any():
        raise CustomMetricError("the metric gave an infinite value for some row")
    return Terms(np.where(known, numerator, 0.0), np.where(known, denominator, 0.0))
