"""Baselines as profiles, their buckets, and the file that carries one."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.baseline import (
    MAX_BASELINE_BUCKETS,
    build,
    grid_of,
    read_artifact,
    resolved_schema,
    write_artifact,
)
from exporter.batch import Batch, validate_batch
from exporter.errors import ExporterError, UnreadableError, UnusableBatchError
from exporter.profiles import Profile, decode, encode
from exporter.schema import Schema, Task

SCHEMA = Schema("m", Task.BINARY, "answer", "truth", id="id", timestamp="at")


def batch_of(rows: int = 400, seconds: float = 4000.0, schema: Schema = SCHEMA) -> Batch:
    generator = np.random.default_rng(6)
    answer = generator.uniform(size=rows) < 0.5
    table = pa.table(
        {
            "id": [f"r{n}" for n in range(rows)],
            "at": generator.uniform(0, seconds, rows),
            "answer": answer,
            "truth": pa.array(np.where(answer, True, None).tolist(), pa.bool_()),
            "x": generator.normal(size=rows),
            "c": generator.choice(["a", "b"], rows),
        }
    )
    return validate_batch(table, schema, now=1e5)


BATCH = batch_of(schema=resolved_schema(SCHEMA, batch_of()))
GRID = grid_of(BATCH)


def same(one: Profile, other: Profile) -> None:
    assert (one.rows, one.labeled_rows) == (other.rows, other.labeled_rows)
    for part in ("features", "outcomes"):
        np.testing.assert_array_equal(*(getattr(p, part).counts.dense() for p in (one, other)))
        np.testing.assert_allclose(*(getattr(p, part).sums for p in (one, other)), atol=1e-9)


def test_features_are_inferred_once() -> None:
    """Columns without another role become features; a schema with features stays as it is."""
    schema = resolved_schema(SCHEMA, batch_of())
    assert [column.name for column in schema.features or ()] == ["x", "c"]
    assert resolved_schema(schema, batch_of()) is schema
    bare = validate_batch(batch_of().table.select(["id", "at", "answer"]), SCHEMA, now=1e5)
    with pytest.raises(UnusableBatchError, match="feature"):
        resolved_schema(SCHEMA, bare)


def test_a_baseline_is_the_sum_of_its_buckets() -> None:
    """Bucket profiles add up to the total, which is that of one pass without buckets."""
    whole = build(GRID, BATCH, BATCH.outcomes.label, resolution=None)
    split = build(GRID, BATCH, BATCH.outcomes.label, resolution=500.0)
    assert whole.buckets == ()
    assert [start for start, _ in split.buckets] == list(range(0, 4000, 500))
    same(whole.profile, split.profile)
    total = Profile.empty(GRID)
    for _, data in split.buckets:
        total.add(decode(data, GRID))
    same(total, split.profile)
    assert 0 < whole.profile.labeled_rows < whole.profile.rows == 400


def test_too_many_buckets_leave_only_the_total() -> None:
    """Beyond the limit the total is kept alone, and is the same."""
    many = batch_of(MAX_BASELINE_BUCKETS + 500, seconds=99_000.0, schema=BATCH.schema)
    split = build(GRID, many, None, resolution=1.0)
    assert split.buckets == ()
    same(split.profile, build(GRID, many, None, resolution=None).profile)
    assert split.profile.labeled_rows == 0


PROFILE = build(GRID, BATCH, BATCH.outcomes.label, resolution=None).profile
DATA = write_artifact({"model": "m", "rows": 400}, GRID.to_bytes(), encode(PROFILE))


def test_an_artifact_brings_back_what_went_in() -> None:
    """Header, grid and profile survive."""
    artifact = read_artifact(DATA)
    header, grid, profile = artifact.header, artifact.grid, artifact.profile
    assert (header["model"], header["rows"]) == ("m", 400)
    assert grid.id == GRID.id
    assert [column.name for column in grid.schema.features or ()] == ["x", "c"]
    same(profile, PROFILE)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(DATA) - 1), flip=st.integers(0, len(DATA) - 1))
def test_damage_is_found(cut: int, flip: int) -> None:
    """A file that was cut, or in which a bit was flipped, is refused."""
    flipped = bytearray(DATA)
    flipped[flip] ^= 16
    for wrong in (DATA[:cut], bytes(flipped), DATA + b"x"):
        with pytest.raises(UnreadableError):
            read_artifact(wrong)


def sealed(header: Any, rest: bytes = b"") -> bytes:
    head = header if isinstance(header, bytes) else orjson.dumps(header)
    body = len(head).to_bytes(4, "big") + head + rest
    return b"MLXB\x01" + hashlib.sha256(body).digest() + body


@pytest.mark.parametrize(
    "wrong",
    [
        sealed(b"{"),
        sealed([1]),
        sealed({}),
        sealed({"grid_bytes": "x", "profile_bytes": 1}),
        sealed({"grid_bytes": 5, "profile_bytes": -5}, b""),
        sealed({"grid_bytes": 5, "profile_bytes": 5}, b"0123456789"),
        sealed({"grid_bytes": 10**15, "profile_bytes": 5}, b"0123456789"),
        sealed({"grid_bytes": None, "profile_bytes": 0}),
    ],
)
def test_a_header_that_cannot_be_is_refused(wrong: bytes) -> None:
    """Nonsense with a right checksum is an error of ours."""
    with pytest.raises(ExporterError):
        read_artifact(wrong)


def test_a_profile_that_no_rows_can_have_is_refused() -> None:
    """A baseline whose columns do not speak of its rows is not the profile of any rows."""
    lying = PROFILE.copy()
    lying.rows += 1
    with pytest.raises(UnreadableError, match="rows"):
        read_artifact(write_artifact({}, GRID.to_bytes(), encode(lying)))


def test_buckets_travel_with_an_artifact() -> None:
    """The buckets of a baseline come back from its file and add up to its profile."""
    half = encode(PROFILE)
    artifact = read_artifact(write_artifact({}, GRID.to_bytes(), half, [(0, half), (3600, half)]))
    assert artifact.buckets == ((0, half), (3600, half))
    with pytest.raises(UnreadableError):
        read_artifact(write_artifact({}, GRID.to_bytes(), half, [(0, b"nothing")]))
