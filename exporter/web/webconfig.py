"""The web configuration file: exporter-toolkit's format, and our bearer tokens.

::

    tls_server_config: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt,
                        client_auth_type: RequireAndVerifyClientCert, min_version: TLS12}
    http_server_config: {headers: {Strict-Transport-Security: max-age=31536000}}
    basic_auth_users: {alice: $2y$10$...}
    tokens:
      - {name: trainer, sha256: 64 hexadecimal digits, scopes: [push, read], models: [flight_delay]}

Relative paths are relative to the file. The file and the certificates are read again when they change; when
that fails, what was read before stays in force, and the failure is logged and counted.
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import bcrypt
from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from exporter.errors import ConfigurationError
from exporter.settings import Settings, problems_of
from exporter.web.auth import Credentials, Token
from exporter.web.operation import Scope
from exporter.yamlfile import path_text, read_file

logger = logging.getLogger(__name__)

_HEADERS = frozenset(
    {
        "strict-transport-security",
        "x-content-type-options",
        "x-frame-options",
        "x-xss-protection",
        "content-security-policy",
    }
)
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_BCRYPT = re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}")
_HEX = re.compile(r"[0-9a-f]{64}")


def _bcrypt_hash(text: str) -> str:
    if _BCRYPT.fullmatch(text) is None:
        raise ValueError("expected a bcrypt hash, as `htpasswd -nBC 10 NAME` prints it")
    try:
        bcrypt.checkpw(b"", text.encode())
    except ValueError as error:
        raise ValueError("expected a bcrypt hash, as `htpasswd -nBC 10 NAME` prints it") from error
    return text


def _digest(text: str) -> str:
    if _HEX.fullmatch(text.lower()) is None:
        raise ValueError("expected 64 hexadecimal digits: the SHA-256 of the token's text")
    return text.lower()


def _header_names(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if name.lower() not in _HEADERS:
            raise ValueError(f"unknown header {name}; known are {', '.join(sorted(_HEADERS))}")
        if not value.isprintable():
            raise ValueError(f"expected printable text for {name}")
    return headers


class TlsConfig(Settings):
    """`tls_server_config`."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = (
        "NoClientCert"
    )
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS12", "TLS13"] | None = None
    prefer_server_cipher_suites: bool = True


class HttpConfig(Settings):
    """`http_server_config`; HTTP/2 is never spoken, whatever `http2` says."""

    http2: bool = False
    headers: Annotated[dict[str, str], AfterValidator(_header_names)] = Field(default_factory=dict)


class TokenConfig(Settings):
    """One of `tokens`."""

    name: str = Field(min_length=1)
    sha256: Annotated[str, AfterValidator(_digest)]
    scopes: tuple[Scope, ...] = Field(min_length=1)
    models: tuple[str, ...] | None = None

    @field_validator("models")
    @classmethod
    def _not_for_metrics(
        cls, models: tuple[str, ...] | None, known: ValidationInfo
    ) -> tuple[str, ...] | None:
        if models is not None and Scope.METRICS in known.data.get("scopes", ()):
            raise ValueError(
                "expected no models beside the scope metrics: /metrics shows every model; "
                "give scrapers a token of their own"
            )
        return models


class WebConfig(Settings):
    """The whole file."""

    tls_server_config: TlsConfig | None = None
    http_server_config: HttpConfig = HttpConfig()
    basic_auth_users: dict[str, Annotated[str, AfterValidator(_bcrypt_hash)]] = Field(default_factory=dict)
    tokens: tuple[TokenConfig, ...] = ()

    def credentials(self) -> Credentials:
        tokens = [
            Token(
                token.name,
                token.sha256,
                frozenset(token.scopes),
                None if token.models is None else frozenset(token.models),
            )
            for token in self.tokens
        ]
        return Credentials(self.basic_auth_users, tokens)


@dataclass(frozen=True, slots=True)
class _Loaded:
    config: WebConfig
    credentials: Credentials
    context: ssl.SSLContext | None
    files: tuple[Path, ...]


