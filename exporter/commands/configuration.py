"""The configuration of the models with the rules in it compiled, so that no error waits for the start."""

from __future__ import annotations

from pathlib import Path

from exporter.config import Config, CustomMetric, load_config
from exporter.custommetrics import CustomMetrics, MetricError
from exporter.errors import ConfigurationError
from exporter.rules import RuleError, RuleSet
from exporter.yamlfile import path_text


def read_configuration(path: Path) -> Config:
    """Read and check a file; raises :class:`ConfigurationError` with every (path, message)."""
    config = load_config(path)
    problems: list[tuple[str, str]] = []
    for name, model in config.models.items():
        quality = model.quality
        checks = {column: rule.checks() for column, rule in quality.validation_rules.items()}
        try:
            RuleSet.compile(checks, quality.consistency_rules, model.schema(name))
        except RuleError as error:
            where = path_text(("models", name, "quality"))
            problems += [(f"{where}.{below}", message) for below, message in error.problems]
        try:
            CustomMetrics.compile(model.custom_metrics)
        except MetricError as error:
            places = {_metric_name(metric): place for place, metric in enumerate(model.metrics or ())}
            problems += [
                (path_text(("models", name, "metrics", places[metric])), text)
                for metric, text in error.problems
            ]
    if problems:
        raise ConfigurationError("; ".join(f"{at}: {message}" for at, message in problems), problems)
    return config


def _metric_name(metric: str | CustomMetric) -> str:
    return metric.rpartition(":")[2] if isinstance(metric, str) else metric.name
