"""Texts, categories and truth values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exporter.columns.numbers import floats
from exporter.columns.source import MISSING, Mask, Reading, Source, all_wrong, codes_of, plain
from exporter.errors import TooLargeError

MAXIMUM_TEXT_BYTES = 1 << 30

_WRONG = -2
_TRUTH = {"true": 1, "1": 1, "1.0": 1, "false": 0, "0": 0, "0.0": 0}
_EXACT = 2.0**53


def canonical_text(array: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """Ids, classes and categories as text.

    Strings as they are; "true" and "false"; integers and floats without a fraction as digits ("1", never
    "1.0" or "1e+16" below 2**53); decimals without trailing zeros; dates and times as Arrow prints them. Null
    and NaN are null. Equal values of different number types have equal texts.

    Raises
    ------
    TooLargeError
        A dictionary would expand to more than 1 GiB of text.
    ArrowInvalid, ArrowNotImplementedError
        The type has no text (lists, structs, bytes that are not UTF-8).
    """
    array = plain(array)
    kind = array.type
    if pa.types.is_string(kind):
        return array
    if pa.types.is_dictionary(kind):
        return _expand(array)
    if pa.types.is_floating(kind):
        return _float_text(array)
    if pa.types.is_decimal(kind):
        text = array.cast(pa.string())
        fraction = pc.match_substring(text, ".")
        return pc.if_else(fraction, pc.replace_substring_regex(text, r"\.?0+$", ""), text)
    return array.cast(pa.string())


def _expand(array: pa.DictionaryArray) -> pa.StringArray:
    entries = canonical_text(array.dictionary)
    lengths = floats(pc.binary_length(entries))
    if float(np.nansum(np.append(lengths, 0)[codes_of(array)])) > MAXIMUM_TEXT_BYTES:
        raise TooLargeError(f"A dictionary column expands to more than {MAXIMUM_TEXT_BYTES} bytes of text.")
    return entries.take(array.indices)


def _float_text(array: pa.Array) -> pa.StringArray:
    values = floats(array)
    whole = (np.floor(values) == values) & (np.abs(values) <= _EXACT)
    digits = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
    if whole.all():
        return digits
    text = pc.if_else(pa.array(whole), digits, array.cast(pa.string()))
    return pc.if_else(pa.array(np.isnan(values)), pa.scalar(None, pa.string()), text)


def text_of(value: Any) -> str | None:
    """The canonical text of one Python value; None when it is missing (None, NaN)."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text: str | None = canonical_text(pa.array([value]))[0].as_py()
    return text


def texts(column: Source) -> tuple[pa.StringArray, Mask | None]:
    """A column's canonical texts, and which values have none because of their type."""
    if isinstance(column, list):
        wrong = np.fromiter((isinstance(value, (list, dict)) for value in column), np.bool_, len(column))
        scalars = [None if bad else text_of(value) for value, bad in zip(column, wrong, strict=True)]
        return pa.array(scalars, pa.string()), wrong if wrong.any() else None
    try:
        return canonical_text(column), None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(column), pa.string()), all_wrong(column).wrong


def inexact(column: Source) -> Mask | None:
    """Which floats are so large that several integers have the same text; None when none is."""
    if isinstance(column, list):
        mask = np.fromiter((isinstance(v, float) and abs(v) > _EXACT for v in column), np.bool_, len(column))
    elif pa.types.is_floating(column.type):
        mask = np.abs(floats(column)) > _EXACT
    else:
        return None
    return mask if mask.any() else None


def categorical(column: Source) -> Reading:
    """A dictionary of distinct canonical texts with int32 codes; dictionary columns are not decoded."""
    if isinstance(column, list):
        values, wrong = texts(column)
        return Reading(values.dictionary_encode(), wrong)
    try:
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        entries = canonical_text(encoded.dictionary)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        nothing = pa.nulls(len(column), pa.string()).dictionary_encode()
        return Reading(nothing, all_wrong(column).wrong)
    same = entries is encoded.dictionary or entries.equals(encoded.dictionary)
    if same and not pa.types.is_dictionary(column.type):
        return Reading(encoded)
    distinct = entries.dictionary_encode()
    if len(distinct.dictionary) < len(entries):  # nulls, or values with one text
        codes = np.append(codes_of(distinct), np.int32(MISSING))[codes_of(encoded)]
        return Reading(dictionary(codes, distinct.dictionary))
    if same and encoded.type.index_type == pa.int32():
        return Reading(encoded)
    return Reading(dictionary(codes_of(encoded), entries))


def dictionary(codes: NDArray[Any], entries: pa.StringArray) -> pa.DictionaryArray:
    """A dictionary column from codes, negative = null."""
    codes = codes.astype(np.int32, copy=False)
    absent = codes < 0
    indices = pa.array(codes, mask=absent) if absent.any() else pa.array(codes)
    return pa.DictionaryArray.from_arrays(indices, entries)


def truth(column: Source) -> tuple[NDArray[np.int8], Mask | None]:
    """1 true, 0 false, -1 missing or wrong; and which values are neither."""
    if not isinstance(column, list) and pa.types.is_boolean(column.type):
        return column.cast(pa.int8()).fill_null(MISSING).to_numpy(), None
    reading = categorical(column)
    entries = [_TRUTH.get(text.lower(), _WRONG) for text in reading.values.dictionary.to_pylist()]
    codes = np.array([*entries, MISSING], dtype=np.int8)[codes_of(reading.values)]
    wrong = codes == _WRONG
    if reading.wrong is not None:
        wrong |= reading.wrong
    return np.maximum(codes, np.int8(MISSING)), wrong if wrong.any() else None


def matches(column: Source, positive: Any) -> tuple[NDArray[np.int8], Mask | None]:
    """1 where a value is `positive`, 0 where it is something else, -1 missing; and wrong values.

    When `positive` is true, false, 1 or 0, or one of their texts, then values must be boolean in that sense
    and 1, 1.0, "1", true and "true" are the same. Otherwise canonical texts are compared.
    """
    text = text_of(positive)
    if text is not None and text.lower() in _TRUTH:
        codes, wrong = truth(column)
        if not _TRUTH[text.lower()]:
            codes = np.where(codes < 0, codes, 1 - codes).astype(np.int8)
        return codes, wrong
    reading = categorical(column)
    entries = [int(entry == text) for entry in reading.values.dictionary.to_pylist()]
    return np.array([*entries, MISSING], dtype=np.int8)[codes_of(reading.values)], reading.wrong
