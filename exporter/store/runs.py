"""Sorted runs of 64-bit hashes, merged geometrically: a multimap from hash to ordinal, 12 bytes an entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

LARGEST_RUN = 1 << 22
"""Entries; runs stop growing here, so that no single merge takes longer than some 0.3 s."""

ORDINAL_SPAN = 1 << 32
"""Ordinals of one run lie within this many of each other: they are kept in 32 bits from the run's base."""


@dataclass(frozen=True, slots=True)
class Run:
    """Ascending hashes, uint64 (n,), and the ordinals they stand for, uint32 (n,) counted from `base`."""

    hashes: NDArray[np.uint64]
    offsets: NDArray[np.uint32]
    base: int

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def nbytes(self) -> int:
        return self.hashes.nbytes + self.offsets.nbytes

    @property
    def newest(self) -> int:
        return self.base + int(self.offsets.max())

    def ordinals(self, positions: NDArray[np.intp] | slice) -> NDArray[np.int64]:
        return self.offsets[positions].astype(np.int64) + self.base

    def merge(self, other: Run) -> Run:
        """Both runs in one; needs room for both and the result."""
        size = len(self) + len(other)
        at = np.searchsorted(self.hashes, other.hashes, side="right") + np.arange(len(other))
        mine = np.ones(size, dtype=bool)
        mine[at] = False
        base = min(self.base, other.base)
        hashes, offsets = np.empty(size, np.uint64), np.empty(size, np.uint32)
        hashes[at], hashes[mine] = other.hashes, self.hashes
        offsets[at] = other.offsets + np.uint32(other.base - base)
        offsets[mine] = self.offsets + np.uint32(self.base - base)
        return Run(hashes, offsets, base)

    def find(self, ascending: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Every pair of equal hashes, as (position in `ascending`, ordinal); looks the shorter side up."""
        start = np.searchsorted(self.hashes, ascending[0])
        end = np.searchsorted(self.hashes, ascending[-1], side="right")
        mine = self.hashes[start:end]
        if not len(mine):
            return np.empty(0, np.intp), np.empty(0, np.int64)
        if len(ascending) <= len(mine):
            query, position = _equal_pairs(ascending, mine)
        else:
            position, query = _equal_pairs(mine, ascending)
        return query, self.ordinals(position + start)


def _equal_pairs(
    needles: NDArray[np.uint64], haystack: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of all pairs of equal values; both arrays ascend and may repeat values."""
    at = np.searchsorted(haystack, needles)
    last = len(haystack) - 1
    hit = np.flatnonzero((haystack[np.minimum(at, last)] == needles) & (at <= last))
    at = at[hit]
    needle_parts, haystack_parts = [hit], [at]
    while len(hit):  # values that the haystack holds more than once
        at = at + 1
        more = (at <= last) & (haystack[np.minimum(at, last)] == needles[hit])
        hit, at = hit[more], at[more]
        needle_parts.append(hit)
        haystack_parts.append(at)
    return np.concatenate(needle_parts), np.concatenate(haystack_parts)


class HashRuns:
    """A multimap from hash to ordinal that is only added to, searched and thinned.

    Adding keeps each run more than twice as long as the next one, so there are O(log n) runs and each entry
    is merged O(log n) times.
    """

    def __init__(self, largest_run: int = LARGEST_RUN) -> None:
        self._runs: list[Run] = []
        self._largest_run = largest_run

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    @property
    def nbytes(self) -> int:
        return sum(run.nbytes for run in self._runs)

    @property
    def run_lengths(self) -> list[int]:
        return [len(run) for run in self._runs]

    def add(self, hashes: NDArray[np.uint64], first: int) -> None:
        """Add hashes whose ordinals count up from `first`."""
        if not len(hashes):
            return
        order = np.argsort(hashes)
        self._runs.append(Run(hashes[order], order.astype(np.uint32), first))
        while len(self._runs) > 1 and self._mergeable(*self._runs[-2:]):
            newer, older = self._runs.pop(), self._runs.pop()
            self._runs.append(older.merge(newer))

    def _mergeable(self, older: Run, newer: Run) -> bool:
        return (
            len(older) <= 2 * len(newer)
            and len(older) + len(newer) <= self._largest_run
            and max(older.newest, newer.newest) - min(older.base, newer.base) < ORDINAL_SPAN
        )

    def pairs(self, ascending: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64]]]:
        """Every entry of each of some ascending hashes, as (position, ordinal), one run after the other."""
        if len(ascending):
            yield from (run.find(ascending) for run in self._runs)

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Every entry of each hash, as (position in `hashes`, ordinal), ascending in both."""
        order = np.argsort(hashes)
        found = list(self.pairs(hashes[order]))
        if not found:
            return np.empty(0, np.intp), np.empty(0, np.int64)
        query = order[np.concatenate([query for query, _ in found])]
        ordinal = np.concatenate([ordinal for _, ordinal in found])
        by_query = np.argsort(query)
        ascending = query[by_query]
        if (ascending[1:] == ascending[:-1]).any():  # several versions of one id, oldest first
            by_query = np.lexsort((ordinal, query))
        return query[by_query], ordinal[by_query]

    def retain(self, alive: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> None:
        """Keep the entries whose ordinals are alive."""
        kept = []
        for run in self._runs:
            ordinals = run.ordinals(slice(None))
            keep = alive(ordinals)
            if keep.all():
                kept.append(run)
            elif keep.any():
                ordinals = ordinals[keep]
                base = int(ordinals.min())
                kept.append(Run(run.hashes[keep], (ordinals - base).astype(np.uint32), base))
        self._runs = kept
