"""An application made of operations and their handlers, with the checks that every request passes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from exporter.errors import BusyError, ExporterError
from exporter.web.answers import error_body, error_response
from exporter.web.auth import Authenticator, Credentials
from exporter.web.operation import Operation
from exporter.web.origins import Origins

logger = logging.getLogger(__name__)

Handler = Callable[..., Response]
CountRequest = Callable[[str, str, int, float], None]
"""(method, route, status, seconds) of every request."""

_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FRAMEWORK_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    414: "too_large",
    415: "unsupported_format",
}


@dataclass(frozen=True, slots=True)
class Part:
    """Some operations of an application and what answers them.

    Attributes
    ----------
    operations : sequence of Operation
    owners : sequence of objects
        The method of the first one that has an operation's name is its handler.
    ready : callable
        Until it says so, operations that need a scope are answered 503.
    who : str
        What is not ready then, as a sentence names it.
    """

    operations: Sequence[Operation]
    owners: Sequence[object]
    ready: Callable[[], bool]
    who: str

    def handler(self, operation: Operation) -> Handler:
        owner = next(owner for owner in self.owners if hasattr(owner, operation.name))
        handler: Handler = getattr(owner, operation.name)
        return handler


def make_application(
    parts: Sequence[Part],
    *,
    count_request: CountRequest,
    auth: Authenticator | None = None,
    origins: Origins | None = None,
    headers: Callable[[], Mapping[str, str]] = dict,
) -> Flask:
    """Build a WSGI application.

    Parameters
    ----------
    parts : what it can do
    count_request : told of every request
    auth : who asks; None lets everybody do everything
    origins : which hosts are answered for
    headers : further response headers, asked at each response (the web configuration is re-read)
    """
    app = Flask("exporter", static_folder=None)
    app.url_map.merge_slashes = False
    auth = auth or Authenticator(lambda: Credentials({}))
    origins = origins or Origins()
    for part in parts:
        for operation in part.operations:
            _register(app, operation, part, auth)
    routes = {operation.name: operation.path for part in parts for operation in part.operations}

    @app.before_request
    def admit() -> None:
        g.started = time.perf_counter()
        origins.check(
            request.method,
            request.headers.get("Host"),
            request.headers.get("Origin"),
            request.headers.get("Sec-Fetch-Site"),
            anonymous=not auth.required,
        )

    @app.after_request
    def finish(response: Response) -> Response:
        for name, value in {**_SECURITY_HEADERS, **headers()}.items():
            if name not in response.headers:
                response.headers[name] = value
        _observe(count_request, routes.get(request.endpoint or "", "unmatched"), response)
        return response

    _register_errors(app)
    return app


def _register(app: Flask, operation: Operation, part: Part, auth: Authenticator) -> None:
    handler = part.handler(operation)

    def view(**path: Any) -> Response:
        if operation.scope is not None:
            if not part.ready():
                raise BusyError(f"{part.who} is recovering or stopping; come again", code="not_ready")
            caller = auth.authenticate(request.headers.get("Authorization"))
            g.caller = caller.name
            caller.require(operation.scope, path.get("model"))
            if operation.whole:
                caller.require_all_models()
            if operation.personal:
                path["caller"] = caller
        return handler(**path, **operation.parse_query(request.args.to_dict(flat=False)))

    app.add_url_rule(
        operation.path.replace("{", "<").replace("}", ">"),
        endpoint=operation.name,
        view_func=view,
        methods=[operation.method],
        provide_automatic_options=False,
        strict_slashes=True,
    )


def _register_errors(app: Flask) -> None:
    @app.errorhandler(ExporterError)
    def expected(error: ExporterError) -> Response:
        if error.status == 500:
            return unexpected(error)
        return error_response(error)

    @app.errorhandler(HTTPException)
    def from_framework(error: HTTPException) -> Response:
        status = error.code or 500
        message = f"{request.method} {request.path[:200]}: {error.name.lower()}"
        if isinstance(error, MethodNotAllowed):
            message = f"expected {' or '.join(_allowed(error))} on this path, but {request.method} came"
        elif status == 404:
            message = f"nothing is at {request.path[:200]}; /api/v1/openapi.json lists what there is"
        response = Response(
            error_body(_FRAMEWORK_CODES.get(status, "bad_request"), message),
            status=status,
            content_type="application/json",
        )
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(_allowed(error))
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        logger.error("request failed", exc_info=error, extra={"method": request.method, "path": request.path})
        return Response(
            error_body("internal_error", "the server failed on this request; its log says more"),
            status=500,
            content_type="application/json",
        )


def _allowed(error: MethodNotAllowed) -> list[str]:
    return sorted(error.valid_methods or ())


def _observe(count_request: CountRequest, route: str, response: Response) -> None:
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    method = request.method if request.method in _METHODS else "other"
    count_request(method, route, response.status_code, seconds)
    if logger.isEnabledFor(logging.DEBUG):
        fields: dict[str, Any] = {
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "seconds": round(seconds, 6),
            "remote": request.remote_addr,
            "caller": g.get("caller"),
        }
        logger.debug("request", extra=fields)


_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})
