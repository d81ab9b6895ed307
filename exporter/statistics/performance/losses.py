"""Log loss and Brier score, means of sums that the profile keeps."""

from __future__ import annotations

from typing import Protocol

from exporter.results import Estimate, Undefined
from exporter.schema import ScoreKind
from exporter.statistics.intervals import enclose, mean_bounds


class LossView(Protocol):
    """Sums of the losses of labelled rows with a probability."""

    @property
    def scored(self) -> int: ...
    @property
    def log_loss_sum(self) -> float: ...
    @property
    def log_loss_squares(self) -> float: ...
    @property
    def brier_sum(self) -> float: ...
    @property
    def brier_squares(self) -> float: ...
    @property
    def score_kind(self) -> ScoreKind: ...


def log_loss(outcome: LossView, z: float) -> Estimate | Undefined:
    """Mean negative log-likelihood of the labels in nats, >= 0, 0 = certain and right."""
    return _undefined(outcome) or _mean(outcome.log_loss_sum, outcome.log_loss_squares, outcome.scored, z)


def brier_score(outcome: LossView, z: float) -> Estimate | Undefined:
    """Mean squared distance of probability and label; in [0, 1], summed over classes in [0, 2]."""
    return _undefined(outcome) or _mean(outcome.brier_sum, outcome.brier_squares, outcome.scored, z)


def _mean(total: float, squares: float, n: int, z: float) -> Estimate:
    value = max(0.0, total / n)
    return Estimate(value, *enclose(value, mean_bounds(value, squares / n, n, z), least=0.0), n)


def not_probabilities(outcome: LossView) -> Undefined | None:
    """Why probabilities are out of the question: the scores are margins."""
    if outcome.score_kind is ScoreKind.MARGIN:
        return Undefined("not_comparable", "scores are margins, not probabilities")
    return None


def _undefined(outcome: LossView) -> Undefined | None:
    if (margins := not_probabilities(outcome)) is not None:
        return margins
    if outcome.scored < 2:
        reason = "insufficient_labels" if outcome.scored else "empty"
        return Undefined(reason, f"{outcome.scored} labelled rows have a score, 2 are needed")
    return None
