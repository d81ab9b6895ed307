"""The exporter's application: its own operations, and those of the bridge behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Flask

from exporter.web.alerts import AlertsApi
from exporter.web.api import Api
from exporter.web.application import Part, make_application
from exporter.web.auth import Authenticator
from exporter.web.bridge_operations import ALERT_OPERATIONS
from exporter.web.bridge_protocol import BridgeProtocol, NoBridge
from exporter.web.ingest import DecoderProtocol, Ingest
from exporter.web.limits import WebLimits
from exporter.web.openapi import openapi_document
from exporter.web.operations import MODEL_OPERATIONS, OPERATIONS
from exporter.web.origins import Origins
from exporter.web.pages import Pages
from exporter.web.process import Process
from exporter.web.process_operations import PROCESS_OPERATIONS
from exporter.web.protocol import ServiceProtocol
from exporter.web.runbooks import RUNBOOK_OPERATIONS, Runbooks


def create_app(
    service: ServiceProtocol,
    *,
    decoder: DecoderProtocol,
    bridge: BridgeProtocol | None = None,
    auth: Authenticator | None = None,
    limits: WebLimits | None = None,
    origins: Origins | None = None,
    headers: Callable[[], Mapping[str, str]] = dict,
) -> Flask:
    """Build the exporter's WSGI application.

    Parameters
    ----------
    service : what answers
    decoder : bytes of rows -> table
    bridge : what answers questions of alerts; None says how to get one
    auth, origins, headers : see :func:`exporter.web.application.make_application`
    limits : sizes and times
    """
    limits = limits or WebLimits()
    bridge = bridge or NoBridge()
    process = Process(service, openapi_document(OPERATIONS))
    exporter = Part(
        (*MODEL_OPERATIONS, *RUNBOOK_OPERATIONS, *PROCESS_OPERATIONS),
        (Ingest(service, decoder, limits), Api(service), Pages(service), Runbooks(), process),
        lambda: service.ready,
        "the exporter",
    )
    alerts = Part(ALERT_OPERATIONS, (AlertsApi(bridge, limits),), lambda: bridge.ready, "the bridge")
    return make_application(
        (exporter, alerts),
        count_request=service.count_request,
        auth=auth,
        origins=origins,
        headers=headers,
    )
