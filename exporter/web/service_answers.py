"""What the bridge asks the exporter of the same process: the API's answers, without HTTP between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import orjson

from exporter.errors import BusyError, NotFoundError
from exporter.web.api import Api
from exporter.web.operation import Operation
from exporter.web.operations import MODEL_OPERATIONS
from exporter.web.protocol import ServiceProtocol


class ServiceAnswers:
    """Answers questions as the exporter's API does.

    Examples: ``answers("/api/v1/models/fraud/drift", {"window": "1d"})``.
    """

    def __init__(self, service: ServiceProtocol) -> None:
        self._service = service
        self._api = Api(service)
        self._questions = [
            (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.path)), operation)
            for operation in MODEL_OPERATIONS
            if operation.method == "GET"
            and not operation.personal
            and "application/json" in operation.produces
        ]

    def __call__(self, path: str, params: Mapping[str, str]) -> Any:
        """What the path answers, as plain values.

        Raises
        ------
        NotFoundError, BadRequestError
            What the API would answer with 404 and 400.
        BusyError
            The exporter is recovering or stopping.
        """
        if not self._service.ready:
            raise BusyError("the exporter is recovering or stopping", code="not_ready")
        operation, places = self._find(path)
        query = operation.parse_query({name: [value] for name, value in params.items()})
        answer = getattr(self._api, operation.name)(**places, **query)
        return orjson.loads(answer.get_data())

    def _find(self, path: str) -> tuple[Operation, dict[str, str]]:
        for pattern, operation in self._questions:
            if (match := pattern.fullmatch(path)) is not None:
                return operation, {name: unquote(text) for name, text in match.groupdict().items()}
        raise NotFoundError(f"nothing is at {path[:200]}")
