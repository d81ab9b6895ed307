"""Files to an exporter, chunk by chunk in bounded memory, with resume.

CSV and NDJSON are cut between records and sent as they are, so that they mean what the same bytes mean in any
other request; Arrow and Parquet rows go out as Arrow streams. A name that ends in .gz, .bz2, .zst or .lz4 is
read through its decompressor.

Each chunk's idempotency key is a hash of the endpoint, the chunk's row offset in its file and its rows;
the server counts a key once. What has been taken is also noted in a journal, one line a chunk, so that a
rerun reads a file again but does not send what has been taken. The journal decides where chunks end and each
chunk is compared by its key: a file that has grown is resumed at its new rows whatever `chunk_rows` says
now, and rows that have changed are sent. A journal belongs to one generation of the model's data: once data
were deleted there, or the store is a new one, everything is sent again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from exporter.client import (
    ARROW_TYPE,
    BASELINE_TYPE,
    PROFILE_TYPE,
    AuthenticationError,
    Client,
    ClientError,
    PushReport,
    arrow_bytes,
    idempotency_key,
    model_path,
)
from exporter.errors import ExporterError

CSV_TYPE = "text/csv"
NDJSON_TYPE = "application/x-ndjson"
CHUNK_BYTES = 32 * 2**20
"""A chunk of text ends early when it reaches this size."""

_SUFFIXES: Mapping[str, str] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".profile": "profile",
    ".baseline": "artifact",
}
_COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4")
_ENDPOINTS: Mapping[str, str] = {"batches": "batches", "labels": "labels", "baseline": "baselines"}

Limit: TypeAlias = Callable[[int], int | None]
"""Row offset to the number of rows of the chunk that starts there; None for the usual number."""


class PushError(ExporterError):
    """A file could not be read or sent; `report` says what had been done before."""

    code = "push_failed"

    def __init__(self, message: str, report: PushReport) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file as one request body."""

    offset: int
    rows: int
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a push is.

    Attributes
    ----------
    report : PushReport
        Of everything so far.
    path : Path
        The file that is being read.
    bytes_read, bytes_total : int
        Of all files; for Parquet estimated from rows.
    """

    report: PushReport
    path: Path
    bytes_read: int
    bytes_total: int


def push_files(
    client: Client,
    model: str,
    paths: Iterable[str | Path],
    *,
    kind: Literal["batches", "labels", "baseline"] = "batches",
    version: str = "default",
    chunk_rows: int = 10_000,
    backfill: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    journal: Path | None = None,
    resume: bool = True,
) -> PushReport:
    """Push CSV, NDJSON, Arrow, Parquet and profile files, and baseline artifacts.

    Parameters
    ----------
    kind : {"batches", "labels", "baseline"}
        What the rows are. A baseline is one request, so its files have to fit into the server's limit.
    version : str
        Of the model; for a baseline `default` means all versions without one of their own.
    chunk_rows : int
        Rows in one request.
    on_progress : callable, optional
        Called after each chunk.
    journal : Path, optional
        Directory of the journals; ``$XDG_STATE_HOME/ml-exporter/push`` unless given.
    resume : bool
        False forgets what the journal says. Without the scope `read` a push cannot know that the exporter's
        data were deleted since, and has to be told so with this.

    Raises
    ------
    PushError
        With the file and the row where it stopped; run it again to go on from there.
    """
    if kind not in _ENDPOINTS:
        raise ValueError(f"expected kind batches, labels or baseline, got {kind!r}")
    if chunk_rows < 1:
        raise ValueError(f"expected chunk_rows of at least 1, got {chunk_rows}")
    files = [Path(path) for path in paths]
    total = sum(_size(path) for path in files)
    query = _query(kind, version, backfill=backfill)
    if kind == "baseline":
        return _push_baseline(client, model, files, query, on_progress)
    report, done = PushReport(), 0
    directory = journal or _state_directory()
    generation = _generation(client, model) if files else None
    for path in files:
        formatted = file_format(path)
        endpoint = "profiles" if formatted == "profile" else _ENDPOINTS[kind]
        where = f"{model_path(model)}/{endpoint}"
        identity = (client.url, generation, where, sorted(query.items()), str(path.resolve()))
        notes = Journal.open(directory, identity)
        if not resume:
            notes.forget()
        row = 0
        try:
            reader = FileReader(path)
            with notes, reader:
                for chunk in reader.chunks(lambda offset, n=notes: n.rows_at(offset) or chunk_rows):  # type: ignore[misc]
                    row = chunk.offset
                    key = idempotency_key(where, query, chunk.offset, chunk.body)
                    if notes.has(chunk.offset, key):
                        report += PushReport(rows=chunk.rows, skipped=chunk.rows)
                    else:
                        answer, _ = client.send(
                            model,
                            endpoint,
                            chunk.body,
                            chunk.content_type,
                            query=query,
                            position=chunk.offset,
                        )
                        notes.add(chunk.offset, chunk.rows, key)
                        report += PushReport.of(answer, chunk.rows)
                    if on_progress is not None:
                        on_progress(Progress(report, path, done + reader.bytes_read, total))
        except (ClientError, OSError, EOFError, pa.ArrowException, ValueError) as error:
            raise PushError(f"{path}, from row {row}: {error}", report) from error
        done += _size(path)
    return report


def file_format(path: Path) -> str:
    """Return csv, ndjson, arrow, parquet, profile or artifact, by the name's ending.

    Raises
    ------
    ValueError
        The ending is none of these.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    name = _SUFFIXES.get(suffixes[-1] if suffixes else "")
    if name is None:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(_SUFFIXES)}")
    return name


