"""Crashes, full disks, damaged and foreign files: nothing acknowledged is lost, nothing is overwritten."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import CorruptStoreError, StorageUnavailableError, StoreError
from exporter.profiles import decode
from exporter.store import Commit, Store
from exporter.store.database import APPLICATION_ID, FILE_NAME
from exporter.store.migrations import SCHEMA_VERSION

PUSHER = Path(__file__).parent / "pusher.py"


def pushed_until_killed(directory, name, seconds):
    """Start a process that pushes, kill it after a while; the keys that it had acknowledged."""
    with subprocess.Popen(
        [sys.executable, str(PUSHER), str(directory), name], stdout=subprocess.PIPE, cwd=PUSHER.parents[2]
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().decode().split("\n")
    return lines[:-1]  # the last one may be cut


def test_kill_9_loses_nothing_and_counts_nothing_twice(tmp_path, clock, grid):
    """Killed at random moments, the store holds every acknowledged push, each wholly or not at all."""
    moments = random.Random(7)
    acknowledged = []
    for name in ("a", "b", "c"):
        acknowledged += pushed_until_killed(tmp_path, name, moments.uniform(0.05, 0.4))
        with Store.open(tmp_path, clock=clock) as store:
            assert all(store.answer("fraud", "batches", key) is not None for key in acknowledged)
            with store._read() as connection:
                kept = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
            model = store.load("fraud")
            profiles = [decode(data, grid) for rows in model.buckets.values() for _, data in rows]
            assert kept >= len(acknowledged)
            assert model.counters["rows", "v1"] == 20 * kept
            assert sum(profile.rows for profile in profiles) == 20 * kept
            assert sum(bins.sum() for bins in model.bins.values()) == kept
            assert model.index.pending == 20 * kept
            matches = model.index.find(np.arange(20 * (kept + 100), dtype=np.uint64))
            assert np.nansum(model.index.labels_of(matches.slot)) == 5 * kept
            chunks = np.unique(matches.chunk)
            assert len(store.payloads("fraud", chunks.tolist())) == kept
    assert len(acknowledged) > 10


FULL_DISK = """
import resource, sys
from pathlib import Path
from exporter.clock import SystemClock
from exporter.errors import StorageUnavailableError
from exporter.store import Commit, Store

store = Store.open(Path(sys.argv[1]), clock=SystemClock())
def push(data):
    store.submit(Commit("fraud", rows=[("v1", data)], counters={("rows", "v1"): 1.0})).result()

push(b"before")
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
failures = 0
for _ in range(40):
    try:
        push(bytes(100_000))
    except StorageUnavailableError as error:
        failures += 1
        assert error.status == 503 and error.retry_after_seconds > 0
kept = store.load("fraud")
assert 0 < failures < 40, failures
assert len(kept.rows) == 41 - failures == kept.counters["rows", "v1"]
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
push(b"after")
store.close()
with Store.open(Path(sys.argv[1]), clock=SystemClock()) as again:
    rows = again.load("fraud").rows
    assert rows[0] == ("v1", b"before") and rows[-1] == ("v1", b"after")
    assert len(rows) == 42 - failures
    assert again.run(lambda connection: connection.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
print("recovered")
"""


def test_a_full_disk_refuses_and_recovers(tmp_path):
    """While files cannot grow pushes fail as unavailable; what was acknowledged stays; then all is well."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=PUSHER.parents[2],
        check=False,
    )
    assert (done.stdout, done.stderr) == ("recovered\n", "")


