"""One running bridge: its store, its channels and its HTTP server put together, in this process."""

from __future__ import annotations

import logging
from pathlib import Path

from exporter.clock import Clock, SystemClock
from exporter.web.alerts import AlertsApi
from exporter.web.application import Part, make_application
from exporter.web.bridge_operations import BRIDGE_OPERATIONS
from exporter.web.bridge_pages import BridgePages
from exporter.web.bridge_telemetry import BridgeExposition
from exporter.web.front import DEFAULT_BRIDGE_ADDRESS, Front, WebSettings, announce
from exporter.web.limits import WebLimits
from exporter.web.local_bridge import BridgeFile, LocalBridge
from exporter.web.openapi import openapi_document
from exporter.web.process import Process
from exporter.web.runbooks import Runbooks

__all__ = ["DEFAULT_BRIDGE_ADDRESS", "BridgeServer", "bridge_limits"]

logger = logging.getLogger(__name__)


def bridge_limits(**changed: float) -> WebLimits:
    """Limits of a bridge alone: every group of an Alertmanager may come at once."""
    return WebLimits(**{"ingestions": 0, "webhooks": 48, "threads": 72, **changed})  # type: ignore[arg-type]


class BridgeServer:
    """A bridge of one configuration and one store.

    Opening raises the errors of the store, and :class:`ConfigurationError` for settings that cannot be used.

    Parameters
    ----------
    file : the bridge's configuration
    storage : directory of the store
    web : how it is reached
    clock : the system's when left out
    """

    def __init__(
        self, file: BridgeFile, storage: Path, web: WebSettings | None = None, *, clock: Clock | None = None
    ) -> None:
        web = web or WebSettings(DEFAULT_BRIDGE_ADDRESS, limits=bridge_limits())
        front = Front(web)
        clock = clock or SystemClock()
        self._bridge = LocalBridge(file, storage, clock=clock)
        front.on_failure(self._bridge.count_web_failure)
        self._exposition = BridgeExposition(self._bridge.samples, lambda: self._bridge.ready, clock)
        part = Part(
            BRIDGE_OPERATIONS,
            (
                AlertsApi(self._bridge, web.limits),
                BridgePages(self._bridge, clock),
                Runbooks(),
                Process(self._exposition, openapi_document(BRIDGE_OPERATIONS, title="ml-exporter bridge")),
            ),
            lambda: self._bridge.ready,
            "the bridge",
        )
        app = make_application(
            (part,),
            count_request=self._exposition.count_request,
            auth=front.auth,
            origins=front.origins,
            headers=front.headers,
        )
        self._server = front.serve(app)

    @property
    def bridge(self) -> LocalBridge:
        return self._bridge

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        """Listen, then deliver. Raises :class:`exporter.web.server.ListenError`."""
        self._server.start()
        announce(self._server)
        self._bridge.start()
        self._exposition.start()
        logger.info("ready", extra={"url": self.url})

    def reload(self) -> None:
        """Read the configuration again; what cannot be used is logged and changes nothing."""
        self._bridge.reload_or_log()

    def stop(self, drain_seconds: float = 30.0) -> None:
        """Finish running requests and the deliveries that are under way, close."""
        self._server.stop(drain_seconds)
        self._exposition.stop()
        self._bridge.stop(drain_seconds)
