"""The client against a real server that fails as scripted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from exporter.client import (
    AuthenticationError,
    Client,
    ClientError,
    MissingError,
    OutdatedError,
    OverloadedError,
    PushReport,
    RefusedError,
    ServerFailureError,
    UnreachableError,
    arrow_bytes,
    as_table,
)
from tests import scripted_server as scripted

FRAME = pd.DataFrame({"id": ["a", "b", "c"], "x": [1.0, np.nan, 3.0], "ok": [True, False, True]})


@pytest.fixture
def server() -> Iterator[Any]:
    running = scripted.ScriptedServer()
    yield running
    running.close()


def client_of(server: Any, **settings: Any) -> tuple[Client, list[float]]:
    slept: list[float] = []
    return Client(server.url, sleep=slept.append, timeout=5, **settings), slept


@pytest.mark.parametrize("compression", ["zstd", "gzip", None])
def test_push_sends_every_row_once(server: Any, compression: Any) -> None:
    """A frame arrives as it is, under each compression."""
    client, _ = client_of(server, compression=compression)
    with client:
        report = client.push("my model/ü", FRAME, version="v2", backfill=True)
    assert report == PushReport(rows=3, accepted=3, batches=1)
    seen = server.requests[0]
    assert seen.path == "/api/v1/models/my%20model%2F%C3%BC/batches"
    assert seen.query == {"version": ["v2"], "backfill": ["true"]}
    assert seen.headers.get("content-encoding") == compression
    assert seen.table.to_pydict() == {"id": ["a", "b", "c"], "x": [1.0, None, 3.0], "ok": [True, False, True]}


@pytest.mark.parametrize(
    "reply",
    [
        scripted.error(503, "busy"),
        scripted.error(429, "busy"),
        scripted.error(500, "internal_error"),
        scripted.error(409, "idempotency_key_in_progress"),
        scripted.Reply(502, b"<html>bad gateway</html>"),
        scripted.Reply(cut=True),
    ],
    ids=["503", "429", "500", "409", "502", "cut"],
)
def test_push_is_repeated_under_the_same_key(server: Any, reply: Any) -> None:
    """Failures that pass are repeated with the same body and key, after a pause."""
    server.script.extend([reply, reply])
    client, slept = client_of(server)
    with client:
        assert client.push("m", FRAME).accepted == 3
    assert len({seen.key for seen in server.requests}) == 1
    assert len({seen.body for seen in server.requests}) == 1
    assert len(server.requests) == 3
    assert len(slept) == 2


def test_push_counts_nothing_twice_when_the_answer_is_lost(server: Any) -> None:
    """Taken, but the answer was lost: the repetition is a duplicate."""
    client, _ = client_of(server)
    with client:
        client.push("m", FRAME)
        again = client.push("m", FRAME)
        other = client.push("m", FRAME, version="v2")
    assert (again.accepted, again.duplicates) == (0, 3)
    assert other.accepted == 3
    assert len(server.kept) == 2


def test_retry_after_is_honoured(server: Any) -> None:
    """Seconds and dates both hold."""
    later = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=40))
    server.script.extend(
        [scripted.error(503, "busy", Retry_After="7"), scripted.error(429, "busy", Retry_After=later)]
    )
    client, slept = client_of(server)
    with client:
        client.push("m", FRAME)
    assert slept[0] >= 7
    assert 30 < slept[1] <= 40


def test_retries_end_at_the_deadline(server: Any) -> None:
    """A server that asks for more patience than there is gets no more requests."""
    server.script.append(scripted.error(503, "storage_unavailable", "disk full", Retry_After="3600"))
    client, slept = client_of(server, deadline=10)
    with client, pytest.raises(OverloadedError, match="disk full") as caught:
        client.push("m", FRAME)
    assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")
    assert slept == []


def test_retries_end_at_their_number(server: Any) -> None:
    """`retries` counts repetitions."""
    server.script.extend([scripted.error(500, "internal_error")] * 9)
    client, slept = client_of(server, retries=2)
    with client, pytest.raises(ServerFailureError):
        client.models()
    assert len(server.requests) == 3
    assert all(pause <= 1 for pause in slept)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "unreadable", RefusedError),
        (401, "unauthorized", AuthenticationError),
        (403, "forbidden", AuthenticationError),
        (404, "not_found", MissingError),
        (409, "stale_grid", OutdatedError),
        (413, "too_large", RefusedError),
        (422, "unusable_batch", RefusedError),
    ],
)
def test_refusals_carry_the_error_shape(server: Any, status: int, code: str, kind: type[ClientError]) -> None:
    """Refusals are raised at once, with status, code, message and details."""
    server.script.append(scripted.error(status, code, "expected this, got that"))
    client, slept = client_of(server)
    with client, pytest.raises(kind, match="expected this, got that") as caught:
        client.push("m", FRAME)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.details == [{"column": "x"}]
    assert slept == []


def test_a_reused_content_key_means_taken(server: Any) -> None:
    """Our keys are hashes of content: another encoding of it under the same key was taken before."""
    server.script.append(scripted.error(422, "idempotency_key_reused"))
    client, _ = client_of(server)
    with client:
        assert client.push("m", FRAME).duplicates == 3


def test_redirects_are_not_followed(server: Any) -> None:
    """A redirect would turn a POST into a GET and carry the token elsewhere."""
    server.script.append(scripted.Reply(301, b"", {"Location": "https://example.org/"}))
    client, _ = client_of(server, token="t")
    with client, pytest.raises(ServerFailureError, match=r"redirect to 'https://example.org/'"):
        client.push("m", FRAME)
    assert len(server.requests) == 1


def test_no_server_is_unreachable() -> None:
    """A refused connection is a ClientError too, after the retries."""
    slept: list[float] = []
    client = Client("http://127.0.0.1:9", retries=2, sleep=slept.append)
    with client, pytest.raises(UnreachableError) as caught:
        client.models()
    assert caught.value.status is None
    assert len(slept) == 2


def test_another_server_is_named(server: Any) -> None:
    """A 200 that is no JSON is not taken for an answer."""
    server.script.append(scripted.Reply(200, b"<html>"))
    client, _ = client_of(server)
    with client, pytest.raises(ServerFailureError, match="is this an ml-exporter"):
        client.models()


def test_large_tables_are_split_with_their_positions(server: Any) -> None:
    """Equal batches at different positions have different keys; all rows arrive in order."""
    client, _ = client_of(server, batch_rows=10)
    with client:
        report = client.push("m", {"x": [1] * 35})
    assert (report.rows, report.accepted, report.batches) == (35, 35, 4)
    assert [seen.table.num_rows for seen in server.requests] == [10, 10, 10, 5]
    assert len(server.kept) == 4


def test_authentication_headers(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is sent even when ~/.netrc names the host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for settings, start in (
        ({"token": "secret"}, "Bearer secret"),
        ({"username": "u", "password": "p"}, "Basic "),
    ):
        client, _ = client_of(server, **settings)
        with client:
            client.status("m", window="1d", version="v")
        assert server.requests[-1].headers["authorization"].startswith(start)
        assert server.requests[-1].query == {"window": ["1d"], "version": ["v"]}


def test_baselines(server: Any) -> None:
    """Rows, a period and an artifact; the period's key is new each time."""
    client, _ = client_of(server)
    server.count = lambda _: 3
    with client:
        client.create_baseline("m", FRAME, version="v1")
        client.create_baseline("m", period=(0, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)), activate=False)
        client.create_baseline("m", period=(0, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)), activate=False)
        client.create_baseline("m", artifact=b"artifact")
        client.activate_baseline("m", "b1")
        with pytest.raises(ValueError, match="one of"):
            client.create_baseline("m")
    rows, period, again, artifact, activate = server.requests
    assert rows.query == {"activate": ["true"], "version": ["v1"]}
    assert period.body == b'{"from":0,"to":"2026-01-01T00:00:00+00:00"}'
    assert period.key != again.key
    assert artifact.content == b"artifact"
    assert activate.path == "/api/v1/models/m/baselines/b1/activate"


