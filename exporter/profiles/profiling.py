"""Rows to profiles."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from exporter.errors import UnusableBatchError
from exporter.profiles.arrival import arrival_tallies
from exporter.profiles.blas import one_blas_thread
from exporter.profiles.categorical import count_categorical
from exporter.profiles.delays import count_delays
from exporter.profiles.grid import CategoricalGrid, NumericGrid
from exporter.profiles.labelling import count_labelled, count_predicted, known_labels
from exporter.profiles.meters import OutcomeMeter, RowMeter
from exporter.profiles.missing_pairs import count_missing_pairs
from exporter.profiles.multivariate import Measuring, squared_norms
from exporter.profiles.numeric import SMALL_ROWS, Kernel
from exporter.profiles.profile import Part, Profile, no_extremes
from exporter.profiles.ranking import count_groups
from exporter.profiles.vectors import Counter
from exporter.schema import Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from exporter.batch import Batch, Outcomes
    from exporter.profiles.grid import ColumnGrid, Grid
    from exporter.profiles.layout import PartLayout
    from exporter.schema import Schema

Task = Callable[[Kernel], None]

THREAD_VALUES = 500_000
"""Batches with fewer values than this are profiled in the calling thread."""


def profile_rows(
    grid: Grid,
    batch: Batch,
    *,
    threads: int = 1,
    arrival: float | None = None,
    meters: Sequence[RowMeter] = (),
    multivariate: bool = True,
) -> Profile:
    """The profile of a batch's predictions: features, prediction, scores, scores by prediction; no labels.

    Parameters
    ----------
    threads : int
        Threads over which the columns of a large batch are spread.
    arrival : float or None
        When the batch came, seconds since the epoch; None leaves the event delay out.
    meters : sequence of RowMeter
        What else is measured of the rows; it goes into the totals of the outcomes.
    multivariate : bool
        Whether rows are seen together and vectors of embeddings counted, where the grid says how; that goes
        into the totals of the features.

    Returns
    -------
    Profile
        Its tallies hold what the batch says of itself: `received`, `rejected` and `invalid`.

    Raises
    ------
    UnusableBatchError
        When a column's kind is not the grid's.
    """
    profile = Profile(grid, rows=batch.rows, tallies=_tallies(batch))
    if not batch.rows:
        return profile
    schema = grid.schema if batch.schema.features is None else batch.schema
    profile.tallies.update(arrival_tallies(schema, batch.table, batch.rows))
    layout = grid.layout.features
    counter = Counter(layout.size)
    recorder = _Recorder(grid, layout, counter)
    columns = [column for column in grid.columns.values() if column.role is not Role.LABEL]
    for column, values in zip(columns, _values(grid, columns, batch), strict=True):
        recorder.add(column, values, batch.rows)
    scores = Counter(grid.layout.outcomes.size)
    recorder.tasks.append(lambda _: count_predicted(grid, batch.outcomes, scores))
    if arrival is not None:
        count_delays(arrival - batch.event_time, layout.blocks["event_delay"].start, counter)
    together = Measuring(grid, batch) if multivariate else None
    if together is not None:
        recorder.first(together.pieces)
    many = batch.rows * len(columns) >= THREAD_VALUES
    recorder.run(batch.rows, threads if many else 1)
    profile.features = recorder.part()
    pairs = count_missing_pairs(grid, profile.features.counts, batch.features, batch.rows)
    profile.features.add_totals(pairs)
    if together is not None:
        profile.features.add_totals(together.totals())
    profile.outcomes = Part(grid.layout.outcomes, scores.total())
    for meter in meters:
        profile.outcomes.add_totals(meter(batch))
    return profile


def profile_outcomes(
    grid: Grid,
    outcomes: Outcomes,
    *,
    sign: int = 1,
    meters: Sequence[OutcomeMeter] = (),
    groups: bool = True,
) -> Profile:
    """The profile of what labels add: the label column, losses, confusion, label delay.

    Parameters
    ----------
    outcomes : Outcomes
        Rows without a label are left out.
    sign : int
        -1 makes the profile that takes these labels back when it is added.
    meters : sequence of OutcomeMeter
        What else is measured of the labelled rows.
    groups : bool
        Rankings: whether the rows are all rows of their groups; :func:`profile_groups` counts these else.
    """
    labels = known_labels(grid, outcomes)
    rows = 0 if labels is None else int(np.count_nonzero(labels))
    profile = Profile(grid, labeled_rows=sign * rows)
    if labels is None or not rows:
        return profile
    layout = grid.layout.outcomes
    counter = Counter(layout.size)
    recorder = _Recorder(grid, layout, counter)
    column = grid.columns.get(grid.schema.label)
    if column is not None:
        recorder.add(column, _chosen(outcomes.label, labels), rows)
    recorder.run(rows, 1)
    count_labelled(grid, outcomes, counter, recorder.sums, groups=groups)
    if outcomes.delay_seconds is not None:
        count_delays(outcomes.delay_seconds[labels], layout.blocks["label_delay"].start, counter)
    profile.outcomes = recorder.part(sign)
    known = outcomes if labels.all() or not meters else outcomes.take(np.flatnonzero(labels))
    for meter in meters:
        profile.outcomes.add_totals({name: sign * vector for name, vector in meter(known).items()})
    return profile


def profile_groups(grid: Grid, outcomes: Outcomes, *, sign: int = 1) -> Profile:
    """The profile of what groups of ranked rows add, without the rows themselves.

    Parameters
    ----------
    outcomes : Outcomes
        All rows of their groups; the label of those without one is NaN.
    sign : int
        -1 makes the profile that takes the groups back when it is added.
    """
    layout = grid.layout.outcomes
    counter, sums = Counter(layout.size), np.zeros(layout.sums)
    count_groups(grid, outcomes, counter, sums)
    return Profile(grid, outcomes=Part(layout, counter.total(sign), sign * sums))


class _Recorder:
    """Profiles the columns of one part: short ones all at once, long ones each as a task."""

    def __init__(self, grid: Grid, layout: PartLayout, counter: Counter) -> None:
        self.grid = grid
        self.layout = layout
        self.counter = counter
        self.sums = np.zeros(layout.sums)
        self.extremes = no_extremes(layout.extremes)
        self.novel: dict[str, dict[str, int]] = {}
        self.tasks: list[Task] = []
        self._short: list[NDArray[Any]] = []
        self._numeric: list[NumericGrid] = []

    def add(self, column: ColumnGrid, values: Any, rows: int) -> None:
        if isinstance(column, CategoricalGrid):
            self._add_categorical(column, values, rows)
            return
        if values is None:
            self._all_missing(column, rows)
            return
        if isinstance(values, pa.DictionaryArray):
            raise UnusableBatchError(f"column {column.name!r} is numeric on the grid, got categories")
        if values.ndim == 2:
            values = np.sqrt(squared_norms(values))
        if rows <= SMALL_ROWS:
            self._numeric.append(column)
            self._short.append(values)
        else:
            self.tasks.append(lambda kernel: self._count_long(kernel, column, values))

    def _add_categorical(self, column: CategoricalGrid, values: Any, rows: int) -> None:
        if values is None:
            self._all_missing(column, rows)
        elif isinstance(values, pa.DictionaryArray):
            self.tasks.append(lambda _: self._count_categories(column, values))
        elif values.dtype == np.int8:
            missing, *known = np.bincount(values + np.int8(1), minlength=3).tolist()
            self.counter.block(self._start(column), [*known, 0, missing])
        else:
            raise UnusableBatchError(f"column {column.name!r} is categorical on the grid, got numbers")

    def _start(self, column: ColumnGrid) -> int:
        start: int = self.layout.columns[column.name].start
        return start

    def _all_missing(self, column: ColumnGrid, rows: int) -> None:
        missing = column.width - (2 if column.numeric else 1)
        self.counter.block(self._start(column) + missing, [rows])

    def _count_long(self, kernel: Kernel, column: NumericGrid, values: NDArray[Any]) -> None:
        counts = np.zeros(column.width, np.int64)
        first = self.layout.column_sums[column.name]
        minimum, maximum = kernel.count(column, values, counts, self.sums[first : first + 4])
        self.extremes[:, self.layout.extremes_of[column.name]] = minimum, maximum
        self.counter.block(self._start(column), counts)

    def _count_categories(self, column: CategoricalGrid, values: pa.DictionaryArray) -> None:
        cap, key = self.grid.novel_cap, self.grid.hash_key
        novel = count_categorical(column, values, self._start(column), self.counter, cap=cap, key=key)
        if novel:
            self.novel[column.name] = novel

    def first(self, pieces: Sequence[Callable[[], None]]) -> None:
        """Do these before what was added."""
        self.tasks[:0] = [partial(_without_kernel, piece) for piece in pieces]

    def run(self, rows: int, threads: int) -> None:
        """Do what was added."""
        if self._numeric:
            kernel = self.grid.small_kernel(tuple(column.name for column in self._numeric))
            kernel.count(self._short, self.counter, self.sums, self.extremes)
        tasks = iter(self.tasks)
        if threads <= 1 or len(self.tasks) < 2:
            with one_blas_thread():  # for 100 rows two take four times as long
                _work(tasks, rows)
            return
        # threads of BLAS beside these would wait for each other
        with one_blas_thread(), ThreadPoolExecutor(threads, thread_name_prefix="profile") as pool:
            for done in [pool.submit(_work, tasks, rows) for _ in range(threads)]:
                done.result()

    def part(self, sign: int = 1) -> Part:
        """What was counted, times `sign`."""
        sums = self.sums if sign == 1 else -self.sums
        extremes = self.extremes if sign == 1 else None
        novel = self.novel
        if sign != 1:
            novel = {name: {value: -rows for value, rows in names.items()} for name, names in novel.items()}
        return Part(self.layout, self.counter.total(sign), sums, extremes, novel)


def _without_kernel(piece: Callable[[], None], _: Kernel) -> None:
    piece()


def _work(tasks: Iterator[Task], rows: int) -> None:
    """Take tasks until there are none; a list's iterator may be shared by threads."""
    kernel = Kernel(rows)
    for task in tasks:
        task(kernel)


