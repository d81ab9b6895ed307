"""Requests that read or delete: models, evaluations, baselines, data."""

from __future__ import annotations

from typing import Any

from flask import Response

from exporter.baseline import BASELINE_TYPE
from exporter.errors import BadRequestError
from exporter.exposition import OPENMETRICS_TYPE
from exporter.web.answers import json_response
from exporter.web.auth import Caller
from exporter.web.history import history_question, parse_seconds
from exporter.web.protocol import ServiceProtocol


class Api:
    """Handlers of the operations without a body."""

    def __init__(self, service: ServiceProtocol) -> None:
        self._service = service

    def list_models(self, caller: Caller) -> Response:
        return json_response({"models": visible_models(self._service, caller)})

    def show_model(self, model: str) -> Response:
        return _answered(self._service.show_model(model))

    def show_grid(self, model: str) -> Response:
        return _answered(self._service.grid(model))

    def performance(self, model: str, **view: str | None) -> Response:
        return _answered(self._service.performance(model, **view))

    def drift(self, model: str, **view: str | None) -> Response:
        return _answered(self._service.drift(model, **view))

    def quality(self, model: str, **view: str | None) -> Response:
        return _answered(self._service.quality(model, **view))

    def comparisons(self, model: str) -> Response:
        return _answered(self._service.comparisons(model))

    def status(self, model: str, **view: str | None) -> Response:
        return _answered(self._service.status(model, **view))

    def distributions(self, model: str, column: str | None, **view: str | None) -> Response:
        if column is None:
            self._service.schema(model)
            raise BadRequestError(
                "expected the query parameter column, but it is missing", code="bad_parameter"
            )
        return _answered(self._service.distributions(model, column, **view))

    def segments(self, model: str, **asked: str | None) -> Response:
        asked["offset"] = asked.pop("next", None)
        return _answered(self._service.segments(model, **asked))

    def curves(self, model: str, **asked: str | None) -> Response:
        return _answered(self._service.curves(model, of_class=asked.pop("class", None), **asked))

    def history(self, model: str, **asked: str | None) -> Response:
        return _answered(self._service.history(model, history_question(asked)))

    def export_history(self, model: str, step: str | None, **asked: str | None) -> Response:
        every = 0.0 if step is None else parse_seconds(step, "the query parameter step")
        pieces = self._service.history_openmetrics(model, history_question(asked), step=every)
        return Response(pieces, content_type=OPENMETRICS_TYPE)

    def list_baselines(self, model: str) -> Response:
        return _answered(self._service.list_baselines(model))

    def show_baseline(self, model: str, baseline: str) -> Response:
        return _answered(self._service.show_baseline(model, baseline))

    def export_baseline(self, model: str, baseline: str) -> Response:
        return Response(
            self._service.baseline_artifact(model, baseline),
            content_type=BASELINE_TYPE,
            headers={"Content-Disposition": "attachment; filename=baseline.mlb"},
        )

    def activate_baseline(self, model: str, baseline: str) -> Response:
        return _answered(self._service.activate_baseline(model, baseline))

    def delete_baseline(self, model: str, baseline: str) -> Response:
        return _answered(self._service.delete_baseline(model, baseline))

    def compare_baselines(self, model: str, baseline: str, **query: str | None) -> Response:
        return _answered(self._service.compare_baselines(model, baseline, query["with"]))

    def refresh_baseline(self, model: str, version: str | None, *, force: bool) -> Response:
        return _answered(self._service.refresh_baseline(model, version, force=force))

    def roll_back_baseline(self, model: str, version: str | None) -> Response:
        return _answered(self._service.roll_back_baseline(model, version))

    def delete_data(self, model: str) -> Response:
        return _answered(self._service.delete_data(model))

    def delete_version(self, model: str, version: str) -> Response:
        return _answered(self._service.delete_version(model, version))


def visible_models(service: ServiceProtocol, caller: Caller) -> list[Any]:
    """The models that the caller may see."""
    return [model for model in service.list_models()["models"] if caller.sees(model["model"])]


def _answered(value: Any) -> Response:
    """JSON of a result: an answer with its own status, a mapping, or nothing (an empty object)."""
    if hasattr(value, "status") and hasattr(value, "body"):
        return json_response(value.body, value.status)
    return json_response({} if value is None else value)
