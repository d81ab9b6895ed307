"""Vectors of an embedding column: what a grid fixes of them, and counting them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from exporter.profiles.multivariate.fitting import COMPONENT_SHARE, LEAST_ROWS, SEED, fingerprint
from exporter.profiles.multivariate.frequencies import (
    FEATURES,
    FREQUENCIES,
    add_waves,
    median_distance,
    trace_ratios,
    waves,
)
from exporter.profiles.multivariate.grid import LARGEST_ELEMENT, EmbeddingGrid, Founding, Waves

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SIZE = 4_096
"""Longer vectors are profiled by their norm only."""

STEPS_PER_DEVIATION = 32
"""Steps in the root mean square of the elements' deviations from the center."""

COMPONENTS = 16
COMPONENT_ROWS, WAVE_ROWS, BANDWIDTH_ROWS, CENTER_ROWS = 1_024, 4_096, 1_000, 10_000
CHUNK_VALUES = 1 << 19
MOST_CHUNK = 4_096


def fit_embedding(vectors: NDArray[np.floating]) -> EmbeddingGrid | None:
    """Fix how the vectors of a column (n, size) are counted; None with fewer than 60, or too long ones."""
    size = vectors.shape[1]
    known = np.flatnonzero(np.isfinite(squared_norms(vectors)))
    if len(known) < LEAST_ROWS or not 0 < size <= MOST_SIZE:
        return None
    sample = vectors[known[_spread(len(known), CENTER_ROWS)]]
    center = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    square = sum(float(np.square(np.subtract(row, center, dtype=np.float64)).sum()) for row in sample)
    deviation = math.sqrt(square / sample.size)
    if not 0 < deviation < np.inf:
        return None
    draft = EmbeddingGrid(
        size=size,
        center=center,
        step=deviation / STEPS_PER_DEVIATION,
        waves=Waves(SEED, 1.0, 1.0, 1.0),
        components=np.zeros((0, size), np.float32),
        length=1.0,
        founding=Founding("", 0, 0.0, 0.0),
    )
    fitting = known[_spread(len(known), min(COMPONENT_ROWS, len(known) // COMPONENT_SHARE))]
    chosen = steps(draft, vectors[fitting])
    rows = steps(draft, vectors[known[_spread(len(known), WAVE_ROWS)]])
    length = float(np.einsum("ij,ij->", rows, rows, dtype=np.float64)) / len(rows)
    bandwidth = round(median_distance(rows[_spread(len(rows), BANDWIDTH_ROWS)].astype(np.float64)), 6)
    draft = replace(
        draft,
        components=leading_components(chosen),
        length=max(length, 1.0),
        waves=Waves(SEED, bandwidth, 1.0, 1.0),
    )
    matrix, turn = draft.frequencies
    ratios = trace_ratios(waves(matrix @ rows.T, turn))
    draft = replace(draft, waves=Waves(SEED, bandwidth, *ratios))
    whole, part = count_embedding(draft, vectors), count_embedding(draft, vectors[fitting])
    held_out = (whole - part)[-2:].tolist()
    founding = Founding(fingerprint(whole[: 1 + FEATURES]), int(whole[0] - part[0]), *held_out)
    return replace(draft, founding=founding)


def leading_components(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most 16 orthonormal leading components of rows (n, size), rounded to half precision."""
    count = min(COMPONENTS, len(rows) // 2, rows.shape[1] - 1)
    if count < 1:
        return np.zeros((0, rows.shape[1]), np.float32)
    if len(rows) < rows.shape[1]:
        _, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
        directions = rows.T.astype(np.float64) @ vectors[:, -count:]
    else:
        _, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64))
        directions = vectors[:, -count:]
    lengths = np.maximum(np.linalg.norm(directions, axis=0), 1e-12)
    components: NDArray[np.float32] = (directions / lengths).T[::-1].astype(np.float16).astype(np.float32)
    return components


def squared_norms(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """The squared length of each vector, (n,); NaN where an element is missing."""
    norms: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return norms


def steps(grid: EmbeddingGrid, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors in whole steps from the center, (n, size)."""
    with np.errstate(over="ignore", invalid="ignore"):
        rows: NDArray[np.float32] = np.subtract(vectors, grid.center, dtype=np.float32)
        np.multiply(rows, np.float32(1 / grid.step), out=rows)
    np.clip(rows, -LARGEST_ELEMENT, LARGEST_ELEMENT, out=rows)
    np.rint(rows, out=rows)
    return rows


def count_embedding(
    grid: EmbeddingGrid, vectors: NDArray[np.floating], known: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """What vectors (n, size) add up to, (grid.sums,).

    Parameters
    ----------
    known : bool (n,), optional
        Rows whose elements are all finite; looked for where it is not given.
    """
    if known is None:
        known = np.isfinite(squared_norms(vectors))
    features, errors = np.zeros(FEATURES), np.zeros(2)
    total = int(np.count_nonzero(known))
    if vectors.shape[1] != grid.size:
        return np.zeros(grid.sums)
    chunk = min(max(CHUNK_VALUES // grid.size, 64), MOST_CHUNK)
    turn = grid.frequencies[1]
    for start in range(0, len(vectors), chunk):
        chosen = known[start : start + chunk]
        part = vectors[start : start + chunk]
        rows = steps(grid, part if chosen.all() else part[chosen])
        if not len(rows):
            continue
        products = grid.projection @ rows.T
        lengths = np.einsum("ij,ij->i", rows, rows)
        explained = products[FREQUENCIES:]
        error = lengths.astype(np.float64) - np.einsum("ij,ij->j", explained, explained)
        error /= grid.length
        errors += error.sum(), error.dot(error)
        ones = np.ones(len(rows), np.float32)
        add_waves(products[:FREQUENCIES], turn, features, np.empty_like(products[:FREQUENCIES]), ones)
    return np.concatenate(([total], features, errors))


def _spread(rows: int, most: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.intp))
