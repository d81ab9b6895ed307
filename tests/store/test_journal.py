"""Group commit: many pushes, few transactions, nothing lost."""

from __future__ import annotations

import threading

import numpy as np

from exporter.profiles import decode
from exporter.store.writing import merged


def test_commits_of_many_threads_share_transactions(store, grid, commit_of, profile_of):
    """What queues up during a transaction goes into the next, merged into one row a bucket, and adds up."""
    threads, rounds = 8, 25
    barrier = threading.Barrier(threads)
    for seed in range(1, threads + 1):
        profile_of(seed)
    failures = []

    def push(seed):
        try:
            barrier.wait()
            for _ in range(rounds):
                store.submit(commit_of(seed)).result()
        except Exception as error:  # noqa: BLE001  # shown below
            failures.append(error)

    workers = [threading.Thread(target=push, args=(seed,)) for seed in range(1, threads + 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    model = store.load("fraud")
    assert model.counters["batches", "v1"] == threads * rounds
    rows = [decode(data, grid) for _, data in model.buckets["v1", "", 0]]
    assert len(rows) == store.transactions
    assert store.transactions <= threads * rounds
    total = merged(rows)
    expected = merged([profile_of(seed) for seed in range(1, threads + 1)])
    assert total.rows == rounds * expected.rows
    assert np.array_equal(total.coarse_counts("amount"), rounds * expected.coarse_counts("amount"))


def test_one_transaction_takes_all_that_waits(store, grid, commit_of, profile_of):
    """Commits that are queued together are written together, one row for each bucket and version."""
    with store._journal._changed:
        futures = [store.submit(commit_of(seed, bucket=60 * (seed % 2))) for seed in range(1, 11)]
    for future in futures:
        future.result()
    assert store.transactions == 1
    buckets = store.load("fraud").buckets
    assert {key: len(rows) for key, rows in buckets.items()} == {("v1", "", 0): 1, ("v1", "", 60): 1}
    ((_, data),) = buckets["v1", "", 60]
    assert decode(data, grid).rows == sum(profile_of(seed).rows for seed in (1, 3, 5, 7, 9))


def test_profiles_that_are_merged_stay_as_they_were(store, commit_of, profile_of):
    """The caller goes on using a profile that it committed."""
    before = profile_of(1).rows
    commits = [commit_of(1), commit_of(2), commit_of(3)]
    with store._journal._changed:
        futures = [store.submit(commit) for commit in commits]
    for future in futures:
        future.result()
    assert [commit.deltas[0].profile.rows for commit in commits] == [before] * 3


def test_tasks_and_commits_keep_their_order(store, commit_of):
    """A function that runs on the writer sees what was submitted before it and not what came after."""
    counts = []

    def count(connection):
        counts.append(
            connection.execute("SELECT value FROM counters WHERE key LIKE '%batches%'").fetchone()[0]
        )

    first = store.submit(commit_of(1))
    store.run(count)
    second = store.submit(commit_of(2))
    store.run(count)
    assert first.done()
    assert second.done()
    assert counts == [1.0, 2.0]


def test_a_task_that_fails_leaves_nothing(store, commit_of):
    """An error inside a task undoes its writes and reaches the one who asked."""
    store.submit(commit_of(1)).result()

    class OddError(Exception):
        pass

    def fail(connection):
        connection.execute("DELETE FROM counters")
        raise OddError

    try:
        store.run(fail)
    except OddError:
        pass
    else:
        raise AssertionError("the error was lost")
    assert store.load("fraud").counters["batches", "v1"] == 1.0
    store.submit(commit_of(2)).result()
