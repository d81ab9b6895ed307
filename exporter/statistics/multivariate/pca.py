"""Whether the leading components of the baseline reconstruct rows as well as they did."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from exporter.results import Undefined
from exporter.statistics.drift.nulls import DriftTest
from exporter.statistics.multivariate.nulls import StudentNull

if TYPE_CHECKING:
    from exporter.statistics.multivariate.views import ErrorsView


def reconstruction_error(baseline: ErrorsView, current: ErrorsView) -> DriftTest | Undefined:
    """Difference of the mean squared reconstruction errors, in the baseline's standard deviations of it.

    |mean_n - mean_m| / s_m, 0 or more; larger is more drift, whether rows are explained worse or better.
    Null: Student's t with the pooled variance, because errors have one variance when nothing drifts; it is
    closer to its level for skewed errors than Welch's at unequal sizes. `constant` when the components leave
    nothing, or the same of every row.
    """
    n, m = current.n, baseline.n
    if min(n, m) < 2:
        return Undefined("insufficient_rows", "two rows are needed in the baseline and the window")
    unit = math.sqrt(baseline.variance)
    if unit <= 1e-6 * max(abs(baseline.mean), 1e-6):
        return Undefined("constant", "the baseline's rows are all reconstructed equally well")
    freedom = n + m - 2
    pooled = ((n - 1) * current.variance + (m - 1) * baseline.variance) / freedom
    deviation = math.sqrt(pooled * (1 / n + 1 / m)) / unit
    return DriftTest(abs(current.mean - baseline.mean) / unit, StudentNull(freedom, deviation))