class FileReader(AbstractContextManager["FileReader"]):
    """One file as chunks; holds one chunk at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        self._format = file_format(path)
        self._file: IO[bytes] = path.open("rb")

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def chunks(self, limit: Limit) -> Iterator[Chunk]:
        """Yield chunks of `limit(offset)` rows each."""
        readers: Mapping[str, Callable[[Limit], Iterator[Chunk]]] = {
            "csv": self._csv,
            "ndjson": self._ndjson,
            "arrow": lambda limit: self._tables(self._arrow_batches(), limit),
            "parquet": lambda limit: self._tables(self._parquet_batches(), limit),
            "profile": lambda _: self._whole(PROFILE_TYPE),
            "artifact": lambda _: self._whole(BASELINE_TYPE),
        }
        return readers[self._format](limit)

    def _lines(self) -> Iterator[bytes]:
        """Lines of the decompressed file, each with its end."""
        source: Any = self._file
        if self.path.suffix.lower() in _COMPRESSIONS:
            codec = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}[self.path.suffix.lower()]
            source = pa.CompressedInputStream(pa.PythonFile(self._file, mode="r"), codec)
        rest = b""
        while data := source.read(2**20):
            self.bytes_read = self._file.tell()
            lines = (rest + bytes(data)).split(b"\n")
            rest = lines.pop()
            if len(rest) > CHUNK_BYTES:
                raise ValueError(f"expected lines of at most {CHUNK_BYTES} bytes")
            for line in lines:
                yield line + b"\n"
        if rest:
            yield rest + b"\n"

    def _ndjson(self, limit: Limit) -> Iterator[Chunk]:
        records = (line for line in self._lines() if line.strip())
        yield from _grouped(records, limit, b"", NDJSON_TYPE)

    def _csv(self, limit: Limit) -> Iterator[Chunk]:
        records = _csv_records(self._lines())
        header = next(records, b"").removeprefix(b"\xef\xbb\xbf")
        yield from _grouped(records, limit, header, CSV_TYPE)

    def _arrow_batches(self) -> Iterator[pa.RecordBatch]:
        if self._file.read(6) == b"ARROW1":
            self._file.seek(0)
            reader = pa.ipc.open_file(self._file)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)
                self.bytes_read = _size(self.path) * (i + 1) // reader.num_record_batches
            return
        self._file.seek(0)
        for batch in pa.ipc.open_stream(self._file):
            yield batch
            self.bytes_read = self._file.tell()

    def _parquet_batches(self) -> Iterator[pa.RecordBatch]:
        file = pq.ParquetFile(self._file)
        total, read = max(1, file.metadata.num_rows), 0
        for batch in file.iter_batches(batch_size=10_000, use_threads=False):
            yield batch
            read += batch.num_rows
            self.bytes_read = _size(self.path) * read // total

    def _tables(self, batches: Iterable[pa.RecordBatch], limit: Limit) -> Iterator[Chunk]:
        offset, held, waiting = 0, 0, list[pa.RecordBatch]()
        for batch in batches:
            waiting.append(batch)
            held += batch.num_rows
            while held >= (size := limit(offset) or 1):
                table = pa.Table.from_batches(waiting)
                yield _table_chunk(table.slice(0, size), offset)
                waiting, offset, held = table.slice(size).to_batches(), offset + size, held - size
        if held:
            yield _table_chunk(pa.Table.from_batches(waiting), offset)

    def _whole(self, content_type: str) -> Iterator[Chunk]:
        body = self._file.read()
        self.bytes_read = len(body)
        yield Chunk(0, 0, body, content_type)


class Journal(AbstractContextManager["Journal"]):
    """Which chunks of one file the server has taken: a line of JSON each, [offset, rows, key]."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken: dict[int, tuple[int, str]] = {}
        self._lines: IO[bytes] | None = None
        if path.exists():
            self._read(path.read_bytes())

    @classmethod
    def open(cls, directory: Path, identity: Sequence[Any]) -> Journal:
        """Open the journal of what is pushed: its destination and its file."""
        name = hashlib.sha256(orjson.dumps(identity)).hexdigest()[:32]
        return cls(directory / f"{name}.ndjson")

    def rows_at(self, offset: int) -> int | None:
        """Return the rows of the chunk that was taken at `offset`, None when none was."""
        taken = self._taken.get(offset)
        return taken[0] if taken else None

    def forget(self) -> None:
        self._taken.clear()
        self._path.unlink(missing_ok=True)

    def has(self, offset: int, key: str) -> bool:
        taken = self._taken.get(offset)
        return taken is not None and taken[1] == key

    def add(self, offset: int, rows: int, key: str) -> None:
        """Note one chunk; it is on its way to the disk when this returns."""
        if self._lines is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lines = self._path.open("ab")
        self._taken[offset] = (rows, key)
        self._lines.write(orjson.dumps([offset, rows, key]) + b"\n")
        self._lines.flush()

    def __exit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def _read(self, data: bytes) -> None:
        for line in data.splitlines():
            try:
                offset, rows, key = orjson.loads(line)
                if int(rows) > 0:
                    self._taken[int(offset)] = (int(rows), str(key))
            except (orjson.JSONDecodeError, TypeError, ValueError):
                continue  # a line that was cut off: its chunk is sent again, under the same key


