"""Fitting direct loss estimators: gradient boosting with calibration on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.batch import Batch
from exporter.estimation.encoding import Feature, features_of, matrix, ordered
from exporter.estimation.losses import LOSSES, Loss, LossEstimator
from exporter.estimation.trees import DEPTH, LEAVES, Columns, Forest, exported
from exporter.results import Undefined

Floats = NDArray[np.float64]

MOST_ROWS, MOST_CELLS, LEAST_ROWS = 30_000, 500_000, 5_000
"""Rows that are fitted: at most the first, fewer of many columns (rows times columns up to the second), but
not fewer than the third for that. Of more rows a seeded sample is taken."""

TREES = 80
LEARNING_RATE = 0.12
BINS = 255
FOLDS = 3
SEED = 20_231_109
MOST_ZERO_LABELS = 0.01
"""Share of labels that may be 0 for relative errors to be estimated."""
TOLERANCE = 1e-9


def fit_losses(
    batch: Batch, labels: Floats, scale: float, *, minimum_labels: int
) -> LossEstimator | Undefined:
    """An estimator from rows with labels.

    Parameters
    ----------
    batch : Batch
        Rows with features and predictions.
    labels : float64 (n,)
        NaN where it is not known.
    scale : float
        What absolute errors are measured in, so that sums of squares stay in range.
    minimum_labels : int
        Labelled rows that are needed.
    """
    prediction = np.asarray(batch.outcomes.prediction, np.float64)
    usable = np.flatnonzero(np.isfinite(labels) & np.isfinite(prediction))
    if usable.size < max(minimum_labels, 2 * FOLDS):
        detail = f"{usable.size} rows of the baseline have a label, {minimum_labels} are needed"
        return Undefined("insufficient_labels", detail)
    generator = np.random.default_rng(SEED)
    features = features_of(batch.schema.features or ())
    most = min(MOST_ROWS, max(LEAST_ROWS, MOST_CELLS // len(features)))
    if usable.size > most:
        usable = np.sort(generator.choice(usable, most, replace=False))
    rows, label = batch.take(usable), labels[usable]
    fold = generator.permutation(np.arange(usable.size) % FOLDS)
    errors = _errors(prediction[usable], label, scale)
    held_out = np.full((len(errors), usable.size), np.nan)
    for number in range(FOLDS):
        kept, out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        learned, train = _encoded(features, rows.take(kept), errors["mae"][kept])
        test = matrix(learned, rows.take(out))
        for place, error in enumerate(errors.values()):
            held_out[place, out] = _predicted(_boosted(train, error[kept]), test)
    learned, train = _encoded(features, rows, errors["mae"])
    losses = [
        _loss(name, train, error, held_out[place]) for place, (name, error) in enumerate(errors.items())
    ]
    return LossEstimator(tuple(learned), tuple(losses), scale, usable.size)


def _errors(prediction: Floats, label: Floats, scale: float) -> dict[str, Floats]:
    """The errors of each row by metric, in the estimator's units."""
    error = np.abs(prediction - label)
    whole = np.abs(prediction) + np.abs(label)
    made = {"mae": error / scale, "rmse": (error / scale) ** 2}
    zero = label == 0
    if zero.mean() <= MOST_ZERO_LABELS:
        share = np.divide(error, np.abs(label), out=np.zeros_like(error), where=~zero)
        made["mape"] = np.where(zero, share.mean(), share)
    made["smape"] = np.divide(2 * error, whole, out=np.zeros_like(error), where=whole > 0)
    return {name: made[name] for name in LOSSES if name in made and np.isfinite(made[name]).all()}


def _encoded(features: Sequence[Feature], rows: Batch, errors: Floats) -> tuple[list[Feature], Floats]:
    """The features with their categories in order, and the matrix of the rows."""
    learned = []
    for feature in features:
        values: Any = rows.features.get(feature.name)
        is_category = feature.kind == "category" and isinstance(values, pa.DictionaryArray)
        learned.append(ordered(feature, values, errors) if is_category else replace(feature))
    return learned, matrix(learned, rows)


def _boosted(rows: Floats, errors: Floats) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415  # slow to import, rarely needed
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  # as above

    model = HistGradientBoostingRegressor(
        max_iter=TREES,
        learning_rate=LEARNING_RATE,
        max_depth=DEPTH,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=max(20, rows.shape[1] // 1000),
        max_bins=BINS,
        early_stopping=False,
        random_state=SEED,
    )
    known = np.where(np.isnan(rows).all(axis=1, keepdims=True), 0.0, rows)  # or binning fails
    with threadpool_limits(1, "openmp"):  # its threads spin: where others work too, two take minutes
        return model.fit(np.ascontiguousarray(known.T), errors)


def _predicted(model: Any, rows: Floats) -> Floats:
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  # as in _boosted

    with threadpool_limits(1, "openmp"):
        predicted: Floats = model.predict(np.ascontiguousarray(rows.T))
    return predicted


def _loss(name: str, rows: Floats, errors: Floats, held_out: Floats) -> Loss:
    """The model of all rows, calibrated by those that were held out in turn."""
    model = _boosted(rows, errors)
    trees = exported(model)
    some = rows[:, :1000]
    expected = _predicted(model, some)
    ours = Forest([trees]).predict(Columns.of(some))[0]
    if not np.allclose(ours, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max()):
        raise ValueError("the exported trees do not predict what scikit-learn's do")
    centred = held_out - held_out.mean()
    spread = float(centred @ centred)
    slope = float(np.clip((centred @ errors) / spread, 0.0, 1.5)) if spread > 0 else 0.0
    intercept = float(errors.mean() - slope * held_out.mean())
    shown = np.maximum(intercept + slope * held_out, 0.0)
    squared = float(shown @ shown)
    residual = float(((errors - shown) ** 2).sum())
    return Loss(name, trees, intercept, slope, residual / squared if squared > 0 else 0.0)
