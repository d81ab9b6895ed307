"""The merge law, for every kind of part."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import ConflictError, UnreadableError, UnusableBatchError
from exporter.profiles import Profile, build_grid, decode, encode, profile_outcomes, profile_rows
from exporter.schema import Task

TASKS = st.sampled_from([Task.BINARY, Task.MULTICLASS, Task.REGRESSION])
ARRIVAL = 1.7e9


def whole(grid, batch, threads=1) -> Profile:
    profile = profile_rows(grid, batch, arrival=ARRIVAL, threads=threads)
    profile.add(profile_outcomes(grid, batch.outcomes))
    return profile


@pytest.fixture(scope="module")
def grids(rows):
    return {task: build_grid(rows.batch(0, 3_000, task)) for task in Task if task is not Task.RANKING}


@settings(max_examples=60, deadline=None)
@given(
    task=TASKS,
    n=st.sampled_from([1, 7, 120, 700, 2_500]),
    parts=st.integers(1, 6),
    seed=st.integers(0, 10**6),
)
def test_a_profile_of_parts_is_the_merge_of_their_profiles(rows, grids, *, task, n, parts, seed):
    """profile(a + b) == profile(a).merge(profile(b)) for any partition, in any order, sparse or dense."""
    grid, rng = grids[task], np.random.default_rng(seed)
    batch = rows.batch(seed, n, task, received=n, rejected={}, invalid={})
    owner = rng.integers(0, parts, n)
    merged = Profile.empty(grid)
    for part in rng.permutation(parts):
        profile = whole(grid, rows.take(batch, np.flatnonzero(owner == part)))
        if rng.random() < 0.5:
            profile = decode(encode(profile), grid)
        merged = merged + profile if rng.random() < 0.5 else profile.merge(merged)
    rows.assert_same(merged, whole(grid, batch))


@settings(max_examples=40, deadline=None)
@given(
    task=TASKS, n=st.sampled_from([1, 30, 900]), m=st.sampled_from([1, 50, 2_000]), seed=st.integers(0, 10**6)
)
def test_labels_taken_back_leave_no_trace(rows, grids, *, task, n, m, seed):
    """Adding the profile with sign -1 restores all counts exactly, and the sums to rounding."""
    grid = grids[task]
    kept = whole(grid, rows.batch(seed, m, task))
    wrong = rows.outcomes(np.random.default_rng(seed + 1), n, task)
    before = copy.deepcopy(kept.outcomes.counts.dense())
    sums = kept.outcomes.sums.copy()
    view = kept.column("actual")
    kept.add(profile_outcomes(grid, wrong))
    kept.add(decode(encode(profile_outcomes(grid, wrong, sign=-1)), grid))
    np.testing.assert_array_equal(kept.outcomes.counts.dense(), before)
    np.testing.assert_allclose(kept.outcomes.sums, sums, rtol=1e-9, atol=1e-7 * (1 + np.abs(sums).max()))
    if task is not Task.REGRESSION:
        assert kept.categorical("actual").novel == view.novel


def test_adding_leaves_the_other_alone(rows, grids):
    """Neither `add` nor `merge` changes what is added, and `merge` not what it is added to."""
    grid = grids[Task.BINARY]
    for n in (20, 5_000):
        one, other = (whole(grid, rows.batch(seed, n)) for seed in (1, 2))
        was = [encode(one), encode(other)]
        merged = one.merge(other)
        merged.add(other)
        total = Profile.empty(grid)
        total.add(one)
        total.add(other)
        assert [encode(one), encode(other)] == was
        assert merged.rows == 3 * n
        assert total.rows == 2 * n


def test_threads_do_not_change_a_count(rows, grids):
    """Columns spread over threads give what one thread gives."""
    grid = grids[Task.BINARY]
    batch = rows.batch(9, 60_000)
    rows.assert_same(profile_rows(grid, batch, threads=3), profile_rows(grid, batch, threads=1), rtol=0)


def test_views_show_what_came(rows, grids):
    """Columns, outcome, delays, coarse counts and tallies speak of the same rows."""
    batch = rows.batch(3, 4_000)
    profile = whole(grids[Task.BINARY], batch)
    profile.verify()
    amount = batch.features["amount"]
    column = profile.numeric("amount")
    assert column.missing == np.isnan(amount).sum()
    assert column.nonfinite == np.isinf(amount).sum()
    assert column.mean == pytest.approx(amount[np.isfinite(amount)].mean())
    assert column.std == pytest.approx(amount[np.isfinite(amount)].std())
    assert profile.coarse_counts("amount").sum() == column.n
    colour = profile.categorical("colour")
    assert colour.n + colour.missing == 4_000
    assert profile.coarse_counts("colour").sum() == colour.n
    assert profile.numeric("vector").missing == np.isnan(batch.features["vector"]).all(axis=1).sum()
    assert profile.categorical("predicted").counts.tolist() == np.bincount(batch.outcomes.prediction).tolist()
    assert profile.categorical("actual").n == profile.labeled_rows == (batch.outcomes.label >= 0).sum()
    assert profile.numeric("p").missing == np.isnan(batch.outcomes.score).sum()
    assert profile.event_delay().n == 4_000
    assert profile.label_delay().n == profile.labeled_rows
    assert profile.tallies == {("received",): 4_001, ("rejected", "type"): 1, ("invalid", "amount"): 2}
    with pytest.raises(TypeError):
        profile.numeric("colour")
    with pytest.raises(TypeError):
        profile.categorical("amount")
    with pytest.raises(KeyError):
        profile.column("nothing")


def test_a_column_that_did_not_come_is_missing(rows, grids):
    """A feature absent from a batch counts as missing in every row, in short and in long batches."""
    for n in (50, 3_000):
        batch = rows.batch(1, n)
        features = {
            name: values for name, values in batch.features.items() if name not in {"amount", "colour"}
        }
        profile = profile_rows(grids[Task.BINARY], replace(batch, features=features))
        profile.verify()
        assert profile.numeric("amount").missing == n
        assert profile.categorical("colour").missing == n


def test_a_column_of_another_kind_is_refused(rows, grids):
    """Categories where the grid has numbers, and numbers where it has categories, are a usage error."""
    batch = rows.batch(1, 50)
    for changed in ({"amount": batch.features["colour"]}, {"colour": batch.features["amount"]}):
        with pytest.raises(UnusableBatchError):
            profile_rows(grids[Task.BINARY], replace(batch, features={**batch.features, **changed}))


def test_profiles_of_two_grids_do_not_merge(rows, grids):
    """The error names both grids."""
    one, other = Profile.empty(grids[Task.BINARY]), Profile.empty(build_grid(rows.batch(5, 300)))
    with pytest.raises(ConflictError, match=other.grid.id):
        one.add(other)


def test_an_empty_batch_gives_an_empty_profile(rows, grids):
    """No rows: nothing is counted but what was rejected."""
    batch = rows.take(rows.batch(1, 10), np.zeros(0, np.intp))
    profile = profile_rows(grids[Task.BINARY], batch)
    assert profile.rows == 0
    assert np.isnan(profile.numeric("amount").mean)
    assert profile.categorical("colour").distinct == 0
    with pytest.raises(UnusableBatchError):
        build_grid(batch)


@pytest.mark.parametrize("damage", ["negative", "rows", "sums", "novel", "tallies"])
def test_verify_refuses_what_no_rows_could_give(rows, grids, damage):
    """Counts that do not fit each other are found before they are merged."""
    profile = whole(grids[Task.BINARY], rows.batch(1, 800))
    part = profile.features
    if damage == "negative":
        part = profile.outcomes
        part.counts.add(
            profile_outcomes(profile.grid, rows.batch(2, 2_000).outcomes, sign=-1).outcomes.counts
        )
    elif damage == "rows":
        profile.rows += 1
    elif damage == "sums":
        part.sums[0] = np.nan
    elif damage == "novel":
        part.novel["colour"] = {"x": 10**6}
    else:
        profile.tallies["received",] = -1
    with pytest.raises(UnreadableError):
        profile.verify()


def test_a_column_is_read_once_until_rows_are_added(rows, grids):
    """The same object as long as nothing has changed, and what is added shows at once."""
    grid = grids[Task.BINARY]
    first, second = (whole(grid, rows.batch(seed, 300)) for seed in (1, 2))
    before = {name: first.column(name) for name in grid.columns}
    assert all(first.column(name) is column for name, column in before.items())
    expected = first + second
    copied = first.copy()
    first.add(second)
    for name, column in before.items():
        merged = first.column(name)
        assert merged is not column
        assert merged.n == expected.column(name).n == column.n + second.column(name).n
        assert copied.column(name).n == column.n


def test_a_column_follows_rows_that_are_added_to_a_part_of_two_profiles(rows, grids):
    """Two profiles may share a part; what one adds to it shows in the other."""
    grid = grids[Task.BINARY]
    profile = whole(grid, rows.batch(1, 300))
    shared = Profile(grid, rows=profile.rows, features=profile.features)
    assert shared.column("amount").n == profile.column("amount").n
    profile.add(whole(grid, rows.batch(2, 300)))
    assert shared.column("amount").n == profile.column("amount").n
    shared.features = whole(grid, rows.batch(3, 10)).features
    assert shared.column("amount").n < profile.column("amount").n
