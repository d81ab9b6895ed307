"""What an alert is about: a measure of a model, read from its annotations and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from exporter.alerts.records import Alert
from exporter.catalog import FAMILIES, QUALITY_CHECKS, WINDOWED

_MEASURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "MLPerformanceDrop": "performance",
        "MLSegmentPerformanceDrop": "performance",
        "MLEstimatedPerformanceDrop": "performance_estimate",
        "MLColumnDrift": "drift",
        "MLColumnDriftStrong": "drift",
        "MLPredictionDrift": "drift",
        "MLConceptDrift": "drift",
        "MLDatasetDrift": "ml_drifted_columns_ratio",
        "MLMultivariateDrift": "multivariate",
        "MLCompletenessLow": "ml_quality_completeness_ratio",
        "MLUniquenessLow": "ml_quality_uniqueness_ratio",
        "MLTypeInvalid": "ml_quality_type_valid_ratio",
        "MLOutOfRange": "ml_quality_in_range_ratio",
        "MLUnknownCategories": "ml_quality_known_category_ratio",
        "MLValidationRuleFailing": "ml_quality_validity_ratio",
        "MLConsistencyRuleFailing": "ml_quality_consistency_ratio",
        "MLTimelinessLow": "ml_quality_timeliness_ratio",
        "MLDuplicatesHigh": "ml_quality_duplicate_ratio",
        "MLOutliersHigh": "ml_quality_outlier_ratio",
        "MLQualityScoreLow": "ml_quality_score",
        "MLSchemaChanged": "ml_quality_schema_changes",
        "MLColumnConstant": "ml_quality_constant_columns",
        "MLVolumeLow": "ml_volume_rows",
        "MLVolumeHigh": "ml_volume_rows",
        "MLBatchesStale": "ml_last_batch_timestamp_seconds",
        "MLLabelsStale": "ml_last_label_timestamp_seconds",
        "MLEvaluationStale": "ml_last_evaluation_timestamp_seconds",
        "MLLabelCoverageLow": "ml_labeled_ratio",
        "MLComparisonDecided": "ml_comparison_difference",
        "MLSampleRatioMismatch": "ml_comparison_sample_ratio_mismatch",
    }
)
"""Of our rules, for alerts whose annotations name no measure."""

_KINDS: Final = (
    ("ml_performance_estimate", "estimate"),
    ("performance_estimate", "estimate"),
    ("ml_performance", "performance"),
    ("performance", "performance"),
    ("ml_drifted_columns_ratio", "share"),
    ("ml_drift_", "drift"),
    ("drift", "drift"),
    ("ml_multivariate_drift", "multivariate"),
    ("multivariate", "multivariate"),
    ("ml_volume_", "volume"),
    ("ml_comparison_", "comparison"),
    ("ml_last_", "freshness"),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """One value that the exporter can be asked for.

    Attributes
    ----------
    kind : str
        `performance`, `estimate`, `drift`, `share`, `multivariate`, `quality`, `volume`, `comparison`,
        `freshness`, or `other` for a windowed family without a kind of its own.
    measure : str
        As the annotation names it.
    check : str
        Of quality: `completeness`, `validity`, ...
    segment : str
        `column=value`, or empty for the whole.
    """

    kind: str
    measure: str
    model: str
    version: str
    window: str
    segment: str
    check: str
    labels: Mapping[str, str]

    def of(self, label: str) -> str:
        return self.labels.get(label, "")


def subject_of(alert: Alert) -> Subject | None:
    """What an alert is about; None where it is no measure of a model."""
    labels = alert.labels
    usual = _MEASURES.get(alert.name, "")
    measure = alert.annotations.get("measure", "") or usual
    if measure == "quality":
        check = labels.get("check", "")
        measure = usual or (f"ml_quality_{check}_ratio" if check else "")
    if not alert.model or not measure:
        return None
    family = measure.replace("ml_segment_", "ml_", 1)
    kind, check = _kind(family)
    if not kind:
        return None
    column, value = labels.get("segment", ""), labels.get("value", "")
    return Subject(
        kind=kind,
        measure=measure,
        model=alert.model,
        version=labels.get("version", ""),
        window=labels.get("window", ""),
        segment=f"{column}={value}" if column else "",
        check=check,
        labels=labels,
    )


def _kind(family: str) -> tuple[str, str]:
    check = family.removeprefix("ml_quality_").removesuffix("_ratio")
    if family.startswith("ml_quality_") and (check in QUALITY_CHECKS or check == "schema_changes"):
        return "quality", check
    for beginning, kind in _KINDS:
        if family.startswith(beginning):
            return kind, ""
    known = FAMILIES.get(family)
    windowed = known is not None and known.labels[: len(WINDOWED)] == WINDOWED
    return ("other" if windowed else ""), ""
