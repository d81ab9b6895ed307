"""A mail server on the loopback that does what it is told, with real TLS, and keeps what it got."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal, Self

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd tells of every broken connection
DROP = "drop"
"""A reply that is none: the connection is closed."""


@dataclass(frozen=True)
class Certificate:
    """A server's certificate, signed by itself."""

    path: Path
    key: Path

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


def make_certificate(directory: Path, *names: str) -> Certificate:
    """Make a certificate for host names or addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = directory / f"{names[0]}.pem", directory / f"{names[0]}.key"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Certificate(path, key_path)


@dataclass(frozen=True)
class Received:
    """One email as it came."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    encrypted: bool
    login: str | None

    @property
    def email(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass
class MailServer:
    """Takes every email, unless `replies` says otherwise.

    Attributes
    ----------
    replies : dict of str to deque
        What the next commands of a name are answered with instead; `DROP` closes the connection. `RCPT` may
        also be given by recipient in `refused`; `.` is the end of the data.
    commands : list of str
        Every command as it came, across connections.
    """

    tls: Literal["none", "starttls", "implicit"] = "starttls"
    certificate: Certificate | None = None
    login: tuple[str, str] | None = None
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")
    login_needs_tls: bool = True
    size: int = 2**25
    utf8: bool = True
    replies: dict[str, deque[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def will(self, command: str, *replies: str) -> None:
        """Answer the next commands of a name so."""
        self.replies.setdefault(command, deque()).extend(replies)

    def next_reply(self, command: str) -> str | None:
        waiting = self.replies.get(command)
        return waiting.popleft() if waiting else None

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._transports: set[Any] = set()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._closed(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def disconnect(self) -> None:
        """Close all connections, as a server does with those that rest."""

        async def close() -> None:
            for transport in list(self._transports):
                transport.abort()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        context = self.certificate.context if self.tls == "implicit" and self.certificate else None
        making = self._loop.create_server(self._session, "127.0.0.1", 0, ssl=context)
        self._listening = self._loop.run_until_complete(making)
        self.port = self._listening.sockets[0].getsockname()[1]
        self._loop.call_soon(started.set)
        self._loop.run_forever()

    async def _closed(self) -> None:
        self._listening.close()
        for transport in list(self._transports):
            transport.abort()
        await self._listening.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _session(self) -> SMTP:
        self.connections += 1
        context = self.certificate.context if self.tls == "starttls" and self.certificate else None
        return _Session(self, context)


class _Session(SMTP):
    def __init__(self, owner: MailServer, context: ssl.SSLContext | None) -> None:
        self._owner = owner
        super().__init__(
            _Keeper(owner),
            hostname="mx.test",
            loop=owner._loop,
            tls_context=context,
            data_size_limit=owner.size,
            enable_SMTPUTF8=owner.utf8,
            authenticator=self._known if owner.login else None,
            auth_require_tls=owner.login_needs_tls and owner.tls != "implicit",
            auth_exclude_mechanism=[name for name in ("PLAIN", "LOGIN") if name not in owner.mechanisms],
            timeout=30,
        )

    def connection_made(self, transport: Any) -> None:
        self._owner._transports.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner._transports.discard(self.transport)
        super().connection_lost(error)

    def _known(self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        del server, session, envelope, mechanism
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self._owner.login, handled=False, auth_data=given[0])

    async def push(self, status: Any) -> None:
        if status == DROP or status == DROP.encode():
            self.transport.abort()
            return
        await super().push(status)


def _scripted(name: str) -> Callable[..., Any]:
    original = getattr(SMTP, f"smtp_{name}")

    async def answer(self: _Session, arg: str | None) -> None:
        self._owner.commands.append(f"{name} {arg or ''}".strip())
        reply = self._owner.next_reply(name)
        if reply is None:
            await original(self, arg)
        else:
            await self.push(reply)

    answer.__doc__ = original.__doc__
    return answer


for _name in ("HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT"):
    setattr(_Session, f"smtp_{_name}", _scripted(_name))


class _Keeper:
    def __init__(self, owner: MailServer) -> None:
        self._owner = owner

    async def handle_RCPT(self, _: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:
        del session
        if address in self._owner.refused:
            return self._owner.refused[address]
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _: SMTP, session: Any, envelope: Any) -> str:
        reply = self._owner.next_reply(".")
        if reply is not None and not reply.startswith("250") and reply != "drop after keeping":
            return reply
        self._owner.received.append(
            Received(
                envelope.mail_from,
                tuple(envelope.rcpt_tos),
                envelope.content,
                session.ssl is not None or self._owner.tls == "implicit",
                session.auth_data if session.authenticated else None,
            )
        )
        return DROP if reply == "drop after keeping" else reply or "250 2.0.0 queued as 4F7"


@contextlib.contextmanager
def talking(script: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve each connection by a function of its socket: for what no mail server would say."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                script(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        stopped.set()
        with contextlib.suppress(OSError), socket.create_connection(listening.getsockname(), timeout=5):
            pass
        thread.join(10)
        listening.close()
