"""What good and bad requests get: status codes, the one error shape, keys, encodings."""

from __future__ import annotations

import gzip
import time
import uuid

import orjson
import pytest
import zstandard

from exporter.errors import BusyError, StorageUnavailableError, StoreError

MODEL = "/api/v1/models/flight_delay"
BATCHES = f"{MODEL}/batches"


def rows(count=2):
    """Rows with ids that never came before."""
    return [
        {
            "flight_id": uuid.uuid4().hex,
            "predicted": i % 2 == 0,
            "probability": 0.9 if i % 2 == 0 else 0.2,
            "delayed": i % 3 == 0,
            "distance": 100.0 + i,
            "carrier": "AA",
        }
        for i in range(count)
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
    answer = web.push(rows())
    assert answer.status_code == 202
    assert answer.json().keys() >= {"batch_id", "rows", "accepted", "rejected", "warnings", "duplicate"}
    assert answer.json()["rows"] == 2
    assert answer.json()["duplicate"] is False


def test_repeated_key_answers_the_first_answer_again(web):
    """A repeat of an idempotency key is 200 and says that it is a duplicate."""
    batch = rows()
    first = web.push(batch, Idempotency_Key="repeated")
    again = web.push(batch, Idempotency_Key="repeated")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == {**first.json(), "duplicate": True}


def test_key_with_another_body_is_refused(web):
    """The same key with another body is 422."""
    web.push(rows(), Idempotency_Key="reused")
    assert_error(web.push(rows(), Idempotency_Key="reused"), 422, "idempotency_key_reused")


@pytest.mark.parametrize("path", ["batches", "batches?version=a", "batches?backfill=true"])
def test_key_with_other_parameters_is_refused(web, path):
    """The same key and body for another version, or as backfill, is 422 and not a duplicate."""
    batch = rows()
    web.push(batch, f"{BATCHES}?version=b", Idempotency_Key=f"for b, then {path}")
    refused = web.push(batch, f"{MODEL}/{path}", Idempotency_Key=f"for b, then {path}")
    assert_error(refused, 422, "idempotency_key_reused")
    again = web.push(batch, f"{BATCHES}?version=b&backfill=false", Idempotency_Key=f"for b, then {path}")
    assert again.json()["duplicate"] is True


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
        ("/api/v1/models/unknown", "GET", 404, "not_found"),
        ("/api/v1/models/unknown/batches", "POST", 404, "not_found"),
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
        (gzip.compress(b"[" * 5000, mtime=0)[:-9], {"Content-Encoding": "gzip"}, 400, "unreadable"),
    ],
)
def test_bad_bodies(web, body, headers, status, code):
    """Unreadable bytes are 400, wrong shapes 422, unknown types and encodings 415."""
    answer = web.ask("POST", BATCHES, data=body, headers={"Content-Type": "application/json", **headers})
    assert_error(answer, status, code or answer.json()["error"]["code"])


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "identity", "GZIP"])
def test_encodings(web, encoding):
    """Bodies come as they are, as gzip or as zstd, and a key stands for the bytes as they came."""
    body = orjson.dumps(rows())
    packers = {"gzip": gzip.compress, "zstd": zstandard.compress, "identity": bytes}
    packed = packers[encoding.lower()](body)
    key = f"encoded {encoding}"
    assert web.push(packed, Content_Encoding=encoding, Idempotency_Key=key).json()["accepted"] == 2
    assert web.push(packed, Content_Encoding=encoding, Idempotency_Key=key).json()["duplicate"] is True
    if encoding != "identity":
        assert_error(web.push(body, Idempotency_Key=key), 422, "idempotency_key_reused")


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
def test_views_take_window_version_and_segment(web, view):
    """What is known is answered; a window that is not configured and an unknown version are 404."""
    assert_error(web.ask("GET", f"{MODEL}/{view}?version=zz"), 404, "not_found")
    web.push(rows(5), f"{BATCHES}?version=v2")
    answer = web.ask("GET", f"{MODEL}/{view}?window=7d&version=v2")
    assert answer.status_code == 200
    assert answer.json()["model"] == "flight_delay"
    assert_error(web.ask("GET", f"{MODEL}/{view}?window=3h"), 404, "not_found")


def test_comparisons_are_answered(web):
    """Without a second version there is nothing to compare, and the answer says why."""
    answer = web.ask("GET", f"{MODEL}/comparisons")
    assert answer.status_code == 200
    assert answer.json()["results"] == []
    assert answer.json()["reason"]
    assert_error(web.ask("GET", f"{MODEL}/comparisons?window=7d"), 400, "unknown_parameter")


def test_busy_and_full_disk_say_when_to_come_again(web):
    """Busy and out of space are 503 with Retry-After."""
    with web.service.failing(BusyError("too much", retry_after_seconds=2.5)):
        answer = web.push(rows())
    assert_error(answer, 503, "busy")
    assert answer.headers["Retry-After"] == "3"
    with web.service.failing(StorageUnavailableError("the disk is full")):
        answer = web.push(rows())
    assert_error(answer, 503, "storage_unavailable")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("error", [RuntimeError("secret path /etc"), StoreError("secret path /etc")])
