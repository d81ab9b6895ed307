"""Profiles as bytes: round trips, sizes, and bytes that are no profile."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from exporter.errors import ConflictError, CorruptStoreError, UnreadableError
from exporter.profiles import (
    Profile,
    build_grid,
    codec,
    decode,
    encode,
    grid_id,
    profile_outcomes,
    profile_rows,
    row_counts,
)
from exporter.profiles.envelope import HEAD, open_envelope, seal
from exporter.profiles.packing import LARGEST, Reader, pack
from exporter.schema import Column, Kind, Task


@pytest.fixture(scope="module")
def grid(rows):
    return build_grid(rows.batch(0, 2_000))


@pytest.fixture(scope="module")
def profile(rows, grid):
    batch = rows.batch(1, 300)
    return profile_rows(grid, batch, arrival=1.7e9) + profile_outcomes(grid, batch.outcomes)


@pytest.mark.parametrize("n", [0, 1, 100, 5_000, 200_000])
@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS, Task.REGRESSION])
def test_profiles_come_back_exactly(rows, n, task):
    """Every count, sum, extreme, new name and tally survives, sparse and dense, negative ones too."""
    grid = build_grid(rows.batch(0, 1_000, task))
    batch = rows.batch(1, n, task)
    for sign in (1, -1):
        profile = profile_rows(grid, batch, arrival=1.7e9) + profile_outcomes(grid, batch.outcomes, sign=sign)
        data = encode(profile)
        assert grid_id(data) == grid.id
        back = decode(data, grid, stored=True)
        rows.assert_same(back, profile, rtol=0)
        assert encode(back) == data


@settings(max_examples=100, deadline=None)
@given(
    values=arrays(np.int64, st.integers(0, 300), elements=st.integers(-LARGEST, LARGEST))
    | arrays(np.int64, st.integers(0, 300), elements=st.integers(0, 255) | st.just(10**9))
    | arrays(np.int64, st.integers(0, 300), elements=st.integers(-3, 3))
)
def test_packed_integers_come_back_exactly(values):
    """Any integers within 2^53, few large ones among small ones included."""
    np.testing.assert_array_equal(Reader(pack(values)).unpack(len(values)), values)


def test_the_longest_new_names_come_back(rows):
    """Columns full of new categories with the longest names, in characters JSON escapes, still decode."""
    base = rows.batch(0, 300)
    names = [f"c{number}" for number in range(40)]
    schema = base.schema.with_features(tuple(Column(name, Kind.CATEGORICAL) for name in names))
    known = rows.dictionary(["known"] * 300)
    new = rows.dictionary(["\x01" * 400 + str(number) for number in range(300)])
    grid = build_grid(replace(base, schema=schema, features=dict.fromkeys(names, known)))
    profile = profile_rows(grid, replace(base, schema=schema, features=dict.fromkeys(names, new)))
    back = decode(encode(profile), grid)
    rows.assert_same(back, profile, rtol=0)
    assert len(back.categorical("c7").novel) == grid.novel_cap


def test_the_rows_are_read_off_the_head(profile):
    """Rows and labelled rows are known without decoding."""
    assert row_counts(encode(profile)) == (profile.rows, profile.labeled_rows)


def test_parts_are_decoded_apart(rows, grid, profile):
    """One part can be read without the other; rows are always known, tallies come with the features."""
    data = encode(profile)
    features, outcomes = decode(data, grid, parts=("features",)), decode(data, grid, parts=("outcomes",))
    assert features.rows == outcomes.rows == 300
    assert features.outcomes.counts.is_empty
    assert outcomes.features.counts.is_empty
    assert features.tallies == profile.tallies
    assert outcomes.tallies == {}
    outcomes.features, outcomes.tallies = features.features, features.tallies
    rows.assert_same(outcomes, profile, rtol=0)


def test_an_empty_profile_takes_few_bytes(grid):
    """Nothing is encoded as nothing."""
    assert len(encode(Profile.empty(grid))) < 64


def test_profiles_on_another_grid_are_refused_by_name(rows, profile):
    """The error names the grid that was expected."""
    other = build_grid(rows.batch(8, 400))
    with pytest.raises(ConflictError, match=other.id):
        decode(encode(profile), other)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_is_found(grid, profile, data):
    """A changed byte, a cut or an addition anywhere is an UnreadableError, never another profile."""
    good = encode(profile)
    at = data.draw(st.integers(0, len(good) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "add"]))
    bad = {
        "flip": lambda: good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :],
        "cut": lambda: good[:at],
        "add": lambda: good[:at] + data.draw(st.binary(min_size=1, max_size=9)) + good[at:],
    }[how]()
    if bad == good:
        return
    with pytest.raises(UnreadableError):
        decode(bad, grid)
    with pytest.raises(CorruptStoreError):
        decode(bad, grid, stored=True)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_no_profile(grid, data):
    """Bytes of any kind are refused."""
    with pytest.raises(UnreadableError):
        decode(data, grid)
    with pytest.raises(UnreadableError):
        grid_id(data)


def hostile(grid, content: bytes, *, rows: int = 1) -> bytes:
    """A profile with right checksums around a features part of someone's own making."""
    part = seal(codec.PART_MAGIC["features"], content)
    head = codec.HEAD.pack(codec.MAGIC, codec.VERSION, bytes.fromhex(grid.id), rows, 0, len(part), 0)
    return head + zlib.crc32(head).to_bytes(4, "little") + part


