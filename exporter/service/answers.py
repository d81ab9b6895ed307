"""Answers that are given once: a repeated idempotency key gets the first answer again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from exporter.errors import ConflictError, KeyReusedError
from exporter.service.lane import Lane
from exporter.store import Store, StoredAnswer


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with: an HTTP status and a JSON body."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks what: the idempotency key and the hash of the body and the parameters it came with."""

    endpoint: str
    key: str | None
    body_hash: str
    version: str | None = None
    """The version that the request is about; None when it is about no single one."""

    def answered(self, answer: Answer, created: float) -> StoredAnswer | None:
        """What the store keeps of an answer; None without a key."""
        if self.key is None:
            return None
        return StoredAnswer(
            endpoint=self.endpoint,
            key=self.key,
            body_hash=self.body_hash,
            status=answer.status,
            body=orjson.dumps(answer.body),
            created=created,
            version=self.version,
        )


@contextmanager
def once(store: Store, lane: Lane, request: Request) -> Iterator[Answer | None]:
    """Yields the first answer to this key, marked as a duplicate, or None when the work is still to do.

    Raises
    ------
    KeyReusedError
        The key came before with another body or other parameters.
    ConflictError
        The first request with this key is still under way.
    """
    if request.key is None:
        yield None
        return
    mark = (request.endpoint, request.key)
    with lane.lock:
        if mark in lane.in_progress:
            raise ConflictError(
                "a request with this Idempotency-Key is still in progress; repeat it once that is answered",
                code="idempotency_key_in_progress",
            )
        lane.in_progress.add(mark)
    try:
        stored = store.answer(lane.name, request.endpoint, request.key)
        if stored is None:
            yield None
        elif stored.body_hash != request.body_hash:
            raise KeyReusedError(
                "this Idempotency-Key was used before with another body or other parameters; "
                "use a new key for new content"
            )
        else:
            yield Answer(200, {**orjson.loads(stored.body), "duplicate": True})
    finally:
        with lane.lock:
            lane.in_progress.discard(mark)