def _grouped(records: Iterable[bytes], limit: Limit, header: bytes, content_type: str) -> Iterator[Chunk]:
    offset, size, held = 0, 0, list[bytes]()
    wanted = limit(0)
    for record in records:
        held.append(record)
        size += len(record)
        if len(held) == wanted or size >= CHUNK_BYTES:
            yield Chunk(offset, len(held), header + b"".join(held), content_type)
            offset, size, held = offset + len(held), 0, []
            wanted = limit(offset)
    if held:
        yield Chunk(offset, len(held), header + b"".join(held), content_type)


def _csv_records(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines joined while a quoted field is open, blank ones left out."""
    held = list[bytes]()
    size, quotes = 0, 0
    for line in lines:
        if not held and not line.strip():
            continue
        held.append(line)
        size += len(line)
        quotes += line.count(b'"')
        if size > CHUNK_BYTES:
            raise ValueError(f"expected records of at most {CHUNK_BYTES} bytes; is a quote left open?")
        if quotes % 2 == 0:
            yield b"".join(held)
            held, size, quotes = [], 0, 0
    if held:
        yield b"".join(held)


def _table_chunk(table: pa.Table, offset: int) -> Chunk:
    rows = pa.array(range(table.num_rows), pa.int64())
    return Chunk(offset, table.num_rows, arrow_bytes(table.take(rows)), ARROW_TYPE)


def _generation(client: Client, model: str) -> str | None:
    """Of the model's data; None where the token may not ask."""
    try:
        generation: str | None = client.model(model).get("generation")
    except AuthenticationError:
        return None
    except ClientError as error:
        raise PushError(f"model {model}: {error}", PushReport()) from error
    return generation


def _push_baseline(
    client: Client,
    model: str,
    files: Sequence[Path],
    query: Mapping[str, str],
    on_progress: Callable[[Progress], None] | None,
) -> PushReport:
    """Send all files as the rows of one baseline."""
    chunks: list[Chunk] = []
    for path in files:
        try:
            with FileReader(path) as reader:
                chunks.extend(reader.chunks(lambda _offset: 2**62))
        except (OSError, EOFError, pa.ArrowException) as error:
            raise PushError(f"{path}: {error}", PushReport()) from error
    if not chunks:
        raise PushError("expected rows for the baseline, got none", PushReport())
    if len(chunks) > 1:
        raise PushError(
            f"expected a baseline of one file below {CHUNK_BYTES // 2**20} MiB, got {len(chunks)} pieces; "
            "convert them to one Parquet file",
            PushReport(),
        )
    chunk = chunks[0]
    try:
        answer, _ = client.send(model, "baselines", chunk.body, chunk.content_type, query=query)
    except ClientError as error:
        raise PushError(f"{files[0]}: {error}", PushReport()) from error
    report = PushReport.of(answer, chunk.rows)
    if on_progress is not None:
        size = _size(files[0])
        on_progress(Progress(report, files[0], size, size))
    return report


def _query(kind: str, version: str, *, backfill: bool) -> dict[str, str]:
    if kind == "labels":
        return {}
    if kind == "baseline":
        return {"activate": "true"} | ({} if version == "default" else {"version": version})
    return {"version": version} | ({"backfill": "true"} if backfill else {})


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _state_directory() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "ml-exporter" / "push"
