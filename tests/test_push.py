"""Files to a server: every row once, in bounded chunks, through interruptions."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from exporter.client import Client
from exporter.push import FileReader, Progress, PushError, file_format, push_files
from tests import scripted_server as scripted

ROWS = pa.table({"id": [f"r{i}" for i in range(95)], "x": [i / 2 for i in range(95)]})


@pytest.fixture
def server() -> Iterator[Any]:
    running = scripted.ScriptedServer()
    running.count = scripted.text_rows
    running.generation = "first"
    yield running
    running.close()


@pytest.fixture
def client(server: Any) -> Iterator[Client]:
    with Client(server.url, retries=1, sleep=lambda _: None) as made:
        yield made


def write(path: Path, table: pa.Table = ROWS) -> Path:
    kind = file_format(path)
    if kind == "csv":
        pyarrow.csv.write_csv(table, path)
    elif kind == "ndjson":
        lines = table.to_pandas().to_json(orient="records", lines=True)
        path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    elif kind == "parquet":
        pq.write_table(table, path, row_group_size=17)
    elif path.suffix == ".arrows":
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=13)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=13)
    return path


def ids(server: Any) -> list[str]:
    """The ids that the server counted, in order."""
    found: list[str] = []
    counted: set[str] = set()
    for seen in server.requests:
        if seen.key not in server.kept or seen.key in counted:
            continue
        counted.add(seen.key)
        content_type = seen.headers["content-type"]
        if content_type == "text/csv":
            table = pyarrow.csv.read_csv(pa.BufferReader(seen.content))
        elif "ndjson" in content_type:
            table = pa.json.read_json(pa.BufferReader(seen.content))
        else:
            table = seen.table
        found += table["id"].to_pylist()
    return found


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.jsonl.gz", "a.arrow", "a.arrows", "a.parquet"])
def test_push_files_sends_every_row_once(server: Any, client: Client, tmp_path: Path, name: str) -> None:
    """Each format arrives in chunks, in order; a rerun sends nothing."""
    path = write(tmp_path / name)
    seen: list[Progress] = []
    report = push_files(
        client, "m", [path], version="v1", chunk_rows=20, journal=tmp_path / "j", on_progress=seen.append
    )
    assert (report.rows, report.accepted, report.batches, report.skipped) == (95, 95, 5, 0)
    assert ids(server) == ROWS["id"].to_pylist()
    assert {tuple(request.query["version"]) for request in server.requests} == {("v1",)}
    assert seen[-1].report == report
    assert [progress.bytes_read for progress in seen] == sorted(progress.bytes_read for progress in seen)
    assert seen[-1].bytes_read <= seen[-1].bytes_total == path.stat().st_size
    sent = len(server.requests)
    again = push_files(client, "m", [path], version="v1", chunk_rows=7, journal=tmp_path / "j")
    assert (again.rows, again.skipped, again.batches) == (95, 95, 0)
    assert len(server.requests) == sent


def test_push_files_resumes_where_it_stopped(server: Any, client: Client, tmp_path: Path) -> None:
    """After a failure the report says what is done; the next run sends the rest only."""
    path = write(tmp_path / "a.csv")
    answer = {"rows": 20, "accepted": 20, "rejected": 0, "duplicate": False}
    server.script.extend([scripted.Reply(202, answer)] * 2 + [scripted.error(503, "busy", "later")] * 2)
    with pytest.raises(PushError, match=r"a\.csv, from row 40: later") as caught:
        push_files(client, "m", [path], chunk_rows=20, journal=tmp_path / "j")
    assert caught.value.report.accepted == 40
    server.requests.clear()
    report = push_files(client, "m", [path], chunk_rows=20, journal=tmp_path / "j")
    assert (report.skipped, report.accepted, report.batches) == (40, 55, 3)


def test_push_files_without_its_journal_counts_nothing_twice(
    server: Any, client: Client, tmp_path: Path
) -> None:
    """The server's keys hold where the journal is lost, or forgotten on purpose."""
    path = write(tmp_path / "a.parquet")
    push_files(client, "m", [path], chunk_rows=20, journal=tmp_path / "j")
    lost = push_files(client, "m", [path], chunk_rows=20, journal=tmp_path / "other")
    forgot = push_files(client, "m", [path], chunk_rows=20, journal=tmp_path / "j", resume=False)
    for report in (lost, forgot):
        assert (report.accepted, report.duplicates, report.batches) == (0, 95, 5)


