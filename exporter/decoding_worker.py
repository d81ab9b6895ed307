"""The process in which a :class:`exporter.decoding.Decoder` decodes large JSON and all Parquet bodies.

It talks over one Unix socket, its standard input. A request is two lengths (`REQUEST`), a pickled
:class:`Request` (from our own parent) and the body; an answer is a kind and a length (`ANSWER`), then an
Arrow IPC stream or, for one of our errors, JSON. It ends when the parent's end of the socket is closed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import struct
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa

from exporter.errors import ExporterError
from exporter.formats import read
from exporter.limits import Limits
from exporter.schema import Schema

REQUEST = struct.Struct("<QQ")
ANSWER = struct.Struct("<cQ")
TABLE, ERROR = b"T", b"E"
NICENESS = 5


@dataclass(frozen=True, slots=True)
class Request:
    kind: str
    fast: bool
    limits: Limits
    schema: Schema | None


def receive(connection: socket.socket, size: int) -> memoryview:
    """Exactly `size` bytes; EOFError when the other end is gone."""
    buffer = np.empty(size, np.uint8).data  # not zeroed, unlike a bytearray
    position = 0
    while position < size:
        count = connection.recv_into(buffer[position:])
        if count == 0:
            raise EOFError
        position += count
    return buffer


def main() -> None:
    """Answer requests until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the socket
    os.nice(NICENESS)
    pa.set_cpu_count(1)
    with socket.socket(fileno=os.dup(0)) as connection, contextlib.suppress(EOFError, OSError):
        while True:
            _answer(connection)


def _answer(connection: socket.socket) -> None:
    head, size = REQUEST.unpack(receive(connection, REQUEST.size))
    request: Request = pickle.loads(receive(connection, head))  # noqa: S301  # from our own parent
    body = receive(connection, size)
    try:
        kind, answer = TABLE, _decoded(body, request)
    except ExporterError as error:
        kind = ERROR
        parts = {"error": type(error).__name__, "message": error.message, "details": error.details}
        answer = orjson.dumps(parts, default=str)
    connection.sendall(ANSWER.pack(kind, len(answer)))
    connection.sendall(answer)


def _decoded(body: memoryview, request: Request) -> pa.Buffer:
    table = read(bytes(body), request.kind, request.limits, request.schema, fast=request.fast)
    table = table.unify_dictionaries().combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
