"""Addresses of email: what stands in headers, and what is said to the server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import policy
from email.errors import NonASCIILocalPartDefect
from email.headerregistry import Address

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f.:]+\]")
_LOCAL = re.compile(r"[^\s<>()\[\]:;,\\\"@]{1,64}")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Who an email is from or for.

    Attributes
    ----------
    name : str
        Shown instead of the address; may be empty.
    local, domain : str
        `domain` is in ASCII (IDNA); `local` may be anything that SMTPUTF8 allows.
    """

    name: str
    local: str
    domain: str

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def international(self) -> bool:
        """Whether the server must know SMTPUTF8 to take it."""
        return not self.local.isascii()

    @property
    def header(self) -> Address:
        return Address(self.name, self.local, self.domain)


def parse_mailboxes(text: str) -> tuple[Mailbox, ...]:
    """One address or several with commas between, each `team@example.org` or `Team <team@example.org>`.

    Raises
    ------
    ValueError
        It is none; the text says what was expected.

    Examples
    --------
    >>> parse_mailboxes("On call <oncall@bücher.example>, b@example.org")[0].address
    'oncall@xn--bcher-kva.example'
    """
    expected = f"expected an address such as team@example.org, got {text[:200]!r}"
    if _FORBIDDEN.search(text) or len(text) > 10_000:
        raise ValueError(expected)
    try:
        header = policy.default.header_factory("To", text)
        boxes = tuple(_mailbox(address) for address in header.addresses)
    except (ValueError, IndexError, AttributeError, TypeError) as error:  # the last three: bugs of the parser
        raise ValueError(expected) from error
    wrong = [defect for defect in header.defects if not isinstance(defect, NonASCIILocalPartDefect)]
    if wrong or not boxes or any(group.display_name is not None for group in header.groups):
        raise ValueError(expected)
    return boxes


def _mailbox(address: Address) -> Mailbox:
    domain = address.domain
    if not domain.isascii():
        domain = domain.encode("idna").decode("ascii")
    if not _LOCAL.fullmatch(address.username) or not _HOST.fullmatch(domain):
        raise ValueError(f"{address.username}@{domain}")
    return Mailbox(address.display_name, address.username, domain)
