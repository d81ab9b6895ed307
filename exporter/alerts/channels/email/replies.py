"""What a mail server's answers mean for a delivery. No error names a secret."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.alerts.composing.figures import line
from exporter.errors import DeliveryError, PermanentDeliveryError, TemporaryDeliveryError

LOGIN_RETRY_SECONDS = 600.0
"""A refused password is tried again this late: servers lock accounts out that try often."""
GREYLIST_RETRY_SECONDS = 90.0
LONGEST_WAIT_SECONDS = 3600.0
_LOGIN_CODES = {530, 534, 535, 538}
_WAIT = re.compile(r"\b(\d{1,5})\s*(s|sec|secs|seconds?|m|min|mins|minutes?)\b", re.IGNORECASE)
_WAITS = re.compile(r"gr[ea]y.?list|try again|retry|later|wait", re.IGNORECASE)
_GREY = re.compile(r"gr[ea]y.?list", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the server; `text` is fit to be shown."""

    code: int
    text: str

    @property
    def good(self) -> bool:
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        """Whether the same may succeed later; codes that SMTP does not know count as such."""
        return not 500 <= self.code < 600

    @property
    def wait_seconds(self) -> float | None:
        """What the server asks to wait for, or what greylisting usually takes."""
        if not self.temporary:
            return None
        stated = _WAIT.search(self.text) if _WAITS.search(self.text) else None
        if stated:
            seconds = float(stated[1]) * (60 if stated[2].lower().startswith("m") else 1)
            return min(max(seconds, 1.0), LONGEST_WAIT_SECONDS)
        return GREYLIST_RETRY_SECONDS if _GREY.search(self.text) else None

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()


class Redactor:
    """Takes secrets out of what servers answer: some repeat what they were sent."""

    def __init__(self, username: str | None, password: str | None) -> None:
        secrets: list[str] = []
        if password:
            user = username or ""
            texts = [password, f"\0{user}\0{password}", f"{user}\0{user}\0{password}"]
            secrets = [password, *(_encoded(text) for text in texts)]
        self._secrets = sorted(secrets, key=len, reverse=True)

    def reply(self, code: int, text: bytes) -> Reply:
        return Reply(code, self.text(text.decode("utf-8", "replace")))

    def text(self, text: str) -> str:
        """One line of at most 200 characters without the password."""
        if any(0 < len(secret) < 4 for secret in self._secrets):
            return ""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]").replace(secret.rstrip("="), "[secret]")
        return line(text, 200)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")


def refused(reply: Reply, doing: str, *, content: bool = False) -> DeliveryError:
    """The error for an answer that was not good.

    Parameters
    ----------
    reply : Reply
    doing : str
        What was refused, to begin the sentence with.
    content : bool
        It was the message that was refused: a smaller and plainer one may pass.
    """
    sentence = f"{doing}: {reply}"
    if reply.code in _LOGIN_CODES:
        return login_error(sentence)
    if reply.temporary:
        return TemporaryDeliveryError(
            sentence, retry_after_seconds=reply.wait_seconds, whole_channel=reply.code == 421
        )
    return PermanentDeliveryError(sentence, plain_may_work=content or reply.code == 552)


def login_error(sentence: str) -> TemporaryDeliveryError:
    """We are not let in; the messages wait until somebody mends it."""
    return TemporaryDeliveryError(sentence, retry_after_seconds=LOGIN_RETRY_SECONDS, whole_channel=True)


def none_accepted(refusals: Mapping[str, Reply]) -> DeliveryError:
    """The error when no recipient was accepted: temporary as soon as one may be later."""
    told = told_of(refusals)
    if any(reply.code in _LOGIN_CODES for reply in refusals.values()):
        return login_error(f"the server wants a login before it accepts a recipient: {told}")
    waiting = [reply for reply in refusals.values() if reply.temporary]
    if not waiting:
        return PermanentDeliveryError(f"the server refused every recipient: {told}")
    return TemporaryDeliveryError(
        f"the server accepts no recipient now: {told}", retry_after_seconds=longest_wait(waiting)
    )


def longest_wait(replies: Iterable[Reply]) -> float | None:
    """How long to wait for all of them; None where none says."""
    return max((wait for reply in replies if (wait := reply.wait_seconds) is not None), default=None)


def told_of(refusals: Mapping[str, Reply]) -> str:
    """The first refusals in words."""
    first = [f"{address} ({reply})" for address, reply in list(refusals.items())[:3]]
    more = len(refusals) - len(first)
    return "; ".join(first) + (f"; and {more} more" if more else "")
