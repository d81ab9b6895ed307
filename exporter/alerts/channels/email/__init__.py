"""Email: a message with text, HTML and charts, handed to a mail server."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporter.alerts.addresses import Mailbox, parse_mailboxes
from exporter.alerts.channels.email.connection import Connection, Server, Transmission
from exporter.alerts.channels.email.replies import Reply, longest_wait, none_accepted, told_of
from exporter.alerts.channels.email.writing import Form, Renderer, Writer
from exporter.alerts.composing.figures import zone_of
from exporter.alerts.config import EmailSettings
from exporter.alerts.records import Delivery, Message, Receipt
from exporter.errors import ConfigurationError, PermanentDeliveryError, TemporaryDeliveryError

FRESH_SECONDS = 30.0
"""A connection that rested longer is not used again."""
MOST_SENT = 100
"""Messages on one connection."""
STRAGGLERS_SECONDS = 600.0
"""Recipients that are refused for now are tried again for so long: the group's next messages wait."""
_MOST_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class _Begun:
    """A message that some recipients have, since when, and who."""

    at: float
    recipients: set[str] = field(default_factory=set)


class EmailChannel:
    """A mail server and the recipients of one channel.

    Used by one worker thread at a time. Recipients that were refused for now are tried again alone, for
    `STRAGGLERS_SECONDS`: who already got a message does not get it twice, as long as the process lives.
    """

    spacing_seconds = 0.0

    def __init__(self, settings: EmailSettings, *, name: str, templates: Renderer, timezone: str) -> None:
        sender = _mailboxes(name, "from", (settings.sender,))[0]
        to, cc = _mailboxes(name, "to", settings.to), _mailboxes(name, "cc", settings.cc)
        self._sender = sender
        self._recipients = list({box.address: box for box in (*to, *cc)}.values())
        self._writer = Writer(name, sender, to, cc, templates, zone_of(timezone), settings.charts)
        password = None if settings.password is None else settings.password.get_secret_value()
        self._server = Server(
            settings.smtp_server, settings.smtp_port, settings.tls, settings.timeout,
            settings.username, password, settings.ca_file,
        )  # fmt: skip
        self._connection: Connection | None = None
        self._begun: OrderedDict[str, _Begun] = OrderedDict()

    def send(self, message: Message, delivery: Delivery) -> Receipt:
        """Hand the message to the server for every recipient that has not got it yet."""
        connection = self._open()
        key = delivery.notification.id
        begun = self._begun.get(key) or _Begun(time.monotonic())
        done = begun.recipients
        waiting = [box for box in self._recipients if box.address not in done]
        refusals: dict[str, Reply] = {}
        utf8 = self._sender.international or any(box.international for box in waiting)
        if utf8 and not connection.utf8:
            waiting, refusals = self._without_international(waiting)
            utf8 = False
        form, email = self._fitting(connection, message, delivery, utf8=utf8)
        sent = self._transmit(connection, [box.address for box in waiting], email, utf8=utf8)
        refusals |= sent.refusals
        done |= set(sent.accepted)
        if not done:
            raise none_accepted(refusals)
        self._remember(key, begun)
        later = [reply for reply in refusals.values() if reply.temporary]
        if later and time.monotonic() - begun.at < STRAGGLERS_SECONDS:
            raise TemporaryDeliveryError(
                f"{len(done)} of {len(self._recipients)} recipients got it, the others are tried again: "
                f"{told_of(refusals)}",
                retry_after_seconds=longest_wait(later),
                partial=True,
            )
        self._begun.pop(key, None)
        return Receipt(
            detail=self._detail(done, refusals, sent.answer),
            thread=self._writer.thread(message, delivery),
            plain=form is Form.PLAIN,
        )

    def close(self) -> None:
        """Leave the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> Connection:
        """A connection that works: the last one while it is fresh, else a new one."""
        kept, self._connection = self._connection, None
        if kept is not None:
            fresh = time.monotonic() - kept.used_at < FRESH_SECONDS and kept.sent < MOST_SENT
            if fresh and kept.alive():
                return kept
            kept.close()
        return Connection(self._server)

    def _transmit(
        self, connection: Connection, recipients: Sequence[str], email: bytes, *, utf8: bool
    ) -> Transmission:
        if not recipients:
            connection.close()
            return Transmission((), {}, "")
        try:
            sent = connection.transmit(self._sender.address, recipients, email, utf8=utf8)
        except Exception:
            connection.close()
            raise
        self._connection = connection
        return sent

    def _fitting(
        self, connection: Connection, message: Message, delivery: Delivery, *, utf8: bool
    ) -> tuple[Form, bytes]:
        """The fullest form that the server's limit allows."""
        limit = connection.most_bytes
        form, email = Form.PLAIN, b""
        try:
            for form, email in self._writer.forms(message, delivery, utf8=utf8):
                if limit is None or len(email) <= limit:
                    return form, email
        except BaseException:
            connection.close()
            raise
        connection.close()
        raise PermanentDeliveryError(
            f"the mail server takes messages of at most {limit} bytes, the plain form has {len(email)}"
        )

    def _without_international(self, boxes: Sequence[Mailbox]) -> tuple[list[Mailbox], dict[str, Reply]]:
        reply = Reply(553, "the server does not know SMTPUTF8, which this address needs")
        if self._sender.international:
            return [], {self._sender.address: reply}
        return [box for box in boxes if not box.international], {
            box.address: reply for box in boxes if box.international
        }

    def _remember(self, key: str, begun: _Begun) -> None:
        self._begun[key] = begun
        self._begun.move_to_end(key)
        while len(self._begun) > _MOST_REMEMBERED:
            self._begun.popitem(last=False)

    def _detail(self, done: set[str], refusals: Mapping[str, Any], answer: str) -> str:
        whole = (
            f"{len(done)} of {len(self._recipients)} recipients" if refusals else f"{len(done)} recipients"
        )
        parts = [whole.replace("1 recipients", "1 recipient") if len(done) == 1 and not refusals else whole]
        if refusals:
            parts.append(f"refused: {told_of(refusals)}")
        if answer:
            parts.append(f"the server said: {answer}")
        return ", ".join(parts)


def _mailboxes(channel: str, key: str, texts: Sequence[str]) -> tuple[Mailbox, ...]:
    try:
        return tuple(box for text in texts for box in parse_mailboxes(text))
    except ValueError as error:
        path = f"channels.{channel}.{key}"
        raise ConfigurationError(f"{path}: {error}", [(path, str(error))]) from error
