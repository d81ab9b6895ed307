"""The application: handlers wired to the operations, with the checks that every request passes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from exporter.errors import BusyError, ExporterError
from exporter.web.answers import error_body, error_response
from exporter.web.api import Api
from exporter.web.auth import Authenticator, Credentials
from exporter.web.ingest import DecoderProtocol, Ingest
from exporter.web.limits import WebLimits
from exporter.web.openapi import openapi_document
from exporter.web.operations import OPERATIONS, Operation
from exporter.web.origins import Origins
from exporter.web.pages import Pages
from exporter.web.protocol import ServiceProtocol

logger = logging.getLogger(__name__)

Handler = Callable[..., Response]

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


def create_app(
    service: ServiceProtocol,
    *,
    decoder: DecoderProtocol,
    auth: Authenticator | None = None,
    limits: WebLimits | None = None,
    origins: Origins | None = None,
    headers: Callable[[], Mapping[str, str]] = dict,
) -> Flask:
    """Build the WSGI application.

    Parameters
    ----------
    service : what answers
    decoder : bytes of rows -> table
    auth : who asks; None lets everybody do everything
    limits : sizes and times
    origins : which hosts are answered for
    headers : further response headers, asked at each response (the web configuration is re-read)
    """
    app = Flask("exporter", static_folder=None)
    app.url_map.merge_slashes = False
    limits = limits or WebLimits()
    auth = auth or Authenticator(lambda: Credentials({}))
    origins = origins or Origins()
    handlers = _handlers(service, decoder, limits)
    for operation in OPERATIONS:
        _register(app, operation, handlers[operation.name], auth, service)

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
        _observe(service, response)
        return response

    _register_errors(app)
    return app


def _handlers(
    service: ServiceProtocol,
    decoder: DecoderProtocol,
    limits: WebLimits,
) -> dict[str, Handler]:
    document = openapi_document()
    pages = Pages(service, document)
    handlers: dict[str, Handler] = {}
    for owner in (Ingest(service, decoder, limits), Api(service), pages):
        for operation in OPERATIONS:
            if hasattr(owner, operation.name):
                handlers[operation.name] = getattr(owner, operation.name)
    return handlers


def _register(
    app: Flask, operation: Operation, handler: Handler, auth: Authenticator, service: ServiceProtocol
) -> None:
    wants_caller = operation.name in ("list_models", "overview")

    def view(**path: str) -> Response:
        if operation.scope is not None:
            if not service.ready:
                raise BusyError("the exporter is recovering or stopping; come again", code="not_ready")
            caller = auth.authenticate(request.headers.get("Authorization"))
            g.caller = caller.name
            caller.require(operation.scope, path.get("model"))
            if wants_caller:
                path["caller"] = caller  # type: ignore[assignment]  # the one argument that is no text
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
        if error.status >= 500 and error.status != 503:
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


def _observe(service: ServiceProtocol, response: Response) -> None:
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    route = next((o.path for o in OPERATIONS if o.name == request.endpoint), "unmatched")
    method = request.method if request.method in _METHODS else "other"
    service.count_request(method, route, response.status_code, seconds)
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
