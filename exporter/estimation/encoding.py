"""Rows to the numeric matrix that trees split: numbers as they are, categories in a learned order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.batch import Batch
from exporter.schema import Column, Kind

MAX_COLUMNS = 100
"""Feature columns that are read, in the order of the schema; beyond them features are left out."""

MAX_LEVELS = 200
"""Categories of a column that have a place; others count as missing."""

PRIOR_ROWS = 20.0
"""Rows of average error that every category is mixed with before categories are ordered."""

SECONDS_PER_DAY = 86_400.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of the matrix.

    Attributes
    ----------
    name : str
        Column; empty for the prediction.
    kind : {"number", "time", "category"}
        A time is taken by the hour of the day: its date was never seen before.
    levels : tuple of str
        Categories from the one with the smallest errors on.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()


PREDICTION = Feature("", "number")


def features_of(columns: Sequence[Column]) -> list[Feature]:
    """What is read of a schema's features; embeddings are left out."""
    kinds = {Kind.NUMERIC: "number", Kind.DATETIME: "time"}
    named = [
        Feature(column.name, kinds.get(column.kind, "category"))
        for column in columns
        if column.kind is not Kind.EMBEDDING
    ]
    return [PREDICTION, *named[:MAX_COLUMNS]]


def ordered(feature: Feature, values: pa.DictionaryArray, errors: Floats) -> Feature:
    """A categorical feature with its levels by their mean error, the most frequent ones."""
    codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    names = values.dictionary.to_pylist()
    known = codes >= 0
    rows = np.bincount(codes[known], minlength=len(names)).astype(np.float64)
    sums = np.bincount(codes[known], errors[known], minlength=len(names))
    total: Counter[str] = Counter()
    weight: Counter[str] = Counter()
    for name, count, amount in zip(names, rows.tolist(), sums.tolist(), strict=True):
        if name is not None and count:
            total[name] += amount
            weight[name] += count
    mean = float(errors.mean())
    kept = [name for name, _ in sorted(weight.items(), key=lambda item: (-item[1], item[0]))[:MAX_LEVELS]]
    kept.sort(key=lambda name: ((total[name] + PRIOR_ROWS * mean) / (weight[name] + PRIOR_ROWS), name))
    return Feature(feature.name, feature.kind, tuple(kept))


def matrix(features: Sequence[Feature], batch: Batch) -> Floats:
    """The features of a batch, (F, n); NaN for what is missing, new, or of another type than the feature."""
    made = np.full((len(features), batch.rows), np.nan)
    for place, feature in enumerate(features):
        if feature is features[0]:
            made[0] = np.asarray(batch.outcomes.prediction, np.float64)
            continue
        values = batch.features.get(feature.name)
        if values is None:
            continue
        if isinstance(values, pa.DictionaryArray):
            if feature.kind == "category":
                made[place] = _codes(values, {name: code for code, name in enumerate(feature.levels)})
        elif values.ndim == 1 and feature.kind != "category":
            made[place] = values % SECONDS_PER_DAY if feature.kind == "time" else values
    return made


def _codes(values: pa.DictionaryArray, places: Mapping[str, int]) -> Floats:
    table = np.array([*(places.get(name, np.nan) for name in values.dictionary.to_pylist()), np.nan])
    codes: Floats = table[values.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
    return codes
