"""Labels by slot in lazily allocated blocks of the narrowest type that fits, and labels held for later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.store.runs import HashRuns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BLOCK_BITS = 16
"""A block holds the labels of 65,536 neighbouring slots."""

_LADDER = (np.dtype(np.int8), np.dtype(np.int32), np.dtype(np.float64))


def _absent(dtype: np.dtype[Any]) -> float:
    """What stands for "no label" in a block."""
    return float("nan") if dtype.kind == "f" else int(np.iinfo(dtype).min)


def narrowest(values: NDArray[np.float64]) -> np.dtype[Any]:
    """The narrowest of int8, int32 and float64 that holds the values exactly beside its own "no label"."""
    known = values[~np.isnan(values)]
    if not len(known):
        return _LADDER[0]
    for dtype in _LADDER[:2]:
        limits = np.iinfo(dtype)
        if (known > limits.min).all() and (known <= limits.max).all() and (known == np.floor(known)).all():
            return dtype
    return _LADDER[2]


class LabelBlocks:
    """A sparse float64 array over slots; NaN where there is no label.

    A block takes one byte a slot for labels such as 0 and 1, four for other integers up to 2**31, else eight.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, NDArray[Any]] = {}

    @property
    def nbytes(self) -> int:
        return sum(block.nbytes for block in self._blocks.values())

    def get(self, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """Labels of the slots, (n,); NaN where there is none."""
        found = np.full(len(slots), np.nan)
        if not self._blocks:
            return found
        for number, positions in _by_block(slots):
            block = self._blocks.get(number)
            if block is not None:
                values = block[slots[positions] & ((1 << BLOCK_BITS) - 1)]
                known = values.astype(np.float64)
                if values.dtype.kind != "f":
                    known[values == _absent(values.dtype)] = np.nan
                found[positions] = known
        return found

    def set(self, slots: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Set labels; NaN takes one back. Of a slot that is named twice the last counts."""
        for number, positions in _by_block(slots):
            new = values[positions]
            block = self._fitting(number, narrowest(new))
            if block is not None:
                stored = np.where(np.isnan(new), _absent(block.dtype), new).astype(block.dtype)
                block[slots[positions] & ((1 << BLOCK_BITS) - 1)] = stored

    def _fitting(self, number: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The block, made or widened to hold `dtype`."""
        block = self._blocks.get(number)
        if block is None:
            block = np.full(1 << BLOCK_BITS, _absent(dtype), dtype=dtype)
        elif _LADDER.index(dtype) > _LADDER.index(block.dtype):
            wider = block.astype(dtype)
            if block.dtype.kind != "f":
                wider[block == _absent(block.dtype)] = _absent(dtype)
            block = wider
        self._blocks[number] = block
        return block

    def retain(self, ranges: NDArray[np.int64]) -> None:
        """Drop the blocks outside of all ranges of slots; `ranges` is (n, 2), first and past the last."""
        first = ranges[:, 0] >> BLOCK_BITS
        last = (ranges[:, 1] - 1) >> BLOCK_BITS
        numbers = np.array(sorted(self._blocks), dtype=np.int64)
        order = np.argsort(first)
        first, reach = first[order], np.maximum.accumulate(last[order])
        at = np.searchsorted(first, numbers, side="right") - 1
        alive = (
            (at >= 0) & (reach[np.maximum(at, 0)] >= numbers) if len(first) else np.zeros(len(numbers), bool)
        )
        for number in numbers[~alive].tolist():
            del self._blocks[number]


def _by_block(slots: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    numbers = slots >> BLOCK_BITS
    if len(numbers) and numbers.max() - numbers.min() < 1 << 16:
        order = np.argsort((numbers - numbers.min()).astype(np.uint16), kind="stable")  # a radix sort
    else:
        order = np.argsort(numbers, kind="stable")
    ascending = numbers[order]
    starts = np.flatnonzero(np.diff(ascending, prepend=-1))
    if len(slots):
        yield from zip(ascending[starts].tolist(), np.split(order, starts[1:]), strict=True)


class HeldLabels:
    """Labels that came before their prediction, by hash; about 30 bytes each."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._runs = HashRuns()
        self._hashes = np.empty(0, np.uint64)
        self._values = np.empty(0, np.float64)
        self._arrivals = np.empty(0, np.float64)
        self._size = 0
        self._alive = 0

    def __len__(self) -> int:
        return self._alive

    @property
    def nbytes(self) -> int:
        return self._runs.nbytes + self._hashes.nbytes + self._values.nbytes + self._arrivals.nbytes

    def hold(
        self, hashes: NDArray[np.uint64], values: NDArray[np.float64], arrival: float | NDArray[np.float64]
    ) -> None:
        """Hold labels; a held label of the same hash is replaced. The hashes are distinct."""
        self.take(hashes)
        known = ~np.isnan(values)
        hashes, values = hashes[known], values[known]
        arrivals = np.broadcast_to(np.asarray(arrival, np.float64), known.shape)[known]
        end = self._size + len(hashes)
        if end > len(self._values):
            room = max(end, 2 * len(self._values)) - self._size
            self._hashes = np.concatenate((self._hashes[: self._size], np.empty(room, np.uint64)))
            self._values = np.concatenate((self._values[: self._size], np.empty(room, np.float64)))
            self._arrivals = np.concatenate((self._arrivals[: self._size], np.empty(room, np.float64)))
        place = slice(self._size, end)
        self._hashes[place], self._values[place], self._arrivals[place] = hashes, values, arrivals
        self._runs.add(hashes, self._size)
        self._size = end
        self._alive += len(hashes)

    def look(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """(position in `hashes`, place) of the labels that are held."""
        if not self._alive:
            return np.empty(0, np.intp), np.empty(0, np.int64)
        query, place = self._runs.find(hashes)
        held = ~np.isnan(self._values[place])
        return query[held], place[held]

    def values(self, hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Held labels, (n,); NaN where none is held."""
        query, place = self.look(hashes)
        values = np.full(len(hashes), np.nan)
        values[query] = self._values[place]
        return values

    def take(
        self, hashes: NDArray[np.uint64]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
        """(position in `hashes`, value, arrival) of the labels that are held; they are held no longer."""
        query, place = self.look(hashes)
        taken = query, self._values[place], self._arrivals[place]
        self._drop(place)
        return taken

    def expire(self, before: float) -> int:
        """Drop labels that arrived before an instant in unix seconds; how many."""
        stale = (self._arrivals[: self._size] < before) & ~np.isnan(self._values[: self._size])
        dropped = int(np.count_nonzero(stale))
        self._drop(np.flatnonzero(stale))
        return dropped

    def _drop(self, places: NDArray[np.int64]) -> None:
        if not len(places):
            return
        self._values[places] = np.nan
        self._alive = int(self._alive - len(np.unique(places)))
        if self._size > 1024 and self._alive < self._size // 2:
            kept = np.flatnonzero(~np.isnan(self._values[: self._size]))
            hashes, values, arrivals = self._hashes[kept], self._values[kept], self._arrivals[kept]
            self._clear()
            self._hashes, self._values, self._arrivals = hashes, values, arrivals
            self._size = self._alive = len(hashes)
            self._runs.add(hashes, 0)
