"""Many at once, and a store that fails: nothing is lost, nothing counts twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exporter.errors import StorageUnavailableError
from exporter.service.gate import Gate
from exporter.store import Commit

from .conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]
Step = tuple[str, Any, dict[str, Any]]

IDS = 240
VERSIONS = ("a", "b")


def flipped(labels: pa.Table) -> pa.Table:
    truth = labels["truth"].to_numpy(zero_copy_only=False)
    return pa.table({"id": labels["id"], "truth": ~truth})


def steps(table: pa.Table) -> list[list[Step]]:
    """What each of eight threads does, in its order: rows twice for two versions, labels, corrections.

    All rows and wrong labels come from several threads at once; a correction comes from the thread that
    brought the label, after it, so that the last word on each id is the same in any order of the threads.
    """
    pieces = [table.slice(start, 40) for start in range(0, IDS, 40)]
    threads: list[list[Step]] = [[] for _ in range(8)]
    for number, piece in enumerate(pieces):
        for turn in range(4):  # four threads push the same rows of both versions
            mine = threads[(number + 2 * turn) % 8]
            mine.append(("push", piece, {"version": VERSIONS[turn % 2]}))
    for number, piece in enumerate(pieces):
        wrong = labels_of(piece, wrong=40)
        mine = threads[(number * 3 + 1) % 8]
        place = int(np.random.default_rng(number).integers(len(mine) + 1))
        mine.insert(place, ("label", wrong, {}))
        mine.append(("label", flipped(wrong), {}))
        mine.append(("label", pa.concat_tables([wrong, flipped(wrong)]).slice(20, 40), {}))
        mine.append(("label", flipped(wrong), {}))
    return threads


def play(b: Bench, todo: list[Step]) -> None:
    for what, table, options in todo:
        getattr(b, what)(table, **options)


def prepared(b: Bench, baseline: pa.Table, spare: pa.Table) -> list[str]:
    """Ids of two baselines, of which the first is active."""
    b.service.create_baseline("m", table=baseline)
    b.service.create_baseline("m", table=spare, activate=False)
    return [found["id"] for found in b.service.list_baselines("m")["baselines"]]


def await_all(work: list[Future[None]], stop: threading.Event, others: list[Future[None]]) -> None:
    """Wait for the work, then stop the others, whatever came of it."""
    try:
        for done in work:
            done.result(60)
    finally:
        stop.set()
    for done in others:
        done.result(60)


def outcome(b: Bench) -> dict[str, Any]:
    """What must not depend on who came first."""
    found: dict[str, Any] = {}
    for version in VERSIONS:
        result = b.evaluated(window="6h", version=version)
        found[version] = (result["rows"], result["labeled_rows"], sorted(map(str, result["confusion"])))
        drift = b.evaluated("drift", window="6h", version=version)
        found[version, "drift"] = {name: column["statistic"] for name, column in drift["columns"].items()}
        for segment in ("AA", "UA", "DL"):
            part = b.evaluated(window="6h", version=version, segment=f"carrier={segment}")
            found[version, segment] = (
                part["rows"],
                part["labeled_rows"],
                sorted(map(str, part["confusion"])),
            )
    lane = b.service._lanes["m"]
    found["counters"] = {
        key: count
        for key, count in lane.counters.items()
        if count and key[0] in ("rows", "labels", "bins", "rejected")
    }
    found["pending"], found["held"] = lane.index.pending, lane.index.held
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_eight_threads_count_what_one_counts(bench: Make, rows: Rows, seed: int) -> None:
    """Rows, labels and corrections of the same ids from eight threads count as they do in turn."""
    baseline, spare, table = rows(800, 10_000), rows(800, 20_000), rows(IDS)
    one, many = bench(), bench()
    ids = [prepared(b, baseline, spare) for b in (one, many)]
    threads = steps(table)
    play(one, [step for todo in threads for step in todo])
    stop = threading.Event()
    barrier = threading.Barrier(10)

    def worker(todo: list[Step]) -> None:
        pauses = np.random.default_rng([seed, len(todo)])
        barrier.wait()
        for step in todo:
            time.sleep(float(pauses.uniform(0, 0.004)))
            play(many, [step])

    def activate() -> None:
        barrier.wait()
        while not stop.is_set():
            for baseline_id in reversed(ids[1]):
                many.service.activate_baseline("m", baseline_id)
        many.service.activate_baseline("m", ids[1][0])

    def evaluate() -> None:
        barrier.wait()
        while not stop.is_set():
            many.service.evaluate("m")

    with ThreadPoolExecutor(10) as pool:
        extra = [pool.submit(activate), pool.submit(evaluate)]
        work = [pool.submit(worker, todo) for todo in threads]
        await_all(work, stop, extra)
    one.service.activate_baseline("m", ids[0][0])
    expected = outcome(one)
    assert expected["a"][:2] == expected["b"][:2] == (IDS, IDS)
    assert expected["counters"]["labels", "a"] == IDS
    assert outcome(many) == expected
    many.restart()
    assert outcome(many) == expected


def test_rows_of_many_threads_become_one_provisional_baseline(bench: Make, rows: Rows) -> None:
    """Eight threads that push while the first grid is made: one baseline, and every row once."""
    b = bench()
    tables = [rows(50, 50 * number) for number in range(32)]
    for table in tables[:3]:
        b.label(labels_of(table))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(b.push, tables))
    assert sum(answer["accepted"] for answer in answers) == 1600
    assert len(b.service.list_baselines("m")["baselines"]) == 1
    for _ in range(2):
        result = b.evaluated(window="6h")
        assert (result["rows"], result["labeled_rows"]) == (1600, 150)
        b.restart()


@contextmanager
def failing(b: Bench, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> Iterator[None]:
    """The next commits fail as on a full disk, after they were queued."""
    submit, left = b.store.submit, [times]

    def fail(commit: Commit) -> Future[None]:
        if not left[0]:
            return submit(commit)
        left[0] -= 1
        failed: Future[None] = Future()
        failed.set_exception(StorageUnavailableError("made to fail: no space left on device"))
        return failed

    with monkeypatch.context() as patch:
        patch.setattr(b.store, "submit", fail)
        yield


@pytest.mark.parametrize("grid", [False, True])
def test_rows_that_could_not_be_stored_can_come_again(
    bench: Make, rows: Rows, monkeypatch: pytest.MonkeyPatch, grid: bool
) -> None:
    """A failed commit leaves no id marked, no key used and no label lost; the retry counts all of it."""
    b = bench()
    if grid:
        b.service.create_baseline("m", table=rows(600, 10_000))
    table = rows(600)
    early = labels_of(table.slice(0, 200), wrong=50)
    b.label(early)
    inline = table.append_column(
        "truth", pa.array([None] * 300 + labels_of(table)["truth"].to_pylist()[300:])
    )
    with failing(b, monkeypatch), pytest.raises(StorageUnavailableError):
        b.push(inline, key="k", body_hash="a")
    lane = b.service._lanes["m"]
    assert (lane.index.pending, lane.index.held, len(lane.flights), lane.in_progress) == (0, 200, 0, set())
    assert b.service.show_model("m")["rows"] == 0
    answer = b.push(inline, key="k", body_hash="a")
    assert (answer["accepted"], answer["duplicate"]) == (600, False)
    for _ in range(2):
        result = b.evaluated(window="6h")
        assert (result["rows"], result["labeled_rows"]) == (600, 500)
        assert result["metrics"]["accuracy"]["value"] == pytest.approx(0.9)
        b.restart()


def test_labels_that_could_not_be_stored_can_come_again(
    bench: Make, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New, corrected, early and twice early labels are as before after a failure, and count on retry."""
    b = bench()
    b.service.create_baseline("m", table=rows(600, 10_000))
    table, later = rows(300), rows(300, 1000)
    b.push(table)
    b.label(labels_of(table.slice(0, 100), wrong=100))
    b.label(labels_of(later.slice(0, 100), wrong=100))
    again = pa.concat_tables([labels_of(table), labels_of(later)])
    with failing(b, monkeypatch), pytest.raises(StorageUnavailableError):
        b.label(again)
    result = b.evaluated(window="6h")
    assert (result["labeled_rows"], result["metrics"]["accuracy"]["value"]) == (100, 0.0)
    lane = b.service._lanes["m"]
    held = lane.index.held_labels(lane.index.hash_ids(later["id"].combine_chunks()))
    assert np.count_nonzero(~np.isnan(held)) == 100
    wrong = labels_of(later.slice(0, 100), wrong=100)["truth"].to_numpy(zero_copy_only=False)
    np.testing.assert_array_equal(held[:100], wrong.astype(float))
    answer = b.label(again)
    counted = {name: answer[name] for name in ("matched", "pending", "duplicates", "corrected")}
    assert counted == {"matched": 200, "pending": 200, "duplicates": 0, "corrected": 200}
    b.push(later)
    for _ in range(2):
        result = b.evaluated(window="6h")
        assert (result["rows"], result["labeled_rows"]) == (600, 600)
        assert result["metrics"]["accuracy"]["value"] == 1.0
        b.restart()


