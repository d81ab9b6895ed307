"""What good and bad requests get: status codes, the one error shape, keys, encodings."""

from __future__ import annotations

import gzip
import hashlib

import pytest
import zstandard

from exporter.errors import BusyError, StorageUnavailableError

MODEL = "/api/v1/models/flight_delay"
BATCHES = f"{MODEL}/batches"
ROWS = [
    {"flight_id": "a", "predicted": True, "probability": 0.9, "delayed": True, "distance": 100.0},
    {"flight_id": "b", "predicted": False, "probability": 0.2, "delayed": False, "distance": 250.0},
]


def assert_error(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert set(error) == {"code", "message", "details"}
    assert error["code"] == code
    assert error["message"]
    assert isinstance(error["details"], list)


def test_batch_is_accepted_with_the_contracts_fields(web):
    """New work answers 202 with what became of it."""
    answer = web.push(ROWS)
    assert answer.status_code == 202
    assert answer.json().keys() >= {"batch_id", "rows", "accepted", "rejected", "warnings", "duplicate"}
    assert answer.json()["rows"] == 2
    assert answer.json()["duplicate"] is False


def test_repeated_key_answers_the_first_answer_again(web):
    """A repeat of an idempotency key is 200 and says that it is a duplicate."""
    first = web.push(ROWS, Idempotency_Key="k1")
    again = web.push(ROWS, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == {**first.json(), "duplicate": True}


def test_key_with_another_body_is_refused(web):
    """The same key with another body is 422."""
    web.push(ROWS, Idempotency_Key="k1")
    assert_error(web.push(ROWS[:1], Idempotency_Key="k1"), 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "schl\u00fcssel"])
def test_odd_keys_are_refused(web, key):
    """A key is 1 to 255 printable ASCII characters."""
    answer = web.ask(
        "POST",
        BATCHES,
        data=b"[]",
        headers={"Idempotency-Key": key.encode(), "Content-Type": "application/json"},
    )
    assert_error(answer, 400, "bad_idempotency_key")


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/nowhere", "GET", 404, "not_found"),
        ("/api/v1/models/other", "GET", 404, "not_found"),
        ("/api/v1/models/other/batches", "POST", 404, "not_found"),
        (f"{MODEL}/baselines/none", "GET", 404, "not_found"),
        (f"{MODEL}/batches/", "POST", 404, "not_found"),
        (BATCHES, "GET", 405, "method_not_allowed"),
        ("/metrics", "POST", 405, "method_not_allowed"),
        ("/", "OPTIONS", 405, "method_not_allowed"),
        (f"{MODEL}/drift?windw=1d", "GET", 400, "unknown_parameter"),
        (f"{MODEL}/drift?window=1d&window=7d", "GET", 400, "bad_parameter"),
        (f"{MODEL}/drift?window=", "GET", 400, "bad_parameter"),
        (f"{MODEL}/distributions", "GET", 400, "bad_parameter"),
        (f"{BATCHES}?backfill=maybe", "POST", 400, "bad_parameter"),
    ],
)
def test_wrong_paths_methods_and_parameters(web, path, method, status, code):
    """Whatever is wrong about the request line has the one error shape."""
    answer = web.ask(method, path, data=b"[]" if method == "POST" else None)
    assert_error(answer, status, code)
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "unreadable"),
        (b"\xff\xfe[]", {}, 400, "unreadable"),
        (b'{"a": 1}', {}, 422, None),
        (b"[]", {"Content-Type": "text/html"}, 415, "unsupported_format"),
        (b"[]", {"Content-Type": ""}, 415, "unsupported_format"),
        (b"[]", {"Content-Encoding": "br"}, 415, "unsupported_encoding"),
        (b"[]", {"Content-Encoding": "gzip, gzip"}, 415, "unsupported_encoding"),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400, "unreadable"),
        (gzip.compress(b"[" * 5000)[:-9], {"Content-Encoding": "gzip"}, 400, "unreadable"),
    ],
)
def test_bad_bodies(web, body, headers, status, code):
    """Unreadable bytes are 400, wrong shapes 422, unknown types and encodings 415."""
    answer = web.ask("POST", BATCHES, data=body, headers={"Content-Type": "application/json", **headers})
    assert_error(answer, status, code or answer.json()["error"]["code"])


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "identity", "GZIP"])
def test_encodings(web, encoding):
    """Bodies come as they are, as gzip or as zstd; the hash is that of the bytes as they came."""
    body = b'[{"flight_id": "a", "predicted": true, "probability": 0.5}]'
    packers = {"gzip": gzip.compress, "zstd": zstandard.compress, "identity": bytes}
    packed = packers[encoding.lower()](body)
    assert web.push(packed, Content_Encoding=encoding).status_code == 202
    assert web.service.calls[-1][1]["body_hash"] == hashlib.sha256(packed).hexdigest()


def test_gzip_bomb_is_refused_quickly(web):
    """A small body that becomes a large one is 413."""
    bomb = gzip.compress(b" " * (600 << 20), 1)
    assert_error(web.push(bomb, Content_Encoding="gzip"), 413, "too_large")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/metrics", "/-/healthy", "/-/ready", "/", "/api/v1/models", MODEL])
