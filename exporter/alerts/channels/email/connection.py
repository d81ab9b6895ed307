"""One connection to a mail server: TLS as the settings demand it, login, and answers that are bounded."""

from __future__ import annotations

import base64
import hmac
import smtplib
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from exporter.alerts.channels.email.replies import Redactor, Reply, login_error, refused
from exporter.alerts.channels.email.wire import (
    NO_CONNECTION,
    Answers,
    AnswersOverTls,
    is_loopback,
    own_name,
    stuffed,
    to_base64,
    why,
)
from exporter.errors import DeliveryError, TemporaryDeliveryError

_PLAIN_PORT = 25
_IMPLICIT_PORT = 465
_GOODBYE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where to send, and under which conditions.

    Attributes
    ----------
    tls : {"starttls", "implicit", "none"} or None
        None: implicit on port 465, else STARTTLS when it is offered; then without it no password, and
        nothing at all on port 25.
    timeout : float
        Seconds to connect and to wait for each answer.
    """

    host: str
    port: int
    tls: Literal["starttls", "implicit", "none"] | None
    timeout: float
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    @property
    def implicit(self) -> bool:
        return self.tls == "implicit" or (self.tls is None and self.port == _IMPLICIT_PORT)

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"


class Connection:
    """An open connection, logged in, ready for a message.

    Raises
    ------
    TemporaryDeliveryError
        The server can't be reached, is not trusted, offers no TLS where it must, or refuses the login. Of
        the whole channel: the messages wait.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._redactor = Redactor(server.username, server.password)
        self.sent = 0
        try:
            self._smtp = self._connected()
        except (OSError, smtplib.SMTPException) as error:
            raise self._unreachable(error, "could not be reached") from error
        try:
            self._begin()
        except BaseException as error:
            self._smtp.close()
            if isinstance(error, OSError | smtplib.SMTPException):
                raise self._unreachable(error, "could not be talked to") from error
            raise
        self.used_at = time.monotonic()

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        try:
            if not server.implicit:
                return Answers(server.host, server.port, "localhost", server.timeout)
            context = self._context()
            return AnswersOverTls(
                server.host, server.port, "localhost", timeout=server.timeout, context=context
            )
        except smtplib.SMTPConnectError as error:
            reply = self._reply(error.smtp_code, error.smtp_error)
            raise TemporaryDeliveryError(
                f"the mail server {server.name} does not want to talk: {reply}",
                retry_after_seconds=reply.wait_seconds,
                whole_channel=True,
            ) from error

    def _begin(self) -> None:
        smtp, server = self._smtp, self._server
        smtp.local_hostname = own_name(smtp.sock)
        if smtp.sock is not None:  # the end of a message is a packet of its own: don't hold it back
            smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._greet()
        encrypted = server.implicit
        offered = smtp.has_extn("starttls")
        if not encrypted and server.tls != "none" and offered:
            code, text = smtp.docmd("STARTTLS")
            if code != 220:
                raise self._no_tls(f"refused STARTTLS: {self._reply(code, text)}")
            self._wrap()
            self._greet()
            encrypted = True
        if not encrypted and server.tls == "starttls":
            raise self._no_tls("does not offer STARTTLS, which `tls: starttls` demands")
        if not encrypted and server.tls is None and server.port == _PLAIN_PORT:
            raise self._no_tls("does not offer STARTTLS; port 25 is used in the clear with `tls: none` only")
        if server.username is not None and server.password is not None:
            self._log_in(server.username, server.password, encrypted=encrypted)

    def _greet(self) -> None:
        code, text = self._smtp.ehlo()
        if not 200 <= code < 300:
            code, text = self._smtp.helo()
        if not 200 <= code < 300:
            raise refused_by(self._server, self._reply(code, text))

    def _wrap(self) -> None:
        """Begin TLS; what came in the clear until now is forgotten."""
        smtp = self._smtp
        if smtp.sock is None:
            raise smtplib.SMTPServerDisconnected(NO_CONNECTION)
        smtp.sock = self._context().wrap_socket(smtp.sock, server_hostname=self._server.host)
        smtp.file = None
        smtp.helo_resp = smtp.ehlo_resp = None
        smtp.esmtp_features = {}
        smtp.does_esmtp = False

    def _context(self) -> ssl.SSLContext:
        ca_file = self._server.ca_file
        try:
            return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        except OSError as error:
            raise TemporaryDeliveryError(
                f"ca_file: expected certificates in {ca_file}, got {error.strerror or type(error).__name__}",
                whole_channel=True,
            ) from error

    def _log_in(self, username: str, password: str, *, encrypted: bool) -> None:
        smtp, server = self._smtp, self._server
        offered = smtp.esmtp_features.get("auth", "").upper().split()
        in_the_clear: tuple[str, ...] = ("PLAIN", "LOGIN")
        if not encrypted and not (server.tls == "none" and is_loopback(smtp.sock)):
            if server.tls != "none":
                raise self._no_tls("does not offer STARTTLS; a password is never sent in the clear")
            in_the_clear = ()
        for mechanism in (*in_the_clear, "CRAM-MD5"):
            if mechanism in offered:
                break
        else:
            raise login_error(
                f"the mail server {server.name} offers no login that can be used "
                f"{'' if encrypted else 'without TLS '}(it offers {', '.join(offered)[:100] or 'none'})"
            )
        reply = self._reply(*self._authenticated(mechanism, username, password))
        if reply.code == 235:
            return
        sentence = f"the mail server {server.name} refused the login of {username}: {reply}"
        if reply.code == 454 or (reply.temporary and reply.code != 432):
            raise TemporaryDeliveryError(sentence, retry_after_seconds=reply.wait_seconds, whole_channel=True)
        raise login_error(sentence)

    def _authenticated(self, mechanism: str, username: str, password: str) -> tuple[int, bytes]:
        smtp = self._smtp
        if mechanism == "PLAIN":
            given = f"\0{username}\0{password}"
            return smtp.docmd("AUTH", f"PLAIN {to_base64(given)}")
        code, challenge = smtp.docmd("AUTH", mechanism)
        if code != 334:
            return code, challenge
        if mechanism == "LOGIN":
            code, text = smtp.docmd(to_base64(username))
            return smtp.docmd(to_base64(password)) if code == 334 else (code, text)
        try:
            challenge = base64.b64decode(challenge, validate=True)
        except ValueError:
            smtp.docmd("*")
            return 535, b"its challenge is not base64"
        digest = hmac.new(password.encode("utf-8", "surrogateescape"), challenge, "md5").hexdigest()
        return smtp.docmd(to_base64(f"{username} {digest}"))

    # -- a message --------------------------------------------------------------------------------

    @property
    def utf8(self) -> bool:
        """Whether addresses may hold more than ASCII."""
        return self._smtp.has_extn("smtputf8")

    @property
    def most_bytes(self) -> int | None:
        """The largest message that the server takes; None where it does not say."""
        stated = self._smtp.esmtp_features.get("size", "").strip()
        return int(stated) if stated.isdigit() and len(stated) < 16 and int(stated) > 0 else None

    def alive(self) -> bool:
        """Whether the server still answers on this connection."""
        try:
            return self._smtp.noop()[0] == 250
        except (OSError, smtplib.SMTPException):
            return False

    def transmit(self, sender: str, recipients: Sequence[str], email: bytes, *, utf8: bool) -> Transmission:
        """Hand over one email; recipients that are refused do not keep it from the others.

        Raises
        ------
        TemporaryDeliveryError, PermanentDeliveryError
            Nobody got it; `uncertain` when the connection broke after it was handed over whole.
        """
        handed_over = False
        try:
            self._mail_from(sender, len(email), utf8=utf8)
            refusals: dict[str, Reply] = {}
            for recipient in recipients:
                reply = self._reply(*self._smtp.docmd(f"RCPT TO:<{recipient}>"))
                if reply.code == 421:
                    raise refused_by(self._server, reply)
                if not reply.good:
                    refusals[recipient] = reply
            accepted = tuple(recipient for recipient in recipients if recipient not in refusals)
            if not accepted:
                self._smtp.rset()
                return Transmission((), refusals, "")
            reply = self._reply(*self._smtp.docmd("DATA"))
            if reply.code != 354:
                raise refused(reply, f"the mail server {self._server.name} did not want the message",
                              content=True)  # fmt: skip
            self._smtp.send(stuffed(email))
            handed_over = True
            self._smtp.send(b".\r\n")
            reply = self._reply(*self._smtp.getreply())
            if not reply.good:
                raise refused(reply, f"the mail server {self._server.name} refused the message", content=True)
        except DeliveryError:
            self._reset()
            raise
        except (OSError, smtplib.SMTPException) as error:
            self._smtp.close()
            raise self._broken(error, handed_over=handed_over) from error
        self.sent += 1
        self.used_at = time.monotonic()
        return Transmission(accepted, refusals, reply.text)

    def _mail_from(self, sender: str, size: int, *, utf8: bool) -> None:
        options = f" SIZE={size}" if self._smtp.has_extn("size") else ""
        if utf8:
            self._smtp.command_encoding = "utf-8"
            options += f"{' BODY=8BITMIME' if self._smtp.has_extn('8bitmime') else ''} SMTPUTF8"
        reply = self._reply(*self._smtp.docmd(f"MAIL FROM:<{sender}>{options}"))
        if not reply.good:
            raise refused(reply, f"the mail server {self._server.name} refused the sender {sender}")

    def _reset(self) -> None:
        """Make ready for another message, or close."""
        try:
            if self._smtp.rset()[0] == 250:
                return
        except (OSError, smtplib.SMTPException):
            pass
        self._smtp.close()

    def close(self) -> None:
        """Say goodbye, without waiting long for the answer."""
        try:
            if self._smtp.sock is not None:
                self._smtp.timeout = _GOODBYE_SECONDS
                self._smtp.docmd("QUIT")
        except (OSError, smtplib.SMTPException):
            pass
        finally:
            self._smtp.close()

    # -- what went wrong --------------------------------------------------------------------------

    def _reply(self, code: int, text: bytes | str) -> Reply:
        return self._redactor.reply(
            code, text if isinstance(text, bytes) else text.encode("utf-8", "replace")
        )

    def _no_tls(self, what: str) -> TemporaryDeliveryError:
        return TemporaryDeliveryError(f"the mail server {self._server.name} {what}", whole_channel=True)

    def _unreachable(self, error: Exception, what: str) -> TemporaryDeliveryError:
        return TemporaryDeliveryError(
            f"the mail server {self._server.name} {what}: {why(error, self._server.timeout)}",
            whole_channel=True,
        )

    def _broken(self, error: Exception, *, handed_over: bool) -> TemporaryDeliveryError:
        when = "after the message was handed over: it may have arrived" if handed_over else "half-way"
        reason = why(error, self._server.timeout)
        return TemporaryDeliveryError(
            f"the connection to the mail server {self._server.name} broke {when}: {reason}",
            uncertain=handed_over,
        )


@dataclass(frozen=True, slots=True)
class Transmission:
    """Who got an email: the server took responsibility for `accepted`, and refused the others."""

    accepted: tuple[str, ...]
    refusals: dict[str, Reply]
    answer: str


def refused_by(server: Server, reply: Reply) -> TemporaryDeliveryError:
    """The server wants none of us now."""
    return TemporaryDeliveryError(
        f"the mail server {server.name} does not want to talk: {reply}",
        retry_after_seconds=reply.wait_seconds,
        whole_channel=True,
    )
