"""Rows of a table that repeat earlier ones."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def repeated_rows(table: pa.Table) -> NDArray[np.bool_] | None:
    """Whether each row equals an earlier one in all columns, (rows,); nulls are equal, and so are NaNs.

    None where rows cannot be compared: there is no column, or one of lists or other nested values.
    """
    if not table.num_columns:
        return None
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