def test_unexpected_failures_do_not_leak(web, caplog, error):
    """A bug answers 500 with the one shape and no detail; the log has the traceback."""
    with web.service.failing(error):
        answer = web.ask("GET", f"{MODEL}/drift")
    assert_error(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert "secret path /etc" in caplog.text


def test_not_ready_refuses_work_but_is_healthy(serve):
    """Before the store is recovered, and after the service has stopped, only the health probe is fine."""
    web = serve()
    assert web.ask("GET", "/-/ready").status_code == 200
    web.service.stop()
    assert web.ask("GET", "/-/healthy").status_code == 200
    assert web.ask("GET", "/-/ready").status_code == 503
    assert_error(web.push(rows()), 503, "not_ready")


def test_batch_without_a_usable_row_is_refused(web):
    """422 names what is wrong."""
    assert_error(web.push([{"flight_id": "x"}]), 422, "unusable_batch")


def test_bad_rows_are_rejected_one_by_one(web):
    """The good rows of a batch are taken, the bad ones counted with their reason."""
    batch = [*rows(3), {**rows(1)[0], "probability": 7.0}]
    answer = web.push(batch).json()
    assert (answer["rows"], answer["accepted"], answer["rejected"]) == (4, 3, 1)
    assert answer["reasons"] == {"out_of_range": 1}


def test_baselines_are_made_listed_shown_exported_activated_and_deleted(serve):
    """A baseline is made of rows, of an artifact or of a past window, and has a route for everything."""
    web = serve()
    path = f"{MODEL}/baselines"
    made = web.push(rows(500), f"{path}?version=v1&activate=false", Idempotency_Key="b")
    assert made.status_code == 201
    assert made.json()["active"] is False
    name = made.json()["id"]
    exported = web.ask("GET", f"{path}/{name}/artifact")
    assert exported.headers["Content-Type"] == "application/vnd.ml-exporter.baseline"
    imported = web.push(exported.content, path, Content_Type="application/vnd.ml-exporter.baseline")
    assert imported.status_code == 201
    assert web.push(rows(300)).status_code == 202
    period = {"from": "2020-01-01T00:00:00Z", "to": 4102444800}
    past = web.push(period, path)
    assert past.status_code == 201
    assert past.json()["rows"] == 300
    listed = {each["id"] for each in web.ask("GET", path).json()["baselines"]}
    assert {name, past.json()["id"]} <= listed
    assert web.ask("GET", f"{path}/{name}").json()["rows"] == 500
    assert web.ask("POST", f"{path}/{name}/activate").json()["active"] is True
    other = (listed - {name}).pop()
    assert web.ask("DELETE", f"{path}/{other}").status_code == 200
    assert_error(web.ask("GET", f"{path}/{other}"), 404, "not_found")


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


def test_profiles_on_another_grid_and_broken_ones_are_refused(web):
    """What is no profile is 400; a body that is no profile by its type is 415."""
    kind = "application/vnd.ml-exporter.profile"
    answer = web.push(b"no profile", f"{MODEL}/profiles", Content_Type=kind)
    assert_error(answer, answer.status_code, answer.json()["error"]["code"])
    assert answer.status_code in {400, 409}
    assert_error(web.push([], f"{MODEL}/profiles"), 415, "unsupported_format")


def test_status_takes_a_view(web):
    """The status of one window, version or segment; a window that is not configured is 404."""
    web.push(rows(5))
    whole = web.ask("GET", f"{MODEL}/status").json()
    window = whole["windows"][0]
    view = web.ask("GET", f"{MODEL}/status?window={window}&version=default&segment=*")
    assert view.status_code == 200
    assert view.json().keys() == whole.keys()
    assert_error(web.ask("GET", f"{MODEL}/status?window=99y"), 404, "not_found")


def test_labels_and_deletes(serve):
    """Labels are joined, a version's and a model's data are forgotten."""
    web = serve()
    batch = [{k: v for k, v in row.items() if k != "delayed"} for row in rows(10)]
    assert web.push(batch, f"{BATCHES}?version=v1").status_code == 202
    labels = [{"flight_id": row["flight_id"], "delayed": True} for row in batch]
    assert web.push(labels, f"{MODEL}/labels").json()["matched"] == 10
    assert web.ask("GET", MODEL).json()["versions"].keys() == {"v1"}
    assert web.ask("DELETE", f"{MODEL}/versions/v1").status_code == 200
    assert web.ask("GET", MODEL).json()["versions"] == {}
    assert web.ask("DELETE", f"{MODEL}/data").status_code == 200


@pytest.mark.parametrize("deleted", ["versions/v1", "data"])
def test_what_was_deleted_can_be_pushed_again(serve, deleted):
    """A repeated push is new work once its version's data are gone, and the model says that some went."""
    web = serve()
    batch = rows(10)
    for version in ("v1", "v2"):
        web.push(batch, f"{BATCHES}?version={version}", Idempotency_Key=version)
    before = web.ask("GET", MODEL).json()["generation"]
    assert web.push(batch, f"{BATCHES}?version=v1", Idempotency_Key="v1").json()["duplicate"]
    assert web.ask("GET", MODEL).json()["generation"] == before
    assert web.ask("DELETE", f"{MODEL}/{deleted}").status_code == 200
    again = web.push(batch, f"{BATCHES}?version=v1", Idempotency_Key="v1")
    assert (again.status_code, again.json()["accepted"]) == (202, 10)
    other = web.push(batch, f"{BATCHES}?version=v2", Idempotency_Key="v2").json()
    assert other["duplicate"] == (deleted != "data")
    assert web.ask("GET", MODEL).json()["generation"] != before


def test_requests_are_counted_by_route(serve):
    """The exporter counts every request, by route and not by path."""
    web = serve()
    web.ask("GET", f"{MODEL}/drift")
    web.ask("GET", "/nope/x")
    text = ""
    deadline = time.monotonic() + 10
    while 'route="unmatched"' not in text and time.monotonic() < deadline:
        time.sleep(0.1)
        text = web.ask("GET", "/metrics").text
    assert 'route="/api/v1/models/{model}/drift"' in text
    assert "/nope" not in text


def test_every_answer_has_the_security_headers(web):
    """Errors too."""
    for path in ("/metrics", "/nope", "/"):
        headers = web.ask("GET", path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
