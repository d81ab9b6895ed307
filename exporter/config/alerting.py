"""What the alerting rules compare with, beside thresholds of performance, drift and quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from exporter.results import Window
from exporter.settings import DurationSeconds, Settings

LEAST_EVALUATION_AGE_SECONDS = 900.0
Ratio = Annotated[float, Field(ge=0, le=1)]
Age = Annotated[DurationSeconds, Field(gt=0)]


class Alerts(Settings):
    """Ages and shares that the alerting rules compare with."""

    batch_age: Age | None = Field(
        default=None,
        description="Time without a batch that alerts. Default: twice the smallest window, at most "
        "`stale_after`.",
    )
    label_age: Age | None = Field(
        default=None,
        description="Time without a label, while rows come, that alerts. Default: the largest window.",
    )
    evaluation_age: Age | None = Field(
        default=None,
        description="Time without an evaluation, while rows come, that alerts. Default: 15m, at least twice "
        "`evaluation_interval`.",
    )
    baseline_age: Age = Field(default=180 * 86400.0, description="Age of the baseline that alerts.")
    drifted_columns: Ratio = Field(default=0.3, description="Share of drifted feature columns that alerts.")
    labeled_ratio: Ratio | None = Field(
        default=None,
        description="Share of labelled rows below which there is an alert, of those whose labels should have "
        "come by now. Default: `min_label_coverage` where that is a number, else 0.5.",
    )
    rejected_rows: Ratio = Field(default=0.05, description="Share of rejected rows of an hour that alerts.")

    def ages(
        self, windows: Sequence[Window], *, stale_after: float, evaluation_interval: float
    ) -> dict[str, float]:
        """Seconds by subject: `batch`, `label`, `evaluation`, `baseline`."""
        lengths = [window.seconds for window in windows]
        return {
            "batch": self.batch_age or min(2 * min(lengths), stale_after),
            "label": self.label_age or max(lengths),
            "evaluation": self.evaluation_age or max(LEAST_EVALUATION_AGE_SECONDS, 2 * evaluation_interval),
            "baseline": self.baseline_age,
        }
