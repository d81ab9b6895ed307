"""Validated rows: what every later room works on.

`validate_batch` turns an Arrow table as pushed into columns with one known representation each, and gives a
reason for every row that it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter import columns
from exporter.columns import Reading, canonical_text
from exporter.errors import UnusableBatchError
from exporter.schema import Column, Kind, Role, Schema, ScoreKind, Task

__all__ = [
    "MISSING_CODE",
    "Batch",
    "Codes",
    "LabelBatch",
    "Outcomes",
    "Values",
    "binary_codes",
    "canonical_text",
    "infer_columns",
    "validate_batch",
    "validate_labels",
]

MISSING_CODE = -1
"""The code of a missing binary prediction or label."""

Values: TypeAlias = "NDArray[np.float64] | NDArray[np.float32] | pa.DictionaryArray"
"""One column's values.

numeric and datetime (seconds since the Unix epoch, UTC): float64 (n,), missing = NaN, infinities kept;
categorical and boolean: `pa.DictionaryArray` (int32 codes, string dictionary), missing = null;
embedding: float32 (n, size), a missing row is all NaN.
"""

Codes: TypeAlias = "NDArray[np.int8] | NDArray[np.float64] | pa.DictionaryArray"
"""Predictions or labels: binary int8 {0, 1, -1 missing}; multiclass a dictionary of strings; else float64."""


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
    kept : Mapping[str, pa.Array]
        The columns of `Schema.kept` that the rows have: kept with a prediction until its label comes.
    """

    task: Task
    prediction: Codes
    score: NDArray[np.float64] | None = None
    label: Codes | None = None
    delay_seconds: NDArray[np.float64] | None = None
    kept: Mapping[str, pa.Array] = field(default_factory=dict)

    def take(self, indices: NDArray[np.intp]) -> Outcomes:
        """The rows at `indices`."""
        return Outcomes(
            self.task,
            _take(self.prediction, indices),
            None if self.score is None else self.score[indices],
            None if self.label is None else _take(self.label, indices),
            None if self.delay_seconds is None else self.delay_seconds[indices],
            {name: values.take(pa.array(indices)) for name, values in self.kept.items()},
        )


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
        Reason to rows, the first that holds: `unreadable` (the format's line could not be split into
        columns), `type`, `missing_id`, `missing_timestamp`, `missing_prediction`, `out_of_range`, `future`;
        in rankings also `missing_group`, `missing_score`, and `incomplete_group`: another row of the group
        was rejected.
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
        return replace(
            self,
            rows=len(indices),
            event_time=self.event_time[indices],
            features={name: _take(values, indices) for name, values in self.features.items()},
            outcomes=self.outcomes.take(indices),
            ids=None if self.ids is None else self.ids.take(pa.array(indices)),
            table=self.table.take(pa.array(indices)),
            segments={name: _take(values, indices) for name, values in self.segments.items()},
            received=len(indices),
            rejected={},
            invalid={},
            warnings=(),
        )


@dataclass(frozen=True, slots=True)
class LabelBatch:
    """The usable rows of one push of labels; `label` is coded as in :class:`Outcomes`.

    `rejected` knows the reasons `unreadable`, `type`, `missing_id` and `missing_label`.
    """

    ids: pa.StringArray
    label: Codes
    event_time: NDArray[np.float64] | None
    received: int
    rejected: Mapping[str, int]
    warnings: tuple[str, ...]


