"""Records of the history: what goes in comes out, in the order of time, of one generation only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.clock import ManualClock
from exporter.errors import CorruptStoreError
from exporter.store import Change, HistoryKey, HistoryRecord, Store
from exporter.store.history import decode_values, encode_values

HOUR = 3600


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path, clock=ManualClock(0.0)) as store:
        store.load("m")
        yield store


def generation(store: Store) -> str:
    return store.load("m").generation


def record(end: int, *, version: str = "v", window: str = "1d", part: str = "features", value: float = 1.0):
    names = {("ml_a",): value, ("ml_b", "x", "ü\n"): -0.0, ("undefined", "drift", "", "empty"): 1.0}
    return HistoryRecord(HistoryKey(end, version, "", window, part), end - 86_400, 5.0, "base", names)


def read(store: Store, **options):
    return store.history.read("m", start=-1e15, end=1e15, parts=("features", "outcomes"), **options)


@given(
    st.dictionaries(st.integers(0, 2**32 - 1), st.floats(allow_nan=False, allow_infinity=False), max_size=50)
)
def test_values_come_back_bit_by_bit(values):
    """Encoding keeps every number and every bit of every value."""
    ids, floats = decode_values(encode_values(list(values), list(values.values())))
    wanted = dict(sorted(values.items()))
    assert ids.tolist() == list(wanted)
    assert np.array(list(wanted.values()), float).tobytes() == floats.tobytes()


@pytest.mark.parametrize("place", [0, 3, 7, 12, -1])
def test_damaged_records_are_told(place):
    """A changed byte, or fewer of them, is an error and not another value."""
    data = bytearray(encode_values(range(20), np.linspace(0, 1, 20).tolist()))
    data[place] ^= 0x55
    with pytest.raises(CorruptStoreError):
        decode_values(bytes(data))
    with pytest.raises(CorruptStoreError):
        decode_values(bytes(data[: len(data) // 2]))
    with pytest.raises(CorruptStoreError):
        decode_values(b"")


def test_records_come_back_by_time(store):
    """Records are read by end, version, window and part, whatever the order of writing, and page by page."""
    records = [
        record(end * HOUR, version=version, window=window, part=part)
        for end in (5, 1, 3)
        for version in ("w", "v")
        for window in ("7d", "1d")
        for part in ("outcomes", "features")
    ]
    store.history.write("m", generation(store), records).result()
    whole = read(store)
    assert whole == sorted(records, key=lambda one: one.key)
    paged, after = [], None
    while page := read(store, limit=5, **({} if after is None else {"after": after})):
        paged += page
        after = page[-1].key
    assert paged == whole
    assert {one.key.window for one in read(store, window="7d", version="w")} == {"7d"}
    assert store.history.groups("m", start=0, end=1e9) == [
        (version, "", window) for version in ("v", "w") for window in ("1d", "7d")
    ]


def test_a_record_takes_the_place_of_an_earlier_one(store):
    """There is one record a key: the last."""
    for value in (1.0, 2.0):
        store.history.write("m", generation(store), [record(HOUR, value=value)]).result()
    (only,) = read(store)
    assert only.values["ml_a",] == 2.0
    assert store.history.get("m", only.key) == only
    assert store.history.get("m", only.key._replace(end=1)) is None


def test_writes_of_an_earlier_generation_change_nothing(store):
    """What was evaluated before data were deleted does not come back."""
    before = generation(store)
    store.history.write("m", before, [record(HOUR)]).result()
    store.delete_model("m")
    assert store.history.write("m", before, [record(HOUR)]) is None
    assert read(store) == []
    store.history.write("m", generation(store), [record(2 * HOUR)]).result()
    assert [one.key.end for one in read(store)] == [2 * HOUR]
    store.delete_version("m", "v")
    assert read(store) == []


def test_thinning_keeps_the_last_of_each_step(store):
    """Steps end at multiples of their length; other windows and parts have steps of their own."""
    ends = [1, 2, 23, 24, 25, 47, 49, 72, 73]
    records = [record(end * HOUR, window=window) for end in ends for window in ("1d", "7d")]
    records.append(record(23 * HOUR, part="outcomes"))
    store.history.write("m", generation(store), records).result()
    store.history.thin("m", before=72 * HOUR, step=24 * HOUR)
    kept = [one.key for one in read(store)]
    for window in ("1d", "7d"):
        hours = [key.end // HOUR for key in kept if key.window == window and key.part == "features"]
        assert hours == [24, 47, 72, 73]
    assert [key.end // HOUR for key in kept if key.part == "outcomes"] == [23]
    store.history.expire("m", before=72 * HOUR)
    assert {one.key.end // HOUR for one in read(store)} == {72, 73}


def test_many_threads_name_the_same_series(store):
    """Names that several threads write first at the same time have one number each."""
    current = generation(store)

    def write(thread: int) -> None:
        for end in range(20):
            values = {("ml_a", f"{end}"): 1.0, ("ml_b", f"{thread}"): 2.0}
            key = HistoryKey(end, f"v{thread}", "", "1d", "features")
            future = store.history.write("m", current, [HistoryRecord(key, 0, 0.0, None, values)])
            assert future is not None
            assert future.result()

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = read(store)
    assert len(records) == 80
    for one in records:
        wanted = {("ml_a", f"{one.key.end}"): 1.0, ("ml_b", one.key.version[1:]): 2.0}
        assert one.values == wanted


def test_a_mark_stays_when_its_bucket_changes_again(store):
    """Marks add up what changed; one that was renewed meanwhile is not taken away."""
    store.past.mark("m", {("v", 0): Change.LABELS, ("v", HOUR): Change.ROWS})
    seen = store.past.marks("m")
    store.past.mark("m", {("v", 0): Change.PAST})
    store.past.unmark("m", seen)
    (left,) = store.past.marks("m")
    assert (left.bucket, left.change) == (0, Change.LABELS | Change.PAST)
