"""The server under clients that are slow, odd or many."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
import requests

from exporter.exposition import Snapshot
from exporter.web.limits import WebLimits

BATCHES = "/api/v1/models/flight_delay/batches"
HEAD = f"POST {BATCHES} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
ROW = b'[{"flight_id": "a", "predicted": true, "probability": 0.5}]'


def parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


def error_of(answer: bytes) -> tuple[int, str]:
    status, headers, body = parts(answer)
    assert headers["content-type"] == "application/json"
    return status, json.loads(body)["error"]["code"]


@pytest.mark.parametrize("chunks", [[ROW], [ROW[:1], ROW[1:20], ROW[20:]], [bytes([b]) for b in ROW]])
def test_chunked_body(web, chunks):
    """A body may come in chunks of any size."""
    answer = web.ask("POST", BATCHES, data=iter(chunks), headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
    assert answer.json()["rows"] == 1


def test_chunked_body_with_extensions_and_trailers_leaves_the_connection_usable(web):
    """What follows a chunked body on the same connection is the next request."""
    first = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    first += b"%x;name=value\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(ROW), ROW)
    second = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = web.raw(first + second)
    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.startswith(b"HTTP/1.1 202")
    assert answer.endswith(b"healthy\n")


@pytest.mark.parametrize(
    "chunk", [b"zz\r\n", b"-1\r\n", b"\r\n", b"3\r\n[]xx\r\n0\r\n\r\n", b"f" * 20 + b"\r\n", b"2\r\n[]"]
)
def test_bad_chunks_are_unreadable(serve, chunk):
    """Broken chunked coding is 400 and ends the connection."""
    web = serve(limits=WebLimits(body_seconds=0.5))
    answer = web.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    assert error_of(answer) in {(400, "unreadable"), (408, "request_timeout")}


def test_body_over_the_limit_is_refused_from_its_header(serve):
    """413 comes before the body is sent."""
    web = serve(limits=WebLimits(body_bytes=1000))
    started = time.monotonic()
    answer = web.raw(HEAD + b"Content-Length: 1000000000000\r\n\r\n")
    assert error_of(answer) == (413, "too_large")
    assert time.monotonic() - started < 5


def test_chunked_body_over_the_limit_is_refused_early(serve):
    """A body without a length is read up to the limit only."""
    web = serve(limits=WebLimits(body_bytes=100_000))
    answer = web.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n" + b"x" * 400_000)
    assert error_of(answer) == (413, "too_large")


def test_refused_body_that_is_sent_anyway_still_gets_its_answer(serve):
    """A client that sends the whole body before it reads sees 413, not a broken connection."""
    web = serve(limits=WebLimits(body_bytes=1000))
    answer = web.push(b"x" * 5_000_000)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"


def test_expected_continue_is_sent_only_to_a_body_that_is_wanted(serve):
    """``Expect: 100-continue`` gets 100 when the body is read, and the refusal alone otherwise."""
    web = serve(limits=WebLimits(body_bytes=1000))
    expect = b"Expect: 100-continue\r\nConnection: close\r\n"
    wanted = web.raw(HEAD + expect + b"Content-Length: %d\r\n\r\n" % len(ROW), ROW)
    assert wanted.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202")
    unwanted = web.raw(HEAD + expect + b"Content-Length: 5000\r\n\r\n")
    assert unwanted.startswith(b"HTTP/1.1 413")


def test_slow_body_meets_the_deadline_for_the_whole(serve):
    """A byte now and then does not keep a request alive."""
    web = serve(limits=WebLimits(body_seconds=0.6))
    with socket.create_connection(web.server.address, timeout=10) as client:
        client.sendall(HEAD + b"Content-Length: 100\r\n\r\n")
        started = time.monotonic()
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.1):
                try:
                    client.sendall(b" ")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        answer = client.recv(65536)
        stop.set()
        thread.join()
    assert error_of(answer) == (408, "request_timeout")
    assert time.monotonic() - started < 3


def test_slow_header_meets_its_deadline(serve):
    """The same for the header."""
    web = serve(limits=WebLimits(header_seconds=0.4))
    started = time.monotonic()
    assert error_of(web.raw(b"GET /metrics HTT")) == (408, "request_timeout")
    assert time.monotonic() - started < 3


def test_ended_body_is_unreadable(web):
    """A connection that ends inside the body is no batch."""
    with socket.create_connection(web.server.address, timeout=10) as client:
        client.sendall(HEAD + b"Content-Length: 100\r\n\r\n[")
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(65536)
    assert error_of(answer) == (400, "unreadable")


def test_slow_bodies_and_idle_connections_never_keep_a_scrape_waiting(serve):
    """With every ingestion place taken, pushes get 503 at once and scrapes their bytes at once."""
    limits = WebLimits(ingestions=3, threads=6, body_seconds=20)
    web = serve(limits=limits)
    idle = [socket.create_connection(web.server.address) for _ in range(40)]
    slow = [socket.create_connection(web.server.address) for _ in range(3)]
    try:
        for client in slow:
            client.sendall(HEAD + b"Content-Length: 100\r\n\r\n[")
        time.sleep(0.3)
        started = time.monotonic()
        for _ in range(5):
            refused = web.push(ROW)
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "busy"
            assert int(refused.headers["Retry-After"]) >= 1
            assert web.ask("GET", "/metrics").status_code == 200
        assert time.monotonic() - started < 2
    finally:
        for client in idle + slow:
            client.close()
    time.sleep(0.3)
    assert web.push(ROW).status_code == 202


def test_reader_that_does_not_read_is_dropped(serve):
    """A client that asks for much and reads nothing holds its thread for a bounded time."""
    web = serve(limits=WebLimits(response_seconds=0.5, threads=9))
    large = b"#" * 50_000_000 + b"\n"
    web.service.snapshot = lambda: Snapshot(large, large, large, large, 0, 0.0)
    with socket.create_connection(web.server.address, timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1.5)
        received = 0
        while data := client.recv(1 << 20):
            received += len(data)
    assert received < 50_000_000


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: local host\r\nConnection: close\r\n\r\n",
        HEAD + b"Content-Length: -5\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 10,
    ],
)
def test_broken_requests_have_the_error_shape(serve, request_bytes):
    """What is no HTTP, or ambiguous HTTP, is refused with the one shape."""
    web = serve(limits=WebLimits(header_seconds=0.5))
    pieces = [request_bytes]
    if b"HTTP/1.1\r\n\r\n" in request_bytes[:40]:
        pieces = [request_bytes.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")]
    status, code = error_of(web.raw(*pieces))
    assert 400 <= status <= 505
    assert code


def test_connection_is_kept_for_the_next_request(web):
    """One connection serves many requests, refusals with small bodies included."""
    with socket.create_connection(web.server.address, timeout=10) as client:
        for _ in range(3):
            client.sendall(HEAD.replace(b"batches", b"nothing") + b"Content-Length: 2\r\n\r\n[]")
            assert client.recv(65536).startswith(b"HTTP/1.1 404")
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65536).endswith(b"healthy\n")


def test_stop_finishes_running_requests(serve):
    """Draining answers what runs and refuses what is new."""
    web = serve()
    web.service.hold = threading.Event()
    answers = []
    pusher = threading.Thread(target=lambda: answers.append(web.push(ROW).status_code))
    pusher.start()
    assert web.service.entered.acquire(timeout=5)
    stopper = threading.Thread(target=web.server.stop)
    stopper.start()
    time.sleep(0.8)
    with pytest.raises(requests.ConnectionError):
        requests.get(web.url + "/-/healthy", timeout=5)
    web.service.hold.set()
    stopper.join(10)
    pusher.join(10)
    assert answers == [202]


def test_port_zero_gives_the_port_that_is_bound(web):
    """The address names the real port."""
    assert web.server.address[1] > 0
    assert web.url == f"http://127.0.0.1:{web.server.address[1]}"
