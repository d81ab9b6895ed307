"""Validated rows: what every later room works on.

`validate_batch` turns an Arrow table as pushed into columns with one known representation each, and gives a
reason for every row that it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.schema import Column, Schema, Task

MISSING_CODE = -1
"""The code of a missing binary prediction or label."""

Values = NDArray[np.float64] | NDArray[np.float32] | pa.DictionaryArray
"""One column's values.

numeric and datetime (seconds since the Unix epoch, UTC): float64 (n,), missing = NaN, infinities kept;
categorical and boolean: `pa.DictionaryArray` (int32 codes, string dictionary), missing = null;
embedding: float32 (n, size), a missing row is all NaN.
"""

Codes = NDArray[np.int8] | NDArray[np.float64] | pa.DictionaryArray
"""Predictions or labels: binary int8 {0, 1, -1 missing}; multiclass dictionary of strings; regression float64."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Predictions with, where known, scores and labels; all arrays have length n.

    Attributes
    ----------
    prediction : int8 (n,), pa.DictionaryArray or float64 (n,)
        Binary: 0, 1, -1 missing; multiclass: classes as strings; regression: float64, NaN missing.
    score : float64 (n,) or (n, K), or None
        Binary (n,); multiclass (n, K), columns in the order of `Schema.score`. NaN = missing.
    label : as `prediction`, or None
        None: no labels in these rows.
    delay_seconds : float64 (n,) or None
        Label arrival minus event time; NaN where unknown.
    """

    task: Task
    prediction: Codes
    score: NDArray[np.float64] | None = None
    label: Codes | None = None
    delay_seconds: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The usable rows of one push.

    Attributes
    ----------
    rows : int
        Usable rows; the length of every array.
    event_time : float64 (rows,)
        Seconds since the Unix epoch.
    features : Mapping[str, Values]
        The schema's features, or those inferred where it has none.
    ids : pa.StringArray or None
        Canonical text of the ids.
    table : pa.Table
        The usable rows as pushed.
    segments : Mapping[str, pa.DictionaryArray]
    received : int
        Rows that came.
    rejected : Mapping[str, int]
        Reason to rows: `type`, `missing_id`, `missing_timestamp`, `missing_prediction`, `out_of_range`, `future`.
    invalid : Mapping[str, int]
        Column to rows whose value had the wrong type.
    warnings : tuple of str
    """

    schema: Schema
    rows: int
    event_time: NDArray[np.float64]
    features: Mapping[str, Values]
    outcomes: Outcomes
    ids: pa.StringArray | None
    table: pa.Table
    segments: Mapping[str, pa.DictionaryArray]
    received: int
    rejected: Mapping[str, int]
    invalid: Mapping[str, int]
    warnings: tuple[str, ...]

    def take(self, indices: NDArray[np.intp]) -> Batch:
        """The rows at `indices`, with the accounting of a batch in which just these came."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class LabelBatch:
    """The usable rows of one push of labels; `label` is coded as in :class:`Outcomes`."""

    ids: pa.StringArray
    label: Codes
    event_time: NDArray[np.float64] | None
    received: int
    rejected: Mapping[str, int]
    warnings: tuple[str, ...]


def validate_batch(table: pa.Table, schema: Schema, *, now: float, future_tolerance: float = 300.0) -> Batch:
    raise NotImplementedError


def validate_labels(table: pa.Table, schema: Schema) -> LabelBatch:
    raise NotImplementedError


def infer_columns(table: pa.Table, schema: Schema) -> tuple[Column, ...]:
    """The kinds of undeclared features."""
    raise NotImplementedError


def canonical_text(array: pa.Array) -> pa.StringArray:
    """Ids, classes, categories as text."""
    raise NotImplementedError


def binary_codes(array: pa.Array, positive_label: object) -> NDArray[np.int8]:
    """1 where positive, 0 where not, -1 where missing."""
    raise NotImplementedError
