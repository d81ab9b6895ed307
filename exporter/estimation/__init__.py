"""Performance without labels: estimators made from a baseline, and what they say of a window."""

from __future__ import annotations

from exporter.estimation.binary import BinaryEstimator
from exporter.estimation.estimator import Estimator, fit_estimator, measure_itself
from exporter.estimation.fitting import fit_losses
from exporter.estimation.learner import Learner
from exporter.estimation.losses import LossEstimator
from exporter.estimation.multiclass import MulticlassEstimator
from exporter.estimation.report import Estimated, estimated_performance
from exporter.estimation.storage import read_estimator, write_estimator

__all__ = [
    "BinaryEstimator",
    "Estimated",
    "Estimator",
    "Learner",
    "LossEstimator",
    "MulticlassEstimator",
    "estimated_performance",
    "fit_estimator",
    "fit_losses",
    "measure_itself",
    "read_estimator",
    "write_estimator",
]
