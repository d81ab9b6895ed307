"""Comparisons of versions (A/B): differences that may be looked at as often as one likes."""

from exporter.statistics.comparison.confidence_sequences import half_width
from exporter.statistics.comparison.measures import CONVERSION, MEAN_LABEL
from exporter.statistics.comparison.paired import pair_count, pair_sums
from exporter.statistics.comparison.report import compare, compare_ratios, default_metrics, is_paired
from exporter.statistics.comparison.sample_ratio import sample_ratio_p_value

__all__ = [
    "CONVERSION",
    "MEAN_LABEL",
    "compare",
    "compare_ratios",
    "default_metrics",
    "half_width",
    "is_paired",
    "pair_count",
    "pair_sums",
    "sample_ratio_p_value",
]
