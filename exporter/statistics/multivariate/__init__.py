"""Drift that no single column shows: changed correlations, reconstruction errors, random features."""

from __future__ import annotations

from exporter.statistics.multivariate.mmd import maximum_mean_discrepancy
from exporter.statistics.multivariate.pca import reconstruction_error
from exporter.statistics.multivariate.report import multivariate_report

__all__ = ["maximum_mean_discrepancy", "multivariate_report", "reconstruction_error"]