def validate_batch(
    table: pa.Table,
    schema: Schema,
    *,
    now: float,
    future_tolerance: float = 300.0,
    needs_prediction: bool = True,
) -> Batch:
    """Check rows with predictions, and perhaps labels, against a model's schema.

    Parameters
    ----------
    table : pa.Table
        As :func:`exporter.formats.decode` gives it, or any other; looked at column by column.
    now : float
        Arrival, in seconds since the Unix epoch; the event time of rows of models without `timestamp`.
    future_tolerance : float
        Rows later than `now` by more seconds are rejected.
    needs_prediction : bool
        Whether a row without a prediction is rejected, and a table without that column refused.

    Raises
    ------
    UnusableBatchError
        A required column (id, timestamp, prediction where the schema names them) is absent, two columns share
        a name, or no row is usable; `details` says which, and how many rows for which reason.
    """
    group = _group_column(table, schema, needed=needs_prediction)
    _require(table, [schema.id, schema.timestamp, group, schema.prediction if needs_prediction else None])
    if not needs_prediction and schema.prediction not in table.column_names:
        table = table.append_column(schema.prediction, pa.nulls(table.num_rows))
    reader = _Reader(table, schema.timezone)
    declared = infer_columns(table, schema) if schema.features is None else schema.features
    features = {column.name: reader.feature(column) for column in declared}
    segments = {name: reader.optional(name, Kind.CATEGORICAL) for name in schema.segments}
    prediction = reader.outcome(schema.prediction, schema)
    label = reader.outcome(schema.label, schema) if schema.label in reader.names else None
    score = _scores(reader, schema)
    ids = None if schema.id is None else reader.identifiers(schema.id)
    event_time = (
        np.full(table.num_rows, now) if schema.timestamp is None else reader.event_time(schema.timestamp)
    )
    groups = None if group is None else reader.identifiers(group)
    event_time = event_time if groups is None else columns.latest(columns.group_codes(groups), event_time)

    rejection = _Rejection(table.num_rows)
    rejection.add("type", *reader.wrong)
    if ids is not None:
        rejection.add("missing_id", _null(ids))
    rejection.add("missing_timestamp", np.isnan(event_time))
    if needs_prediction:
        rejection.add("missing_prediction", missing(prediction))
    if score is not None and schema.score_kind is ScoreKind.PROBABILITY and group is None:
        rejection.add("out_of_range", *_outside(score))
    rejection.add("future", event_time > now + future_tolerance)
    if groups is not None:
        _reject_groups(rejection, groups, score, label)

    delay = None
    if label is not None:
        delay = np.where(missing(label), np.nan, np.maximum(now - event_time, 0.0))
    unreadable = _unreadable(table)
    batch = Batch(
        schema=schema,
        rows=table.num_rows,
        event_time=event_time,
        features=features,
        outcomes=Outcomes(schema.task, prediction, score, label, delay, _kept(table, schema, groups)),
        ids=ids,
        table=reader.cleaned(),
        segments=segments,
        received=table.num_rows + unreadable,
        rejected={},
        invalid=reader.invalid,
        warnings=(*reader.warnings(schema, declared), *_hints(event_time, now, schema)),
    )
    kept = rejection.kept()
    rejected = rejection.counts | ({"unreadable": unreadable} if unreadable else {})
    if kept is not None:
        taken = batch.take(kept)
        batch = replace(
            taken, received=batch.received, rejected=rejected, invalid=batch.invalid, warnings=batch.warnings
        )
    elif rejected:
        batch = replace(batch, rejected=rejected)
    if batch.rows == 0:
        raise _unusable(batch.received, rejected, batch.invalid)
    return batch


_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)


def _group_column(table: pa.Table, schema: Schema, *, needed: bool) -> str | None:
    """The column that says what is ranked together; None where nothing is, or it may be absent and is."""
    if schema.task is not Task.RANKING or not (needed or schema.group in table.column_names):
        return None
    return schema.group


def _reject_groups(
    rejection: _Rejection, groups: pa.StringArray, score: NDArray[np.float64] | None, label: Any
) -> None:
    """Reject rows that cannot be ranked, and with any row of a group all others of it."""
    rejection.add("missing_group", _null(groups))
    if score is not None:
        rejection.add("missing_score", np.isnan(score))
    if label is not None:
        rejection.add("out_of_range", no_relevance(label))
    rejection.add("incomplete_group", columns.spread(columns.group_codes(groups), rejection.rejected()))


def _kept(table: pa.Table, schema: Schema, groups: pa.StringArray | None) -> dict[str, pa.Array]:
    """The columns of `schema.kept` that were pushed: numbers as float64, truths as they are, else text.

    A declared numeric or categorical feature is read as what it is declared, whatever it came as.
    """
    kept = {} if groups is None else {str(schema.group): groups}
    kinds = {column.name: column.kind for column in schema.features or ()}
    for name in schema.kept:
        if name not in table.column_names or name in kept:
            continue
        values = columns.source(table, name)
        if kinds.get(name) is Kind.NUMERIC:
            kept[name] = pa.array(columns.numeric(values).values)
            continue
        if kinds.get(name) is Kind.CATEGORICAL:
            kept[name] = columns.texts(values)[0]
            continue
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        if isinstance(values, list):
            kept[name] = columns.texts(values)[0]
        elif pa.types.is_null(values.type):
            kept[name] = values
        elif any(is_a(values.type) for is_a in _NUMBERS):
            kept[name] = values.cast(pa.float64(), safe=False)
        else:
            kept[name] = values if pa.types.is_boolean(values.type) else columns.texts(values)[0]
    return kept


