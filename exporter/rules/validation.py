"""Validation rules: what every value of one column must satisfy.

========  ==========================================================================================
min, max  the value, a number or a time, is at least or at most the argument. A date means its midnight
          in the model's time zone; a number compared with a time is Unix seconds
not_null  a value is there (null, NaN and, in numeric and datetime columns, blank texts are missing)
allowed   the value's canonical text is that of a listed one (1, 1.0 and "1" are the same)
regex     the RE2 expression matches somewhere in the canonical text (``^`` and ``$`` anchor it)
type      the value can be read as numeric, integer, boolean, datetime, categorical or embedding; `string`:
          it was pushed as text
unique    no earlier row of the same batch has the value: the ratio is distinct values to values. Batches
          are not compared with one another, so a value that comes again in a later batch is not seen
length    characters of the canonical text: a number, or {min, max}
========  ==========================================================================================

Missing values pass every rule but `not_null`. A value of another type than a rule needs fails it; when
no value of the column has that type, the rule itself has failed, and there is a reason instead of a
ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from functools import cached_property
from numbers import Real
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter.columns import (
    Reading,
    categorical,
    embedding,
    instants,
    numeric,
    read,
    text_of,
    truth,
)
from exporter.columns.source import Source
from exporter.errors import ExpressionError
from exporter.rules.expression import check_pattern
from exporter.schema import Kind

Mask: TypeAlias = NDArray[np.bool_]

TYPES = ("numeric", "integer", "string", "boolean", "datetime", "categorical", "embedding")


class UnreadableColumnError(Exception):
    """No value of the column has the type that a rule needs."""


class ColumnValues:
    """One pushed column under the readings that rules ask for, each made once.

    Parameters
    ----------
    source : pyarrow.Array or list
        As :func:`exporter.columns.source` gives it.
    kind : Kind or None
        As declared; None for a column that was not.
    zone : str
        Of times without one.
    """

    def __init__(self, source: Source, kind: Kind | None, zone: str = "UTC") -> None:
        self.source = source
        self.kind = kind
        self.zone = zone
        self.rows = len(source)

    @cached_property
    def null(self) -> Mask:
        """Rows whose value is null or NaN."""
        if isinstance(self.source, list):
            missing = (v is None or (isinstance(v, float) and math.isnan(v)) for v in self.source)
            return np.fromiter(missing, np.bool_, self.rows)
        null = self.source.is_null(nan_is_null=pa.types.is_floating(self.source.type))
        return np.asarray(null, dtype=np.bool_)

    @cached_property
    def missing(self) -> Mask:
        if self.kind is Kind.NUMERIC:
            return self._absent(self.numbers)
        if self.kind is Kind.DATETIME:
            return self._absent(self.times)
        return self.null

    @cached_property
    def numbers(self) -> Reading:
        return numeric(self.source)

    @cached_property
    def times(self) -> Reading:
        """Seconds since the Unix epoch."""
        return instants(self.source, self.zone)

    @cached_property
    def texts(self) -> Reading:
        """Canonical texts as dictionary and codes."""
        return read(self.source, Kind.BOOLEAN) if self.kind is Kind.BOOLEAN else categorical(self.source)

    @property
    def is_time(self) -> bool:
        if self.kind is not None or isinstance(self.source, list):
            return self.kind is Kind.DATETIME
        return bool(pa.types.is_timestamp(self.source.type) or pa.types.is_date(self.source.type))

    def judge(self, reading: Reading, passes: Callable[[Any], Mask], *, needs: str) -> Mask:
        """Return which rows pass: `passes` judges values; missing ones pass, unreadable ones do not."""
        wrong = reading.wrong
        null = self.null
        if wrong is not None and wrong.any() and wrong.sum() == np.count_nonzero(~null):
            raise UnreadableColumnError(f"no value is {needs}")
        passed = passes(reading.values) | null
        if wrong is not None:
            passed &= ~wrong
        return passed

    @staticmethod
    def _absent(reading: Reading) -> Mask:
        absent = np.isnan(reading.values)
        result: Mask = absent if reading.wrong is None else absent & ~reading.wrong
        return result


Check: TypeAlias = Callable[[ColumnValues], Mask]


def compile_rule(rule: str, argument: Any, zone: str = "UTC") -> Check | None:
    """Return the check of one rule, None when the argument switches it off (`not_null: false`).

    Raises
    ------
    ExpressionError
        The rule is unknown or cannot have this argument.
    """
    if rule not in _COMPILERS:
        raise ExpressionError(f"expected a rule out of {', '.join(_COMPILERS)}, got {rule!r}")
    if rule in ("not_null", "unique"):
        if not isinstance(argument, bool):
            raise ExpressionError(f"expected true or false, got {argument!r}")
        if not argument:
            return None
    return _COMPILERS[rule](argument, zone)


def _bound(compare: Callable[[NDArray[np.float64], float], Mask]) -> Callable[[Any, str], Check]:
    def compiled(argument: Any, zone: str) -> Check:
        seconds = _seconds(argument, zone)
        if seconds is not None:
            return lambda column: column.judge(
                column.times, lambda v: compare(v, seconds) | np.isnan(v), needs="a time"
            )
        if isinstance(argument, bool) or not isinstance(argument, Real) or math.isnan(argument):
            raise ExpressionError(f"expected a number or a time, got {argument!r}")
        bound = float(argument)

        def check(column: ColumnValues) -> Mask:
            reading, needs = (column.times, "a time") if column.is_time else (column.numbers, "a number")
            return column.judge(reading, lambda v: compare(v, bound) | np.isnan(v), needs=needs)

        return check

    return compiled


def _seconds(argument: Any, zone: str) -> float | None:
    """Return Unix seconds of a date, a datetime or an RFC 3339 text, None of anything else."""
    moment = argument
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
    return moment.timestamp()


def _not_null(_argument: Any, _zone: str) -> Check:
    return lambda column: ~column.missing


def _by_text(passes: Callable[[pa.StringArray], Any]) -> Check:
    """Return a check that looks at each distinct text once."""

    def over_codes(values: pa.DictionaryArray) -> Mask:
        entries = np.append(np.asarray(passes(values.dictionary), dtype=np.bool_), True)
        codes = values.indices.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False)
        result: Mask = entries[codes]
        return result

    return lambda column: column.judge(column.texts, over_codes, needs="a scalar")


def _allowed(argument: Any, _zone: str) -> Check:
    if isinstance(argument, (str, bytes, Mapping)) or not hasattr(argument, "__iter__"):
        raise ExpressionError(f"expected a list of values, got {argument!r}")
    listed = list(argument)
    if not listed or not all(isinstance(value, (str, bool, Real)) for value in listed):
        raise ExpressionError("expected a list of texts, numbers or booleans with at least one")
    allowed = pa.array(
        sorted({text for value in listed if (text := text_of(value)) is not None}), pa.string()
    )
    return _by_text(lambda texts: pc.is_in(texts, value_set=allowed))


def _regex(argument: Any, _zone: str) -> Check:
    if not isinstance(argument, str):
        raise ExpressionError(f"expected an RE2 regular expression, got {argument!r}")
    check_pattern(argument)
    return _by_text(lambda texts: pc.match_substring_regex(texts, argument))


def _length(argument: Any, _zone: str) -> Check:
    limits = argument if isinstance(argument, Mapping) else {"min": argument, "max": argument}
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in limits.values())
    if not limits or not set(limits) <= {"min", "max"} or not whole:
        raise ExpressionError(f"expected a number of characters or {{min, max}}, got {argument!r}")
    low, high = limits.get("min", 0), limits.get("max", 2**31 - 1)
    if low > high:
        raise ExpressionError(f"expected min to be at most max, got {low} and {high}")

    def passes(texts: pa.StringArray) -> Mask:
        lengths = np.asarray(pc.utf8_length(texts))
        within: Mask = (lengths >= low) & (lengths <= high)
        return within

    return _by_text(passes)


def _unique(_argument: Any, _zone: str) -> Check:
    def first(values: pa.DictionaryArray) -> Mask:
        codes = values.indices.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False)
        passed = np.zeros(len(codes), dtype=np.bool_)
        passed[np.unique(codes, return_index=True)[1]] = True
        return passed

    return lambda column: column.judge(column.texts, first, needs="a scalar")


def _type(argument: Any, _zone: str) -> Check:
    if argument not in TYPES:
        raise ExpressionError(f"expected a type out of {', '.join(TYPES)}, got {argument!r}")
    checks: dict[str, Check] = {
        "numeric": lambda column: _right(column, column.numbers.wrong),
        "integer": _integers,
        "string": _strings,
        "boolean": lambda column: _right(column, truth(column.source)[1]),
        "datetime": lambda column: _right(column, column.times.wrong),
        "categorical": lambda column: _right(column, categorical(column.source).wrong),
        "embedding": lambda column: _right(column, embedding(column.source).wrong),
    }
    return checks[str(argument)]


def _right(column: ColumnValues, wrong: Mask | None) -> Mask:
    return np.ones(column.rows, dtype=np.bool_) if wrong is None else ~wrong


def _integers(column: ColumnValues) -> Mask:
    values = column.numbers.values
    whole = np.isnan(values) | (np.isfinite(values) & (np.trunc(values) == values))
    result: Mask = whole & _right(column, column.numbers.wrong)
    return result


def _strings(column: ColumnValues) -> Mask:
    if isinstance(column.source, list):
        texts = np.fromiter((isinstance(value, str) for value in column.source), np.bool_, column.rows)
        return texts | column.null
    kind = column.source.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return np.ones(column.rows, dtype=np.bool_) if is_text else column.null.copy()


_COMPILERS: Mapping[str, Callable[[Any, str], Check]] = {
    "min": _bound(lambda values, bound: values >= bound),
    "max": _bound(lambda values, bound: values <= bound),
    "not_null": _not_null,
    "allowed": _allowed,
    "regex": _regex,
    "type": _type,
    "unique": _unique,
    "length": _length,
}
