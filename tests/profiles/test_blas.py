"""How many threads multiply matrices."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from exporter.profiles import build_grid, profile_rows
from exporter.profiles.blas import one_blas_thread
from exporter.profiles.multivariate.counting import Rows


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_one_thread_of_blas_within_and_as_many_as_before_afterwards():
    """The limit holds inside alone, also where one context lies in another and where one fails."""
    with threadpool_limits(2, user_api="blas"):
        with one_blas_thread():
            with pytest.raises(KeyError), one_blas_thread():
                raise KeyError
            assert blas_threads() == {1}
        assert blas_threads() == {2}


def test_a_small_batch_is_profiled_with_one_thread_of_blas(rows, monkeypatch):
    """Its products would take longer with more."""
    seen = []
    count = Rows.count

    def noted(self, *piece):
        seen.append(blas_threads())
        return count(self, *piece)

    grid = build_grid(rows.batch(0, 500))
    monkeypatch.setattr(Rows, "count", noted)
    with threadpool_limits(2, user_api="blas"):
        profile_rows(grid, rows.batch(1, 100))
    assert seen == [{1}]