def test_push_files_sends_again_what_the_exporter_forgot(server: Any, client: Client, tmp_path: Path) -> None:
    """A journal counts for one generation of the model's data; a token that may not ask keeps to it."""
    path = write(tmp_path / "a.csv")
    push_files(client, "m", [path], chunk_rows=20, journal=tmp_path / "j")
    server.kept.clear()
    server.generation = "second"
    again = push_files(client, "m", [path], chunk_rows=20, journal=tmp_path / "j")
    assert (again.accepted, again.skipped) == (95, 0)
    server.generation = None
    for skipped in (0, 95):
        server.script.append(scripted.error(403, "forbidden"))
        assert push_files(client, "m", [path], chunk_rows=20, journal=tmp_path / "j").skipped == skipped


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.arrow", "a.parquet"])
def test_push_files_goes_on_with_a_file_that_has_grown(
    server: Any, client: Client, tmp_path: Path, name: str
) -> None:
    """Only new rows are sent, though the last chunk was short and chunks are of another size now."""
    path = write(tmp_path / name, ROWS.slice(0, 50))
    push_files(client, "m", [path], chunk_rows=20, journal=tmp_path / "j")
    write(path)
    report = push_files(client, "m", [path], chunk_rows=40, journal=tmp_path / "j")
    assert (report.skipped, report.accepted) == (50, 45)
    assert ids(server) == ROWS["id"].to_pylist()


def test_push_files_sends_rows_that_have_changed(server: Any, client: Client, tmp_path: Path) -> None:
    """The journal believes content, not names."""
    path = tmp_path / "a.csv"
    path.write_text("id,x\na,1\nb,2\n")
    push_files(client, "m", [path], journal=tmp_path / "j")
    path.write_text("id,x\na,1\nb,3\n")
    assert push_files(client, "m", [path], journal=tmp_path / "j").accepted == 2


def test_csv_is_cut_between_records(tmp_path: Path) -> None:
    """Quoted line ends stay inside their record; a byte order mark and blank lines go."""
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfid,text\r\na,"one\r\ntwo ""quoted"""\r\n\r\nb,plain\nc,"x\n\ny"')
    with FileReader(path) as reader:
        chunks = list(reader.chunks(lambda _: 1))
    assert [chunk.body for chunk in chunks] == [
        b'id,text\r\na,"one\r\ntwo ""quoted"""\r\n',
        b"id,text\r\nb,plain\n",
        b'id,text\r\nc,"x\n\ny"\n',
    ]
    assert [chunk.offset for chunk in chunks] == [0, 1, 2]


def test_push_files_labels_profiles_and_baselines(server: Any, client: Client, tmp_path: Path) -> None:
    """Each kind goes to its endpoint."""
    path = write(tmp_path / "a.csv")
    push_files(client, "m", [path], kind="labels", journal=tmp_path / "j")
    (tmp_path / "a.profile").write_bytes(b"MLXP profile")
    push_files(client, "m", [tmp_path / "a.profile"], version="v1", journal=tmp_path / "j")
    report = push_files(client, "m", [path], kind="baseline", journal=tmp_path / "j")
    assert report.rows == 95
    labels, profile, baseline = server.requests
    assert (labels.path, labels.query) == ("/api/v1/models/m/labels", {})
    assert (profile.path, profile.query) == ("/api/v1/models/m/profiles", {"version": ["v1"]})
    assert profile.content == b"MLXP profile"
    assert (baseline.path, baseline.query) == ("/api/v1/models/m/baselines", {"activate": ["true"]})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"PAR1 not really", "a.parquet"),
        ("a.arrow", b"ARROW1 not really", "a.arrow"),
        ("a.csv.gz", b"not gzip", "a.csv.gz"),
        ("missing.csv", None, "missing.csv"),
    ],
)
def test_push_files_names_the_file_it_cannot_read(
    client: Client, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    """Broken files are one sentence."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PushError, match=message):
        push_files(client, "m", [tmp_path / name], journal=tmp_path / "j")


def test_push_files_refuses_unknown_endings(client: Client, tmp_path: Path) -> None:
    """The sentence lists what is known."""
    with pytest.raises(ValueError, match=r"\.csv"):
        push_files(client, "m", [tmp_path / "a.xlsx"])
