"""A service on the loopback that behaves like Slack: it keeps channels and messages, and fails as told.

It refuses what Slack refuses (`tests/alerts/block_kit.py`), checks tokens, scopes and membership, answers the
Web API with status 200 and `ok: false` as Slack does, and incoming webhooks with texts.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.alerts.block_kit import problems_of

ALL_SCOPES = frozenset(
    {"chat:write", "channels:history", "groups:history", "files:write", "metadata.message:read"}
)
_FORM_ONLY = {"files.getUploadURLExternal"}
_SCOPES = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
}


@dataclass
class Fault:
    """What happens to one call of a method instead of, or after, what it asks for.

    `stored` does what it asks for first. Then `status` with `body` and `headers`, or `cut`: the connection is
    closed without an answer; or `hang`: nothing is answered for so many seconds. It lets `after` calls pass.
    """

    method: str
    status: int = 0
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    hang: float = 0.0
    stored: bool = False
    after: int = 0


@dataclass
class Channel:
    """A channel with its messages by `ts`, threads included."""

    id: str
    name: str
    member: bool = True
    archived: bool = False
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def roots(self) -> list[dict[str, Any]]:
        return [message for message in self.messages.values() if "thread_ts" not in message]

    def replies(self, root: str) -> list[dict[str, Any]]:
        return [message for message in self.messages.values() if message.get("thread_ts") == root]


class No(Exception):  # noqa: N818  # it is an answer
    """`ok: false` with a code."""

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.more = more


class SlackPeer:
    """One workspace.

    `calls` are (method, arguments) as they came; `faults` are used up in order by the calls they name.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.tokens: dict[str, frozenset[str]] = {"xoxb-secret-token": ALL_SCOPES}
        self.channels = {"C024BE91L": Channel("C024BE91L", "alerts")}
        self.webhooks = {"/services/T000/B000/hooksecret": "C024BE91L"}
        self.webhook_refusal: tuple[int, str] | None = None
        self.faults: deque[Fault] = deque()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refused: list[list[str]] = []
        self.files: dict[str, dict[str, Any]] = {}
        self.authorizations: list[tuple[str, str | None]] = []
        self.page = 100
        self._last = 0.0
        self._lock = threading.RLock()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    peer.serve(self, urlsplit(self.path).path, body)
                except OSError:
                    self.close_connection = True

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Say nothing of clients that go away, or that don't trust the certificate."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self.api_url = f"{self.url}/api"
        self.webhook_url = f"{self.url}/services/T000/B000/hooksecret"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def channel(self) -> Channel:
        return self.channels["C024BE91L"]

    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # -- one request ----------------------------------------------------------------------------------

    def serve(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        with self._lock:
            method = path.removeprefix("/api/") if path.startswith("/api/") else path
            self.authorizations.append((method, handler.headers.get("Authorization")))
            fault = self._fault(method)
            status, answer = 0, b""
            if fault is None or fault.stored:
                status, answer = self._answer(method, handler, body)
        headers: dict[str, str] = {}
        if fault is not None:
            if fault.hang:
                time.sleep(fault.hang)
            if fault.cut or fault.hang:
                handler.close_connection = True
                return
            status, headers = fault.status, fault.headers
            answer = fault.body if isinstance(fault.body, bytes) else json.dumps(fault.body).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def _fault(self, method: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method:
                fault.after -= 1
                if fault.after >= 0:
                    return None
                self.faults.remove(fault)
                return fault
        return None

    def _answer(self, method: str, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        if method.startswith("/services/"):
            return self._webhook(method, body)
        if method.startswith("/upload/"):
            return self._uploaded(method.removeprefix("/upload/"), body)
        try:
            answer = {"ok": True} | self._call(method, handler, body)
        except No as no:
            answer = {"ok": False, "error": str(no)} | no.more
        return 200, json.dumps(answer).encode()

    def _call(self, method: str, handler: BaseHTTPRequestHandler, body: bytes) -> dict[str, Any]:
        arguments = self._arguments(method, handler.headers.get("Content-Type", ""), body)
        self.calls.append((method, arguments))
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise No("not_authed" if not token else "invalid_auth")
        needed = _SCOPES.get(method)
        if needed is None:
            raise No("unknown_method")
        if needed not in self.tokens[token]:
            raise No("missing_scope", needed=needed, provided=",".join(sorted(self.tokens[token])))
        calls = {
            "chat.postMessage": self._post_message,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._complete,
        }
        return calls[method](arguments)

    def _arguments(self, method: str, content_type: str, body: bytes) -> dict[str, Any]:
        if content_type.startswith("application/json"):
            if method in _FORM_ONLY:
                raise No("invalid_arguments")
            found = json.loads(body)
            assert isinstance(found, dict)
            return found
        return {name: values[0] for name, values in parse_qs(body.decode()).items()}

    # -- methods --------------------------------------------------------------------------------------

    def _channel(self, arguments: dict[str, Any], *, by_name: bool = False) -> Channel:
        wanted = str(arguments.get("channel") or arguments.get("channel_id") or "")
        for channel in self.channels.values():
            if wanted == channel.id or (by_name and wanted.removeprefix("#") == channel.name):
                if not channel.member:
                    raise No("not_in_channel")
                if channel.archived:
                    raise No("is_archived")
                return channel
        raise No("channel_not_found")

    def _checked(self, body: dict[str, Any]) -> None:
        problems = problems_of(body)
        if problems:
            self.refused.append(problems)
            code = "msg_blocks_too_long" if "msg_blocks_too_long" in problems[-1] else "invalid_blocks"
            raise No(code, response_metadata={"messages": [f"[ERROR] {problem}" for problem in problems]})

    def _ts(self) -> str:
        self._last = max(time.time(), self._last + 0.000_01)
        return f"{self._last:.6f}"

    def _post_message(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(arguments, by_name=True)
        self._checked(arguments)
        metadata = arguments.get("metadata")
        if metadata is not None and (
            set(metadata) != {"event_type", "event_payload"}
            or not isinstance(metadata["event_payload"], dict)
        ):
            raise No("invalid_metadata_format")
        root = arguments.get("thread_ts")
        if root is not None and root not in channel.messages:
            raise No("thread_not_found")
        ts = self._ts()
        kept = ("text", "blocks", "metadata", "thread_ts", "reply_broadcast")
        channel.messages[ts] = {"ts": ts, "bot_id": "B1"} | {k: arguments[k] for k in kept if k in arguments}
        return {"channel": channel.id, "ts": ts, "message": {"ts": ts}}

    def _update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(arguments)
        message = channel.messages.get(str(arguments.get("ts")))
        if message is None:
            raise No("message_not_found")
        self._checked(arguments)
        message["text"], message["blocks"] = arguments["text"], arguments.get("blocks")
        message["edits"] = message.get("edits", 0) + 1
        return {"channel": channel.id, "ts": message["ts"], "text": message["text"]}

    def _history(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(arguments)
        shown = [m for m in channel.messages.values() if "thread_ts" not in m or m.get("reply_broadcast")]
        return self._listed(sorted(shown, key=lambda m: m["ts"], reverse=True), arguments)

    def _replies(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(arguments)
        root = str(arguments.get("ts"))
        if root not in channel.messages:
            raise No("thread_not_found")
        return self._listed([channel.messages[root], *channel.replies(root)], arguments)

    def _listed(self, messages: list[dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
        oldest = float(arguments.get("oldest", 0))
        messages = [message for message in messages if float(message["ts"]) >= oldest]
        if arguments.get("include_all_metadata") != "true":
            messages = [{k: v for k, v in m.items() if k != "metadata"} for m in messages]
        begin = int(arguments.get("cursor") or 0)
        end = begin + min(int(arguments.get("limit", 100)), self.page)
        cursor = str(end) if end < len(messages) else ""
        return {
            "messages": messages[begin:end],
            "has_more": bool(cursor),
            "response_metadata": {"next_cursor": cursor},
        }

    def _upload_url(self, arguments: dict[str, Any]) -> dict[str, Any]:
        file = f"F{len(self.files) + 1:08d}"
        self.files[file] = {"length": int(arguments["length"]), "filename": arguments["filename"]}
        return {"upload_url": f"{self.url}/upload/{file}", "file_id": file}

    def _uploaded(self, file: str, body: bytes) -> tuple[int, bytes]:
        if file not in self.files or self.files[file]["length"] != len(body):
            return 400, b"length"
        self.files[file]["content"] = body
        return 200, f"OK - {len(body)}".encode()

    def _complete(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(arguments)
        for given in arguments["files"]:
            file = self.files.get(given["id"])
            if file is None or "content" not in file:
                raise No("file_not_found")
            file |= {"channel": channel.id, "thread_ts": arguments.get("thread_ts"), "title": given["title"]}
        return {"files": arguments["files"]}

    def _webhook(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self.webhook_refusal is not None:
            return self.webhook_refusal[0], self.webhook_refusal[1].encode()
        if path not in self.webhooks:
            return 404, b"no_service"
        try:
            arguments = json.loads(body)
        except ValueError:
            return 400, b"invalid_payload"
        self.calls.append(("webhook", arguments))
        try:
            self._checked(arguments)
        except No as no:
            return 400, str(no).encode()
        channel = self.channels[self.webhooks[path]]
        if channel.archived:
            return 410, b"channel_is_archived"
        ts = self._ts()
        channel.messages[ts] = {"ts": ts, "text": arguments["text"], "blocks": arguments.get("blocks")}
        return 200, b"ok"
