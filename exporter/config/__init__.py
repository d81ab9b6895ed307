"""The exporter's configuration: `load_config` reads a file, `parse_config` a mapping.

Both report every problem at once, each with its path. `exporter.config.model` says what each setting means.
"""

from __future__ import annotations

from exporter.config.comparison import Comparison
from exporter.config.custom import CustomMetric
from exporter.config.model import (
    Baseline,
    Bins,
    Columns,
    Drift,
    Feature,
    ModelConfig,
    Quality,
    Refresh,
    ValidationRule,
    name_problem,
)
from exporter.config.parsing import Config, load_config, parse_config
from exporter.config.segments import SegmentSearch
from exporter.results import Window

__all__ = [
    "Baseline",
    "Bins",
    "Columns",
    "Comparison",
    "Config",
    "CustomMetric",
    "Drift",
    "Feature",
    "ModelConfig",
    "Quality",
    "Refresh",
    "SegmentSearch",
    "ValidationRule",
    "Window",
    "load_config",
    "name_problem",
    "parse_config",
]
