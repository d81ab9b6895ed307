"""SMTP's lines: answers that are bounded in time and length, and how texts are written for the server."""

from __future__ import annotations

import base64
import ipaddress
import smtplib
import socket
import ssl
import time

MOST_LINES = 100
"""Lines of one answer."""
NO_CONNECTION, NOT_SMTP = "there is no connection", "the answer was not one of SMTP"
CLOSED = "it closed the connection"
_OWN_WORDS = {NO_CONNECTION, NOT_SMTP}
_MOST_LINE_BYTES = 4096


class Answers(smtplib.SMTP):
    """SMTP whose answers are bounded in time and length."""

    def getreply(self) -> tuple[int, bytes]:
        """Code and text of one answer."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected(NO_CONNECTION)
        if self.file is None:
            self.file = self.sock.makefile("rb")
        until = time.monotonic() + float(self.timeout)
        lines: list[bytes] = []
        while True:
            try:
                self.sock.settimeout(max(until - time.monotonic(), 0.01))
                line = self.file.readline(_MOST_LINE_BYTES)
                self.sock.settimeout(float(self.timeout))
            except OSError:
                self.close()
                raise
            code = line[:3]
            if len(line) < 4 or not line.endswith(b"\n") or not code.isdigit() or len(lines) >= MOST_LINES:
                self.close()
                if line:
                    raise smtplib.SMTPServerDisconnected(NOT_SMTP)
                raise smtplib.SMTPServerDisconnected(CLOSED)
            lines.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(code), b"\n".join(lines)


class AnswersOverTls(Answers, smtplib.SMTP_SSL):
    """The same with TLS from the begin."""


def why(error: Exception, timeout: float) -> str:
    """What went wrong below SMTP, in words that hold nothing of the message and no secret."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = f"its certificate is not trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        said = f"TLS failed: {(error.reason or 'no reason given').replace('_', ' ').lower()}"
    elif isinstance(error, TimeoutError):
        said = f"no answer within {timeout:g} s"
    elif isinstance(error, socket.gaierror):
        said = "there is no address for this name"
    elif isinstance(error, smtplib.SMTPServerDisconnected):
        said = str(error) if str(error) in _OWN_WORDS else "it closed the connection"
    elif isinstance(error, OSError) and not isinstance(error, smtplib.SMTPException):
        said = error.strerror or type(error).__name__
    else:
        said = type(error).__name__
    return said


def to_base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")


def stuffed(email: bytes) -> bytes:
    """With line ends of the protocol, and a second dot where a line begins with one."""
    lines = email.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b"\r\n"


def own_name(sock: socket.socket | None) -> str:
    """What we call ourselves: the host's name where it is a whole one, else our address."""
    name = socket.gethostname()
    if "." in name and name.isascii() and all(c.isalnum() or c in ".-" for c in name):
        return name
    address = sock.getsockname()[0] if sock is not None else "127.0.0.1"
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def is_loopback(sock: socket.socket | None) -> bool:
    try:
        return sock is not None and ipaddress.ip_address(sock.getpeername()[0]).is_loopback
    except (OSError, ValueError):
        return False
