"""How versions are compared (A/B)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from exporter.schema import Task
from exporter.settings import Settings

OF_LABELS = MappingProxyType({"conversion": Task.BINARY, "mean_label": Task.REGRESSION})
"""Metrics of the labels alone, which only comparisons have, with their task."""


def _instant(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        message = f"expected a date or time such as 2026-01-31, got {value!r}"
        raise ValueError(message)  # noqa: TRY004  pydantic collects ValueErrors
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _split(value: object) -> object:
    if isinstance(value, str) and value != "equal":
        message = f"expected equal or a mapping of version to share, got {value!r}"
        raise ValueError(message)
    return value


class Comparison(Settings):
    """Comparison of versions (A/B)."""

    since: Annotated[datetime, BeforeValidator(_instant)] | None = Field(
        default=None,
        description="Event time from which rows count, on the next bucket; default the first row of the "
        "younger arm. Another `since` begins the comparison anew, as far back as buckets are kept.",
    )
    metrics: tuple[str, ...] | None = Field(
        default=None,
        description="What is compared: the model's metrics, and `conversion` (binary: the share of positive "
        "labels) or `mean_label` (regression), where higher counts as better. Default: all that apply.",
    )
    split: (
        Annotated[
            Literal["equal"] | dict[str, Annotated[float, Field(gt=0)]],
            BeforeValidator(_split),
        ]
        | None
    ) = Field(
        default=None,
        description="How rows are meant to be divided: `equal`, or a mapping of version to share (of any "
        "sum). Without it the sample ratio is not tested.",
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="Chance that a metric without a difference is ever called decided, however often one "
        "looks.",
    )
