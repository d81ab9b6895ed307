"""Loss estimators as bytes: plain numbers, checked one by one when they are read. Nothing in them is run."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from exporter.errors import UnreadableError
from exporter.estimation.encoding import MAX_COLUMNS, MAX_LEVELS, Feature
from exporter.estimation.losses import LOSSES, Loss, LossEstimator
from exporter.estimation.trees import LEAVES, SPLITS, Trees
from exporter.profiles.envelope import open_envelope, seal

MAGIC = b"MLXE"
MAX_BYTES = 8 * 2**20
MAX_TREES = 500
KINDS = ("number", "time", "category")
LARGEST_LEAF = 1e100


def write_estimator(estimator: LossEstimator) -> bytes:
    """The estimator in an envelope: a JSON document of its features, trees and calibration."""
    document = {
        "features": [[one.name, one.kind, one.levels] for one in estimator.features],
        "scale": estimator.scale,
        "rows": estimator.rows,
        "losses": [
            {
                "name": loss.name,
                "intercept": loss.intercept,
                "slope": loss.slope,
                "spread": loss.spread,
                "start": loss.trees.start,
                "feature": loss.trees.feature.ravel().tolist(),
                "threshold": loss.trees.threshold.ravel().tolist(),
                "missing_left": loss.trees.missing_left.ravel().astype(int).tolist(),
                "leaf": loss.trees.leaf.ravel().tolist(),
            }
            for loss in estimator.losses
        ],
    }
    return seal(MAGIC, orjson.dumps(document))


def read_estimator(data: bytes) -> LossEstimator:
    """Read what :func:`write_estimator` wrote.

    Raises
    ------
    UnreadableError
        For anything else.
    """
    content = open_envelope(MAGIC, data, MAX_BYTES, "loss estimator")
    try:
        return _estimator(orjson.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise UnreadableError(f"the loss estimator cannot be read: {error}") from error


def _estimator(document: dict[str, Any]) -> LossEstimator:
    features = tuple(
        Feature(_text(name), _one_of(kind, KINDS), tuple(_text(level) for level in levels))
        for name, kind, levels in document["features"]
    )
    _check(0 < len(features) <= MAX_COLUMNS + 1, "too many features or none")
    _check(all(len(feature.levels) <= MAX_LEVELS for feature in features), "too many levels")
    losses = tuple(_loss(one, len(features)) for one in document["losses"])
    names = [loss.name for loss in losses]
    _check(len(set(names)) == len(names), "a loss comes twice")
    rows = document["rows"]
    _check(isinstance(rows, int) and 0 < rows < 2**53, "rows are a positive number")
    scale = _number(document["scale"])
    _check(scale > 0, "the scale is positive")
    return LossEstimator(features, losses, scale, rows)


def _loss(document: dict[str, Any], features: int) -> Loss:
    feature = _array(document["feature"], np.int64, SPLITS)
    _check(((feature >= 0) & (feature < features)).all(), "a split is on no feature")
    threshold = _array(document["threshold"], np.float64, SPLITS)
    leaf = _array(document["leaf"], np.float64, LEAVES)
    missing_left = _array(document["missing_left"], np.int64, SPLITS)
    _check(((missing_left == 0) | (missing_left == 1)).all(), "missing values go left or right")
    _check(0 < len(leaf) == len(feature) == len(threshold) == len(missing_left) <= MAX_TREES, "trees differ")
    _check(bool((np.abs(leaf) <= LARGEST_LEAF).all()), "a leaf is too large")
    start, intercept, slope, spread = (
        _number(document[name]) for name in ("start", "intercept", "slope", "spread")
    )
    _check(spread >= 0 and max(map(abs, (start, intercept, slope, spread))) <= LARGEST_LEAF, "out of range")
    trees = Trees(feature.astype(np.int32), threshold, missing_left.astype(np.bool_), leaf, start)
    return Loss(_one_of(document["name"], LOSSES), trees, intercept, slope, spread)


def _array(values: Any, kind: type, width: int) -> Any:
    """Finite numbers by tree, (T, width)."""
    array = np.asarray(values)
    _check(array.ndim == 1 and array.dtype.kind in "iuf", "arrays are lists of numbers")
    _check(kind is np.float64 or array.dtype.kind in "iu", "whole numbers are expected")
    array = array.astype(kind)
    _check(bool(np.isfinite(array).all()), "numbers are finite")
    return array.reshape(-1, width)


def _number(value: Any) -> float:
    _check(isinstance(value, (int, float)) and not isinstance(value, bool), "a number is expected")
    _check(bool(np.isfinite(float(value))), "numbers are finite")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    _check(value in known, f"expected one of {', '.join(known)}")
    return str(value)


def _check(holds: object, message: str) -> None:
    if not holds:
        raise ValueError(message)
