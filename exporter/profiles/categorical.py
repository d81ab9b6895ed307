"""Counting a categorical column: the grid's categories one by one, new ones by name up to a cap.

Which new names are kept is decided by a keyed hash of the name: the `cap` names with the lowest hashes. A
name that is among them in a merge was among them in every part, so the kept counts are exact and the order of
merges does not matter. All other rows count as "other", and the largest kept hash tells how many names there
were.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from exporter.profiles.grid import CategoricalGrid
    from exporter.profiles.vectors import Counter

NAME_LENGTH = 200
"""Longer names are cut, and told apart by a digest."""

PYTHON_DICTIONARY = 512
"""Dictionaries up to this size are looked up in Python, larger ones by Arrow."""

Novel = dict[str, int]
"""Names of new categories and their rows. A count of 0 stays: its name still holds a place under the cap."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class CategoricalColumn:
    """One categorical column of a profile.

    Attributes
    ----------
    grid : CategoricalGrid
    counts : int64 (categories,)
        Rows of each of the grid's categories.
    novel : Mapping[str, int]
        Rows of the other values that were kept by name, exact; most frequent first.
    other : int
        Rows of values that were not kept by name.
    missing, n : int
        Rows without and with a value.
    distinct : int
        Different values seen: exact while `other` is 0, then the bottom-k estimate (Bar-Yossef et al., 2002,
        doi:10.1007/3-540-45726-7_1), 7 % off (one standard error) at a cap of 200.
    """

    grid: CategoricalGrid
    counts: NDArray[np.int64]
    novel: Mapping[str, int]
    other: int
    missing: int
    n: int
    distinct: int


def canonical_name(value: str) -> str:
    """The name under which a category is counted."""
    if len(value) <= NAME_LENGTH:
        return value
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{value[: NAME_LENGTH - 20]}...{digest}"


def name_hashes(names: Sequence[str], key: str) -> NDArray[np.uint64]:
    """The keyed 64-bit hashes (SipHash) that decide which names are kept, (names,)."""
    objects = np.empty(len(names), object)
    objects[:] = names
    return hash_array(objects, hash_key=key, categorize=False)


def keep_lowest(novel: Novel, cap: int, key: str) -> Novel:
    """The `cap` names with the lowest hashes."""
    if len(novel) <= cap:
        return novel
    names = list(novel)
    kept = np.argsort(name_hashes(names, key), kind="stable")[:cap]
    return {names[place]: novel[names[place]] for place in kept.tolist()}


def add_novel(into: Novel, other: Mapping[str, int], cap: int, key: str) -> Novel:
    """Both together, under the cap; `into` may be changed."""
    for name, rows in other.items():
        into[name] = into.get(name, 0) + rows
    return keep_lowest(into, cap, key)


def read_column(
    grid: CategoricalGrid, counts: NDArray[np.int64], novel: Mapping[str, int], cap: int, key: str
) -> CategoricalColumn:
    """A column from its place in the counts, and its new names."""
    kept = {name: rows for name, rows in sorted(novel.items(), key=lambda item: (-item[1], item[0])) if rows}
    other = int(counts[-2]) - sum(kept.values())
    names = len(kept)
    if other > 0 and len(novel) >= cap > 1:
        names = round((cap - 1) * 2.0**64 / float(name_hashes(list(novel), key).max()))
    return CategoricalColumn(
        grid=grid,
        counts=counts[:-2],
        novel=kept,
        other=other,
        missing=int(counts[-1]),
        n=int(counts[:-1].sum()),
        distinct=int(np.count_nonzero(counts[:-2])) + names,
    )


def dictionary_codes(column: pa.DictionaryArray) -> NDArray[np.integer[Any]]:
    """Places in the dictionary, -1 where null; integers of the array's own width, (n,)."""
    indices = column.indices
    if indices.null_count:
        indices = pc.fill_null(indices, -1)
    codes: NDArray[np.integer[Any]] = indices.to_numpy(zero_copy_only=False)
    return codes


