"""Whether a window is fit to become what others are compared with."""

from __future__ import annotations

from exporter.config import ModelConfig
from exporter.results import Evaluation
from exporter.schema import Role

INPUTS = {Role.FEATURE.value, Role.EMBEDDING.value}
RATIOS = ("completeness", "type_valid", "in_range", "known_category", "validity", "consistency")
MOST_NAMES = 5


def ailments(evaluation: Evaluation, config: ModelConfig, *, inputs_only: bool = False) -> list[str]:
    """What is wrong with a window, one sentence each; nothing where it is healthy.

    Parameters
    ----------
    evaluation : Evaluation
        Of the window against the baseline that it would replace.
    config : ModelConfig
        Whose quality thresholds count.
    inputs_only : bool
        Leave out what a new version changes by itself: predictions, scores, performance.
    """
    drifted = [
        name
        for name in evaluation.drift.detected_columns
        if not inputs_only or evaluation.drift[name].role in INPUTS
    ]
    found = []
    if drifted:
        found.append(f"drift of {_listed(drifted)}")
    together = [name for name, test in evaluation.multivariate.items() if test.detected]
    if together:
        found.append(f"multivariate drift by {_listed(together)}")
    if evaluation.performance.degraded and not inputs_only:
        found.append(f"a drop of {_listed(evaluation.performance.degraded)}")
    return found + _poor_quality(evaluation, config)


def _poor_quality(evaluation: Evaluation, config: ModelConfig) -> list[str]:
    quality, found = evaluation.quality, []
    for check in RATIOS:
        least = config.quality.threshold(check)
        ratios = getattr(quality, check)
        low = [name for name, ratio in ratios.items() if _worst(ratio) < least]
        if low:
            found.append(f"{check} of {_listed(low)} below {least:g}")
    if quality.score is not None and quality.score < config.quality.threshold("score"):
        found.append(f"a quality score of {quality.score:.3f}")
    if quality.timeliness is not None and quality.timeliness < config.quality.threshold("timeliness"):
        found.append(f"a timeliness of {quality.timeliness:.3f}")
    if quality.duplicate is not None and quality.duplicate > config.quality.threshold("duplicate"):
        found.append(f"a duplicate ratio of {quality.duplicate:.3f}")
    return found


def _worst(ratio: float | dict[str, float]) -> float:
    return min(ratio.values(), default=1.0) if isinstance(ratio, dict) else float(ratio)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