def test_head_is_get_without_a_body(web, method, path):
    """HEAD answers GET's headers, length included."""
    answer = web.ask(method, path)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) > 0
    assert bool(answer.content) == (method == "GET")


@pytest.mark.parametrize("view", ["performance", "drift", "quality"])
def test_views_pass_their_parameters_on(web, view):
    """Window, version and segment reach the service."""
    answer = web.ask("GET", f"{MODEL}/{view}?window=7d&version=v2&segment=origin%3DEWR")
    assert answer.json() == {"view": view, "window": "7d", "version": "v2", "segment": "origin=EWR"}


def test_busy_and_full_disk_say_when_to_come_again(web):
    """Busy and out of space are 503 with Retry-After."""
    web.service.failure = BusyError("too much", retry_after_seconds=2.5)
    answer = web.push(ROWS)
    assert_error(answer, 503, "busy")
    assert answer.headers["Retry-After"] == "3"
    web.service.failure = StorageUnavailableError("the disk is full")
    answer = web.push(ROWS)
    assert_error(answer, 503, "storage_unavailable")
    assert answer.headers["Retry-After"] == "1"


def test_unexpected_failures_do_not_leak(web, caplog):
    """A bug answers 500 with the one shape and no detail; the log has the traceback."""
    web.service.failure = RuntimeError("secret path /etc")
    answer = web.ask("GET", f"{MODEL}/drift")
    assert_error(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert "secret path /etc" in caplog.text


def test_not_ready_refuses_work_but_is_healthy(web):
    """Until the store is recovered only the health probe is fine."""
    web.service.ready = False
    assert web.ask("GET", "/-/healthy").status_code == 200
    assert web.ask("GET", "/-/ready").status_code == 503
    assert_error(web.push(ROWS), 503, "not_ready")


def test_baseline_from_rows_period_and_artifact(web):
    """A baseline is made of rows, of a past window, or of an artifact."""
    path = f"{MODEL}/baselines?version=v1&activate=false"
    assert web.push(ROWS, path).status_code == 201
    assert web.service.calls[-1][1]["table"].num_rows == 2
    assert web.service.calls[-1][1]["activate"] is False
    period = {"from": "2026-01-01T00:00:00Z", "to": 1769904000}
    assert web.push(period, path).status_code == 201
    assert web.service.calls[-1][1]["period"] == (1767225600.0, 1769904000.0)
    artifact = web.push(b"artifact", path, Content_Type="application/vnd.ml-exporter.baseline")
    assert artifact.status_code == 201
    assert web.service.calls[-1][1]["artifact"] == b"artifact"


@pytest.mark.parametrize(
    ("period", "code"),
    [
        ({"from": "yesterday", "to": 1}, "bad_time"),
        ({"from": 2, "to": 1}, "bad_period"),
        ({"from": 2}, "bad_period"),
        ({"from": True, "to": 3}, "bad_time"),
        ({"from": 1, "to": 3, "till": 2}, "bad_period"),
        ({"from": 1, "to": 1e300}, "bad_time"),
    ],
)
def test_odd_periods_are_refused(web, period, code):
    """A period has a start before its end, both times."""
    assert_error(web.push(period, f"{MODEL}/baselines"), 400, code)


def test_baselines_are_listed_shown_exported_activated_and_deleted(web):
    """Every operation on a baseline has its route."""
    path = f"{MODEL}/baselines"
    assert web.ask("GET", path).json()["baselines"][0]["id"] == "b1"
    assert web.ask("GET", f"{path}/b1").json()["rows"] == 10
    exported = web.ask("GET", f"{path}/b1/artifact")
    assert exported.content == b"artifact"
    assert exported.headers["Content-Type"] == "application/vnd.ml-exporter.baseline"
    assert web.ask("POST", f"{path}/b1/activate").status_code == 200
    assert web.ask("DELETE", f"{path}/b1").status_code == 200


def test_stale_profile_names_the_grid(web):
    """A profile on an old grid is 409, and the details name the current grid."""
    kind = "application/vnd.ml-exporter.profile"
    assert web.push(b"profile", f"{MODEL}/profiles", Content_Type=kind).status_code == 202
    answer = web.push(b"stale", f"{MODEL}/profiles", Content_Type=kind)
    assert_error(answer, 409, "stale_grid")
    assert answer.json()["error"]["details"] == [{"grid": "g2"}]


def test_labels_and_deletes(web):
    """Labels are pushed, a model's and a version's data are forgotten."""
    assert web.push(ROWS, f"{MODEL}/labels").status_code == 202
    assert web.ask("DELETE", f"{MODEL}/data").status_code == 200
    assert web.ask("DELETE", f"{MODEL}/versions/v1").json()["version"] == "v1"


def test_requests_are_counted_by_route(web):
    """The service is told of every request, by route and not by path."""
    web.ask("GET", f"{MODEL}/drift")
    web.ask("GET", "/nope/x")
    assert ("GET", "/api/v1/models/{model}/drift", 200) in web.service.requests
    assert ("GET", "unmatched", 404) in web.service.requests


def test_every_answer_has_the_security_headers(web):
    """Errors too."""
    for path in ("/metrics", "/nope", "/"):
        headers = web.ask("GET", path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
