"""WSGI servers in one process with threads: small POSTs, large POSTs, and scrapes meanwhile.

Every server runs the same application in a process of its own: it reads the body of a POST, hashes it, and
answers a GET with 10 MB of ready bytes. Clients are threads with plain sockets and kept connections.

Run ``python benchmarks/http_server.py [--seconds 3] [--servers cheroot,ours,...]``; waitress, gunicorn and
granian are measured where they are installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

THREADS = 16
SMALL = b'[{"flight_id": "a", "predicted": true, "probability": 0.5, "distance": 100.0}]'
LARGE = os.urandom(4_000_000)
READY = b"#" * 10_000_000
SERVERS = ("ours", "cheroot", "waitress", "gunicorn", "granian")


def app(environ, start_response):
    if environ["REQUEST_METHOD"] == "GET":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(READY)))])
        return [READY]
    left, stream, digest = int(environ["CONTENT_LENGTH"]), environ["wsgi.input"], hashlib.sha256()
    while left and (piece := stream.read(min(left, 262_144))):
        digest.update(piece)
        left -= len(piece)
    body = digest.hexdigest().encode()
    start_response("202 Accepted", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def run_server(name: str, port: int) -> None:
    sys.setswitchinterval(0.0005)
    if name == "ours":
        from exporter.web.limits import WebLimits
        from exporter.web.server import WebServer

        server = WebServer(app, ("127.0.0.1", port), limits=WebLimits(threads=THREADS))
        server.start()
        threading.Event().wait()
    elif name == "cheroot":
        from cheroot import wsgi

        wsgi.Server(("127.0.0.1", port), app, numthreads=THREADS, request_queue_size=128).start()
    elif name == "waitress":
        import waitress

        waitress.serve(
            app,
            host="127.0.0.1",
            port=port,
            threads=THREADS,
            recv_bytes=262_144,
            inbuf_overflow=1 << 27,
            outbuf_overflow=1 << 27,
            send_bytes=262_144,
            _quiet=True,
        )
    elif name == "gunicorn":
        command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-k", "gthread", "-w", "1"]
        command += ["--threads", str(THREADS), "--log-level", "error", f"{Path(__file__).stem}:app"]
        os.execv(sys.executable, command)
    else:
        from granian import Granian

        Granian(
            f"{Path(__file__).stem}:app",
            address="127.0.0.1",
            port=port,
            interface="wsgi",
            workers=1,
            blocking_threads=THREADS,
            log_enabled=False,
        ).serve()


def receive(client: socket.socket) -> int:
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(65536)
        if not data:
            raise ConnectionError("closed")
        head += data
    head, _, rest = head.partition(b"\r\n\r\n")
    length = int(
        next(x for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")).split(b":")[1]
    )
    got = len(rest)
    while got < length:
        got += len(client.recv(1 << 20))
    return length


def repeat(port: int, request: bytes, seconds: float, durations: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        until = time.perf_counter() + seconds
        while (started := time.perf_counter()) < until:
            client.sendall(request)
            receive(client)
            durations.append(time.perf_counter() - started)


def load(port: int, requests: list[bytes], seconds: float) -> list[list[float]]:
    """Durations of each client's requests, in seconds."""
    durations: list[list[float]] = [[] for _ in requests]
    clients = [
        threading.Thread(target=repeat, args=(port, request, seconds, times))
        for request, times in zip(requests, durations, strict=True)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return durations


def measure(name: str, seconds: float) -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", name, "--port", str(port)],
        cwd=Path(__file__).parent,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        post = b"POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
        small, large = post % (len(SMALL), SMALL), post % (len(LARGE), LARGE)
        get = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        singles = load(port, [small] * 4, seconds)
        bulk = load(port, [large] * 2, seconds)
        mixed = sorted(load(port, [large, large, get], seconds)[2])
        return [
            name,
            f"{sum(map(len, singles)) / seconds:,.0f}",
            f"{sum(map(len, bulk)) * len(LARGE) / seconds / 1e6:,.0f}",
            f"{mixed[len(mixed) // 2] * 1e3:.0f}",
            f"{mixed[int(len(mixed) * 0.99)] * 1e3:.0f}",
        ]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--serve")
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    if options.serve:
        run_server(options.serve, options.port)
        return
    print("| server | one-row POSTs/s | 4 MB POSTs, MB/s | GET 10 MB while posting, p50 ms | p99 ms |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in options.servers.split(","):
        if name == "ours" or importlib.util.find_spec(name):
            print(f"| {' | '.join(measure(name, options.seconds))} |", flush=True)


if __name__ == "__main__":
    main()
