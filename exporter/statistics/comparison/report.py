"""A challenger against the champion: every metric's difference with bounds that hold at all times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.results import Undefined
from exporter.results.comparison import ComparedMetric
from exporter.statistics.comparison.confidence_sequences import half_width
from exporter.statistics.comparison.measures import (
    CONVERSION,
    ERROR_SCALE,
    MACRO_RATES,
    MEAN_LABEL,
    WITHOUT_VARIANCE,
    ArmMeasure,
    higher_is_better,
    macro_support,
    measure,
    measure_ratio,
)
from exporter.statistics.comparison.paired import measure_pairs, pair_count

Floats = NDArray[np.float64]

MINIMUM_ROWS = 100
"""Rows an arm that the metric speaks of, before which there are no bounds."""

PAIRED_SHARE = 0.5
"""From this share of the smaller arm's labelled rows on, arms are compared within pairs."""


def is_paired(pairs: int, champion_rows: int, challenger_rows: int) -> bool:
    """Whether most rows are of ids that both versions answered."""
    smaller = min(champion_rows, challenger_rows)
    return pairs > 0 and pairs >= PAIRED_SHARE * smaller


def default_metrics(outcome: Any, names: Sequence[str]) -> tuple[str, ...]:
    """The model's metrics that can be compared, and the one of its labels."""
    kept = tuple(name for name in names if name not in WITHOUT_VARIANCE)
    if hasattr(outcome, "moments"):
        return (*kept, MEAN_LABEL)
    return kept if hasattr(outcome, "ranked") or hasattr(outcome, "classes") else (*kept, CONVERSION)


def compare(
    champion: Any,
    challenger: Any,
    metrics: Sequence[str],
    *,
    pairs: Floats | None = None,
    alpha: float = 0.05,
) -> dict[str, ComparedMetric]:
    """Compare two versions by what they have answered so far.

    Parameters
    ----------
    champion, challenger : outcomes of profiles
        Of one task; every labelled row of each since the comparison began.
    metrics : sequence of str
        Of the catalogue, or `conversion` (binary) or `mean_label` (regression).
    pairs : float64 array or None
        :func:`pair_sums` of the ids that both answered. Where most rows are paired, metrics are compared
        over the pairs alone, with the variance of the difference within them.
    alpha : float
        Chance that the bounds of one metric ever exclude its true difference. Metrics are not corrected for
        their number.

    Returns
    -------
    dict of metric to ComparedMetric
        `insufficient_labels` below 100 rows an arm; of precision, recall and F1 these are the rows that they
        speak of, and of balanced accuracy, MCC and ROC AUC 50 of each class; of means over K classes 100 / K
        of each, and at least 5.
    """
    paired = is_paired(pair_count(pairs), champion.labelled_rows, challenger.labelled_rows)
    results = {}
    for name in metrics:
        within = measure_pairs(pairs, name) if paired and pairs is not None else None
        if within is None:
            arms = _arms(champion, challenger, name)
            results[name] = _compared(arms[0], arms[1], None, alpha=alpha, better=higher_is_better(name))
        elif isinstance(within, Undefined):
            results[name] = ComparedMetric(reason=within.reason, detail=within.detail, paired=True)
        else:
            results[name] = _compared(*within, alpha=alpha, better=higher_is_better(name))
    return results


def compare_ratios(
    champion: Floats | None, challenger: Floats | None, *, better: bool, alpha: float = 0.05
) -> ComparedMetric:
    """Compare a custom metric, a ratio of sums, from [units, A, B, AA, AB, BB] of both arms."""
    if champion is None or challenger is None:
        return ComparedMetric(reason="empty", detail="an arm has no row that was measured")
    return _compared(measure_ratio(champion), measure_ratio(challenger), None, alpha=alpha, better=better)


def _arms(champion: Any, challenger: Any, metric: str) -> list[ArmMeasure | Undefined]:
    """The metric of both arms; of classes over those that occur in either arm."""
    if not hasattr(champion, "classes") or metric in ("accuracy", "mcc", "log_loss", "brier"):
        return [measure(outcome, metric) for outcome in (champion, challenger)]
    both = champion.confusion + challenger.confusion
    labelled = both.sum(axis=1) > 0
    chosen = np.flatnonzero(labelled | (both.sum(axis=0) > 0))
    if chosen.size < 2:
        missing = Undefined("single_class", "labels and predictions have only one class")
        return [missing, missing]
    keep = np.ix_(chosen, chosen)
    arms = [
        measure(replace(outcome, confusion=outcome.confusion[keep]), metric)
        for outcome in (champion, challenger)
    ]
    if metric in MACRO_RATES:
        wanted = labelled[chosen]  # a class that is predicted and never right needs no labels
        arms = [
            arm
            if isinstance(arm, Undefined)
            else replace(arm, support=macro_support(outcome.confusion[keep].sum(axis=1)[wanted]))
            for arm, outcome in zip(arms, (champion, challenger), strict=True)
        ]
    if metric != "balanced_accuracy":
        return arms
    factor = chosen.size / int(labelled.sum())  # it is over the classes among the labels
    return [
        arm
        if isinstance(arm, Undefined)
        else replace(arm, value=arm.value * factor, row_variance=arm.row_variance * factor**2)
        for arm in arms
    ]


def pooled_variance(champion: ArmMeasure, challenger: ArmMeasure) -> float:
    """The variance of a row of either arm; no arm counts as less spread than this.

    A small arm whose mean strays from the truth often looks less spread than it is (few errors, few long
    ones), and would decide too often beside a large one.
    """
    rows = champion.rows + challenger.rows
    return (champion.row_variance * champion.rows + challenger.row_variance * challenger.rows) / rows


def _compared(
    champion: ArmMeasure | Undefined,
    challenger: ArmMeasure | Undefined,
    pair_variance: float | None,
    *,
    alpha: float,
    better: bool,
) -> ComparedMetric:
    paired = pair_variance is not None
    if isinstance(champion, Undefined):
        return ComparedMetric(paired=paired, reason=champion.reason, detail=champion.detail)
    if isinstance(challenger, Undefined):
        return ComparedMetric(paired=paired, reason=challenger.reason, detail=challenger.detail)
    known: dict[str, Any] = {
        "paired": paired,
        "champion_value": champion.value,
        "challenger_value": challenger.value,
        "champion_rows": champion.rows,
        "challenger_rows": challenger.rows,
    }
    support = min(champion.support, challenger.support)
    if support < MINIMUM_ROWS:
        detail = f"{support} rows of an arm count, {MINIMUM_ROWS} are needed"
        return ComparedMetric(**known, reason="insufficient_labels", detail=detail)
    difference = (challenger.value - champion.value) * (1 if better else -1)
    pooled = pooled_variance(champion, challenger)
    variance = (
        sum(max(arm.row_variance, pooled) / arm.rows for arm in (champion, challenger))
        if pair_variance is None
        else pair_variance / champion.rows
    )
    scale = champion.scale if champion.scale is not None else ERROR_SCALE * math.sqrt(pooled)
    if variance <= 0 or scale <= 0:
        return ComparedMetric(**known, reason="constant", detail="the metric does not vary from row to row")
    half = half_width(variance, scale * scale, alpha)
    lower, upper = difference - half, difference + half
    return ComparedMetric(
        **known, difference=difference, lower=lower, upper=upper, decided=lower > 0 or upper < 0
    )
