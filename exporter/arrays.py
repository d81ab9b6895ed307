"""What users hand over from Python - DataFrames, arrays, mappings - as Arrow tables and tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.utils.multiclass import type_of_target

from exporter.batch import canonical_text
from exporter.errors import ConfigurationError, UnusableBatchError
from exporter.schema import Column, Task

SCORE = "score"
"""The score's column; of a multiclass model the prefix of one column a class."""

Table: TypeAlias = Any
"""A DataFrame, an Arrow table, a mapping of columns or a 2-D array; n rows."""


def infer_task(y_true: np.ndarray) -> Task:
    """Binary, multiclass or regression, as scikit-learn's `type_of_target` reads the labels."""
    kind = "not a list"
    if y_true.ndim == 1 or y_true.shape[1:] == (1,):
        kind = type_of_target(np.array(distinct_values(y_true)))
    if kind.startswith("continuous"):
        return Task.REGRESSION
    if kind == "binary":
        return Task.BINARY
    if kind == "multiclass":
        return Task.MULTICLASS
    raise ConfigurationError(f"no task is known for labels of type {kind!r}; pass task= explicitly")


def distinct_values(values: np.ndarray) -> list[Any]:
    """The different values that are not missing, as Python has them."""
    return list(pd.Series(values.ravel()).dropna().infer_objects().unique().tolist())


def score_columns(task: Task, classes: list[Any], y_score: Any) -> str | tuple[tuple[str, str], ...]:
    """The score column of a binary task, or (class, column) pairs in sorted order of the classes."""
    if task is Task.BINARY:
        return SCORE
    if task is not Task.MULTICLASS:
        raise UnusableBatchError(f"a {task} has no scores; leave y_score out")
    check_width(np.asarray(y_score), len(classes))
    return tuple((text, f"{SCORE}_{text}") for text in class_texts(classes))


def class_texts(classes: list[Any]) -> list[str]:
    return [str(text) for text in canonical_text(pa.array(sorted(classes))).to_pylist()]


def check_width(values: np.ndarray, classes: int) -> None:
    """Raise UnusableBatchError unless there is one score a class."""
    if values.ndim != 2 or values.shape[1] != classes:
        raise UnusableBatchError(
            f"y_score needs one column for each of {classes} classes, got an array of shape {values.shape}"
        )


def as_array(values: Any) -> pa.Array:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    return pa.Array.from_pandas(pd.Series(np.asarray(values).ravel()))


def as_table(features: Table, columns: Iterable[Column] | None) -> pa.Table:
    if isinstance(features, pa.Table):
        return features
    if isinstance(features, pd.DataFrame):
        return pa.Table.from_pandas(features.rename(columns=str), preserve_index=False)
    if isinstance(features, dict):
        return pa.table({str(name): as_array(values) for name, values in features.items()})
    matrix = np.asarray(features)
    if matrix.ndim == 1:
        matrix = matrix[:, np.newaxis]
    if matrix.ndim != 2:
        raise UnusableBatchError(
            f"features are a table with rows and columns, got an array of {matrix.ndim} dimensions"
        )
    names = (
        [column.name for column in columns]
        if columns
        else [f"x{position}" for position in range(matrix.shape[1])]
    )
    if len(names) != matrix.shape[1]:
        raise UnusableBatchError(f"the baseline has {len(names)} features, got {matrix.shape[1]}")
    return pa.table({name: as_array(matrix[:, position]) for position, name in enumerate(names)})
