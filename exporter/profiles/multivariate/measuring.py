"""Measuring a batch on a grid's multivariate part, in pieces that threads may share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from exporter.profiles.multivariate.counting import Rows
from exporter.profiles.multivariate.embedding import count_embedding
from exporter.profiles.multivariate.sums import MULTIVARIATE, embedding_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporter.batch import Batch
    from exporter.profiles.grid import Grid

PIECE_ROWS = 65_536
"""Rows that one thread takes at a time."""

PIECE_VALUES = 1 << 22
"""Elements of vectors that one thread takes at a time."""


class Measuring:
    """The sums of one batch: made by its `pieces`, in any order and by any thread, then read by `totals`."""

    def __init__(self, grid: Grid, batch: Batch) -> None:
        multivariate, features, rows = grid.multivariate, batch.features, batch.rows
        self.pieces: list[Callable[[], None]] = []
        self._made: dict[tuple[str, ...], list[NDArray[np.float64] | None]] = {}
        if multivariate is not None and rows:
            seen = Rows(multivariate, features, rows)
            self._add(MULTIVARIATE, [partial(seen.count, *piece) for piece in seen.pieces(PIECE_ROWS)])
        for name, of_column in grid.embeddings.items():
            vectors = features.get(name)
            if isinstance(vectors, np.ndarray) and vectors.ndim == 2 and vectors.shape[1] == of_column.size:
                at_once = max(PIECE_VALUES // of_column.size, 1)
                self._add(
                    embedding_key(name),
                    [
                        partial(count_embedding, of_column, vectors[start : start + at_once])
                        for start in range(0, rows, at_once)
                    ],
                )

    def _add(self, key: tuple[str, ...], makes: list[Callable[[], NDArray[np.float64]]]) -> None:
        made: list[NDArray[np.float64] | None] = [None] * len(makes)
        self._made[key] = made

        def do(place: int, make: Callable[[], NDArray[np.float64]]) -> None:
            made[place] = make()

        self.pieces += [partial(do, place, make) for place, make in enumerate(makes)]

    def totals(self) -> dict[tuple[str, ...], NDArray[np.float64]]:
        """The sums by name; the same whichever thread did what."""
        return {
            key: np.sum([vector for vector in made if vector is not None], axis=0)
            for key, made in self._made.items()
        }