def test_an_early_label_keeps_its_arrival_when_a_correction_fails(
    bench: Make, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delay of a label that waited is counted from when it came, not from a failed correction."""
    b = bench()
    b.service.create_baseline("m", table=rows(600, 10_000))
    table = rows(300, start=NOW - 60, seconds=1)
    b.label(labels_of(table))
    b.clock.advance(5 * HOUR)
    with failing(b, monkeypatch), pytest.raises(StorageUnavailableError):
        b.label(labels_of(table, wrong=300))
    b.push(table)
    assert b.evaluated(window="6h")["label_delay"]["p50"] == pytest.approx(60, rel=0.1)


def test_labels_wait_for_labels_under_way(bench: Make, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A correction that comes while its label is under way, and then fails, counts as the first."""
    b = bench()
    b.service.create_baseline("m", table=rows(600, 10_000))
    table = rows(300)
    b.push(table)
    submit = b.store.submit
    hanging: Future[None] = Future()
    first = threading.Event()

    def hang(commit: Commit) -> Future[None]:
        if not first.is_set():
            first.set()
            return hanging
        return submit(commit)

    monkeypatch.setattr(b.store, "submit", hang)
    with ThreadPoolExecutor(2) as pool:
        wrong = pool.submit(b.label, labels_of(table, wrong=300))
        first.wait(10)
        right = pool.submit(b.label, labels_of(table))
        time.sleep(0.05)
        hanging.set_exception(StorageUnavailableError("made to fail"))
        with pytest.raises(StorageUnavailableError):
            wrong.result(10)
        answer = right.result(10)
    assert (answer["matched"], answer["corrected"]) == (300, 0)
    for _ in range(2):
        result = b.evaluated(window="6h")
        assert (result["labeled_rows"], result["metrics"]["accuracy"]["value"]) == (300, 1.0)
        b.restart()


def test_a_baseline_that_could_not_be_stored_changes_nothing(
    bench: Make, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither grid nor baseline is there after a failed commit, rows still wait, and the retry takes them."""
    b = bench()
    b.push(rows(300))
    table = rows(600, 1000)
    with failing(b, monkeypatch), pytest.raises(StorageUnavailableError):
        b.service.create_baseline("m", table=table)
    assert b.service.show_model("m")["grid"] is None
    assert b.service._lanes["m"].raw_rows == 300
    b.service.create_baseline("m", table=table)
    assert b.evaluated("drift", window="6h")["rows"] == 300


def test_a_provisional_baseline_that_failed_is_made_later(
    bench: Make, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are taken although their baseline could not be stored; the next push makes it."""
    b = bench()
    b.push(rows(450))
    submit = b.store.submit

    def fail(commit: Commit) -> Future[None]:
        if commit.baseline is not None:
            raise StorageUnavailableError("made to fail")
        return submit(commit)

    with monkeypatch.context() as patch:
        patch.setattr(b.store, "submit", fail)
        assert b.push(rows(100, 1000))["accepted"] == 100
    assert b.service.list_baselines("m")["baselines"] == []
    b.push(rows(10, 2000))
    assert len(b.service.list_baselines("m")["baselines"]) == 1
    assert b.evaluated("drift", window="6h")["rows"] == 560


def test_the_gate_is_shared_or_exclusive() -> None:
    """Many are inside together or one alone, and who waits alone is not starved by newcomers."""
    gate = Gate()
    inside, most, alone = [0], [0], [0]
    lock = threading.Lock()
    stop = threading.Event()

    def share() -> None:
        while not stop.is_set():
            with gate.shared():
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                with lock:
                    inside[0] -= 1

    def close() -> None:
        for _ in range(20):
            with gate.exclusive():
                assert inside[0] == 0
                alone[0] += 1
                time.sleep(0.001)
                assert inside[0] == 0

    with ThreadPoolExecutor(6) as pool:
        sharers = [pool.submit(share) for _ in range(4)]
        await_all([pool.submit(close) for _ in range(2)], stop, sharers)
    assert alone[0] == 40
    assert most[0] > 1


def test_the_gate_opens_after_an_error() -> None:
    """An exception inside lets the next one in."""
    gate = Gate()
    for enter in (gate.shared, gate.exclusive, gate.shared):
        with pytest.raises(ArithmeticError), enter():
            raise ArithmeticError
    with gate.exclusive():
        pass


def test_forgetting_while_rows_come_leaves_one_truth(bench: Make, rows: Rows) -> None:
    """Pushes, labels and deletions at once: what is in memory is what a restart finds."""
    b = bench()
    tables = [rows(60, 100 * number) for number in range(24)]

    def take(number: int) -> None:
        version = VERSIONS[number % 2]
        b.push(tables[number], version=version)
        b.label(labels_of(tables[number]))
        if number == 9:
            b.service.delete_data("m")
        elif number == 18 and "a" in b.service.show_model("m")["versions"]:
            b.service.delete_version("m", "a")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(take, range(len(tables))))
    b.push(rows(600, 90_000), version="b")
    found = []
    for _ in range(2):
        b.service.evaluate("m")
        model = b.service.show_model("m")
        results = b.service.performance("m", window="6h")["results"]
        values = [(result["version"], result["rows"], result["labeled_rows"]) for result in results]
        versions = {name: (state["rows"], state["labels"]) for name, state in model["versions"].items()}
        found.append((values, versions, model["pending_predictions"]))
        b.restart()
    assert found[0] == found[1]
    assert all(rows_in == found[0][1][version][0] for version, rows_in, _ in found[0][0])


class SlowRules:
    """The rules of a model; on a batch of `slow` rows they wait until they are let go."""

    def __init__(self, rules: Any, slow: int) -> None:
        self._rules, self._slow = rules, slow
        self.waiting, self.let_go = threading.Event(), threading.Event()

    def evaluate(self, table: pa.Table) -> Any:
        if table.num_rows == self._slow:
            self.waiting.set()
            assert self.let_go.wait(20)
        return self._rules.evaluate(table)


def test_slow_rules_hold_up_their_own_batch_only(bench: Make, rows: Rows) -> None:
    """While the rules of some batches are still being evaluated, another one is taken."""
    b = bench()
    b.push(rows(600))
    lane = b.service._lanes["m"]
    rules: Any = SlowRules(lane.rules, 11)
    lane.rules = rules
    with ThreadPoolExecutor(4) as pool:
        try:
            slow = [pool.submit(b.push, rows(11, 1000 * first)) for first in (1, 2, 3)]
            assert rules.waiting.wait(20)
            assert pool.submit(b.push, rows(7, 9000)).result(timeout=5)["accepted"] == 7
            assert not any(push.done() for push in slow)
        finally:
            rules.let_go.set()
        assert [push.result()["accepted"] for push in slow] == [11, 11, 11]
