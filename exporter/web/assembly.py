"""One running exporter: store, service, decoder and HTTP server put together, in this process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.clock import Clock, SystemClock
from exporter.config import Config
from exporter.decoding import Decoder
from exporter.errors import ConfigurationError
from exporter.service import Service
from exporter.store import Store
from exporter.web.app import create_app
from exporter.web.auth import Authenticator, Credentials
from exporter.web.limits import WebLimits
from exporter.web.origins import Origins, is_loopback
from exporter.web.server import LazyHandshake, WebServer
from exporter.web.webconfig import WebConfigFile

logger = logging.getLogger(__name__)

DEFAULT_ADDRESS = "127.0.0.1:10090"
_SWITCH_SECONDS = 0.0005
"""How long one thread may keep the interpreter; the default of 5 ms makes scrapes wait for ingestion."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How the exporter is reached.

    Attributes
    ----------
    listen_address : ``host:port``; port 0 lets the system choose, an empty host means every address
    web_config : exporter-toolkit's web configuration file
    allow_anonymous : serve a non-loopback address without authentication
    external_url : where users reach the exporter, when a proxy stands before it
    """

    listen_address: str = DEFAULT_ADDRESS
    web_config: Path | None = None
    allow_anonymous: bool = False
    external_url: str | None = None
    limits: WebLimits = field(default_factory=WebLimits)


class Exporter:
    """An exporter of one configuration and one store.

    Serves from :meth:`start` on, and is ready once the store is recovered. Opening raises the errors of
    :class:`exporter.store.Store`, and :class:`ConfigurationError` for web settings that cannot be used.
    """

    def __init__(
        self, config: Config, storage: Path, web: WebSettings | None = None, *, clock: Clock | None = None
    ) -> None:
        web = web or WebSettings()
        host, port = parse_address(web.listen_address)
        file = WebConfigFile(web.web_config) if web.web_config else None
        auth = Authenticator(lambda: file.credentials if file else Credentials({}))
        if not (auth.required or web.allow_anonymous or is_loopback(host)):
            raise ConfigurationError(
                f"{web.listen_address} can be reached from other machines: configure authentication in "
                "--web.config.file, or give --web.allow-anonymous"
            )
        clock = clock or SystemClock()
        self._store = Store.open(storage, clock=clock)
        self._service = Service(config, self._store, clock=clock)
        if file:
            file.on_failure = self._service.telemetry.errors.labels("", "web_config").inc
        self._decoder = Decoder()

        def headers() -> Mapping[str, str]:
            return file.headers if file else {}

        app = create_app(
            self._service,
            decoder=self._decoder,
            auth=auth,
            limits=web.limits,
            origins=Origins.of(host, [web.external_url] if web.external_url else []),
            headers=headers,
        )
        tls = LazyHandshake(file.tls_context) if file and file.serves_tls else None
        self._server = WebServer(app, (host, port), limits=web.limits, tls=tls)

    @property
    def service(self) -> Service:
        return self._service

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        """Listen, then recover. Raises :class:`exporter.web.server.ListenError`."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._server.start()
        host, port = self._server.address
        logger.info("listening", extra={"address": f"{host}:{port}", "url": self.url})
        self._service.start()
        logger.info("ready", extra={"url": self.url})

    def stop(self, drain_seconds: float = 30.0) -> None:
        """Finish running requests, commit, close."""
        self._server.stop(drain_seconds)
        self._service.stop()
        self._decoder.close()


def parse_address(text: str) -> tuple[str, int]:
    """``host:port``, ``[v6]:port`` or ``:port`` as host and port. Raises :class:`ConfigurationError`."""
    host, colon, port = text.rpartition(":")
    host = host.strip()
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isdigit() or int(port) > 65535 or (":" in host and not bracketed):
        raise ConfigurationError(f"expected a listen address as host:port or :port, but {text!r} came")
    return host.strip("[]") or "::", int(port)
