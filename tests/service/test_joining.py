"""Labels to predictions: what is new, repeated or corrected, and how it is taken back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.service.ingestion.joining import join, last_of_each
from exporter.service.ingestion.rows import gather
from exporter.store import PredictionChunk, PredictionIndex

ids = st.integers(0, 9)


def array(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def index_of(first: list[int], second: list[int]) -> PredictionIndex:
    """Two versions with predictions of some ids."""
    index = PredictionIndex(b"0123456789abcdef")
    for version, known in (("a", first), ("b", second)):
        if known:
            payload = pa.RecordBatch.from_pydict({"event_time": pa.array(np.zeros(len(known)))})
            index.add(PredictionChunk(index.next_chunk_id(), version, 1, array(known), payload))
    return index


def state(index: PredictionIndex) -> tuple[list[float], list[float]]:
    """Labels of all predictions, and held labels, of ids 0 to 9."""
    every = array(list(range(10)))
    matches = index.find(every)
    order = np.lexsort((matches.slot, matches.query))
    return (
        np.nan_to_num(index.labels_of(matches.slot)[order], nan=-1).tolist(),
        np.nan_to_num(index.held_labels(every), nan=-1).tolist(),
    )


@given(values=st.lists(st.tuples(ids, st.integers(0, 3)), min_size=1, max_size=30))
def test_the_last_label_of_each_id_is_kept(values: list[tuple[int, int]]) -> None:
    """As a dict keeps them; the rest is counted."""
    hashes, labels, repeated = last_of_each(
        array([v[0] for v in values]), np.array([float(v[1]) for v in values])
    )
    assert dict(zip(hashes.tolist(), labels.tolist(), strict=True)) == dict(values)
    assert hashes.size + repeated == len(values)


@settings(max_examples=80, deadline=None)
@given(
    first=st.sets(ids),
    second=st.sets(ids),
    batches=st.lists(st.dictionaries(ids, st.integers(0, 1), min_size=1), min_size=1, max_size=4),
)
def test_every_label_is_counted_once_and_can_be_taken_back(
    first: set[int], second: set[int], batches: list[dict[int, int]]
) -> None:
    """Each label is new, waiting, repeated or corrected, as a dict says; undone, the index is as before."""
    index = index_of(sorted(first), sorted(second))
    known: dict[int, int] = {}
    for labels in batches:
        joined = join(index, array(list(labels)), np.array(list(labels.values()), dtype=float), 5.0)
        fresh = {hashed for hashed in labels if hashed not in known}
        assert joined.matched == len(fresh & (first | second))
        assert joined.pending == len(fresh - first - second)
        same = {hashed for hashed, label in labels.items() if known.get(hashed) == label}
        assert joined.duplicates == len(same)
        assert joined.corrected == len(labels) - len(fresh) - len(same)
        before = state(index)
        joined.mark(index)
        marked = state(index)
        joined.unmark(index)
        assert state(index) == before
        again = join(index, array(list(labels)), np.array(list(labels.values()), dtype=float), 5.0)
        again.mark(index)
        assert state(index) == marked
        known |= labels


def test_rows_of_several_chunks_come_in_the_order_asked_for() -> None:
    """Payloads are put together row by row, whichever chunk each lies in."""
    payloads = {
        chunk: pa.RecordBatch.from_pydict({"v": pa.array([10 * chunk + row for row in range(4)])})
        for chunk in (1, 2, 7)
    }
    chunk, row = np.array([7, 1, 2, 1, 7]), np.array([3, 0, 2, 3, 0])
    assert gather(payloads, chunk, row)["v"].to_pylist() == [73, 10, 22, 13, 70]