class WebConfigFile:
    """A web configuration that follows its file.

    Parameters
    ----------
    path : the file; raises :class:`ConfigurationError` when it cannot be used at the start
    check_seconds : how often, at most, the files are looked at
    """

    def __init__(
        self, path: Path, *, check_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._check_seconds = check_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded = _load(path)
        self._seen = _state(self._loaded.files)
        self._checked = clock()
        self.failures = 0
        """Re-reads that failed since the start."""
        self.on_failure: Callable[[], None] | None = None
        """Called after each."""

    @property
    def credentials(self) -> Credentials:
        return self._current().credentials

    @property
    def headers(self) -> Mapping[str, str]:
        return self._current().config.http_server_config.headers

    @property
    def serves_tls(self) -> bool:
        """Whether TLS was configured; turning it on or off needs a restart."""
        return self._loaded.context is not None

    def tls_context(self) -> ssl.SSLContext:
        context = self._current().context
        if context is None:
            raise ConfigurationError(f"{self._path}: tls_server_config is missing")
        return context

    def _current(self) -> _Loaded:
        with self._lock:
            now = self._clock()
            if now - self._checked < self._check_seconds:
                return self._loaded
            self._checked = now
            state = _state(self._loaded.files)
            if state != self._seen:
                self._seen = state
                self._reload()
            return self._loaded

    def _reload(self) -> None:
        try:
            loaded = _load(self._path)
            _check_successor(self._loaded, loaded)
        except ConfigurationError as error:
            self.failures += 1
            if self.on_failure is not None:
                self.on_failure()
            logger.error(  # noqa: TRY400  # the sentence says it all
                "web configuration not re-read; the old one stays in force",
                extra={"file": str(self._path), "problem": error.message},
            )
            return
        self._loaded = loaded
        self._seen = _state(loaded.files)
        logger.info("web configuration re-read", extra={"file": str(self._path)})


def _check_successor(old: _Loaded, new: _Loaded) -> None:
    if (new.context is None) != (old.context is None):
        raise ConfigurationError("TLS cannot be turned on or off without a restart")
    if old.credentials.required and not new.credentials.required:
        raise ConfigurationError("authentication cannot be turned off without a restart")


def load_web_config(path: Path) -> WebConfig:
    """Read and validate the file. Raises :class:`ConfigurationError` with every problem."""
    given = read_file(path)
    try:
        return WebConfig.model_validate(given)
    except ValidationError as error:
        problems = [(path_text(location), text) for location, text in problems_of(error, WebConfig, given)]
        listed = "; ".join(f"{where}: {what}" for where, what in problems)
        raise ConfigurationError(f"{path}: {listed}", problems) from None


def _load(path: Path) -> _Loaded:
    config = load_web_config(path)
    tls = config.tls_server_config
    files = [path]
    context = None
    if tls is not None:
        certificate, key = path.parent / tls.cert_file, path.parent / tls.key_file
        authority = path.parent / tls.client_ca_file if tls.client_ca_file else None
        files += [certificate, key, *([authority] if authority else [])]
        context = _context(tls, certificate, key, authority)
    return _Loaded(config, config.credentials(), context, tuple(files))


def _context(tls: TlsConfig, certificate: Path, key: Path, authority: Path | None) -> ssl.SSLContext:
    verify = _CLIENT_AUTH[tls.client_auth_type]
    if (verify != ssl.CERT_NONE) != (authority is not None):
        problem = "client_auth_type and client_ca_file go together: give both or neither"
        raise ConfigurationError(problem, [("tls_server_config.client_auth_type", problem)])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    if tls.max_version is not None:
        context.maximum_version = _VERSIONS[tls.max_version]
    try:
        context.load_cert_chain(certificate, key)
        if authority is not None:
            context.load_verify_locations(authority)
    except OSError as error:
        problem = f"cannot use {certificate}, {key}: {error}"
        raise ConfigurationError(problem, [("tls_server_config", problem)]) from error
    context.verify_mode = verify
    return context


def _state(files: tuple[Path, ...]) -> tuple[tuple[int, int, int] | None, ...]:
    states: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            states.append(None)
        else:
            states.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(states)
