"""The OpenAPI 3.1 document, made from the list of operations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from exporter.baseline import BASELINE_TYPE
from exporter.profilefile import PROFILE_TYPE
from exporter.web.operation import JSON_TYPE, Operation, Scope
from exporter.web.operations import OPERATIONS

_DESCRIPTION = """Rows in, gauges out. Every error has one shape: `{"error": {"code", "message", "details"}}`.
Times are RFC 3339 or Unix seconds. Unknown query parameters are refused (400). Requests with a body may carry
an `Idempotency-Key`: a repeat answers 200 with the first answer and `"duplicate": true`."""

_ERRORS: dict[str, tuple[int, ...]] = {
    "every": (400, 403, 500),
    "scoped": (401,),
    "model": (404,),
    "body": (408, 413, 415, 422, 503),
    "key": (409,),
}
_PATH_PARAMETERS = {
    "model": "Name of the model, as configured.",
    "version": "Version of the model.",
    "baseline": "Id of the baseline.",
    "alert": "Id of the alert, as the list of alerts has it.",
    "notification": "Id of the notification.",
    "channel": "Name of the channel, as configured.",
    "runbook": "Name of the alert.",
}


def openapi_document(
    operations: Sequence[Operation] = OPERATIONS, *, title: str = "ml-exporter"
) -> dict[str, Any]:
    """The document of an application's operations, as plain values."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": "1",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "All scopes."},
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"Scopes: {', '.join(Scope)}.",
                },
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", operation.path)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [_path_parameter(name) for name in names] + _query_parameters(operation),
        "responses": _responses(operation, has_model="model" in names),
    }
    if operation.keyed:
        described["parameters"].append(_IDEMPOTENCY_KEY)
    if operation.accepts:
        described["parameters"].append(_CONTENT_ENCODING)
        described["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": _body_schema(operation, kind)} for kind in operation.accepts},
        }
    if operation.scope is not None:
        described["security"] = [{}, {"basic": []}, {"token": []}]
        described["description"] = (
            f"Needs the scope `{operation.scope.value}` where anybody has to authenticate."
            + (" A token that is limited to models is refused." if operation.whole else "")
        )
    return described


def _path_parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": _PATH_PARAMETERS[name],
        "schema": {"type": "string"},
    }


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": parameter.description.endswith("required."),
            "description": parameter.description,
            "schema": {
                "type": parameter.kind,
                **({} if parameter.default is None else {"default": parameter.default}),
            },
        }
        for name, parameter in (operation.query or {}).items()
    ]


def _responses(operation: Operation, *, has_model: bool) -> dict[str, Any]:
    errors = set(_ERRORS["every"])
    if operation.scope is not None:
        errors.update(_ERRORS["scoped"])
    if has_model:
        errors.update(_ERRORS["model"])
    if operation.accepts:
        errors.update(_ERRORS["body"])
    if operation.keyed:
        errors.update(_ERRORS["key"])
    responses: dict[str, Any] = {
        str(status): {
            "description": text,
            "content": {kind: {"schema": _answer_schema(operation, kind)} for kind in operation.produces},
        }
        for status, text in operation.answers.items()
        if status < 400
    }
    for status in sorted(errors | {status for status in operation.answers if status >= 400}):
        responses[str(status)] = {
            "description": operation.answers.get(status, HTTPStatus(status).phrase),
            "content": {JSON_TYPE: {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        if status == 503:
            responses[str(status)]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
    return responses


def _body_schema(operation: Operation, kind: str) -> dict[str, Any]:
    if kind != JSON_TYPE:
        return {}
    if operation.name == "take_webhook":
        return {"type": "object", "required": ["version", "status", "receiver", "groupKey", "alerts"]}
    if operation.name == "create_baseline":
        return {"anyOf": [{"$ref": "#/components/schemas/Rows"}, {"$ref": "#/components/schemas/Period"}]}
    return {"$ref": "#/components/schemas/Rows"}


def _answer_schema(operation: Operation, kind: str) -> dict[str, Any]:
    if kind in (PROFILE_TYPE, BASELINE_TYPE):
        return {}
    if kind != JSON_TYPE:
        return {"type": "string"}
    if operation.name == "push_batch":
        return {"$ref": "#/components/schemas/BatchAnswer"}
    return {"type": "object"}


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "1 to 255 printable ASCII characters; counts per model and operation, across restarts.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_CONTENT_ENCODING = {
    "name": "Content-Encoding",
    "in": "header",
    "schema": {"type": "string", "enum": ["identity", "gzip", "zstd"]},
}
_ROW = {"type": "object", "additionalProperties": True}
_SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "details"],
                "properties": {
                    "code": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
                    "message": {"type": "string"},
                    "details": {"type": "array"},
                },
            }
        },
    },
    "Rows": {
        "anyOf": [
            {"type": "array", "items": _ROW},
            {
                "type": "object",
                "required": ["rows"],
                "properties": {"rows": {"type": "array", "items": _ROW}},
            },
            {
                "type": "object",
                "required": ["columns"],
                "properties": {"columns": {"type": "object", "additionalProperties": {"type": "array"}}},
            },
        ]
    },
    "Period": {
        "type": "object",
        "required": ["from", "to"],
        "additionalProperties": False,
        "properties": {"from": {"type": ["string", "number"]}, "to": {"type": ["string", "number"]}},
    },
    "BatchAnswer": {
        "type": "object",
        "required": ["batch_id", "rows", "accepted", "rejected", "warnings", "duplicate"],
        "properties": {
            "batch_id": {"type": "string"},
            "rows": {"type": "integer"},
            "accepted": {"type": "integer"},
            "rejected": {},
            "warnings": {"type": "array", "items": {"type": "string"}},
            "duplicate": {"type": "boolean"},
        },
    },
}
