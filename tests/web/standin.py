"""An exporter's service in memory, as small as the web's tests need it."""

from __future__ import annotations

import gzip
import threading
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from exporter.errors import ConflictError, KeyReusedError, NotFoundError
from exporter.schema import Schema, Task

MODEL = "flight_delay"


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    text: bytes
    openmetrics: bytes

    @property
    def text_gzip(self) -> bytes:
        return gzip.compress(self.text, 1)

    @property
    def openmetrics_gzip(self) -> bytes:
        return gzip.compress(self.openmetrics, 1)


@dataclass
class StandInService:
    """Keeps what it is given; one model called `flight_delay`."""

    ready: bool = True
    failure: Exception | None = None
    hold: threading.Event | None = None
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    answers: dict[str, tuple[str, Answer]] = field(default_factory=dict)
    tables: list[pa.Table] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    snapshot_text: bytes = b"# HELP ml_rows_total Rows.\n# TYPE ml_rows_total counter\nml_rows_total 1\n"

    def schema(self, model: str) -> Schema:
        if model != MODEL:
            raise NotFoundError(f"no model {model!r} is configured")
        return Schema(model, Task.BINARY, "predicted", "delayed", id="flight_id", score="probability")

    def _stored(self, name: str, key: str | None, body_hash: str, status: int = 202, **fields: Any) -> Answer:
        self.calls.append((name, fields))
        self.entered.release()
        if self.hold is not None:
            self.hold.wait(30)
        if self.failure is not None:
            raise self.failure
        if key is not None and key in self.answers:
            known, answer = self.answers[key]
            if known != body_hash:
                raise KeyReusedError("this key came with another body")
            return Answer(200, {**answer.body, "duplicate": True})
        rows = fields["table"].num_rows if fields.get("table") is not None else 0
        if fields.get("table") is not None:
            self.tables.append(fields["table"])
        body = {"batch_id": str(len(self.calls)), "rows": rows, "accepted": rows}
        answer = Answer(status, {**body, "rejected": {}, "warnings": [], "duplicate": False})
        if key is not None:
            self.answers[key] = (body_hash, answer)
        return answer

    def ingest_batch(self, model: str, table: pa.Table, **fields: Any) -> Answer:
        return self._stored("batch", table=table, **fields)

    def ingest_labels(self, model: str, table: pa.Table, **fields: Any) -> Answer:
        return self._stored("labels", table=table, **fields)

    def ingest_profile(self, model: str, data: bytes, **fields: Any) -> Answer:
        if data == b"stale":
            raise ConflictError("the grid is stale", code="stale_grid", details=[{"grid": "g2"}])
        return self._stored("profile", data=data, **fields)

    def create_baseline(self, model: str, **fields: Any) -> Answer:
        return self._stored("baseline", status=201, **fields)

    def list_baselines(self, model: str) -> list[dict[str, Any]]:
        self.schema(model)
        return [{"id": "b1", "active": True, "rows": 10}]

    def show_baseline(self, model: str, baseline: str) -> dict[str, Any]:
        self.schema(model)
        if baseline != "b1":
            raise NotFoundError(f"no baseline {baseline!r}")
        return {"id": "b1", "active": True, "rows": 10}

    def baseline_artifact(self, model: str, baseline: str) -> bytes:
        self.show_baseline(model, baseline)
        return b"artifact"

    def activate_baseline(self, model: str, baseline: str) -> dict[str, Any]:
        return self.show_baseline(model, baseline)

    def delete_baseline(self, model: str, baseline: str) -> dict[str, Any]:
        return {"deleted": self.show_baseline(model, baseline)["id"]}

    def list_models(self) -> list[dict[str, Any]]:
        model = {"name": MODEL, "task": "binary", "state": "ok", "windows": ["1d", "7d"], "baseline": None}
        return [{**model, "last_batch": None}]

    def show_model(self, model: str) -> dict[str, Any]:
        self.schema(model)
        return self.list_models()[0]

    def _view(self, name: str, model: str, **view: str | None) -> dict[str, Any]:
        self.schema(model)
        if self.failure is not None:
            raise self.failure
        return {"view": name, **view}

    def performance(self, model: str, **view: str | None) -> dict[str, Any]:
        return self._view("performance", model, **view)

    def drift(self, model: str, **view: str | None) -> dict[str, Any]:
        return self._view("drift", model, **view)

    def quality(self, model: str, **view: str | None) -> dict[str, Any]:
        return self._view("quality", model, **view)

    def status(self, model: str) -> dict[str, Any]:
        return self._view("status", model)

    def distributions(self, model: str, column: str, **view: str | None) -> dict[str, Any]:
        return self._view("distributions", model, column=column, **view)

    def grid(self, model: str) -> dict[str, Any]:
        return self._view("grid", model)

    def delete_data(self, model: str) -> dict[str, Any]:
        return self._view("delete_data", model)

    def delete_version(self, model: str, version: str) -> dict[str, Any]:
        return self._view("delete_version", model, version=version)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.snapshot_text, self.snapshot_text + b"# EOF\n")

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.append((method, route, status))
