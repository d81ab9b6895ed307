"""Rows and outcomes to profile deltas by version, segment and bucket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.batch import Batch, Outcomes
from exporter.profiles import (
    NO_METERS,
    CategoricalGrid,
    Grid,
    Meters,
    Profile,
    profile_outcomes,
    profile_rows,
)
from exporter.service.ingestion.payload import MAX_VALUE_CHARACTERS, segment_key
from exporter.store import Delta
from exporter.windows import bucket_starts


class SegmentValues:
    """The values of each segment column that are followed.

    At most `most` of each column get profiles of their own; other ones count in the whole only. Of a column
    that is on the grid they are the baseline's most frequent values, while there is room also those that come
    first, the larger ones of a batch before the smaller ones.
    """

    def __init__(self, columns: Sequence[str], most: int) -> None:
        self._values: dict[str, list[str]] = {column: [] for column in columns}
        self._most = most

    def prefer(self, grid: Grid) -> None:
        """Follow the most frequent values of a new grid's baseline first, then those followed so far."""
        for name, known in self._values.items():
            column = grid.columns.get(name)
            if isinstance(column, CategoricalGrid):
                frequent = [value for value in column.categories if 0 < len(value) <= MAX_VALUE_CHARACTERS]
                self._values[name] = list(dict.fromkeys((*frequent, *known)))[: self._most]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._values)

    def copied(self) -> SegmentValues:
        """The same values, to follow others without these knowing."""
        copy = SegmentValues(self.columns, self._most)
        copy._values = {column: list(values) for column, values in self._values.items()}
        return copy

    def follow(self, column: str, value: str) -> bool:
        """Whether this value has a profile of its own; a new one gets it while there is room."""
        values = self._values.get(column)
        if values is None:
            return False
        if value in values:
            return True
        if len(values) >= self._most or not value or len(value) > MAX_VALUE_CHARACTERS:
            return False
        values.append(value)
        return True


def by_bucket(event_time: NDArray[np.float64], resolution: float) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """(bucket start, positions of its rows), oldest bucket first."""
    starts = bucket_starts(event_time, resolution)
    if starts.size and starts.min() == starts.max():
        yield int(starts[0]), np.arange(starts.size)
        return
    order = np.argsort(starts, kind="stable")
    cuts = np.flatnonzero(np.diff(starts[order])) + 1
    for positions in np.split(order, cuts):
        if positions.size:
            yield int(starts[positions[0]]), positions


def by_value(values: pa.DictionaryArray | pa.Array) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """(value, positions of its rows) of a segment column, most rows first; missing values belong to none."""
    encoded = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    texts = encoded.dictionary.to_pylist()
    counts = np.bincount(codes + 1, minlength=len(texts) + 1)[1:]
    for code in np.argsort(-counts, kind="stable").tolist():
        if counts[code] and texts[code] is not None:
            yield texts[code], np.flatnonzero(codes == code)


def row_deltas(
    grid: Grid,
    batch: Batch,
    version: str,
    segments: SegmentValues,
    *,
    resolution: float,
    arrival: float | None,
    threads: int,
    meters: Meters = NO_METERS,
) -> list[Delta]:
    """Profiles of a batch's features, predictions and scores."""
    deltas = []

    def profile(rows: Batch, measured: Meters, *, whole: bool = False) -> Profile:
        return profile_rows(
            grid, rows, threads=threads, arrival=arrival, meters=measured.rows, multivariate=whole
        )

    for bucket, positions in by_bucket(batch.event_time, resolution):
        part = batch if positions.size == batch.rows else batch.take(positions)
        deltas.append(Delta(version, "", bucket, profile(part, meters.of_whole, whole=True)))
        for column in segments.columns:
            for value, rows in by_value(part.segments[column]):
                if segments.follow(column, value):
                    key = segment_key(column, value)
                    deltas.append(Delta(version, key, bucket, profile(part.take(rows), meters)))
    return deltas


def outcome_deltas(
    grid: Grid,
    outcomes: Outcomes,
    event_time: NDArray[np.float64],
    segment_columns: Mapping[str, pa.Array],
    *,
    version: str,
    segments: SegmentValues,
    resolution: float,
    sign: int = 1,
    meters: Meters = NO_METERS,
    groups: bool = True,
) -> list[Delta]:
    """Profiles of labelled predictions; `sign=-1` takes them back.

    `groups` is false where these are not all rows of their groups (rankings).
    """
    deltas = []
    outcomes = meters.prepared(outcomes)

    def profile(positions: NDArray[np.intp], measured: Meters) -> Profile:
        chosen = outcomes.take(positions)
        return profile_outcomes(grid, chosen, sign=sign, meters=measured.outcomes, groups=groups)

    for bucket, positions in by_bucket(event_time, resolution):
        deltas.append(Delta(version, "", bucket, profile(positions, meters.of_whole)))
        for column, values in segment_columns.items():
            for value, rows in by_value(values.take(pa.array(positions))):
                if segments.follow(column, value):
                    key = segment_key(column, value)
                    deltas.append(Delta(version, key, bucket, profile(positions[rows], meters)))
    return deltas


def merged(deltas: Sequence[Delta], grid: Grid) -> Profile:
    """All the whole-version deltas of now in one profile; the delta itself where there is one."""
    wholes = [delta.profile for delta in deltas if not delta.segment and delta.backfilled is None]
    if len(wholes) == 1:
        return wholes[0]
    total = Profile.empty(grid)
    for profile in wholes:
        total.add(profile)
    return total
