"""A bridge in a process of its own that is fed over a pipe and killed at any moment."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from exporter.alerts.bridge import Bridge
from exporter.alerts.config import parse_bridge_config
from exporter.alerts.delivery.timing import Timing
from exporter.errors import BusyError

QUICK = Timing(first=0.01, longest=0.1, longest_pause=0.1, longest_sleep=0.02)
READY, TAKEN, BUSY = b"ready", b"taken", b"busy"
LIMIT = b"limit "

# The server imports the bridge once; each bridge is forked from it and comes up at once.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.alerts.bridge_process"])


def run_bridge(settings: Mapping[str, Any], directory: Path, pipe: Connection) -> None:
    """Take every message as a webhook until the pipe ends."""
    bridge = Bridge(parse_bridge_config(settings), directory, timing=QUICK)
    bridge.start()
    pipe.send_bytes(READY)
    try:
        while True:
            body = pipe.recv_bytes()
            if body.startswith(LIMIT):
                limit = int(body.removeprefix(LIMIT)) or resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.setrlimit(
                    resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
                )
                pipe.send_bytes(TAKEN)
                continue
            try:
                bridge.take(body)
            except BusyError:
                pipe.send_bytes(BUSY)
            else:
                pipe.send_bytes(TAKEN)
    except EOFError:
        bridge.stop()


class BridgeProcess:
    """One bridge at a time on the same directory; `start` and `kill` as often as one likes."""

    def __init__(self, settings: Mapping[str, Any], directory: Path) -> None:
        self._settings = dict(settings)
        self._directory = directory
        self._pipe: Connection | None = None
        self._process: Any = None

    def start(self) -> None:
        """Return when it is ready."""
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = _CONTEXT.Process(target=run_bridge, args=(self._settings, self._directory, theirs))
        self._process.start()
        theirs.close()
        assert self._pipe.recv_bytes() == READY

    def kill(self) -> None:
        """SIGKILL, as a power cut would; also in the middle of whatever it does."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def stop(self) -> int:
        """Let it finish what it sends; gives its exit code."""
        self._pipe.close()
        self._process.join()
        return int(self._process.exitcode)

    def fill_disk(self) -> None:
        """Let no file grow beyond what it is, nearly: the process's writes fail as on a full disk."""
        largest = max(file.stat().st_size for file in self._directory.iterdir())
        assert self.send(LIMIT + str(largest + 60_000).encode())

    def free_disk(self) -> None:
        """Let files grow again."""
        assert self.send(LIMIT + b"0")

    def send(self, body: bytes) -> bool:
        """Send one webhook; False when the process died before it answered that it was taken."""
        try:
            self._pipe.send_bytes(body)
            return self._pipe.recv_bytes() == TAKEN
        except (EOFError, OSError):
            return False


@contextmanager
def bridge_process(settings: Mapping[str, Any], directory: Path) -> Iterator[BridgeProcess]:
    """A started process, which is gone at the end."""
    running = BridgeProcess(settings, directory)
    running.start()
    try:
        yield running
    finally:
        running.kill()
