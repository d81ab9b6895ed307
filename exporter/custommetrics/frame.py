"""Labelled rows as custom metrics see them: `prediction`, `label`, `score` and the columns they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from exporter.batch import Codes, Outcomes
from exporter.custommetrics.terms import CustomMetricError

OWN_COLUMNS = ("prediction", "label", "score")
"""Names of the rows' own columns, whatever these are called in the configuration."""


def frame_of(outcomes: Outcomes, columns: Sequence[str]) -> pd.DataFrame:
    """A new frame: binary predictions and labels are 0 and 1, classes texts, the rest as it was kept.

    In multiclass there is no `score`.
    """
    values: dict[str, Any] = {
        "prediction": _numpy(outcomes.prediction),
        "label": _numpy(outcomes.label),
    }
    if outcomes.score is not None and outcomes.score.ndim == 1:
        values["score"] = outcomes.score.copy()
    for name in columns:
        values[name] = _kept(outcomes, name).to_pandas().to_numpy(copy=True)
    return pd.DataFrame(values)


def table_of(outcomes: Outcomes, columns: Sequence[str]) -> pa.Table:
    """The same as an Arrow table, of the columns that are named; the rows' own are among them or not."""
    arrays: dict[str, pa.Array] = {}
    for name in columns:
        if name == "prediction":
            arrays[name] = _arrow(outcomes.prediction)
        elif name == "label":
            arrays[name] = _arrow(outcomes.label)
        elif name == "score":
            if outcomes.score is None or outcomes.score.ndim != 1:
                raise CustomMetricError("there is no score")
            arrays[name] = pa.array(outcomes.score)
        else:
            arrays[name] = _kept(outcomes, name)
    return pa.table(arrays)


def _kept(outcomes: Outcomes, name: str) -> pa.Array:
    values = outcomes.kept.get(name)
    if values is None:
        raise CustomMetricError(f"the column {name!r} was not pushed with these rows")
    return values


def _numpy(codes: Codes) -> Any:
    if isinstance(codes, pa.DictionaryArray):
        return np.asarray(codes.dictionary_decode().to_pylist(), dtype=object)
    return codes.astype(np.int64) if codes.dtype == np.int8 else codes.copy()


def _arrow(codes: Codes) -> pa.Array:
    if isinstance(codes, pa.DictionaryArray):
        return codes.dictionary_decode()
    return pa.array(codes.astype(np.int64) if codes.dtype == np.int8 else codes)
