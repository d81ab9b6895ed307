"""A receiver of webhooks on the loopback: it remembers identifiers, and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import orjson

Answer = tuple[int, dict[str, str]]


@dataclass(frozen=True)
class Post:
    """One request."""

    path: str
    id: str
    body: dict[str, Any]


@dataclass
class HookPeer:
    """Takes posts at any path; `answer` gives status and headers, or None to close without an answer.

    Every post is in `posts`; those that were answered with 2xx, each identifier once a path, in `taken`.
    """

    answer: Callable[[Post], Answer | None] = lambda _: (200, {})
    posts: list[Post] = field(default_factory=list)
    taken: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    url: str = ""

    def __enter__(self) -> Self:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                try:
                    content = self.rfile.read(int(self.headers["Content-Length"]))
                    post = Post(self.path, self.headers["webhook-id"], orjson.loads(content))
                    answer = peer.take(post)
                    if answer is None:
                        self.close_connection = True
                        return
                    self.send_response(answer[0])
                    for name, value in answer[1].items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except (ConnectionError, orjson.JSONDecodeError):
                    self.close_connection = True  # the sender died in the middle

        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, post: Post) -> Answer | None:
        """Keep what came, and what is answered."""
        with self._lock:
            self.posts.append(post)
        answer = self.answer(post)
        if answer is not None and answer[0] < 300:
            with self._lock:
                self.taken.setdefault(post.path, {}).setdefault(post.id, post.body)
        return answer

    def bodies(self, path: str = "/hook") -> list[dict[str, Any]]:
        """What was taken at a path, once each, in the order in which it came first."""
        with self._lock:
            return list(self.taken.get(path, {}).values())

    def texts(self, path: str = "/hook") -> list[str]:
        """(name, change) of all alerts told of, as `name change`."""
        return [
            f"{alert['labels'].get('number', alert['name'])} {alert['change']}"
            for body in self.bodies(path)
            for alert in body["alerts"]
        ]