def test_delete_is_done_when_a_repetition_finds_nothing(server: Any) -> None:
    """The first attempt deleted it but its answer was lost."""
    server.script.extend([scripted.Reply(cut=True), scripted.error(404, "not_found")])
    client, _ = client_of(server)
    with client:
        client.delete_baseline("m", "b1")
        server.script.append(scripted.error(404, "not_found"))
        with pytest.raises(MissingError):
            client.delete_baseline("m", "b1")


@pytest.mark.parametrize(
    "data",
    [
        FRAME,
        pa.table({"id": ["a", "b", "c"], "x": [1.0, None, 3.0], "ok": [True, False, True]}),
        {"id": ["a", "b", "c"], "x": np.array([1.0, np.nan, 3.0]), "ok": [True, False, True]},
        [{"id": "a", "x": 1.0, "ok": True}, {"id": "b", "ok": False}, {"x": 3.0, "id": "c", "ok": True}],
    ],
    ids=["frame", "table", "columns", "rows"],
)
def test_as_table_takes_every_kind_of_rows(data: Any) -> None:
    """All four say the same; NaN is missing."""
    assert as_table(data).to_pylist() == [
        {"id": "a", "x": 1.0, "ok": True},
        {"id": "b", "x": None, "ok": False},
        {"id": "c", "x": 3.0, "ok": True},
    ]


def test_as_table_writes_mixed_columns_as_text() -> None:
    """Values of several types go out as their canonical texts, for the server to judge."""
    assert as_table([{"x": 1}, {"x": "a"}, {"x": None}, {"x": True}])["x"].to_pylist() == [
        "1",
        "a",
        None,
        "true",
    ]


def test_arrow_bytes_do_not_depend_on_slices() -> None:
    """Equal rows give equal bytes, wherever they were cut from."""
    whole = pa.table(
        {"x": [1, None, 3, 4, 5], "s": ["a", None, "ccc", "d", "e"], "b": [True, None, False, True, True]}
    )
    part = whole.slice(1, 3)
    assert arrow_bytes(part) == arrow_bytes(pa.Table.from_pylist(part.to_pylist(), part.schema))


def test_client_refuses_wrong_settings() -> None:
    """Nonsense is refused when the client is made."""
    for settings in (
        {"url": "ftp://x"},
        {"compression": "br"},
        {"batch_rows": 0},
        {"token": "a", "username": "b"},
    ):
        with pytest.raises(ValueError, match="expected"):
            Client(**{"url": "http://x", **settings})  # type: ignore[arg-type]