def validate_labels(table: pa.Table, schema: Schema) -> LabelBatch:
    """Check rows of ids and labels against a model's schema.

    Raises
    ------
    UnusableBatchError
        The model has no id, the id or label column is absent, or no row is usable.
    """
    if schema.id is None:
        raise UnusableBatchError(
            f"Labels are joined by id, but model {schema.model!r} has no `columns.id` in its configuration."
        )
    _require(table, [schema.id, schema.label])
    reader = _Reader(table, schema.timezone)
    ids = reader.identifiers(schema.id)
    label = reader.outcome(schema.label, schema)
    event_time = None
    if schema.timestamp is not None and schema.timestamp in reader.names:
        event_time = reader.event_time(schema.timestamp)

    rejection = _Rejection(table.num_rows)
    rejection.add("type", *reader.wrong)
    rejection.add("missing_id", _null(ids))
    rejection.add("missing_label", missing(label))
    if schema.task is Task.RANKING:
        rejection.add("out_of_range", no_relevance(label))
    unreadable = _unreadable(table)
    received = table.num_rows + unreadable
    kept = rejection.kept()
    rejected = rejection.counts | ({"unreadable": unreadable} if unreadable else {})
    if kept is not None:
        ids = ids.take(pa.array(kept))
        label = _take(label, kept)
        event_time = None if event_time is None else event_time[kept]
    if len(ids) == 0:
        raise _unusable(received, rejected, reader.invalid)
    return LabelBatch(ids, label, event_time, received, rejected, ())


def infer_columns(table: pa.Table, schema: Schema) -> tuple[Column, ...]:
    """The features among a table's columns when none were declared, in the table's order.

    Columns with another role and `schema.extra_columns` are left out, and so are columns without a kind
    (:func:`exporter.columns.inferred_kind`).
    """
    _require(table, [])
    taken = schema.reserved | set(schema.extra_columns)
    inferred = []
    for name in table.column_names:
        if name in taken:
            continue
        found = columns.inferred_kind(columns.source(table, name))
        if found is not None:
            kind, size = found
            role = Role.EMBEDDING if kind is Kind.EMBEDDING else Role.FEATURE
            inferred.append(Column(name, kind, role, size))
    return tuple(inferred)


def binary_codes(array: pa.Array | pa.ChunkedArray, positive_label: object) -> NDArray[np.int8]:
    """1 where positive, 0 where not, -1 where missing or of the wrong type (`exporter.columns.matches`)."""
    return columns.matches(columns.plain(array), positive_label)[0]


def missing(values: Codes) -> NDArray[np.bool_]:
    """Which predictions or labels are missing."""
    if isinstance(values, pa.DictionaryArray):
        return _null(values)
    if values.dtype == np.int8:
        return np.asarray(values == MISSING_CODE)
    return np.isnan(values)


def no_relevance(label: Any) -> NDArray[np.bool_]:
    """Which labels of a ranking cannot be a relevance: negative or infinite ones."""
    return np.asarray((label < 0) | np.isinf(label))


class _Reader:
    """Reads the columns of one table and counts what had the wrong type."""

    def __init__(self, table: pa.Table, zone: str) -> None:
        names = table.column_names
        whole = table.to_batches()
        arrays = whole[0].columns if len(whole) == 1 else table.columns
        self.names = frozenset(names)
        self.invalid: dict[str, int] = {}
        self.wrong: list[NDArray[np.bool_]] = []
        self._table = table
        self._zone = zone
        self._arrays = dict(zip(names, arrays, strict=True))
        self._mixed = [field.name for field in table.schema if columns.is_json_text(field)]
        self._absent: list[str] = []

    def feature(self, column: Column) -> Values:
        return self.optional(column.name, column.kind, column.size)

    def optional(self, name: str, kind: Kind, size: int | None = None) -> Any:
        if name not in self.names:
            self._absent.append(name)
            return columns.absent(kind, self._table.num_rows, size=size)
        return self._count(name, columns.read(self._source(name), kind, zone=self._zone, size=size))

    def identifiers(self, name: str) -> pa.StringArray:
        """Canonical texts; blank ones are null, and floats that may stand for several integers are wrong."""
        source = self._source(name)
        ids, wrong = columns.texts(source)
        inexact = columns.inexact(source)
        if inexact is not None:
            wrong = inexact if wrong is None else wrong | inexact
        self._count(name, Reading(None, wrong))
        blank = pc.equal(ids, "")
        return pc.if_else(blank, pa.scalar(None, pa.string()), ids) if pc.any(blank).as_py() else ids

    def event_time(self, name: str) -> NDArray[np.float64]:
        reading = columns.instants(self._source(name), self._zone)
        ancient = reading.values < _YEAR_ONE
        if ancient.any():
            reading = Reading(reading.values, ancient if reading.wrong is None else reading.wrong | ancient)
        values: NDArray[np.float64] = self._count(name, reading)
        return values

    def outcome(self, name: str, schema: Schema) -> Codes:
        source = self._source(name)
        if schema.task is Task.BINARY:
            codes, wrong = columns.matches(source, schema.positive_label)
            return self._count(name, Reading(codes, wrong))
        if schema.task is Task.MULTICLASS:
            return self._count(name, columns.categorical(source))
        return self._count(name, columns.numeric(source))

    def cleaned(self) -> pa.Table:
        """The table with texts in place of columns of several types."""
        table = self._table
        for name in self._mixed:
            texts, _ = columns.texts(columns.source(table, name))
            field = pa.field(name, pa.string(), metadata=columns.SEVERAL_TYPES)
            table = table.set_column(table.column_names.index(name), field, texts)
        return table

    def warnings(self, schema: Schema, declared: tuple[Column, ...]) -> list[str]:
        texts = []
        if self._absent:
            texts.append(f"Columns not in the batch, all their values are missing: {_names(self._absent)}.")
        known = schema.reserved | {column.name for column in declared}
        carried = {*schema.segments, *schema.extra_columns, *schema.kept}
        undeclared = sorted(self.names - known - carried)
        if undeclared:
            texts.append(f"Columns ignored because the model does not declare them: {_names(undeclared)}.")
        return texts

    def _source(self, name: str) -> Any:
        return columns.source(self._table, name) if name in self._mixed else columns.plain(self._arrays[name])

    def _count(self, name: str, reading: Reading) -> Any:
        if reading.wrong is not None and reading.wrong.any():
            self.wrong.append(reading.wrong)
            self.invalid[name] = int(np.count_nonzero(reading.wrong))
        return reading.values


