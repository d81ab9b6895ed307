"""The index of pending predictions answers as a dictionary would."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from exporter.store import PredictionIndex
from exporter.store.labels import LabelBlocks
from exporter.store.runs import HashRuns

KEY = b"0123456789abcdef"
HASHES = st.integers(0, 40)  # few, so that they meet again
BATCHES = st.lists(HASHES, max_size=12, unique=True)
VALUES = st.sampled_from([0.0, 1.0, -5.0, 300.0, 2.0**40, 0.25])


def array(hashes):
    return np.array(hashes, dtype=np.uint64)


class IndexMachine(RuleBasedStateMachine):
    """Runs the index beside plain dictionaries."""

    def __init__(self):
        super().__init__()
        self.index = PredictionIndex(KEY, largest_run=40)
        self.rows = {}  # (chunk, row) -> [version, day, hash, label]
        self.held = {}

    def matching(self, hashed):
        return sorted(place for place, row in self.rows.items() if row[2] == hashed)

    @rule(hashes=BATCHES, version=st.sampled_from("abc"), day=st.integers(0, 5))
    def add(self, hashes, version, day):
        chunk = self.index.next_chunk_id()
        self.index.add(SimpleNamespace(id=chunk, version=version, day=day, hashes=array(hashes)))
        for row, hashed in enumerate(hashes):
            self.rows[chunk, row] = [version, day, hashed, None]

    @rule(hashes=st.lists(HASHES, max_size=60))
    def find(self, hashes):
        matches = self.index.find(array(hashes))
        found = [
            (query, self.index.versions[code], chunk, row, day)
            for query, code, chunk, row, day in zip(
                matches.query, matches.version_code, matches.chunk, matches.row, matches.day, strict=True
            )
        ]
        expected = [
            (query, self.rows[place][0], *place, self.rows[place][1])
            for query, hashed in enumerate(hashes)
            for place in self.matching(hashed)
        ]
        assert found == expected
        labels = self.index.labels_of(matches.slot)
        known = [self.rows[place][3] for hashed in hashes for place in self.matching(hashed)]
        assert [None if np.isnan(label) else label for label in labels] == known

    @rule(hashes=BATCHES, version=st.sampled_from("abcd"))
    def seen(self, hashes, version):
        expected = [
            any(self.rows[place][0] == version for place in self.matching(hashed)) for hashed in hashes
        ]
        assert self.index.seen(version, array(hashes)).tolist() == expected

    @rule(hashes=BATCHES, value=VALUES | st.none())
    def label(self, hashes, value):
        matches = self.index.find(array(hashes))
        self.index.set_labels(matches.slot, np.full(len(matches), np.nan if value is None else value))
        for hashed in hashes:
            for place in self.matching(hashed):
                self.rows[place][3] = value

    @rule(hashes=BATCHES, value=VALUES, arrival=st.floats(0, 10))
    def hold(self, hashes, value, arrival):
        self.index.hold(array(hashes), np.full(len(hashes), value), arrival)
        self.held.update(dict.fromkeys(hashes, (value, arrival)))

    @rule(hashes=BATCHES)
    def take_held(self, hashes):
        query, values, arrivals = self.index.take_held(array(hashes))
        taken = {hashes[at]: (value, when) for at, value, when in zip(query, values, arrivals, strict=True)}
        assert taken == {hashed: self.held.pop(hashed) for hashed in hashes if hashed in self.held}

    @rule(hashed=HASHES)
    def held_label(self, hashed):
        assert self.index.held_label(hashed) == self.held.get(hashed, (None,))[0]

    @rule(before=st.floats(0, 10))
    def expire_held(self, before):
        stale = [hashed for hashed, (_, arrival) in self.held.items() if arrival < before]
        assert self.index.expire_held(before) == len(stale)
        for hashed in stale:
            del self.held[hashed]

    @rule(day=st.integers(0, 5))
    def expire_days(self, day):
        gone = [place for place, row in self.rows.items() if row[1] < day]
        assert self.index.expire_days(day) == len(gone)
        self.forget(gone)

    @rule(version=st.sampled_from("abcd"))
    def drop_version(self, version):
        gone = [place for place, row in self.rows.items() if row[0] == version]
        assert self.index.drop_version(version) == len(gone)
        self.forget(gone)

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def discard(self, data):
        chunk = data.draw(st.sampled_from(sorted({chunk for chunk, _ in self.rows})))
        self.index.discard(chunk)
        self.forget([place for place in self.rows if place[0] == chunk])

    def forget(self, places):
        for place in places:
            del self.rows[place]

    @invariant()
    def counts(self):
        assert self.index.pending == len(self.rows)
        assert self.index.held == len(self.held)


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.integers(0, 200_000), VALUES | st.just(float("nan"))), max_size=60))
@settings(deadline=None, max_examples=50)
def test_label_blocks_behave_as_a_sparse_array(writes):
    """Values survive widening of their block; NaN takes a value back."""
    blocks, oracle = LabelBlocks(), {}
    for slot, value in writes:
        blocks.set(np.array([slot]), np.array([value]))
        oracle[slot] = value
    slots = np.array([*oracle, 199_999, 5], dtype=np.int64)
    expected = [oracle.get(int(slot), np.nan) for slot in slots]
    assert np.array_equal(blocks.get(slots), expected, equal_nan=True)


def test_small_integers_take_a_byte():
    """Labels 0 and 1 take one byte a slot of the blocks they fall in, fractions eight."""
    blocks = LabelBlocks()
    blocks.set(np.arange(1000), np.ones(1000))
    assert blocks.nbytes == 65_536
    blocks.set(np.array([3]), np.array([0.5]))
    assert blocks.nbytes == 8 * 65_536


def test_runs_stay_few():
    """Small batches are merged into logarithmically many runs, which stop growing at their bound."""
    runs = HashRuns(largest_run=4096)
    random = np.random.default_rng(0)
    for start in range(0, 20_000, 100):
        runs.add(random.integers(0, 2**64, 100, dtype=np.uint64), start)
    assert len(runs) == 20_000
    assert max(runs.run_lengths) <= 4096
    assert len(runs.run_lengths) <= 20


def test_ordinals_of_far_apart_runs_are_kept_exactly():
    """Runs whose ordinals span more than 32 bits are not merged."""
    runs = HashRuns()
    runs.add(array([7, 8]), 0)
    runs.add(array([7, 9]), 2**33)
    query, ordinal = runs.find(array([7]))
    assert query.tolist() == [0, 0]
    assert ordinal.tolist() == [0, 2**33]


def test_slots_stay_valid_when_days_expire():
    """A slot that was found before a sweep names the same prediction after it."""
    index = PredictionIndex(KEY)
    for day in range(20):
        hashes = np.arange(day * 1000, (day + 1) * 1000, dtype=np.uint64)
        index.add(SimpleNamespace(id=index.next_chunk_id(), version="v", day=day, hashes=hashes))
    wanted = array([19_500, 18_001])
    before = index.find(wanted)
    index.set_labels(before.slot, np.array([1.0, 0.0]))
    memory = index.memory_bytes
    index.expire_days(18)
    after = index.find(wanted)
    assert after.slot.tolist() == before.slot.tolist()
    assert index.labels_of(before.slot).tolist() == [1.0, 0.0]
    assert index.memory_bytes < memory - 17_000 * 12


def test_hashes_are_keyed_and_stable():
    """SipHash-2-4 of the text: the same under one key, another under another, pinned by a known value."""
    ids = pa.array(["a", "b", "ü", ""])
    hashes = PredictionIndex(KEY).hash_ids(ids)
    assert hashes.dtype == np.uint64
    assert hashes.tolist()[:2] == [5941279374467348348, 8962727361985310410]
    assert len(set(hashes.tolist())) == 4
    assert not np.isin(hashes, PredictionIndex(b"fedcba9876543210").hash_ids(ids)).any()
    assert PredictionIndex(KEY).hash_ids(pa.array([], pa.string())).shape == (0,)


@pytest.mark.parametrize("rows", [100, 10_000])
def test_memory_is_about_twelve_bytes_a_prediction(rows):
    """Hash and place take 12 bytes; the table of chunks adds less than one for batches of 100 rows."""
    index = PredictionIndex(KEY)
    random = np.random.default_rng(0)
    for _ in range(200_000 // rows):
        hashes = random.integers(0, 2**64, rows, dtype=np.uint64)
        index.add(SimpleNamespace(id=index.next_chunk_id(), version="v", day=0, hashes=hashes))
    assert 12 <= index.memory_bytes / index.pending < 13
