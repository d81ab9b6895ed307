"""Outcomes of buckets that expire are carried on, once, under the starts that they count from."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.profiles import Part, Profile, decode
from exporter.store import Commit, Delta, Store

HOUR = 3600


@pytest.fixture
def outcome_delta(grid):
    """A delta with one total of a given size; a function (size, bucket, version, segment)."""

    def make(size, bucket, *, version="v1", segment=""):
        part = Part(grid.layout.outcomes, totals={("pair", "b"): np.array([float(size), 1.0])})
        return Delta(version, segment, bucket, Profile(grid, labeled_rows=size, outcomes=part))

    return make


@pytest.fixture
def kept(store, grid):
    """A store that knows the grid."""
    store.put_grid("fraud", grid.id, grid.to_bytes())
    return store


def carried(store, grid):
    """Totals and labelled rows by (version, start)."""
    found = {}
    for place, parts in store.load("fraud").carried.items():
        ((grid_id, data),) = parts
        profile = decode(data, grid)
        assert grid_id == grid.id
        found[place] = profile.labeled_rows, profile.outcomes.totals["pair", "b"].tolist()
    return found


def test_expired_outcomes_are_added_to_every_start_that_they_count_from(kept, grid, outcome_delta):
    """Wholes of a span's buckets are carried on, segments and what lies outside go, and the rest stays."""
    for hour in range(5):
        deltas = [outcome_delta(10**hour, hour * HOUR), outcome_delta(7, hour * HOUR, segment="c\x1fx")]
        kept.submit(Commit(model="fraud", deltas=deltas)).result()
    spans = [(1 * HOUR, 3 * HOUR), (2 * HOUR, 9 * HOUR)]
    for _ in range(2):
        kept.expire("fraud", version="v1", before_bucket=4 * HOUR, carry=spans)
        assert carried(kept, grid) == {
            ("v1", HOUR): (110, [110.0, 2.0]),
            ("v1", 2 * HOUR): (1100, [1100.0, 2.0]),
        }
        assert sorted(kept.load("fraud").buckets) == [
            ("v1", "", 4 * HOUR),
            ("v1", "c\x1fx", 4 * HOUR),
        ]


def test_what_expires_later_is_added(grid, outcome_delta, tmp_path, clock):
    """Corrections that come for a bucket that has gone are carried on too, over a restart."""
    for size in (5, -2):
        with Store.open(tmp_path / "other", clock=clock) as opened:
            opened.put_grid("fraud", grid.id, grid.to_bytes())
            opened.submit(Commit(model="fraud", deltas=[outcome_delta(size, HOUR)])).result()
            opened.expire("fraud", version="v1", before_bucket=2 * HOUR, carry=[(0, 2 * HOUR)])
    with Store.open(tmp_path / "other", clock=clock) as again:
        assert carried(again, grid) == {("v1", 0): (3, [3.0, 2.0])}
        assert not again.load("fraud").buckets


def test_starts_that_nobody_counts_from_are_forgotten(kept, grid, outcome_delta):
    """With other spans, what was carried on of the old ones goes; of another version it stays."""
    deltas = [outcome_delta(5, HOUR), outcome_delta(6, HOUR, version="v2")]
    kept.submit(Commit(model="fraud", deltas=deltas)).result()
    for version in ("v1", "v2"):
        kept.expire("fraud", version=version, before_bucket=2 * HOUR, carry=[(0, 2 * HOUR)])
    kept.expire("fraud", version="v1", before_bucket=2 * HOUR, carry=[(HOUR, 2 * HOUR)])
    assert list(carried(kept, grid)) == [("v2", 0)]


@pytest.mark.parametrize("gone", ["version", "grid", "model"])
def test_carried_outcomes_go_with_their_version_grid_or_model(kept, grid, outcome_delta, gone):
    """Nothing is carried of what was deleted."""
    kept.submit(Commit(model="fraud", deltas=[outcome_delta(5, HOUR)])).result()
    kept.expire("fraud", version="v1", before_bucket=2 * HOUR, carry=[(0, 2 * HOUR)])
    if gone == "version":
        kept.delete_version("fraud", "v1")
    elif gone == "grid":
        kept.delete_profiles("fraud", grid.id)
    else:
        kept.delete_model("fraud")
    assert not kept.load("fraud").carried
