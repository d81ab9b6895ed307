"""Payloads of prediction chunks: Arrow bytes, and a cache of decoded ones bounded in bytes."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING

import pyarrow as pa

from exporter.errors import CorruptStoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

CACHE_BYTES = 256 << 20

PayloadKey = tuple[str, int]
"""(model, chunk id)."""


def encode_payload(batch: pa.RecordBatch) -> bytes:
    """Arrow's stream format, not compressed: lz4 saves a sixth of the bytes, but reads 16 times slower."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def decode_payload(data: bytes, checksum: int) -> pa.RecordBatch:
    """The record batch of :func:`encode_payload`.

    Raises
    ------
    CorruptStoreError
        The bytes do not match their checksum.
    """
    if zlib.crc32(data) != checksum:
        raise CorruptStoreError("the payload of a prediction chunk does not match its checksum")
    with pa.ipc.open_stream(data) as reader:
        return reader.read_next_batch()


class PayloadCache:
    """Decoded payloads: those under way to disk, and the most recently used others up to a limit."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._under_way: dict[PayloadKey, pa.RecordBatch] = {}
        self._kept: OrderedDict[PayloadKey, pa.RecordBatch] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        return self._bytes

    def pin(self, key: PayloadKey, batch: pa.RecordBatch) -> None:
        """Keep a payload until :meth:`release`: it is not on disk yet."""
        with self._lock:
            self._under_way[key] = batch

    def release(self, key: PayloadKey, *, durable: bool) -> None:
        with self._lock:
            batch = self._under_way.pop(key, None)
        # a slice would keep the whole table that it was cut from
        if durable and batch is not None and batch.get_total_buffer_size() <= 2 * batch.nbytes + 4096:
            self.put(key, batch)

    def get(self, key: PayloadKey) -> pa.RecordBatch | None:
        with self._lock:
            if key in self._under_way:
                return self._under_way[key]
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            return None

    def put(self, key: PayloadKey, batch: pa.RecordBatch) -> None:
        with self._lock:
            self._remove(key)
            self._kept[key] = batch
            self._bytes += batch.nbytes
            while self._bytes > self._limit and self._kept:
                self._remove(next(iter(self._kept)))

    def forget(self, model: str, chunk_ids: Iterable[int] | None = None) -> None:
        """Drop what is kept of a model, or of some of its chunks."""
        with self._lock:
            wanted = (
                [key for key in self._kept if key[0] == model]
                if chunk_ids is None
                else [(model, chunk_id) for chunk_id in chunk_ids]
            )
            for key in wanted:
                self._remove(key)

    def _remove(self, key: PayloadKey) -> None:
        batch = self._kept.pop(key, None)
        if batch is not None:
            self._bytes -= batch.nbytes
