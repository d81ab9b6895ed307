"""Profile files: what was written is read, and nothing else is."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.baseline import grid_of
from exporter.batch import validate_batch
from exporter.errors import ExporterError, TooLargeError, UnreadableError
from exporter.profilefile import MAX_BUCKETS, grid_id_of, read_profiles, write_profiles
from exporter.profiles import Profile, profile_rows
from exporter.schema import Column, Kind, Schema, Task

SCHEMA = Schema("m", Task.REGRESSION, "answer", "truth", features=(Column("x", Kind.NUMERIC),))


def profile_of(rows: int, seed: int) -> Profile:
    generator = np.random.default_rng(seed)
    table = pa.table({"answer": generator.normal(size=rows), "x": generator.normal(size=rows)})
    return profile_rows(GRID, validate_batch(table, SCHEMA, now=0.0))


def _grid() -> Any:
    generator = np.random.default_rng(0)
    table = pa.table({"answer": generator.normal(size=300), "x": generator.normal(size=300)})
    return grid_of(validate_batch(table, SCHEMA, now=0.0))


GRID = _grid()
BUCKETS = [(start, profile_of(20, start)) for start in (0, 60, 600)]
DATA = write_profiles(GRID, BUCKETS, newest_event=640.5, resolution=60.0)


def test_what_was_written_is_read() -> None:
    """Grid, times and every profile come back."""
    file = read_profiles(DATA, GRID)
    assert (file.grid.id, file.newest_event, file.resolution) == (GRID.id, 640.5, 60.0)
    assert grid_id_of(DATA) == GRID.id
    assert [start for start, _ in file.buckets] == [0, 60, 600]
    for (_, read), (_, written) in zip(file.buckets, BUCKETS, strict=True):
        assert read.rows == written.rows == 20
        np.testing.assert_array_equal(read.features.counts.dense(), written.features.counts.dense())


def test_a_file_without_buckets_is_read() -> None:
    """Nothing is something that can be said."""
    assert read_profiles(write_profiles(GRID, [], newest_event=0.0, resolution=1.0), GRID).buckets == ()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(DATA) - 1), flip=st.integers(0, len(DATA) - 1))
def test_damage_is_found(cut: int, flip: int) -> None:
    """A file that was cut, or in which a bit was flipped, is refused."""
    flipped = bytearray(DATA)
    flipped[flip] ^= 4
    for wrong in (DATA[:cut], bytes(flipped), DATA + b"x"):
        with pytest.raises(UnreadableError):
            read_profiles(wrong, GRID)


def sealed(header: Any, rest: bytes = b"", *, length: int | None = None) -> bytes:
    """A file with a right checksum and whatever header."""
    head = header if isinstance(header, bytes) else orjson.dumps(header)
    body = (len(head) if length is None else length).to_bytes(4, "big") + head + rest
    return b"MLXP\x01" + hashlib.sha256(body).digest() + body


GOOD: dict[str, Any] = {"grid": GRID.id, "newest_event": 1.0, "resolution": 60.0, "buckets": []}


@pytest.mark.parametrize(
    "wrong",
    [
        sealed(b"not json"),
        sealed([1, 2]),
        sealed({}),
        sealed(GOOD, length=2**31),
        sealed({**GOOD, "newest_event": "soon"}),
        sealed({**GOOD, "newest_event": None}),
        sealed({**GOOD, "resolution": {}}),
        sealed({**GOOD, "resolution": 0}),
        sealed({**GOOD, "buckets": 5}),
        sealed({**GOOD, "buckets": {"a": 1}}),
        sealed({**GOOD, "buckets": [5]}),
        sealed({**GOOD, "buckets": [["a", "b"]]}),
        sealed({**GOOD, "buckets": [[0, -5]]}),
        sealed({**GOOD, "buckets": [[0, 10**9]]}),
        sealed({**GOOD, "buckets": [[2**62, 0]]}),
        sealed({**GOOD, "buckets": [[1e300, 0]]}),
        sealed({**GOOD, "buckets": [[0, 5]]}, b"12345"),
        sealed(GOOD, b"left over"),
    ],
)
def test_a_header_that_cannot_be_is_refused(wrong: bytes) -> None:
    """Whoever signs nonsense gets an error of ours, whatever the nonsense is."""
    with pytest.raises(ExporterError):
        read_profiles(wrong, GRID)


def test_too_many_buckets_are_refused() -> None:
    """A header may not name more buckets than an exporter takes at once."""
    header = {**GOOD, "buckets": [[0, 0]] * (MAX_BUCKETS + 1)}
    with pytest.raises(TooLargeError, match=str(MAX_BUCKETS)):
        read_profiles(sealed(header), GRID)


def test_profiles_that_no_rows_can_have_are_refused() -> None:
    """Negative counts, or columns that do not speak of all rows, are not the profile of any rows."""
    lying = profile_of(20, 1)
    lying.rows = 30
    with pytest.raises(UnreadableError, match="rows"):
        read_profiles(write_profiles(GRID, [(0, lying)], newest_event=0.0, resolution=1.0), GRID)
