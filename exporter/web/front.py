"""The door of a program: the address it listens on, TLS, and who may come in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask

from exporter.errors import ConfigurationError
from exporter.web.auth import Authenticator, Credentials
from exporter.web.limits import WebLimits
from exporter.web.origins import Origins, is_loopback
from exporter.web.server import LazyHandshake, WebServer
from exporter.web.webconfig import WebConfigFile

logger = logging.getLogger(__name__)

DEFAULT_ADDRESS = "127.0.0.1:10090"
DEFAULT_BRIDGE_ADDRESS = "127.0.0.1:10093"


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How a program is reached.

    Attributes
    ----------
    listen_address : ``host:port``; port 0 lets the system choose, an empty host means every address
    web_config : exporter-toolkit's web configuration file
    allow_anonymous : serve a non-loopback address without authentication
    external_url : where users reach the program, when a proxy stands before it
    """

    listen_address: str = DEFAULT_ADDRESS
    web_config: Path | None = None
    allow_anonymous: bool = False
    external_url: str | None = None
    limits: WebLimits = field(default_factory=WebLimits)


class Front:
    """Everything about being reached that is the same for every program.

    Raises :class:`ConfigurationError` for settings that cannot be used, before anything else is opened.

    Attributes
    ----------
    auth : who asks
    origins : which hosts are answered for
    """

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._address = parse_address(settings.listen_address)
        self._file = WebConfigFile(settings.web_config) if settings.web_config else None
        host = self._address[0]
        self.auth = Authenticator(lambda: self._file.credentials if self._file else Credentials({}))
        if not (self.auth.required or settings.allow_anonymous or is_loopback(host)):
            raise ConfigurationError(
                f"{settings.listen_address} can be reached from other machines: configure authentication in "
                "--web.config.file, or give --web.allow-anonymous"
            )
        self.origins = Origins.of(host, [settings.external_url] if settings.external_url else [])

    def headers(self) -> Mapping[str, str]:
        """Response headers of the web configuration."""
        return self._file.headers if self._file else {}

    def on_failure(self, count: Callable[[], None]) -> None:
        """Call `count` whenever the web configuration could not be read again."""
        if self._file:
            self._file.on_failure = count

    def serve(self, app: Flask) -> WebServer:
        """A server of the application, not yet listening."""
        tls = LazyHandshake(self._file.tls_context) if self._file and self._file.serves_tls else None
        return WebServer(app, self._address, limits=self._settings.limits, tls=tls)


def announce(server: WebServer) -> None:
    """Log where a server that has started can be found."""
    host, port = server.address
    logger.info("listening", extra={"address": f"{host}:{port}", "url": server.url})


def parse_address(text: str) -> tuple[str, int]:
    """``host:port``, ``[v6]:port`` or ``:port`` as host and port. Raises :class:`ConfigurationError`."""
    host, colon, port = text.rpartition(":")
    host = host.strip()
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isdigit() or int(port) > 65535 or (":" in host and not bracketed):
        raise ConfigurationError(f"expected a listen address as host:port or :port, but {text!r} came")
    return host.strip("[]") or "::", int(port)