def part_of(grid, *, counts: bytes, sparse: int = 1, extra: bytes = b"", tail: bytes | None = None) -> bytes:
    layout = grid.layout.features
    floats = bytes(8 * layout.sums + 16 * layout.extremes) if tail is None else tail
    return codec.PART_HEAD.pack(sparse, len(extra)) + extra + counts + floats


ONE = pack(np.array([0])) + pack(np.array([1]))


def hostile_contents(size: int) -> dict[str, dict]:
    """What a features part of `size` cells must not hold."""
    return {
        "cells beyond the grid": {"counts": pack(np.array([size])) + pack(np.array([1]))},
        "gaps that go backwards": {"counts": pack(np.array([5, -3])) + pack(np.array([1, 1]))},
        "more gaps than values": {"counts": pack(np.array([5, 3])) + pack(np.array([1]))},
        "too few dense cells": {"counts": pack(np.zeros(size - 1, int)), "sparse": 0},
        "too many dense cells": {"counts": pack(np.zeros(size + 1, int)), "sparse": 0},
        "a form that is none": {"counts": ONE, "sparse": 7},
        "a width of three": {"counts": struct.pack("<BBHII", 3, 0, 0, 1, 0) + b"abc"},
        "a count too large": {"counts": pack(np.array([0])) + pack(np.array([2**62]))},
        "an exception outside": {
            "counts": struct.pack("<BBHII", 1, 0, 0, 1, 1)
            + b"\0"
            + struct.pack("<Iq", 9, 1)
            + pack(np.array([1]))
        },
        "integers that are not there": {"counts": struct.pack("<BBHII", 8, 0, 0, 100, 0)},
        "sums that are not finite": {"counts": ONE, "tail": b"\xff" * 4096},
        "no sums": {"counts": ONE, "tail": b""},
        "JSON that is none": {"counts": ONE, "extra": b"{]"},
        "JSON of another shape": {"counts": ONE, "extra": b'{"a": 1}'},
        "names for a numeric column": {
            "counts": ONE,
            "extra": orjson.dumps([{"amount": {"x": 1}}, []]),
        },
        "too many names": {
            "counts": ONE,
            "extra": orjson.dumps([{"colour": {str(number): 1 for number in range(201)}}, []]),
        },
        "names with texts": {"counts": ONE, "extra": orjson.dumps([{"colour": {"x": "1"}}, []])},
        "tallies of lists": {"counts": ONE, "extra": orjson.dumps([{}, [[["a"], 1]]])},
        "tallies of truths": {"counts": ONE, "extra": orjson.dumps([{}, [["a", True]]])},
        "numbers for tallies": {"counts": ONE, "extra": orjson.dumps([{}, [7]])},
    }