def test_a_full_file_fails_the_commit_and_keeps_reads(store):
    """SQLite's own bound on pages behaves as a full disk does."""
    store.submit(Commit("fraud", rows=[("v1", b"before")])).result()
    pages = store.run(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    limit = "PRAGMA max_page_count = {:d}"
    store._journal.run(lambda connection: connection.execute(limit.format(pages + 2)), atomic=False)
    with pytest.raises(StorageUnavailableError):
        store.submit(Commit("fraud", rows=[("v1", bytes(1_000_000))])).result()
    assert store.load("fraud").rows == [("v1", b"before")]
    store._journal.run(lambda connection: connection.execute(limit.format(2**30)), atomic=False)
    store.submit(Commit("fraud", rows=[("v1", b"after")])).result()
    assert len(store.load("fraud").rows) == 2


def filled(directory, clock):
    """A store of some size with a few rows, closed."""
    with Store.open(directory, clock=clock) as store:
        for number in range(20):
            store.submit(Commit("fraud", rows=[("v1", bytes([number]) * 30_000)])).result()
    return directory / FILE_NAME


def overwritten(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path, clock):
    """Other bytes under the store's name are named as damage and stay as they are."""
    path = tmp_path / FILE_NAME
    for content in (b"", b"hello", b"not a database " * 1000):
        path.write_bytes(content)
        with pytest.raises(CorruptStoreError, match=r"exporter\.db is damaged .* left as it is"):
            Store.open(tmp_path, clock=clock)
        assert path.read_bytes() == content


@pytest.mark.parametrize("page", [2, 5, 9])
def test_a_damaged_page_is_refused_and_the_file_kept(tmp_path, clock, page):
    """Garbage inside the file is found when it is opened or loaded, and not written over."""
    path = filled(tmp_path, clock)
    overwritten(path, page * 8192, b"\xff" * 8192)
    before = path.read_bytes()
    with pytest.raises(CorruptStoreError):
        Store.open(tmp_path, clock=clock)
    assert path.read_bytes() == before


def test_a_truncated_file_is_refused_and_kept(tmp_path, clock):
    """Half a file is damage."""
    path = filled(tmp_path, clock)
    os.truncate(path, path.stat().st_size // 2 // 8192 * 8192)
    before = path.read_bytes()
    with pytest.raises(CorruptStoreError):
        Store.open(tmp_path, clock=clock)
    assert path.read_bytes() == before


def test_damaged_hashes_and_payloads_are_found_by_their_checksums(store, chunk_of):
    """Bytes that changed inside a healthy file are damage too, not wrong answers."""
    chunk = chunk_of(store.load("fraud").index, ["a", "b"])
    store.submit(Commit("fraud", predictions=[chunk])).result()
    store._payloads.forget("fraud")
    store.run(lambda connection: connection.execute("UPDATE payloads SET data = zeroblob(length(data))"))
    with pytest.raises(CorruptStoreError):
        store.payloads("fraud", [chunk.id])
    store.run(
        lambda connection: connection.execute("UPDATE predictions SET hashes = zeroblob(length(hashes))")
    )
    with pytest.raises(CorruptStoreError):
        store.load("fraud")


def test_a_newer_schema_is_refused_and_kept(tmp_path, clock):
    """A file of a later version is named as such and not touched."""
    path = filled(tmp_path, clock)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer version"):
        Store.open(tmp_path, clock=clock)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path, clock):
    """A SQLite file without our application id is not ours."""
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.commit()
    with pytest.raises(StoreError, match="another program"):
        Store.open(tmp_path, clock=clock)
    assert APPLICATION_ID.to_bytes(4, "big") == b"MLEx"


def test_one_directory_serves_one_process(tmp_path, clock):
    """A second store on the directory is refused while the first is open, and welcome afterwards."""
    with Store.open(tmp_path, clock=clock), pytest.raises(StoreError, match=f"pid {os.getpid()}"):
        Store.open(tmp_path, clock=clock)
    Store.open(tmp_path, clock=clock).close()


def test_a_directory_that_cannot_be_made_is_an_error_of_the_store(tmp_path, clock):
    """A path under a file is answered with a sentence."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be used"):
        Store.open(tmp_path / "file" / "data", clock=clock)


def test_a_half_made_file_is_started_again(tmp_path, clock):
    """A crash while the store is first made leaves nothing that is taken for a store."""
    (tmp_path / f"{FILE_NAME}.new").write_bytes(b"half")
    with Store.open(tmp_path, clock=clock) as store:
        assert store.models() == []
    assert not (tmp_path / f"{FILE_NAME}.new").exists()