def _values(grid: Grid, columns: Sequence[ColumnGrid], batch: Batch) -> Iterator[Any]:
    """The values of each column, None where the batch has none."""
    scores = score_columns(grid.schema, batch.outcomes)
    for column in columns:
        if column.role is Role.PREDICTION:
            yield batch.outcomes.prediction
        elif column.role is Role.SCORE:
            yield scores.get(column.name)
        else:
            yield batch.features.get(column.name)


def score_columns(schema: Schema, outcomes: Outcomes) -> dict[str, NDArray[np.float64]]:
    """The scores by column name."""
    names, score = schema.score, outcomes.score
    if names is None or score is None:
        return {}
    if isinstance(names, str):
        return {names: score}
    return {name: score[:, place] for place, (_, name) in enumerate(names)}


def _chosen(values: Any, rows: NDArray[np.bool_]) -> Any:
    if rows.all():
        return values
    return values.filter(pa.array(rows)) if isinstance(values, pa.DictionaryArray) else values[rows]


def _tallies(batch: Batch) -> dict[tuple[str, ...], int]:
    tallies: dict[tuple[str, ...], int] = {("received",): batch.received} if batch.received else {}
    tallies.update({("rejected", reason): rows for reason, rows in batch.rejected.items() if rows})
    tallies.update({("invalid", column): rows for column, rows in batch.invalid.items() if rows})
    return tallies
