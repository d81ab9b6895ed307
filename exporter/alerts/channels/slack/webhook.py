"""An incoming webhook: it takes messages, and gives nothing back to recognise them by."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from exporter.alerts.channels.slack.api import limited, refused
from exporter.alerts.channels.slack.blocks import Post
from exporter.alerts.channels.slack.errors import MENDABLE, TRANSIENT, delivery_error
from exporter.alerts.channels.slack.pace import Pace
from exporter.alerts.channels.slack.progress import Progress, ProgressOf
from exporter.alerts.channels.slack.transport import Answer, Transport
from exporter.alerts.records import Delivery, Message, Receipt
from exporter.errors import DeliveryError, TemporaryDeliveryError

_FORM = frozenset(
    (
        *("invalid_payload", "invalid_blocks", "invalid_blocks_format", "invalid_attachments"),
        *("no_text", "msg_too_long", "msg_blocks_too_long", "too_many_attachments", "missing_text"),
    )
)


class Webhook:
    """Delivers posts to one incoming webhook."""

    def __init__(self, url: str, transport: Transport, pace: Pace) -> None:
        self._url = url
        self._transport = transport
        self._pace = pace
        self._progress = ProgressOf()

    def deliver(self, posts: Sequence[Post], message: Message, delivery: Delivery) -> Receipt:
        """Send what was not sent in an earlier attempt of this process."""
        number = message.notification.id
        known = self._progress.get(number) or Progress()
        try:
            for post in posts:
                if known.begun and post.until <= known.until:
                    continue
                self._pace.wait()
                self._send(post)
                known = Progress(begun=True, until=post.until)
        except TemporaryDeliveryError:
            self._progress.keep(number, known)
            raise
        self._progress.forget(number)
        detail = "1 message" if len(posts) == 1 else f"{len(posts)} messages"
        return Receipt(detail=f"{detail} by the incoming webhook", plain=delivery.plain)

    def _send(self, post: Post) -> None:
        body = orjson.dumps(post.body())
        answer = self._transport.post(self._url, body, "application/json")
        if not _accepted(answer):
            raise self._error(answer)

    def _error(self, answer: Answer) -> DeliveryError:
        if answer.status == 429:
            return limited(answer)
        code = answer.text
        if code in MENDABLE | TRANSIENT | _FORM:
            return delivery_error(code)
        if answer.status == 400:
            return delivery_error("an error", f"status 400, {self._transport.clean(code)}")
        return refused(answer, self._transport)


def _accepted(answer: Answer) -> bool:
    """`ok`, or what compatible services say; a page of a proxy is none of these."""
    if answer.status != 200:
        return False
    found = answer.json()
    return answer.text == "ok" or found.get("ok") is True or found.get("success") is True