def grid_codes(
    names: Iterable[str | None], codes: Mapping[str, int], other: int, missing: int
) -> NDArray[np.int64]:
    """Each name's code; `other` where it has none, `missing` where it is None."""
    names = list(names)
    found = list(map(codes.get, names))  # type: ignore[arg-type]  # None is no key, so nothing is found
    if None in found:
        for place, name in enumerate(names):
            if name is None:
                found[place] = missing
            elif found[place] is None:
                found[place] = codes.get(canonical_name(name), other)
    return np.array(found, np.int64)


def count_categorical(
    grid: CategoricalGrid, column: pa.DictionaryArray, start: int, counter: Counter, *, cap: int, key: str
) -> Novel:
    """Count a column of n rows into the cells from `start` on; returns the new names."""
    rows = dictionary_codes(column)
    size = len(column.dictionary)
    other, missing = len(grid.categories), len(grid.categories) + 1
    if size > PYTHON_DICTIONARY:
        return _count_large(grid, column.dictionary, rows, start, counter, cap=cap, key=key)
    names = column.dictionary.to_pylist()
    codes = grid_codes(names, grid.codes, other, missing)
    codes = np.append(codes, missing)  # code -1, a null, reads the last
    if len(rows) <= 2 * grid.width:
        counter.cells(codes[rows] + start)
        if not (codes == other).any():
            return {}
    used = _uses(column, rows, size)
    if len(rows) > 2 * grid.width:
        counts = np.zeros(grid.width, np.int64)
        np.add.at(counts, codes, used)
        counter.block(start, counts)
    novel: Novel = {}
    for place in np.flatnonzero(codes[:-1] == other).tolist():
        if used[place]:
            name = canonical_name(names[place])
            novel[name] = novel.get(name, 0) + int(used[place])
    return keep_lowest(novel, cap, key)


def _uses(column: pa.DictionaryArray, rows: NDArray[np.integer[Any]], size: int) -> NDArray[np.int64]:
    """Rows of each place of the dictionary, and of null at the end, (size + 1,)."""
    if column.indices.null_count:
        rows = np.where(rows < 0, size, rows)
    return np.bincount(rows, minlength=size + 1)


def _count_large(
    grid: CategoricalGrid,
    dictionary: pa.Array,
    rows: NDArray[np.integer[Any]],
    start: int,
    counter: Counter,
    *,
    cap: int,
    key: str,
) -> Novel:
    """A column whose dictionary is too large to be walked name by name where the names are known."""
    used = np.bincount(rows + 1, minlength=len(dictionary) + 1)
    nulls, used = used[0], used[1:]
    known = pc.index_in(dictionary, value_set=pa.array(grid.categories, pa.string()))
    codes = pc.fill_null(known, len(grid.categories)).to_numpy(zero_copy_only=False).astype(np.int64)
    codes[dictionary.is_null().to_numpy(zero_copy_only=False)] = len(grid.categories) + 1
    fresh = np.flatnonzero((codes == len(grid.categories)) & (used > 0))
    names = [canonical_name(name) for name in dictionary.take(pa.array(fresh)).to_pylist()]
    if len(names) > cap:
        kept = _lowest_places(names, cap, key)
        long = [place for place, name in enumerate(names) if name in grid.codes]
        kept = np.union1d(kept, np.array(long, np.intp))
        fresh, names = fresh[kept], [names[place] for place in kept.tolist()]
    novel: Novel = {}
    for place, name in zip(fresh.tolist(), names, strict=True):
        code = grid.codes.get(name)
        if code is not None:
            codes[place] = code  # a long name that the grid knows by its digest
        else:
            novel[name] = novel.get(name, 0) + int(used[place])
    counts = np.zeros(grid.width, np.int64)
    np.add.at(counts, codes, used)
    counts[-1] += nulls
    counter.block(start, counts)
    return keep_lowest(novel, cap, key)


def _lowest_places(names: Sequence[str], cap: int, key: str) -> NDArray[np.intp]:
    """Places of all names whose hash is among the `cap` lowest; a name may stand there twice."""
    hashes = name_hashes(names, key)
    distinct = np.unique(hashes)
    return np.flatnonzero(hashes <= distinct[min(cap, len(distinct)) - 1])
