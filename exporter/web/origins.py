"""Keeps web pages of others from using a browser of somebody who may reach the exporter.

Two ways are closed. *Cross-site requests*: a browser says in ``Origin`` (and ``Sec-Fetch-Site``) which page a
state-changing request comes from; another host's is refused. *DNS rebinding*: a page whose name was pointed
at this machine sends its own name in ``Host``; where nobody has to authenticate, only names of this machine,
IP addresses and the host of the external URL are answered.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from exporter.errors import BadRequestError
from exporter.web.answers import ForbiddenError

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
_SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Origins:
    """Which hosts this server answers for.

    Attributes
    ----------
    loopback : the server listens on a loopback address only
    names : further host names, from the external URL
    """

    loopback: bool = True
    names: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, host: str, external_urls: Iterable[str] = ()) -> Origins:
        names = {urlsplit(url).hostname or "" for url in external_urls}
        return cls(is_loopback(host), frozenset(name.lower() for name in names if name))

    def check(
        self, method: str, host: str | None, origin: str | None, fetch_site: str | None, *, anonymous: bool
    ) -> None:
        """Raises :class:`BadRequestError` (no usable host) or :class:`ForbiddenError`."""
        match = _HOST.fullmatch(host or "")
        if match is None:
            raise BadRequestError("expected a Host header with a name and a port", code="bad_host")
        name = match.group(1).strip("[]").lower()
        changes = method not in _SAFE_METHODS
        if anonymous and (self.loopback or (changes and origin is not None)) and not self._is_ours(name):
            raise ForbiddenError(
                f"expected a Host of this machine, but {name[:80]!r} came; name it in --web.external-url",
                code="host_not_allowed",
            )
        if not changes:
            return
        if origin is not None and urlsplit(origin).netloc.lower() != (host or "").lower():
            raise ForbiddenError(
                "expected a request from this server's own pages, but it comes from another site",
                code="cross_site",
            )
        if fetch_site in ("cross-site", "same-site"):
            raise ForbiddenError(
                "expected a request from this server's own pages, but it comes from another site",
                code="cross_site",
            )

    def _is_ours(self, name: str) -> bool:
        if name in self.names or name == "localhost" or name.endswith(".localhost"):
            return True
        if name == socket.gethostname().lower():
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
