"""Age of the newest event, and the buckets of a window without rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.statistics.quality.freshness import freshness


def test_gaps_are_listed_longest_first():
    """Buckets 0-9 with rows in five of them; the two runs between them are gaps."""
    found = freshness([0, 10, 40, 60, 90], width=10, start=0, end=100, newest_event=95.0, now=100.0)
    assert (found.age_seconds, found.buckets, found.empty_buckets) == (5.0, 10, 5)
    assert found.gaps == ((20.0, 40.0), (70.0, 90.0), (50.0, 60.0))
    assert found.longest_gap_seconds == 20.0


def test_what_came_before_the_first_row_is_no_gap():
    """A model that has just begun has not missed the rest of its window."""
    found = freshness([50], width=10, start=0, end=60, newest_event=55.0, now=50.0)
    assert (found.buckets, found.empty_buckets, found.gaps, found.age_seconds) == (1, 0, (), 0.0)


def test_without_rows_there_is_nothing_to_miss():
    """No bucket at all."""
    found = freshness([], width=10, start=0, end=60, newest_event=0.0, now=5.0)
    assert (found.buckets, found.empty_buckets, found.gaps) == (0, 0, ())


@given(st.sets(st.integers(0, 60)), st.integers(0, 30), st.integers(1, 30))
def test_empty_buckets_are_those_without_rows(buckets, start, length):
    """Counted one by one."""
    end = start + length
    found = freshness(
        [10 * bucket for bucket in buckets], width=10, start=10 * start, end=10 * end, newest_event=0, now=0
    )
    begin = max(start, min(buckets, default=end))
    empty = [bucket for bucket in range(begin, end) if bucket not in buckets]
    assert found.empty_buckets == (len(empty) if buckets else 0)
    assert sum(last - first for first, last in found.gaps) <= 10 * len(empty)
