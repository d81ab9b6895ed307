"""Rows of a table that repeat earlier ones."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_COLUMNS_TRIED = 4


def repeated_rows(table: pa.Table) -> NDArray[np.bool_] | None:
    """Whether each row equals an earlier one in all columns, (rows,); nulls are equal, and so are NaNs.

    None where rows cannot be compared: there is no column, or one of lists or other nested values.
    """
    if not table.num_columns:
        return None
    if _is_distinct(table):
        return np.zeros(table.num_rows, np.bool_)
    table = table.unify_dictionaries()
    names = [str(place) for place in range(table.num_columns)]
    position = pa.array(np.arange(table.num_rows))
    numbered = pa.table([*table.columns, position], names=[*names, "position"])
    try:
        groups = numbered.group_by(names, use_threads=False).aggregate([("position", "min")])
    except pa.ArrowNotImplementedError:
        return None
    repeated = np.ones(table.num_rows, np.bool_)
    repeated[groups["position_min"].to_numpy()] = False
    return repeated


def _is_distinct(table: pa.Table) -> bool:
    """Whether one of the first columns of floats has no value twice, so that no row can repeat another.

    Comparing all columns takes longer than all else that is done with a batch.
    """
    if any(pa.types.is_nested(field.type) for field in table.schema):
        return False  # the answer for such tables does not depend on their values
    floats = [place for place, field in enumerate(table.schema) if pa.types.is_float64(field.type)]
    for place in floats[:_COLUMNS_TRIED]:
        column = table.column(place)
        if not column.null_count:
            values = np.sort(column.to_numpy())
            if (values[1:] > values[:-1]).all():  # false beside NaN
                return True
    return False
