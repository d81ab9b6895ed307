"""What is committed is there after the store is opened again."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from exporter.errors import BusyError, ConflictError, NotFoundError, StoreError
from exporter.profiles import decode
from exporter.store import (
    NOT_JOINED,
    Commit,
    Delta,
    LabelChunk,
    Store,
    StoredAnswer,
    StoredBaseline,
    reading,
)
from exporter.store.writing import merged


def reopened(store, path, clock):
    store.close()
    return Store.open(path, clock=clock)


def baseline_of(profile, **changes):
    values = {
        "id": "b1",
        "model": "fraud",
        "version": None,
        "grid_id": "g",
        "created": 5.0,
        "rows": 9,
        "source": "rows",
        "provisional": False,
        "active": True,
        "period": (1.0, 2.0),
        "profile": profile,
        "buckets": ((0, b"x"), (60, b"y")),
        "segments": (("a", b"z"),),
    }
    return StoredBaseline(**(values | changes))


def test_a_commit_is_recovered_whole(tmp_path, clock, grid, profile_of, chunk_of):
    """Every part of a commit comes back as it was, after the store was closed and opened."""
    store = Store.open(tmp_path, clock=clock)
    index = store.load("fraud").index
    chunk = chunk_of(index, ["a", "b", "c"])
    profile = profile_of(1)
    answer = StoredAnswer("batches", "key", "hash", 202, b'{"rows":3}', 7.0)
    commit = Commit(
        model="fraud",
        deltas=[Delta("v1", "country\x1fde", 3600, profile)],
        counters={("rows", "v1"): 3.0, ("rejected", "v1", 'odd "reason"\n'): 2.0},
        answer=answer,
        predictions=[chunk],
        labels=LabelChunk(chunk.hashes[:2], np.array([1.0, 0.0]), 8.0, np.array([19_000, 19_000], np.int32)),
        rows=[("v1", b"arrow")],
        state={("watermark", "v1"): 12.5},
        grid=(grid.id, grid.to_bytes()),
        baseline=baseline_of(b"profile"),
    )
    store.submit(commit).result()
    with reopened(store, tmp_path, clock) as again:
        assert again.models() == ["fraud"]
        assert again.answer("fraud", "batches", "key") == answer
        assert again.answer("fraud", "labels", "key") is None
        model = again.load("fraud")
        ((key, [(grid_id, data)]),) = model.buckets.items()
        assert (key, grid_id) == (("v1", "country\x1fde", 3600), grid.id)
        recovered = decode(data, grid)
        assert recovered.rows == profile.rows
        assert np.array_equal(recovered.coarse_counts("amount"), profile.coarse_counts("amount"))
        assert model.counters == commit.counters
        assert model.state == commit.state
        assert model.grids == {grid.id: grid.to_bytes()}
        assert model.baselines == [commit.baseline]
        assert model.rows == commit.rows
        matches = model.index.find(chunk.hashes)
        assert matches.chunk.tolist() == [chunk.id] * 3
        assert matches.row.tolist() == [0, 1, 2]
        assert np.array_equal(model.index.labels_of(matches.slot), [1.0, 0.0, np.nan], equal_nan=True)
        assert again.payloads("fraud", [chunk.id, 99]) == {chunk.id: chunk.payload}
        assert model.index.key == index.key
        assert model.index.next_chunk_id() == chunk.id + 1


def test_counters_add_up_and_state_is_set(store, commit_of):
    """Increments of many commits add; state keeps the last value."""
    for seed in range(1, 5):
        store.submit(commit_of(seed)).result()
    model = store.load("fraud")
    assert model.counters == {("rows", "v1"): 200.0, ("batches", "v1"): 4.0}
    assert model.state == {("last_batch", "v1"): 4.0}
    assert len(model.buckets["v1", "", 0]) == 4


def test_a_second_answer_to_a_key_changes_nothing(store, commit_of):
    """Two commits with one idempotency key count once; the other one is told so."""
    answer = StoredAnswer("batches", "k", "h", 202, b"{}", 1.0)
    store.submit(commit_of(1, answer=answer)).result()
    with pytest.raises(ConflictError):
        store.submit(commit_of(1, answer=answer)).result()
    assert store.load("fraud").counters["batches", "v1"] == 1.0


def test_a_commit_that_cannot_be_written_fails_alone(store, commit_of, chunk_of):
    """A chunk id that is taken fails its own commit; what was queued with it is kept."""
    index = store.load("fraud").index
    chunk = chunk_of(index, ["a"])
    store.submit(Commit(model="fraud", predictions=[chunk])).result()
    gate = store._journal
    with gate._changed:  # all three in one group
        futures = [
            store.submit(commit_of(1)),
            store.submit(Commit(model="fraud", predictions=[chunk])),
            store.submit(commit_of(2)),
        ]
    futures[0].result()
    futures[2].result()
    with pytest.raises(StoreError):
        futures[1].result()
    assert store.load("fraud").counters["batches", "v1"] == 2.0
    assert list(store.payloads("fraud", [chunk.id])) == [chunk.id]


def test_too_much_in_the_queue_is_busy(tmp_path, clock, commit_of):
    """Beyond its bound the queue refuses at once instead of growing."""
    with Store.open(tmp_path, clock=clock, queued_commits=2) as store, store._journal._changed:
        futures = [store.submit(commit_of(1)), store.submit(commit_of(2))]
        with pytest.raises(BusyError):
            store.submit(commit_of(3))
    assert all(future.exception() is None for future in futures)


def test_closing_writes_what_is_queued(tmp_path, clock, commit_of):
    """A graceful end loses nothing, and afterwards the store refuses."""
    store = Store.open(tmp_path, clock=clock)
    futures = [store.submit(commit_of(seed)) for seed in range(20)]
    store.close()
    assert all(future.done() for future in futures)
    with pytest.raises(StoreError, match="closed"):
        store.submit(commit_of(1))
    with Store.open(tmp_path, clock=clock) as again:
        assert again.load("fraud").counters["batches", "v1"] == 20.0


def test_payloads_under_way_come_from_memory(store, chunk_of):
    """A chunk can be read before it is on disk, and not once its commit failed."""
    index = store.load("fraud").index
    chunk = chunk_of(index, ["a", "b"])
    with store._journal._changed:
        future = store.submit(Commit(model="fraud", predictions=[chunk]))
        assert store._payloads.get(("fraud", chunk.id)) is chunk.payload
    future.result()
    assert store.payloads("fraud", [chunk.id])[chunk.id].equals(chunk.payload)


def test_baselines_take_turns(store):
    """One baseline is active for each version, one for all others; activating moves the mark."""
    store.put_baseline(baseline_of(b"1"))
    store.put_baseline(baseline_of(b"2", id="b2"))
    store.put_baseline(baseline_of(b"3", id="b3", version="v2", period=None, buckets=()))

    def active():
        return {baseline.id for baseline in store.load("fraud").baselines if baseline.active}

    assert active() == {"b2", "b3"}
    store.activate_baseline("fraud", "b1")
    assert active() == {"b1", "b3"}
    store.delete_baseline("fraud", "b1")
    assert [baseline.id for baseline in store.load("fraud").baselines] == ["b2", "b3"]
    for act in (store.activate_baseline, store.delete_baseline):
        with pytest.raises(NotFoundError):
            act("fraud", "b1")


def test_raw_rows_give_way_to_profiles(store, grid, profile_of):
    """A first grid, its profiles and baseline replace the raw rows in one step."""
    store.submit(Commit(model="fraud", rows=[("v1", b"one"), ("v2", b"two")])).result()
    commit = Commit(
        "fraud",
        grid=(grid.id, grid.to_bytes()),
        deltas=[Delta("v1", "", 0, profile_of(1))],
        baseline=baseline_of(b"p"),
        drop_rows=True,
    )
    store.submit(commit).result()
    model = store.load("fraud")
    assert model.rows == []
    assert list(model.grids) == [grid.id]
    assert list(model.buckets) == [("v1", "", 0)]
    assert [baseline.id for baseline in model.baselines] == ["b1"]


def test_labels_that_came_first_are_held_after_a_restart(tmp_path, clock, chunk_of):
    """Held labels wait again after a restart; those whose predictions expired do not."""
    store = Store.open(tmp_path, clock=clock)
    index = store.load("fraud").index
    hashes = index.hash_ids(pa.array(["early", "gone", "corrected"]))
    days = np.array([NOT_JOINED, 18_000, NOT_JOINED], np.int32)
    store.submit(
        Commit(model="fraud", labels=LabelChunk(hashes, np.array([1.0, 1.0, 2.5]), 3.0, days))
    ).result()
    again = LabelChunk(hashes[2:], np.array([np.nan]), 4.0)
    store.submit(Commit(model="fraud", labels=again)).result()
    with reopened(store, tmp_path, clock) as opened:
        held = opened.load("fraud").index
        assert np.array_equal(held.held_labels(hashes), [1.0, np.nan, np.nan], equal_nan=True)
        query, values, arrivals = held.take_held(hashes)
        assert (query.tolist(), values.tolist(), arrivals.tolist()) == ([0], [1.0], [3.0])


def test_compacting_changes_rows_but_not_what_they_say(store, grid, commit_of, profile_of):
    """Many deltas of a bucket become one row with their sum; coarser buckets as asked for."""
    store.put_grid("fraud", grid.id, grid.to_bytes())
    for seed in range(1, 7):
        store.submit(commit_of(seed, bucket=60 * (seed % 2))).result()
    assert store.compact("fraud") == 4
    buckets = store.load("fraud").buckets
    assert {key: len(rows) for key, rows in buckets.items()} == {("v1", "", 0): 1, ("v1", "", 60): 1}
    assert store.compact("fraud", bucket_of=lambda start: start // 3600 * 3600) == 1
    ((_, data),) = store.load("fraud").buckets["v1", "", 0]
    expected = merged([profile_of(seed) for seed in range(1, 7)])
    recovered = decode(data, grid)
    assert recovered.rows == expected.rows
    assert np.array_equal(recovered.coarse_counts("amount"), expected.coarse_counts("amount"))
    assert store.compact("fraud") == 0


def test_expired_data_goes(store, commit_of, chunk_of):
    """Buckets, predictions, labels and answers go once they are older than asked for; the rest stays."""
    index = store.load("fraud").index
    old, new = chunk_of(index, ["a"], day=10), chunk_of(index, ["b"], day=11)
    for bucket, chunk in ((0, old), (60, new)):
        answer = StoredAnswer("batches", str(bucket), "h", 202, b"", float(bucket))
        commit = commit_of(1, bucket=bucket, answer=answer)
        commit.predictions = [chunk]
        commit.labels = LabelChunk(chunk.hashes, np.ones(1), 5.0, np.array([chunk.day], np.int32))
        store.submit(commit).result()
    store.submit(Commit(model="fraud", labels=LabelChunk(old.hashes + 1, np.ones(1), 5.0))).result()
    store.expire("fraud", before_bucket=60, before_day=11, labels_before=6.0, answers_before=60.0)
    model = store.load("fraud")
    assert list(model.buckets) == [("v1", "", 60)]
    assert model.index.pending == 1
    assert model.index.held == 0
    assert model.index.labels_of(model.index.find(new.hashes).slot).tolist() == [1.0]
    assert store.answer("fraud", "batches", "0") is None
    assert store.answer("fraud", "batches", "60") is not None


def test_a_deleted_version_is_gone(store, commit_of, chunk_of):
    """Everything of one version goes, nothing of the other."""
    index = store.load("fraud").index
    chunks = {version: chunk_of(index, ["a"], version=version) for version in ("v1", "v2")}
    for version, chunk in chunks.items():
        commit = commit_of(1, version=version)
        commit.predictions = [chunk]
        commit.rows = [(version, b"raw")]
        commit.baseline = baseline_of(b"p", id=version, version=version)
        store.submit(commit).result()
    store.delete_version("fraud", "v1")
    model = store.load("fraud")
    assert {key[0] for key in model.buckets} == {"v2"}
    assert {key[1] for key in model.counters} == {"v2"}
    assert {key[1] for key in model.state} == {"v2"}
    assert model.rows == [("v2", b"raw")]
    assert [baseline.id for baseline in model.baselines] == ["v2"]
    assert model.index.versions == ["v2"]
    assert list(store.payloads("fraud", [chunk.id for chunk in chunks.values()])) == [chunks["v2"].id]


def test_a_deleted_model_gives_its_bytes_back(store, chunk_of):
    """After a model is deleted the file is small again and the name starts anew with the same hash key."""
    index = store.load("fraud").index
    small = store.size_bytes()
    for _ in range(10):
        store.submit(Commit(model="fraud", rows=[("v1", bytes(1_000_000))])).result()
    store.submit(Commit(model="other", rows=[("v1", b"kept")])).result()
    assert store.size_bytes() > 10_000_000
    store.delete_model("fraud")
    assert store.size_bytes() < small + 500_000
    assert store.load("fraud").rows == []
    assert store.load("fraud").index.key == index.key
    assert store.load("other").rows == [("v1", b"kept")]


@pytest.mark.parametrize("at_once", [1, 7, 10_000])
def test_labels_are_recovered_range_by_range(monkeypatch, store, chunk_of, at_once):
    """However many labels are looked up at a time, predictions get their last label, the rest is held."""
    monkeypatch.setattr(reading, "LABELS_AT_ONCE", at_once)
    index = store.load("fraud").index
    ids = [f"id {number}" for number in range(60)]
    chunk = chunk_of(index, ids[:40])
    store.submit(Commit(model="fraud", predictions=[chunk])).result()
    random = np.random.default_rng(at_once)
    expected = {}
    for arrival in range(30):
        wanted = random.choice(60, 10, replace=False)
        values = random.choice([0.0, 1.0, 1000.0, 0.5], 10)
        hashes = index.hash_ids(pa.array([ids[at] for at in wanted]))
        store.submit(Commit(model="fraud", labels=LabelChunk(hashes, values, float(arrival)))).result()
        expected.update(
            zip(wanted.tolist(), zip(values.tolist(), [float(arrival)] * 10, strict=True), strict=True)
        )
    again = store.load("fraud").index
    matches = again.find(chunk.hashes)
    labels = dict(zip(matches.query.tolist(), again.labels_of(matches.slot).tolist(), strict=True))
    assert {at: label for at, label in labels.items() if not np.isnan(label)} == {
        at: value for at, (value, _) in expected.items() if at < 40
    }
    query, values, arrivals = again.take_held(again.hash_ids(pa.array(ids)))
    held = dict(zip(query.tolist(), zip(values.tolist(), arrivals.tolist(), strict=True), strict=True))
    assert held == {at: label for at, label in expected.items() if at >= 40}


def test_expiry_gives_disk_space_back_when_much_is_free(store, chunk_of):
    """A file that is mostly free pages shrinks, and nothing that is kept is lost."""
    index = store.load("fraud").index
    for day in range(20):
        ids = [f"{day}-{row}" for row in range(20_000)]
        store.submit(Commit(model="fraud", predictions=[chunk_of(index, ids, day=day)])).result()
    before = store.size_bytes()
    store.expire("fraud", before_day=19)
    assert store.size_bytes() < before / 10
    assert store.load("fraud").index.pending == 20_000
    assert len(store.payloads("fraud", range(30))) == 1
    assert store.run(lambda connection: connection.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
