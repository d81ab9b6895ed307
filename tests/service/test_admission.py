"""Which rows of a batch count."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.service.ingestion.admission import admit


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 10)), min_size=1, max_size=40),
    known=st.sets(st.integers(0, 8)),
    oldest=st.integers(-1, 11),
)
def test_the_first_timely_row_of_a_new_id_counts(
    rows: list[tuple[int, int]], known: set[int], oldest: int
) -> None:
    """As a loop over the rows decides: late ones go, then repeated ids; every row has one fate."""
    hashes = np.array([row[0] for row in rows], dtype=np.uint64)
    events = np.array([row[1] for row in rows], dtype=np.float64)
    expected, late, seen = [], 0, set(known)
    for position, (hashed, event) in enumerate(rows):
        if event < oldest:
            late += 1
        elif hashed not in seen:
            seen.add(hashed)
            expected.append(position)
    wanted = np.array(sorted(known), dtype=np.uint64)
    admission = admit(events, hashes, oldest=oldest, seen=lambda asked: np.isin(asked, wanted))
    assert sorted(admission.accepted.tolist()) == expected
    assert admission.late == late
    assert admission.accepted.size + admission.late + admission.duplicates == len(rows)


def test_rows_without_ids_are_never_duplicates() -> None:
    """Where there is no id only the time decides."""

    def never(_: np.ndarray) -> np.ndarray:
        raise AssertionError("nothing to look up")

    admission = admit(np.array([1.0, 5.0, 5.0]), None, oldest=2.0, seen=never)
    assert admission.accepted.tolist() == [1, 2]
    assert (admission.late, admission.duplicates) == (1, 0)
