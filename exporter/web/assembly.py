"""One running exporter: store, service, decoder, bridge and HTTP server put together, in this process."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from exporter.alerts.composing.facts import InProcessFacts
from exporter.clock import Clock, SystemClock
from exporter.config import Config
from exporter.decoding import Decoder
from exporter.service import Service
from exporter.store import Store
from exporter.web.app import create_app
from exporter.web.front import DEFAULT_ADDRESS, Front, WebSettings, announce
from exporter.web.local_bridge import BridgeFile, LocalBridge
from exporter.web.remote_bridge import BridgeAddress, RemoteBridge
from exporter.web.service_answers import ServiceAnswers

__all__ = ["DEFAULT_ADDRESS", "Exporter", "WebSettings"]

logger = logging.getLogger(__name__)

_SWITCH_SECONDS = 0.0005
"""How long one thread may keep the interpreter; the default of 5 ms makes scrapes wait for ingestion."""
_BRIDGE_DRAIN_SECONDS = 10.0


class Exporter:
    """An exporter of one configuration and one store.

    Serves from :meth:`start` on, and is ready once the store is recovered. Opening raises the errors of
    :class:`exporter.store.Store`, and :class:`ConfigurationError` for settings that cannot be used.

    Parameters
    ----------
    config : models
    storage : directory of the store, and of the bridge's where it runs here
    web : how it is reached
    clock : the system's when left out
    bridge : a bridge to run in this process, or where one runs; None: there is none
    """

    def __init__(
        self,
        config: Config,
        storage: Path,
        web: WebSettings | None = None,
        *,
        clock: Clock | None = None,
        bridge: BridgeFile | BridgeAddress | None = None,
    ) -> None:
        web = web or WebSettings()
        front = Front(web)
        remote = RemoteBridge(bridge) if isinstance(bridge, BridgeAddress) else None
        if isinstance(bridge, BridgeFile):
            bridge.load()  # before anything is opened
        clock = clock or SystemClock()
        self._store = Store.open(storage, clock=clock)
        self._service = Service(config, self._store, clock=clock)
        front.on_failure(self._service.telemetry.errors.labels("", "web_config").inc)
        self._bridge: LocalBridge | None = None
        if isinstance(bridge, BridgeFile):
            self._bridge = LocalBridge(
                bridge, storage, clock=clock, source=InProcessFacts(ServiceAnswers(self._service))
            )
            self._service.expose(self._bridge.samples)
        self._decoder = Decoder()
        app = create_app(
            self._service,
            decoder=self._decoder,
            bridge=self._bridge or remote,
            auth=front.auth,
            limits=web.limits,
            origins=front.origins,
            headers=front.headers,
        )
        self._server = front.serve(app)

    @property
    def service(self) -> Service:
        return self._service

    @property
    def bridge(self) -> LocalBridge | None:
        """The bridge that runs in this process."""
        return self._bridge

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        """Listen, then recover. Raises :class:`exporter.web.server.ListenError`."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._server.start()
        announce(self._server)
        self._service.start()
        if self._bridge is not None:
            self._bridge.start()
        logger.info("ready", extra={"url": self.url})

    def reload(self) -> None:
        """Read the bridge's configuration again; what cannot be used is logged and changes nothing."""
        if self._bridge is not None:
            self._bridge.reload_or_log()

    def stop(self, drain_seconds: float = 30.0) -> None:
        """Finish running requests, commit, close."""
        self._server.stop(drain_seconds)
        if self._bridge is not None:
            self._bridge.stop(min(drain_seconds, _BRIDGE_DRAIN_SECONDS))
        self._service.stop()
        self._decoder.close()
