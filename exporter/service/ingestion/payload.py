"""What is kept of each prediction until its label comes, and how the two become outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter.batch import MISSING_CODE, Batch, Codes, Outcomes, canonical_text
from exporter.schema import Schema, Task

SEGMENT_SEPARATOR = "\x1f"
"""Between column and value in a segment's key; control characters are not allowed in either."""


KEPT = "kept:"
"""What the names of columns kept for the label begin with."""

MAX_VALUE_CHARACTERS = 200
"""A longer segment value has no profile of its own."""


def segment_key(column: str, value: str) -> str:
    return f"{column}{SEGMENT_SEPARATOR}{value}"


def payload_of(batch: Batch) -> pa.RecordBatch:
    """One row a prediction: event time, prediction, scores, segment values and columns kept for its label.

    Raises :class:`exporter.errors.TooLargeError` when the texts of a column take more than 1 GiB.
    """
    outcomes = batch.outcomes
    columns: dict[str, pa.Array] = {
        "event_time": pa.array(batch.event_time),
        "prediction": _stored(outcomes.prediction),
    }
    for position, score in enumerate(_score_columns(outcomes.score)):
        columns[f"score_{position}"] = pa.array(score)
    for position, values in enumerate(batch.segments.values()):
        columns[f"segment_{position}"] = canonical_text(_followed(values))
    columns |= {KEPT + name: values for name, values in outcomes.kept.items()}
    return pa.RecordBatch.from_pydict(columns)


def _followed(values: pa.DictionaryArray) -> pa.DictionaryArray:
    """Segment values, null where one is too long to have a profile of its own."""
    lengths = pc.utf8_length(values.dictionary)
    short = pc.less_equal(lengths, MAX_VALUE_CHARACTERS)
    if pc.all(short).as_py() is not False:
        return values
    entries = pc.if_else(short, values.dictionary, pa.scalar(None, pa.string()))
    return pa.DictionaryArray.from_arrays(values.indices, entries)


def _stored(codes: Codes) -> pa.Array:
    return canonical_text(codes) if isinstance(codes, pa.DictionaryArray) else pa.array(codes)


def _score_columns(score: NDArray[np.float64] | None) -> Sequence[NDArray[np.float64]]:
    if score is None:
        return []
    return [score] if score.ndim == 1 else [np.ascontiguousarray(column) for column in score.T]


def outcomes_of(
    payload: pa.RecordBatch | pa.Table, schema: Schema, labels: Codes, arrival: NDArray[np.float64]
) -> Outcomes:
    """Stored predictions with the labels that came for them, row by row."""
    event_time = _numpy(payload["event_time"])
    prediction = _array(payload["prediction"])
    scores = [_numpy(payload[name]) for name in payload.schema.names if name.startswith("score_")]
    score = None
    if scores:
        score = np.column_stack(scores) if schema.task is Task.MULTICLASS else scores[0]
    return Outcomes(
        task=schema.task,
        prediction=prediction.dictionary_encode()
        if schema.task is Task.MULTICLASS
        else prediction.to_numpy(zero_copy_only=False),
        score=score,
        label=labels,
        delay_seconds=arrival - event_time,
        kept={
            name.removeprefix(KEPT): _array(payload[name])
            for name in payload.schema.names
            if name.startswith(KEPT)
        },
    )


def _array(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _numpy(array: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    if isinstance(array, pa.ChunkedArray):
        return np.asarray(array.to_numpy(), dtype=np.float64)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)


class LabelCodes:
    """Labels as the float64 numbers that the store keeps, and back.

    Binary: 0 or 1; regression: the value; multiclass: the position in a table of classes that only grows, so
    that a stored code keeps its meaning.
    """

    def __init__(self, task: Task, classes: Sequence[str] = ()) -> None:
        self.task = task
        self._classes = list(classes)
        self._position = {name: code for code, name in enumerate(self._classes)}

    @property
    def classes(self) -> list[str]:
        return list(self._classes)

    def encode(self, labels: Codes) -> NDArray[np.float64]:
        """NaN where a label is missing."""
        if isinstance(labels, pa.DictionaryArray):
            table = np.array([self._code(name) for name in labels.dictionary.to_pylist()] or [np.nan])
            codes = labels.indices.fill_null(MISSING_CODE).to_numpy(zero_copy_only=False)
            return np.where(codes == MISSING_CODE, np.nan, table[codes])
        values = np.asarray(labels, dtype=np.float64)
        if self.task is Task.BINARY:
            return np.where(values == MISSING_CODE, np.nan, values)
        return values

    def _code(self, name: str | None) -> float:
        if name is None:
            return float("nan")
        if name not in self._position:
            self._position[name] = len(self._classes)
            self._classes.append(name)
        return float(self._position[name])

    def decode(self, values: NDArray[np.float64]) -> Codes:
        if self.task is Task.MULTICLASS:
            codes = np.where(np.isnan(values), MISSING_CODE, values).astype(np.int32)
            return pa.DictionaryArray.from_arrays(
                pa.array(codes, mask=codes == MISSING_CODE), pa.array(self._classes, pa.string())
            )
        if self.task is Task.BINARY:
            return np.where(np.isnan(values), MISSING_CODE, values).astype(np.int8)
        return values