@pytest.mark.parametrize("what", hostile_contents(2))
def test_well_wrapped_nonsense_is_refused(grid, what):
    """Right checksums around wrong content do not get through."""
    content = part_of(grid, **hostile_contents(grid.layout.features.size)[what])
    with pytest.raises(UnreadableError):
        decode(hostile(grid, content), grid)


def test_the_wrapping_of_these_tests_is_right(grid):
    """The same wrapping around right content decodes, so that the refusals above are of the content."""
    assert decode(hostile(grid, part_of(grid, counts=ONE)), grid).features.counts.block(
        slice(0, 1)
    ).tolist() == [1]


@pytest.mark.parametrize("changed", [{"version": 9}, {"rows": 2**60}])
def test_headers_of_others_are_refused(grid, changed):
    """A later version and more rows than can be are named."""
    fields = {"version": codec.VERSION, "rows": 1} | changed
    head = codec.HEAD.pack(codec.MAGIC, fields["version"], bytes.fromhex(grid.id), fields["rows"], 0, 0, 0)
    with pytest.raises(UnreadableError):
        decode(head + zlib.crc32(head).to_bytes(4, "little"), grid)


def test_a_bomb_is_refused_before_it_is_opened():
    """Content that says it is larger than allowed, or that is larger than it says, is never decompressed."""
    bomb = seal(b"TEST", bytes(50_000_000))
    assert len(bomb) < 10_000
    with pytest.raises(UnreadableError, match="at most"):
        open_envelope(b"TEST", bomb, 1_000_000, "test")
    body = bomb[HEAD.size :]
    lying = (
        HEAD.pack(b"TEST", len(body), 10, zlib.crc32(body, zlib.crc32(b"TEST" + (10).to_bytes(4, "little"))))
        + body
    )
    with pytest.raises(UnreadableError, match="does not hold"):
        open_envelope(b"TEST", lying, 1_000_000, "test")


def test_a_frame_of_unknown_size_is_refused():
    """A stream without its size in the frame cannot be bounded beforehand."""
    body = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 10)
    head = HEAD.pack(
        b"TEST", len(body), 10, zlib.crc32(body, zlib.crc32(b"TEST" + (10).to_bytes(4, "little")))
    )
    with pytest.raises(UnreadableError):
        open_envelope(b"TEST", head + body, 1_000, "test")


def test_encoded_sizes_are_small(rows):
    """About a hundred bytes a column for 100 rows and five hundred for 10,000."""
    grid = build_grid(rows.batch(0, 10_000), multivariate=False, embeddings=False)
    sizes = {n: len(encode(profile_rows(grid, rows.batch(1, n)))) for n in (100, 10_000)}
    assert sizes[100] < 200 * len(grid.columns)
    assert sizes[10_000] < 1_000 * len(grid.columns)


def test_totals_come_back_and_add_up(rows, grid):
    """Vectors that lie on no grid merge by name, survive the way through bytes, and are taken back."""
    batch = rows.batch(1, 50)

    def meter(outcomes):
        return {("custom", "profit"): np.array([len(outcomes.prediction), 0.5])}

    profile = profile_outcomes(grid, batch.outcomes, meters=[meter])
    twice = profile + profile
    labeled = profile.labeled_rows
    assert twice.outcomes.totals["custom", "profit"].tolist() == [2 * labeled, 1.0]
    back = decode(encode(twice), grid)
    assert back.outcomes.totals.keys() == {("custom", "profit")}
    assert encode(back) == encode(twice)
    taken = twice + profile_outcomes(grid, batch.outcomes, sign=-1, meters=[meter])
    assert taken.outcomes.totals["custom", "profit"].tolist() == [labeled, 0.5]


def test_totals_of_other_lengths_do_not_merge(grid):
    """Vectors of one name but another length were not made by the same meter."""
    one, other = Profile.empty(grid), Profile.empty(grid)
    one.outcomes.add_totals({("custom", "a"): np.ones(2)})
    other.outcomes.add_totals({("custom", "a"): np.ones(3)})
    with pytest.raises(UnreadableError, match="2 elements, got 3"):
        one.add(other)