class _Rejection:
    """One reason a row: the first that was added."""

    def __init__(self, rows: int) -> None:
        self.counts: dict[str, int] = {}
        self._rows = rows
        self._bad: NDArray[np.bool_] | None = None

    def add(self, reason: str, *masks: NDArray[np.bool_]) -> None:
        for mask in masks:
            if not mask.any():
                continue
            fresh = mask if self._bad is None else mask & ~self._bad
            self._bad = mask.copy() if self._bad is None else self._bad | mask
            count = int(np.count_nonzero(fresh))
            if count:
                self.counts[reason] = self.counts.get(reason, 0) + count

    def rejected(self) -> NDArray[np.bool_]:
        """Which rows have a reason."""
        return np.zeros(self._rows, bool) if self._bad is None else self._bad

    def kept(self) -> NDArray[np.intp] | None:
        """Indices of the rows without a reason; None when that is all of them."""
        return None if self._bad is None else np.flatnonzero(~self._bad)


_YEAR_ONE = -62_135_596_800.0
_LIKELY_MILLISECONDS = 1e11


def _take(values: Any, indices: NDArray[np.intp]) -> Any:
    return values[indices] if isinstance(values, np.ndarray) else values.take(pa.array(indices))


def _null(array: pa.Array) -> NDArray[np.bool_]:
    if array.null_count == 0:
        return np.zeros(len(array), np.bool_)
    mask: NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    return mask


def _scores(reader: _Reader, schema: Schema) -> NDArray[np.float64] | None:
    if schema.score is None:
        return None
    if isinstance(schema.score, str):
        score: NDArray[np.float64] = reader.optional(schema.score, Kind.NUMERIC)
        return score
    return np.column_stack([reader.optional(name, Kind.NUMERIC) for _, name in schema.score])


def _outside(score: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    scores = [score] if score.ndim == 1 else list(score.T)
    return [(one < 0.0) | (one > 1.0) for one in scores]


def _require(table: pa.Table, names: list[str | None]) -> None:
    present = set(table.column_names)
    if len(present) < table.num_columns:
        twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        raise UnusableBatchError(
            f"Every column needs a name of its own, but these came twice: {_names(twice)}.",
            details=twice[:20],
        )
    lacking = [name for name in names if name is not None and name not in present]
    if lacking:
        raise UnusableBatchError(
            f"The batch needs the columns {_names(lacking)}, but has {_names(table.column_names) or 'none'}.",
            details=[{"column": name, "reason": "absent"} for name in lacking],
        )


def _unreadable(table: pa.Table) -> int:
    return int((table.schema.metadata or {}).get(columns.UNREADABLE_ROWS, b"0"))


def _hints(event_time: NDArray[np.float64], now: float, schema: Schema) -> list[str]:
    if now < _LIKELY_MILLISECONDS and len(event_time) and np.nanmin(event_time, initial=0) >= 0:
        largest = float(np.nanmax(event_time, initial=0))
        if _LIKELY_MILLISECONDS < largest < np.inf:
            return [f"Values of {schema.timestamp!r} look like milliseconds; Unix times are read as seconds."]
    return []


def _names(names: list[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def _unusable(received: int, rejected: Mapping[str, int], invalid: Mapping[str, int]) -> UnusableBatchError:
    if received == 0:
        return UnusableBatchError("The batch has no rows; expected at least one.")
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
    details: list[dict[str, Any]] = [{"reason": name, "rows": count} for name, count in rejected.items()]
    details += [{"column": name, "reason": "type", "rows": count} for name, count in invalid.items()]
    return UnusableBatchError(
        f"None of {received} rows is usable: {reasons}.", details=details, rejected=rejected, invalid=invalid
    )
