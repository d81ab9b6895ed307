"""What the web asks of the service behind it; :class:`exporter.service.Service` is the real one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import pyarrow as pa

from exporter.schema import Schema
from exporter.service.history.questions import Question


class AnswerProtocol(Protocol):
    """A status code and the JSON object that goes with it."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> Mapping[str, Any]: ...


class SnapshotProtocol(Protocol):
    """The exposition, rendered ahead: ready bytes of both formats, plain and gzip."""

    @property
    def text(self) -> bytes: ...
    @property
    def openmetrics(self) -> bytes: ...
    @property
    def text_gzip(self) -> bytes: ...
    @property
    def openmetrics_gzip(self) -> bytes: ...


class ServiceProtocol(Protocol):
    """Everything that HTTP can ask for. Methods raise the errors of :mod:`exporter.errors`."""

    @property
    def ready(self) -> bool: ...
    def schema(self, model: str) -> Schema: ...
    def ingest_batch(
        self,
        model: str,
        table: pa.Table,
        *,
        version: str = "default",
        key: str | None,
        body_hash: str,
        backfill: bool = False,
    ) -> AnswerProtocol: ...
    def ingest_labels(
        self, model: str, table: pa.Table, *, key: str | None, body_hash: str
    ) -> AnswerProtocol: ...
    def ingest_profile(
        self, model: str, data: bytes, *, version: str = "default", key: str | None, body_hash: str
    ) -> AnswerProtocol: ...
    def create_baseline(
        self,
        model: str,
        *,
        version: str | None,
        table: pa.Table | None = None,
        period: tuple[float, float] | None = None,
        artifact: bytes | None = None,
        activate: bool = True,
        regrid: bool = False,
        key: str | None,
        body_hash: str,
    ) -> AnswerProtocol: ...
    def list_baselines(self, model: str) -> Any: ...
    def show_baseline(self, model: str, baseline: str) -> Any: ...
    def baseline_artifact(self, model: str, baseline: str) -> bytes: ...
    def activate_baseline(self, model: str, baseline: str) -> Any: ...
    def delete_baseline(self, model: str, baseline: str) -> Any: ...
    def refresh_baseline(self, model: str, version: str | None = None, *, force: bool = False) -> Any: ...
    def roll_back_baseline(self, model: str, version: str | None = None) -> Any: ...
    def compare_baselines(self, model: str, baseline: str, other: str | None = None) -> Any: ...
    def list_models(self) -> Any: ...
    def show_model(self, model: str) -> Any: ...
    def performance(
        self, model: str, window: str | None = None, version: str | None = None, segment: str | None = None
    ) -> Any: ...
    def drift(
        self, model: str, window: str | None = None, version: str | None = None, segment: str | None = None
    ) -> Any: ...
    def quality(
        self, model: str, window: str | None = None, version: str | None = None, segment: str | None = None
    ) -> Any: ...
    def comparisons(self, model: str) -> Any: ...
    def status(
        self, model: str, window: str | None = None, version: str | None = None, segment: str | None = None
    ) -> Any: ...
    def segments(
        self,
        model: str,
        *,
        window: str | None = None,
        version: str | None = None,
        metric: str | None = None,
        limit: str | None = None,
        offset: str | None = None,
    ) -> Any: ...
    def curves(
        self,
        model: str,
        curve: str | None = None,
        *,
        window: str | None = None,
        version: str | None = None,
        segment: str | None = None,
        of_class: str | None = None,
    ) -> Any: ...
    def distributions(
        self, model: str, column: str | None = None, window: str | None = None, version: str | None = None
    ) -> Any: ...
    def history(self, model: str, question: Question) -> Mapping[str, Any]: ...
    def history_openmetrics(
        self, model: str, question: Question, *, step: float = 0.0
    ) -> Iterator[bytes]: ...
    def grid(self, model: str) -> Mapping[str, Any]: ...
    def delete_data(self, model: str) -> Any: ...
    def delete_version(self, model: str, version: str) -> Any: ...
    def snapshot(self) -> SnapshotProtocol: ...
    def count_request(self, method: str, route: str, status: int, seconds: float) -> None: ...
